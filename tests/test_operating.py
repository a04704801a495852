"""What operators see: commands, configuration errors, listeners, health, metrics, headers, a database that is
away."""

import os
import select
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness import process, schema
from harness.client import expect, new_txn_id, path
from harness.cluster import Database
from harness.node import Node
from harness.verify import verify_all
from harness.waiting import eventually, eventually_passes


def run(*arguments, **environment):
    """Runs `matriarch`, and returns the finished process."""
    return subprocess.run(
        [process.binary(), *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_config_check_names_the_key_and_the_reason(tmp_path):
    file = tmp_path / "matriarch.toml"
    file.write_text('server_name = "example.org"\n[limits]\nmax_body_size = "big"\n')
    refused = run("config", "check", "--config", file)
    assert refused.returncode == 1
    assert (
        "limits.max_body_size" in refused.stderr and "big" in refused.stderr and file.name in refused.stderr
    )
    file.write_text('server_name = "example.org"\n')
    assert run("config", "check", "--config", file).returncode == 0
    refused = run("--config", file, "config", "check", MATRIARCH_LISTENER="typo")
    assert refused.returncode == 1 and "LISTENER" in refused.stderr.upper()
    tls = f'[{{address = "127.0.0.1", port = 1, tls = {{certificate = "{file}", key = "{file}"}}}}]'
    refused = run("--config", file, "config", "check", MATRIARCH_LISTENERS=tls)
    assert refused.returncode == 1 and "listeners.0.tls" in refused.stderr and file.name in refused.stderr
    file.write_text("server_name = = 1\n")
    refused = run("--config", file, "config", "check")
    assert refused.returncode == 1 and "key ``" not in refused.stderr and "line 1" in refused.stderr


def test_config_show_hides_secrets():
    shown = run(
        "config",
        "show",
        MATRIARCH_SERVER_NAME="example.org",
        MATRIARCH_DATABASE__URL="postgres://matriarch_api:hushhush@db.example.org/matriarch",
        MATRIARCH_REGISTRATION__SHARED_SECRET="hushhush",
    )
    assert shown.returncode == 0 and "hushhush" not in shown.stdout and 'mode = "off"' in shown.stdout


def test_several_nodes_may_migrate_at_once(cluster):
    cluster.execute("create database {}", "migrated_at_once")
    database = Database(cluster, "migrated_at_once")
    with ThreadPoolExecutor() as pool:
        finished = list(pool.map(lambda _: run("migrate", **database.environment()), range(4)))
    assert [one.returncode for one in finished] == [0] * 4, [one.stderr for one in finished]
    assert database.query("select count(*) from matriarch.signing_keys") == [(1,)]
    database.drop()


def test_migrate_replaces_the_functions_of_another_version_and_keeps_the_rows(database, start_nodes):
    version = "select extversion from pg_extension where extname = 'matriarch'"
    current = database.query(version)
    (node,) = start_nodes(database)
    alice = node.register("alice")
    room = alice.create_room()
    database.query("update pg_extension set extversion = '0.0.9' where extname = 'matriarch'")
    database.query("alter extension matriarch drop function matriarch.whoami(bytea)")
    database.query("drop function matriarch.whoami(bytea)")
    assert run("migrate", **database.environment()).returncode == 0
    assert database.query(version) == current
    assert alice.get("/account/whoami")["user_id"] == alice.user_id
    alice.send(room, "still here")


def test_serve_refuses_a_database_that_does_not_fit(database):
    environment = database.environment("matriarch_api")
    other_name = run("serve", **{**environment, "MATRIARCH_SERVER_NAME": "other.example"})
    assert other_name.returncode == 1 and "`server_name`" in other_name.stderr
    empty = run(
        "serve",
        **{**environment, "MATRIARCH_DATABASE__URL": database.cluster.url("postgres", "matriarch_api")},
    )
    assert empty.returncode == 1 and "matriarch migrate" in empty.stderr
    database.query("update matriarch.schema_history set version = version + 1000 where version = 1")
    newer = run("serve", **environment)
    assert newer.returncode == 1 and "newer program" in newer.stderr
    database.query("delete from matriarch.schema_history where version <> 2")
    older = run("serve", **environment)
    assert older.returncode == 1 and "matriarch migrate" in older.stderr


def test_each_listener_serves_its_apis(database, tmp_path):
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-keyout",
            tmp_path / "key.pem",
            "-out",
            tmp_path / "certificate.pem",
            "-subj",
            "/CN=localhost",
        ],
        check=True,
        capture_output=True,
    )
    node = Node(database, tmp_path)
    tls_port = process.free_port()
    node.environment["MATRIARCH_LISTENERS"] = (
        f'[{{address = "127.0.0.1", port = {node.port}, apis = ["health"]}},'
        f' {{address = "127.0.0.1", port = {tls_port}, apis = ["client"],'
        f' tls = {{certificate = "{tmp_path}/certificate.pem", key = "{tmp_path}/key.pem"}}}}]'
    )
    node.start()
    try:
        secure = f"https://127.0.0.1:{tls_port}"
        assert httpx.get(f"{secure}/_matrix/client/versions", verify=False).status_code == 200
        for url in (f"{secure}/health", f"{secure}/metrics", f"{node.url}/_matrix/client/versions"):
            expect(httpx.get(url, verify=False), 404, "M_UNRECOGNIZED")
    finally:
        assert node.stop() == 0


