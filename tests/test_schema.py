"""The schema: everything is commented, drawn and dumped; functions have the settings that they need;
migrations only grow, and a filled database is upgraded to what is here."""

import re
import subprocess

import psycopg
import pytest

from harness import filled, process, schema
from harness.client import Client, bodies, timeline
from harness.cluster import Database
from harness.verify import verify_all

SCHEMAS = "('matriarch', 'matrix')"
DRAWING = process.ROOT / "docs/schema.md"
BY_INDEX = {"jit=off", "enable_seqscan=off", "enable_hashjoin=off", "enable_mergejoin=off"}
THROUGH_TABLES = {"prune_keys", "prune_outgoing", "prune_state_downloads", "reset_sync_xids"}


def migrate(database: Database) -> subprocess.CompletedProcess:
    return subprocess.run(
        [process.binary(), "migrate"],
        env=database.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def empty(cluster):
    """A database that has the extension alone."""
    cluster.execute("create database {}", "without_tables")
    database = Database(cluster, "without_tables")
    database.query("create extension matriarch")
    yield database
    database.drop()


# What is there is explained


def test_tables_views_and_sequences_have_comments(shared_database):
    # Sequences of identity columns are part of their columns.
    missing = shared_database.query(f"""
        select c.oid::regclass::text from pg_class c
        where c.relnamespace::regnamespace::text in {SCHEMAS} and c.relkind in ('r', 'p', 'v', 'm', 'S')
            and obj_description(c.oid, 'pg_class') is null
            and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'i')""")
    assert missing == []


def test_columns_have_comments(shared_database):
    missing = shared_database.query(f"""
        select c.oid::regclass || '.' || a.attname from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace::regnamespace::text in {SCHEMAS} and c.relkind in ('r', 'p', 'v', 'm', 'c')
            and col_description(c.oid, a.attnum) is null
        order by 1""")
    assert missing == []


def test_indexes_that_are_no_keys_have_comments(shared_database):
    missing = shared_database.query(f"""
        select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indrelid
        where c.relnamespace::regnamespace::text in {SCHEMAS}
            and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
            and obj_description(i.indexrelid, 'pg_class') is null""")
    assert missing == []


def test_functions_and_types_have_comments(shared_database):
    missing = shared_database.query(f"""
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace::regnamespace::text in {SCHEMAS} and obj_description(p.oid, 'pg_proc') is null
        union all
        select t.oid::regtype::text from pg_type t
        left join pg_class c on c.oid = t.typrelid
        where t.typnamespace::regnamespace::text in {SCHEMAS}
            and (t.typtype in ('d', 'e', 'r') or (t.typtype = 'c' and c.relkind = 'c'))
            and obj_description(t.oid, 'pg_type') is null""")
    assert missing == []


def test_the_drawing_has_every_table_and_foreign_key(shared_database):
    drawn = "\n".join(re.findall(r"```mermaid\n(.*?)```", DRAWING.read_text(), re.DOTALL))
    tables = shared_database.query("select tablename from pg_tables where schemaname = 'matriarch'")
    assert [name for (name,) in tables if not re.search(rf"\b{name}\b", drawn)] == []
    names = {name for (name,) in tables}
    lines = [line.split() for line in drawn.splitlines() if re.search(r"(--|\.\.)", line)]
    assert {name for line in lines for name in (line[0], line[2])} <= names
    solid = {(line[0], line[2]) for line in lines if "--" in line[1]}
    keys = shared_database.query("""
        select distinct t.relname, c.relname from pg_constraint k
        join pg_class c on c.oid = k.conrelid join pg_class t on t.oid = k.confrelid
        where k.contype = 'f' and k.connamespace = 'matriarch'::regnamespace""")
    assert solid == set(keys)


def test_the_dump_is_that_of_the_checkout(database):
    """`scripts/schema-dump` writes it anew."""
    assert schema.dump(database) == schema.DUMP.read_text()


# What functions have in common


def test_functions_that_run_as_the_owner_say_how(shared_database):
    functions = shared_database.query(f"""
        select p.proname, p.pronamespace::regnamespace::text, coalesce(p.proconfig, '{{}}'),
            p.prorettype::regtype::text
        from pg_proc p where p.pronamespace::regnamespace::text in {SCHEMAS} and p.prosecdef""")
    assert len(functions) > 100
    for name, namespace, settings, returns in functions:
        path = "matriarch, pg_temp" if namespace == "matriarch" else "pg_catalog, pg_temp"
        assert f"search_path={path}" in settings, name
        # A trigger says itself which plans it turns off.
        if name not in THROUGH_TABLES and returns != "trigger":
            assert set(settings) >= BY_INDEX, name
            assert namespace == "matrix" or "plan_cache_mode=force_generic_plan" in settings, name


def test_other_functions_can_be_put_in_the_place_of_their_calls(shared_database):
    """The planner does so where there are no settings."""
    with_settings = shared_database.query(f"""
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace::regnamespace::text in {SCHEMAS} and not p.prosecdef
            and p.proconfig is not null""")
    assert with_settings == []


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("status in (matriarch.soft_failed(), matriarch.rejected())", "events_not_accepted"),
        ("pos is null and status in (matriarch.accepted(), matriarch.outlier())", "events_outliers"),
    ],
)
def test_names_of_statuses_use_the_indexes(shared_database, condition, index):
    with shared_database.connect() as connection:
        connection.execute("set role matriarch_owner")
        connection.execute("set enable_seqscan = off")
        statement = (
            f"explain select from matriarch.events where room_nid = 1 and event_nid > 1 and {condition}"
        )
        plan = "\n".join(line for (line,) in connection.execute(statement).fetchall())
    assert index in plan and "Filter" not in plan


