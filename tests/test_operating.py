"""What operators see: commands, configuration errors, listeners, health, metrics, headers, a database that is
away."""

import os
import select
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness import process
from harness.client import expect
from harness.cluster import Database
from harness.node import Node


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
    for method, path in [
        ("OPTIONS", "/_matrix/client/v3/sync"),
        ("OPTIONS", "/no/such/path"),
        ("GET", "/no/such/path"),
        ("GET", "/_matrix/client/v3/sync"),
        ("DELETE", "/_matrix/client/versions"),
        ("GET", "/_matrix/client/versions"),
    ]:
        answer = httpx.request(method, node.url + path, headers={"X-Request-Id": "from-the-proxy"})
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
    head = f"PUT /_matrix/client/v3/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as connection:
        connection.sendall(head.encode())
        # The answer is there, and is still readable after the rest was sent.
        select.select([connection], [], [], 20)
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