def test_every_answer_has_cors_headers_and_a_request_id(node):
    for method, endpoint in [
        ("OPTIONS", "/_matrix/client/v3/sync"),
        ("OPTIONS", "/no/such/path"),
        ("GET", "/no/such/path"),
        ("GET", "/_matrix/client/v3/sync"),
        ("DELETE", "/_matrix/client/versions"),
        ("GET", "/_matrix/client/versions"),
    ]:
        answer = httpx.request(method, node.url + endpoint, headers={"X-Request-Id": "from-the-proxy"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "OPTIONS" in answer.headers["access-control-allow-methods"]
        assert "Authorization" in answer.headers["access-control-allow-headers"]
        if method == "OPTIONS":
            assert answer.is_success
        else:
            assert answer.headers["x-request-id"] == "from-the-proxy"


def test_unknown_paths_and_methods(node):
    expect(httpx.get(f"{node.url}/_matrix/client/v3/nothing"), 404, "M_UNRECOGNIZED")
    expect(httpx.patch(f"{node.url}/_matrix/client/versions"), 405, "M_UNRECOGNIZED")


def test_a_body_over_the_limit_is_answered_while_the_client_still_sends(node):
    size = 8_000_000
    head = f"PUT /_matrix/client/v3/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as connection:
        connection.sendall(head.encode())
        # The answer is there, and is still readable after the rest was sent.
        select.select([connection], [], [], 1)
        connection.sendall(b"x" * size)
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413") and b"M_TOO_LARGE" in answer


def test_metrics_tell_endpoints_and_statements(node):
    alice = node.register("alice")
    for _ in range(3):
        alice.get("/account/whoami")
    text = httpx.get(f"{node.url}/metrics").text
    endpoint = 'endpoint="/_matrix/client/v3/account/whoami"'
    counted = [
        line
        for line in text.splitlines()
        if line.startswith("matriarch_http_requests_total") and endpoint in line
    ]
    assert counted and alice.user_id not in text
    assert f'matriarch_db_statements_per_request_count{{method="GET",{endpoint}}}' in text
    for name in (
        "matriarch_db_pool_connections",
        "matriarch_db_pool_waiting",
        "matriarch_http_request_duration_seconds_sum",
    ):
        assert name in text


def test_the_log_holds_no_secret(database, start_nodes):
    [node] = start_nodes(database, 1, MATRIARCH_LOG__LEVEL="debug")
    alice = node.register("alice", password="a password to be kept secret")
    httpx.get(f"{node.url}/_matrix/client/v3/account/whoami", params={"access_token": alice.access_token})
    alice.get("/account/whoami")
    log = node.log.read_text()
    assert "request answered" in log
    assert alice.access_token not in log and "kept secret" not in log


@pytest.mark.allow_errors("the database is away for a while")
def test_without_its_database_a_node_is_live_and_not_ready(own_cluster, start_nodes):
    [node] = start_nodes(own_cluster.create_database())
    alice = node.register("alice")
    own_cluster.stop()
    answer = alice.request("GET", "/account/whoami")
    expect(answer, 503, "M_UNKNOWN")
    assert int(answer.headers["retry-after"]) >= 1
    assert httpx.get(f"{node.url}/health/ready").status_code == 503
    assert httpx.get(f"{node.url}/health/live").status_code == 200
    own_cluster.start()
    alice.get("/account/whoami")
    assert node.ready()


def test_rows_of_a_restored_dump_are_no_news(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    room = alice.create_room()
    alice.send(room, "before the restore")
    since = alice.sync()["next_batch"]
    with database.connect("matriarch_owner") as connection:
        # As they come out of a cluster that had come further
        for table in ("rooms", "events", "memberships", "account_data", "receipts"):
            connection.execute(f"update matriarch.{table} set xid = '99999999999'")
    assert room in alice.sync(since)["rooms"]["join"]
    database.query("call matriarch.reset_sync_xids()", user="matriarch_admin")
    assert alice.sync(since).get("rooms", {}).get("join", {}) == {}
    event_id = alice.send(room, "after it")
    (event,) = alice.sync(since)["rooms"]["join"][room]["timeline"]["events"]
    assert event["event_id"] == event_id


def test_functions_that_turn_plans_off_compile_none(shared_database):
    """What is turned off is dear, and what is dear is compiled: 30 to 300 ms a call."""
    statement = """
        select proname from pg_proc
        where pronamespace in ('matriarch'::regnamespace, 'matrix'::regnamespace)
            and proconfig @> array['enable_seqscan=off'] and not proconfig @> array['jit=off']"""
    assert shared_database.query(statement) == []


# What the role matriarch_admin may do


def test_operators_may_do_what_the_documents_tell_them(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room()
    for statement in (
        "insert into matriarch.registration_tokens (token, uses_allowed) values ('operators', 10)",
        "select * from matriarch.registration_tokens",
        "delete from matriarch.registration_tokens where token = 'operators'",
        "delete from matriarch.history_gaps",
        "delete from matriarch.one_time_keys",
        "select user_id, policy_id from matriarch.agreed_terms join matriarch.users using (user_nid)",
        "select * from matriarch.remote_device_lists",
        "select * from matriarch.generations",
        "select * from matriarch.schema_history",
        "select * from matrix.destinations",
        f"select * from matrix.verify_room('{room}')",
        f"delete from matriarch.rooms where room_id = '{room}'",
    ):
        shared_database.query(statement, user="matriarch_admin")


def test_a_deleted_room_is_gone_and_the_others_are_whole(database, start_nodes):
    (node,) = start_nodes(database)
    alice, bob = node.register("alice"), node.register("bob")
    kept, deleted = (alice.create_room(preset="public_chat") for _ in range(2))
    for room in (kept, deleted):
        bob.join(room)
        sent = alice.send(room, "a message")
        alice.send_state(room, "m.room.topic", {"topic": "x"})
        alice.redact(room, alice.send(room, "redacted"))
        bob.post(path("rooms", room, "receipt", "m.read", sent), {})
        bob.put(path("user", bob.user_id, "rooms", room, "tags", "u.x"), {})
        bob.put(path("rooms", room, "typing", bob.user_id), {"typing": True, "timeout": 30000})
    bob.leave(deleted)
    ((room_nid,),) = database.query("select room_nid from matriarch.rooms where room_id = %s", [deleted])
    database.query("delete from matriarch.rooms where room_id = %s", [deleted], user="matriarch_admin")

    columns = database.query(
        "select table_name from information_schema.columns"
        " where table_schema = 'matriarch' and column_name = 'room_nid'"
    )
    assert len(columns) > 15
    for (table,) in columns:
        left = f"select count(*) from matriarch.{table} where room_nid = %s"
        assert database.query(left, [room_nid]) == [(0,)], table
    edges = """
        select count(*) from matriarch.event_auth_edges
        where auth_nid not in (select event_nid from matriarch.events)"""
    assert database.query(edges) == [(0,)]
    assert verify_all(database) == []
    assert list(alice.sync()["rooms"]["join"]) == [kept]
    expect(alice.request("PUT", path("rooms", deleted, "send", "m.room.message", "t"), json={}), 403)
    alice.send(kept, "goes on")
    assert verify_all(database) == []


# Whether a node can serve


def readiness(node) -> tuple[int, str | None]:
    answer = httpx.get(f"{node.url}/health/ready", timeout=20)
    return answer.status_code, answer.json().get("reason")


def not_ready(node, *words):
    _, reason = eventually_passes(lambda: refused(node))
    assert all(word in reason for word in words), reason
    log = node.log.read_text()
    assert "not ready" in log and words[0] in log


def refused(node):
    status, reason = readiness(node)
    assert status == 503 and reason
    return status, reason


@pytest.mark.parametrize(
    ("statement", "undo", "words"),
    [
        (
            "alter role matriarch_api in database {} set default_transaction_read_only = on",
            "alter role matriarch_api in database {} reset default_transaction_read_only",
            ("read-only",),
        ),
        (
            "revoke usage on schema matriarch from matriarch_api",
            "grant usage on schema matriarch to matriarch_api",
            ("SQLSTATE 42501",),
        ),
        (
            "alter table matriarch.accounts owner to postgres",
            "alter table matriarch.accounts owner to matriarch_owner",
            ("accounts", "matriarch_owner", "matriarch migrate"),
        ),
        ("drop extension matriarch", "create extension matriarch", ("no extension",)),
    ],
)
def test_a_node_that_cannot_serve_is_not_ready_and_says_why(database, start_nodes, statement, undo, words):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    end = """
        select pg_terminate_backend(pid) from pg_stat_activity
        where usename = 'matriarch_api' and datname = %s"""
    database.query(statement.format(database.name))
    database.query(end, [database.name])
    not_ready(node, *words)
    assert alice.request("POST", "/createRoom", json={}).status_code in (200, 503)
    assert httpx.get(f"{node.url}/health/live").status_code == 200
    database.query(undo.format(database.name))
    database.query(end, [database.name])
    eventually(node.ready)
    alice.create_room()


@pytest.mark.allow_errors("the database is a standby for a while")
def test_a_node_on_a_standby_is_not_ready_and_makes_no_500(own_cluster, start_nodes):
    database = own_cluster.create_database()
    [node] = start_nodes(database)
    alice = node.register("alice")
    alice.sync()
    own_cluster.stop()
    signal = own_cluster.data / "standby.signal"
    signal.touch()
    own_cluster.start()
    not_ready(node, "standby", "target_session_attrs")
    for method, endpoint in (("GET", "/sync"), ("POST", "/createRoom")):
        assert alice.request(method, endpoint, json={}).status_code == 503
    # Analysts may use it, but for presence, which is unlogged.
    for (view,) in database.query("select viewname from pg_views where schemaname = 'matrix'"):
        if view != "presence":
            database.query(f"select * from matrix.{view}", user="matriarch_readonly")
    refused = run("serve", **database.environment("matriarch_api"))
    assert refused.returncode == 1 and "standby" in refused.stderr
    own_cluster.stop()
    signal.unlink()
    own_cluster.start()
    eventually(node.ready)
    alice.create_room()


def test_a_function_that_is_missing_makes_no_500(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    database.query("alter extension matriarch drop function matriarch.tags(bytea, text, text)")
    database.query("drop function matriarch.tags(bytea, text, text)")
    answer = alice.request("GET", path("user", alice.user_id, "rooms", "!r:test.example", "tags"))
    expect(answer, 503, "M_UNKNOWN")
    assert "does not fit this program" in node.log.read_text()


def test_a_node_serves_on_for_a_while_after_its_extension_was_replaced(database, start_nodes):
    patient, strict = (
        start_nodes(database, MATRIARCH_DATABASE__UPGRADE_TIME=seconds)[0] for seconds in ("900", "0")
    )
    database.query("update pg_extension set extversion = '9.9.9-other' where extname = 'matriarch'")
    not_ready(strict, "9.9.9-other", "matriarch migrate")
    assert patient.ready()
    assert "the extension was replaced" in patient.log.read_text()
    refused = run("serve", **database.environment("matriarch_api"))
    assert refused.returncode == 1 and "9.9.9-other" in refused.stderr
    assert run("migrate", **database.environment()).returncode == 0
    eventually(strict.ready)


def test_the_program_tells_all_its_versions(shared_database):
    ((extension,),) = shared_database.query("select extversion from pg_extension where extname = 'matriarch'")
    newest = max(schema.migrations())
    assert run("--version").stdout == f"matriarch 0.1.0 (tables {newest}, extension {extension})\n"


def test_the_library_of_the_extension_is_named_by_its_version(shared_database):
    ((extension,),) = shared_database.query("select extversion from pg_extension where extname = 'matriarch'")
    libraries = shared_database.query(
        "select distinct probin from pg_proc"
        " where pronamespace = 'matriarch'::regnamespace and probin is not null"
    )
    assert libraries == [(f"$libdir/matriarch-{extension}",)]


def test_an_extension_replaced_under_load_costs_no_request_a_500(database, start_nodes):
    (node,) = start_nodes(database)
    users = [node.register("user") for _ in range(4)]
    rooms = [user.create_room() for user in users]
    stop = threading.Event()

    def load(user, room):
        statuses = []
        while not stop.is_set():
            answer = user.request("PUT", path("rooms", room, "send", "m.room.message", new_txn_id()), json={})
            statuses += [answer.status_code, user.request("GET", "/sync").status_code]
        return statuses

    with ThreadPoolExecutor() as pool:
        loads = [pool.submit(load, user, room) for user, room in zip(users, rooms, strict=True)]
        for _ in range(5):
            database.query("update pg_extension set extversion = '0' where extname = 'matriarch'")
            assert run("migrate", **database.environment()).returncode == 0
        stop.set()
        statuses = {status for one in loads for status in one.result()}
    assert statuses == {200}


# Migrating


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_is_refused_in_a_sentence(cluster, encoding):
    with cluster.connect("postgres") as connection:
        connection.execute(
            f"create database other_encoding encoding '{encoding}' locale 'C' template template0"
        )
    database = Database(cluster, "other_encoding")
    refused = run("migrate", **database.environment())
    assert refused.returncode == 1 and encoding in refused.stderr and "UTF8" in refused.stderr
    assert database.query("select to_regnamespace('matriarch')") == [(None,)]
    database.drop()


def test_a_migration_that_waits_for_a_lock_keeps_nobody_waiting(database, start_nodes):
    """It takes locks for moments, between which others pass."""
    (node,) = start_nodes(database)
    alice = node.register("alice")
    room = alice.create_room()
    # As an upgrade does, it replaces the extension, and makes the schema `matrix` again.
    database.query("update pg_extension set extversion = '0' where extname = 'matriarch'")
    database.query("update matriarch.server set matrix_version = 'old'")
    with database.connect("matriarch_readonly", autocommit=False) as analyst:
        analyst.execute("select count(*) from matrix.rooms").fetchall()
        with ThreadPoolExecutor() as pool:
            migrating = pool.submit(run, "migrate", **database.environment())
            waiting = """
                select count(*) from pg_stat_activity
                where wait_event_type = 'Lock' and usename = 'postgres' and datname = %s"""
            eventually(lambda: database.query(waiting, [database.name]), [(1,)])
            eventually(lambda: database.query(waiting, [database.name]), [(0,)])
            alice.send(room, "not kept waiting")
            assert not migrating.done()
            analyst.rollback()
            assert migrating.result().returncode == 0


def test_failed_statements_are_counted_by_their_sqlstate(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    database.query("revoke usage on schema matriarch from matriarch_api")
    alice.request("GET", "/account/whoami")
    database.query("grant usage on schema matriarch to matriarch_api")
    assert 'matriarch_db_errors_total{sqlstate="42501"}' in httpx.get(f"{node.url}/metrics").text


def test_connections_are_replaced_when_they_are_old(database, start_nodes):
    (node,) = start_nodes(database, MATRIARCH_DATABASE__MAX_LIFETIME="1", MATRIARCH_DATABASE__POOL_SIZE="1")
    alice = node.register("alice")
    pids = "select array_agg(pid) from pg_stat_activity where usename = 'matriarch_api' and query ~ 'whoami'"

    def pid():
        alice.get("/account/whoami")
        return database.query(pids)

    first = pid()
    eventually(lambda: pid() != first)