def test_names_of_statuses_are_those_that_analysts_see(shared_database):
    names = "select matrix.status_name({}())"
    for function in ("accepted", "soft_failed", "rejected", "outlier"):
        [(name,)] = shared_database.query(names.format(f"matriarch.{function}"))
        assert name == function.replace("_", "-")
    with pytest.raises(psycopg.errors.CheckViolation):
        shared_database.query("select 4::matriarch.event_status")


def test_nothing_depends_on_the_extension(shared_database):
    """So it can be replaced."""
    dependent = shared_database.query("""
        select pg_describe_object(d.classid, d.objid, d.objsubid)
        from pg_depend m
        join pg_depend d on d.refclassid = m.classid and d.refobjid = m.objid and d.deptype in ('n', 'a')
        where m.refclassid = 'pg_extension'::regclass and m.deptype = 'e'
            and m.refobjid = (select oid from pg_extension where extname = 'matriarch')
            and not exists (
                select from pg_depend own
                where own.classid = d.classid and own.objid = d.objid and own.deptype = 'e'
            )""")
    assert dependent == []


def test_users_know_their_server(node, shared_database):
    user = node.register("named")
    name = "select server_name from matriarch.users where user_id = %s"
    assert shared_database.query(name, [user.user_id]) == [(user.user_id.split(":", 1)[1],)]


# Migrations


def test_migrations_that_have_landed_do_not_change():
    """A change is a new file. `scripts/schema-dump` notes those that are new."""
    files = {path.name: schema.checksum(path) for path in schema.migrations().values()}
    assert schema.landed() == files
    assert list(schema.migrations()) == list(range(1, len(files) + 1))


