"""The schema `matrix`: what analysts see of rooms."""

import itertools
import json
import os
import re

import psycopg
import pytest

from harness import filled, process
from harness.client import path


def rows(database, statement, *parameters):
    """Rows as the analysts' role gets them."""
    return database.query(statement, parameters, user="matriarch_readonly")


def test_a_room_and_its_members_are_rows(node, shared_database):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat", name="Elephants", topic="Trunks")
    bob.join(room)
    found = rows(
        shared_database,
        "select name, topic, creator, join_rule, history_visibility, room_version, joined_members "
        "from matrix.rooms where room_id = %s",
        room,
    )
    assert found == [("Elephants", "Trunks", alice.user_id, "public", "shared", "12", 2)]
    bob.leave(room)
    members = rows(
        shared_database,
        "select user_id, membership, sender from matrix.members where room_id = %s order by 2",
        room,
    )
    assert members == [(alice.user_id, "join", alice.user_id), (bob.user_id, "leave", bob.user_id)]


def test_events_have_content_where_jsonb_can_hold_it(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room(preset="private_chat")
    plain = alice.send(room, {"msgtype": "m.text", "body": "hello", "number": 5})
    nul = alice.send(room, {"msgtype": "m.text", "body": "a\0b"})
    select = "select type, sender, state_key, status, content, json from matrix.events where event_id = %s"
    ((event_type, sender, state_key, status, content, text),) = rows(shared_database, select, plain)
    assert (event_type, sender, state_key, status) == ("m.room.message", alice.user_id, None, "accepted")
    assert content == {"msgtype": "m.text", "body": "hello", "number": 5}
    assert json.loads(text)["content"] == content
    ((*_, content, text),) = rows(shared_database, select, nul)
    assert content is None
    assert json.loads(text)["content"]["body"] == "a\0b"


def test_redactions_show(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room(preset="private_chat")
    event_id = alice.send(room, "secret")
    redaction = alice.redact(room, event_id)
    select = "select redacted_by, content from matrix.events where event_id = %s"
    assert rows(shared_database, select, event_id) == [(redaction, {})]


def test_current_state_and_state_at(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room(preset="private_chat", name="First")
    before = alice.send(room, "one")
    second = alice.send_state(room, "m.room.name", {"name": "Second"})
    after = alice.send(room, "two")

    def name(statement, parameter):
        return [
            content["name"]
            for type, content in rows(shared_database, statement, parameter)
            if type == "m.room.name"
        ]

    assert name("select type, content from matrix.current_state(%s)", room) == ["Second"]
    assert name("select type, content from matrix.state_at(%s)", before) == ["First"]
    # The state before the event that changes it
    assert name("select type, content from matrix.state_at(%s)", second) == ["First"]
    assert name("select type, content from matrix.state_at(%s)", after) == ["Second"]
    both = "(select event_id from matrix.state_at(%s)) except (select event_id from matrix.current_state(%s))"
    assert rows(shared_database, both, after, room) == []
    ((first,),) = rows(
        shared_database,
        "select event_id from matrix.events where room_id = %s and type = 'm.room.create'",
        room,
    )
    assert rows(shared_database, "select * from matrix.state_at(%s)", first) == []


def test_check_auth_tells_the_verdict_and_the_rule(node, shared_database):
    alice, bob, eve = node.register("alice"), node.register("bob"), node.register("eve")
    room = alice.create_room(preset="public_chat")
    bob.join(room)

    def check(sender, **event):
        event = {"room_id": room, "sender": sender.user_id, "content": {}, **event}
        return rows(shared_database, "select * from matrix.check_auth(%s)", json.dumps(event))[0]

    count = "select count(*) from matrix.events where room_id = %s"
    before = rows(shared_database, count, room)
    allowed, rule, reason, auth_events = check(bob, type="m.room.message")
    assert (allowed, rule, reason) == (True, None, None)
    assert auth_events
    allowed, rule, reason, _ = check(bob, type="m.room.topic", state_key="", content={"topic": "x"})
    assert allowed is False and rule and reason
    allowed, rule, reason, _ = check(eve, type="m.room.message")
    assert allowed is False and rule and reason
    # Nothing was stored.
    assert rows(shared_database, count, room) == before


def test_analysts_can_only_read(shared_database):
    granted = """
        select table_schema, table_name, privilege_type from information_schema.table_privileges
        where grantee in ('matriarch_readonly', 'PUBLIC') and table_schema in ('matriarch', 'matrix')
          and (privilege_type <> 'SELECT' or table_schema = 'matriarch')"""
    assert shared_database.query(granted) == []


# Views of users and of time


def test_rooms_tell_encryption_replacement_and_other_servers(node, shared_database):
    alice = node.register("alice")
    plain, encrypted = alice.create_room(), alice.create_room()
    alice.send_state(encrypted, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    alice.send_state(encrypted, "m.room.tombstone", {"replacement_room": plain, "body": "moved"})
    select = "select encrypted, replacement_room, other_servers from matrix.rooms where room_id = %s"
    assert rows(shared_database, select, plain) == [(False, None, 0)]
    assert rows(shared_database, select, encrypted) == [(True, plain, 0)]


def test_events_tell_when_they_were_received(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room()
    event_id = alice.send(room, "now")
    select = """
        select received_at between now() - interval '1 minute' and now(), sender_server
        from matrix.events where event_id = %s"""
    assert rows(shared_database, select, event_id) == [(True, alice.user_id.split(":", 1)[1])]


def test_the_newest_events_of_a_room_are_read_by_its_timeline(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room(preset="private_chat")
    sent = [alice.send(room, f"message {number}") for number in range(5)]
    redaction = alice.redact(room, sent[3])
    newest = rows(
        shared_database,
        "select event_id, redacted_by, position from matrix.timeline(%s, 3)",
        room,
    )
    assert [event_id for event_id, *_ in newest] == [redaction, sent[4], sent[3]]
    assert newest[2][1] == redaction
    before = rows(
        shared_database,
        "select event_id, content ->> 'body' from matrix.timeline(%s, 2, before => %s)",
        room,
        newest[2][2],
    )
    assert before == [(sent[2], "message 2"), (sent[1], "message 1")]
    assert rows(shared_database, "select * from matrix.timeline('!unknown', 1)") == []


def test_the_state_of_a_room_at_a_time(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room(preset="private_chat", name="First")
    alice.send(room, "between")
    ((first,),) = rows(shared_database, "select clock_timestamp()")
    alice.send_state(room, "m.room.name", {"name": "Second"})
    ((second,),) = rows(shared_database, "select clock_timestamp()")
    name = "select content ->> 'name' from matrix.state_at(%s, %s::timestamptz) where type = 'm.room.name'"
    assert rows(shared_database, name, room, first) == [("First",)]
    assert rows(shared_database, name, room, second) == [("Second",)]
    assert rows(shared_database, "select * from matrix.state_at(%s, '2001-01-01'::timestamptz)", room) == []
    both = """
        (select event_id from matrix.state_at(%s, now()))
        except (select event_id from matrix.current_state(%s))"""
    assert rows(shared_database, both, room, room) == []


def test_accounts_and_devices_are_shown_without_addresses(node, shared_database):
    alice = node.register("alice")
    ((admin, deactivated, devices),) = rows(
        shared_database,
        "select admin, deactivated_at, devices from matrix.accounts where user_id = %s",
        alice.user_id,
    )
    assert (admin, deactivated, devices) == (False, None, 1)
    select = "select device_id from matrix.devices where user_id = %s"
    assert rows(shared_database, select, alice.user_id) == [(alice.device_id,)]
    addresses = shared_database.query(
        "select table_name, column_name from information_schema.columns"
        " where table_schema = 'matrix' and column_name ~ '(_ip|address)$'"
    )
    assert addresses == []


def test_unread_events_are_counted_as_a_sync_counts(node, shared_database):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    read = alice.send(room, "read")
    bob.post(path("rooms", room, "receipt", "m.read", read), {})
    for number in range(3):
        alice.send(room, f"unread {number}")
    synced = bob.sync()["rooms"]["join"][room]["unread_notifications"]["notification_count"]
    assert synced == 3
    select = "select notifications, read_until from matrix.unread where user_id = %s and room_id = %s"
    assert rows(shared_database, select, bob.user_id, room) == [(3, read)]
    receipts = "select receipt_type, thread_id, event_id from matrix.receipts where user_id = %s"
    assert rows(shared_database, receipts, bob.user_id) == [("m.read", None, read)]


def test_events_of_a_time_are_found_by_an_index(shared_database):
    with shared_database.connect("matriarch_readonly") as connection:
        connection.execute("set enable_seqscan = off")
        for column, index in (("sent_at", "events_sent"), ("received_at", "events_received")):
            plan = connection.execute(
                f"explain select event_id from matrix.events where {column} > now() - interval '1 hour'"
            ).fetchall()
            assert any(f"Index Scan on {index}" in line for (line,) in plan), plan


# Who may read what


def test_a_team_reads_its_rooms_by_a_view_of_an_analyst(node, database, start_nodes):
    (own,) = start_nodes(database)
    alice = own.register("alice")
    room, other = alice.create_room(name="Team"), alice.create_room(name="Other")
    sent = alice.send(room, "hello")
    alice.send(other, "not for them")
    database.query("create role team")
    with database.connect() as connection:
        connection.execute("create schema reports")
        connection.execute(f"""
            create view reports.messages as
            select event_id, sent_at, content ->> 'body' as body, state_key, status
            from matrix.events where room_id = '{room}' and type = 'm.room.message'""")
        connection.execute("grant usage on schema reports to team")
        connection.execute("grant select on reports.messages to team")
        connection.execute("set role team")
        read = connection.execute("select event_id, body, status from reports.messages").fetchall()
        assert read == [(sent, "hello", "accepted")]
        for hidden in ("matrix.events", "matrix.rooms", "matriarch.events"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select * from {hidden}")
        connection.execute("reset role")
        connection.execute("drop schema reports cascade")
        connection.execute("drop role team")


def test_the_role_for_metadata_reads_no_text_of_users(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room(name="Secret plans")
    alice.send(room, "secret words")
    with shared_database.connect() as connection:
        connection.execute("set role matriarch_metadata")
        counted = connection.execute(
            "select count(*) from matrix.events where room_id = %s and type = 'm.room.message'", [room]
        )
        assert counted.fetchall() == [(1,)]
        connection.execute("select room_id, joined_members, encrypted from matrix.rooms")
        connection.execute("select user_id, membership from matrix.members")
        for view in ("accounts", "receipts", "unread", "destinations", "inbound"):
            connection.execute(f"select * from matrix.{view}")
        for column, view in (
            ("content", "events"),
            ("json", "events"),
            ("state_key", "events"),
            ("name", "rooms"),
            ("topic", "rooms"),
            ("display_name", "members"),
            ("display_name", "devices"),
            ("status_msg", "presence"),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select {column} from matrix.{view}")
        for call in ("current_state('!r')", "timeline('!r')", "room_graph('!r')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select * from matrix.{call}")


# Parallel plans

PARALLEL = {
    "parallel_setup_cost": "0",
    "parallel_tuple_cost": "0",
    "min_parallel_table_scan_size": "0",
    "min_parallel_index_scan_size": "0",
    "max_parallel_workers_per_gather": "4",
}
# Whole plans run in a worker, where that is allowed. The setting got another name in PostgreSQL 16.
FORCED = """
    select set_config(name, 'on', false) from pg_settings
    where name in ('force_parallel_mode', 'debug_parallel_query')"""
EXAMPLES = process.ROOT / "docs/sql.md"


def examples() -> list[str]:
    """The statements of docs/sql.md that read."""
    blocks = re.findall(r"```sql\n(.*?)```", EXAMPLES.read_text(), re.DOTALL)
    texts = (re.sub(r"--.*", "", block) for block in blocks)
    statements = (statement.strip() for text in texts for statement in text.split(";"))
    reading = re.compile(r"^(select|with|\()")
    return [text for text in statements if reading.match(text) and "repair_room" not in text]


def clone(database, events: int):
    """Makes the table longer by that many rows, copies of those that are there."""
    with database.connect() as connection:
        columns = connection.execute(
            "select string_agg(column_name, ', ') from information_schema.columns"
            " where table_schema = 'matriarch' and table_name = 'events'"
            " and column_name not in ('event_nid', 'event_id')"
        ).fetchone()[0]
        connection.execute(
            f"""
            insert into matriarch.events (event_id, {columns})
            select '$copy' || n, {columns}
            from (select *, row_number() over () as number from matriarch.events) e
            join generate_series(1, {events}) n
                on n %% (select count(*) from matriarch.events) + 1 = e.number""",
            [],
        )
        connection.execute("analyze matriarch.events")


def test_every_view_and_example_runs_in_parallel(database, start_nodes):
    """MATRIARCH_TEST_EVENTS=500000 does the same in a table of that size."""
    (node,) = start_nodes(database)
    filled.fill(database, node)
    node.stop()
    if size := int(os.environ.get("MATRIARCH_TEST_EVENTS", "0")):
        clone(database, size)
    ((room,),) = database.query("select room_id from matrix.rooms where name = 'A filled room' limit 1")
    events = database.query(
        "select event_id from matrix.events where room_id = %s and position is not null order by position",
        [room],
    )
    views = database.query("select viewname from pg_views where schemaname = 'matrix' order by 1")
    statements = [f"select * from matrix.{view}" for (view,) in views] + examples()
    assert len(views) >= 14 and len(statements) - len(views) >= 15
    plans = []
    with database.connect("matriarch_readonly") as connection:
        for setting, value in PARALLEL.items():
            connection.execute(f"set {setting} = {value}")
        for forced in (False, True):
            if forced:
                connection.execute(FORCED)
            for text in statements:
                number = itertools.count()
                named = text.replace("!r:example.org", room)
                statement = re.sub(r"'\$\w+'", lambda _: f"'{events[-1 - next(number) % 5][0]}'", named)
                connection.execute(statement).fetchall()
                plan = connection.execute(f"explain {statement}").fetchall()
                plans.append("\n".join(line for (line,) in plan))
    assert sum("Workers Planned" in plan for plan in plans) >= 15
    assert any("Parallel Seq Scan on events" in plan for plan in plans)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": [1, null, "x"]}', {"a": [1, None, "x"]}),
        ('{"a": "\\u0000"}', None),
        ('{"a": "\\ud800"}', None),
        ('{"a": 1e999999}', None),
        ("[" * 100_000, None),
        ("no JSON", None),
        ("", None),
    ],
)
def test_json_that_jsonb_cannot_hold_is_null(shared_database, text, expected):
    assert rows(shared_database, "select matrix.json_or_null(%s)", text) == [(expected,)]
    # The transaction goes on.
    with shared_database.connect("matriarch_readonly", autocommit=False) as connection:
        connection.execute("select matrix.json_or_null(%s)", [text])
        assert connection.execute("select matrix.json_or_null('5')").fetchall() == [(5,)]