@pytest.mark.parametrize("version", filled.fixtures())
def test_a_filled_database_is_upgraded(empty, start_nodes, version):
    filled.restore(empty, version)
    migrated = migrate(empty)
    assert migrated.returncode == 0, migrated.stderr
    empty.query("call matriarch.reset_sync_xids()", user="matriarch_admin")
    assert schema.dump(empty) == schema.DUMP.read_text()
    assert verify_all(empty) == []

    (node,) = start_nodes(empty)
    alice, bob = (Client(node.url).login(name, filled.PASSWORD) for name in filled.NAMES)
    rooms = alice.sync()["rooms"]["join"]
    assert len(rooms) == 3
    for room in rooms:
        assert alice.state(room, "m.room.name") == {"name": filled.NAME}
        read = bodies(event for event in alice.history(room) if "body" in event["content"])
        assert read == list(filled.BODIES)
        event_id = bob.send(room, "after the upgrade")
        assert timeline(alice.next(), room)[-1]["event_id"] == event_id
    assert alice.get(f"/user/{alice.user_id}/account_data/org.example.kept") == {"kept": True}
    assert alice.get("/room_keys/version")["count"] == 1
    assert list(alice.get("/room_keys/keys", params={"version": "1"})["rooms"]) == ["!r:b"]
    assert verify_all(empty) == []
    statuses = "select distinct status from matrix.events"
    assert {("accepted",), ("rejected",)} <= set(empty.query(statuses, user="matriarch_readonly"))


def test_a_replaced_extension_leaves_grants_rows_and_what_analysts_made(rooms, start_nodes):
    (node,) = start_nodes(rooms)
    alice = node.register("alice")
    room = alice.create_room(name="Kept")
    rooms.query("create view public.names as select name from matrix.rooms")
    rooms.query("create role analyst in role matriarch_readonly")
    rooms.query("grant select on public.names to analyst")
    rooms.query("grant references on matrix.rooms to analyst")
    try:
        rooms.query("update pg_extension set extversion = '0.0.9' where extname = 'matriarch'")
        rooms.query("update matriarch.server set matrix_version = 'another'")
        for name in ("prune_keys()", "retry_now(text)"):
            rooms.query(f"alter extension matriarch drop function matriarch.{name}")
            rooms.query(f"drop function matriarch.{name}")
        rooms.query("comment on view matrix.rooms is null")
        migrated = migrate(rooms)
        assert migrated.returncode == 0, migrated.stderr
        rooms.query("select matriarch.prune_keys()", user="matriarch_api")
        rooms.query("select matriarch.retry_now('x')", user="matriarch_admin")
        assert rooms.query("select obj_description('matrix.rooms'::regclass)") != [(None,)]
        with rooms.connect() as connection:
            connection.execute("set role analyst")
            assert connection.execute("select name from public.names").fetchall() == [("Kept",)]
        granted = "select has_table_privilege('analyst', 'matrix.rooms', 'references')"
        assert rooms.query(granted) == [(True,)]
        alice.send(room, "still here")
        assert verify_all(rooms) == []
    finally:
        rooms.query("drop owned by analyst")
        rooms.query("drop role analyst")


def test_migrating_twice_changes_nothing(database):
    made = "select xmin, matrix_version from matriarch.server"
    before = database.query(made)
    assert before[0][1]
    assert migrate(database).returncode == 0
    assert database.query(made) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("update matriarch.schema_history set checksum = '1' where version = 1", "cannot be upgraded"),
        ("update matriarch.schema_history set name = 'other' where version = 2", "cannot be upgraded"),
        (
            "insert into matriarch.schema_history (version, name, checksum) values (9999, 'later', '1')",
            "run a newer program",
        ),
    ],
)
def test_tables_of_other_migrations_are_refused_and_left_alone(database, change, said):
    database.query("update pg_extension set extversion = '0.0.9' where extname = 'matriarch'")
    database.query(change)
    serve = [process.binary(), "serve"]
    refused = migrate(database)
    assert refused.returncode == 1 and said in refused.stderr + refused.stdout
    assert database.query("select extversion from pg_extension where extname = 'matriarch'") == [("0.0.9",)]
    refused = subprocess.run(
        serve, env=database.environment("matriarch_api"), capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1 and said in refused.stderr + refused.stdout
