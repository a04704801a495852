"""The way to the database: several hosts, of which one falls silent, and poolers."""

import shutil
import socket
import subprocess
import threading
import time

import httpx
import pytest

from harness import process
from harness.client import path
from harness.waiting import eventually


class Route:
    """A way to a TCP port, which can fall silent: connections stay open, and new ones are accepted, but
    nothing passes any more. So does a host that is paused."""

    def __init__(self, port: int):
        self.to = port
        self.silent = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.to))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.pass_on, args=(source, sink), daemon=True).start()

    def pass_on(self, source, sink):
        try:
            while data := source.recv(65536):
                if self.silent:
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.mark.allow_errors("requests that the silent host has are answered 503")
def test_a_node_is_back_within_seconds_when_its_database_host_falls_silent(database, start_nodes):
    cluster = database.cluster
    first = Route(cluster.port)
    url = f"postgres://matriarch_api@127.0.0.1:{first.port},127.0.0.1:{cluster.port}/{database.name}"
    (node,) = start_nodes(database, MATRIARCH_DATABASE__URL=url)
    alice = node.register("alice")
    room = alice.create_room()
    by_first = "select count(*) from pg_stat_activity where usename = 'matriarch_api' and datname = %s"
    assert database.query(by_first, [database.name])[0][0] >= 2

    first.silent = True
    began = time.monotonic()
    statuses = set()

    def sends() -> bool:
        answer = alice.request("PUT", path("rooms", room, "send", "m.room.message", "again"), json={})
        statuses.add(answer.status_code)
        return answer.status_code == 200

    eventually(sends)
    assert time.monotonic() - began < 10
    assert statuses <= {200, 503}
    eventually(node.ready, seconds=5)


def test_a_host_that_refuses_is_no_reason_to_wait(database, start_nodes):
    closed = process.free_port()
    cluster = database.cluster
    url = f"postgres://matriarch_api@127.0.0.1:{closed},127.0.0.1:{cluster.port}/{database.name}"
    (node,) = start_nodes(database, MATRIARCH_DATABASE__URL=url)
    began = time.monotonic()
    node.register("alice")
    assert time.monotonic() - began < 5


# Poolers

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer")


@pytest.fixture
def pooler(database, tmp_path):
    """A function: pooler(mode) starts a PgBouncer before the database, and gives the URL."""
    started = []

    def start(mode: str) -> str:
        port = process.free_port()
        folder = process.Folder()
        users = folder.path / "users"
        users.write_text('"matriarch_api" ""\n')
        settings = folder.path / "pgbouncer.ini"
        settings.write_text(
            f"""[databases]
* = host=127.0.0.1 port={database.cluster.port} user=matriarch_api
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
auth_file = {users}
pool_mode = {mode}
default_pool_size = 20
"""
        )
        running = process.spawn(
            [PGBOUNCER, settings], log=folder.path / "log", user=process.unprivileged(), cwd="/"
        )
        started.append((running, folder))

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually(answers)
        return f"postgres://matriarch_api@127.0.0.1:{port}/{database.name}"

    yield start
    for running, folder in started:
        running.kill()
        running.wait()
        folder.remove()


def version() -> tuple[int, int]:
    text = subprocess.run([PGBOUNCER, "--version"], capture_output=True, text=True).stdout
    major, minor = text.split()[1].split(".")[:2]
    return int(major), int(minor)


@needs_pgbouncer
def test_a_pooler_that_loses_prepared_statements_is_refused(database, pooler):
    if version() >= (1, 21):
        pytest.skip("this PgBouncer keeps prepared statements")
    environment = {**database.environment("matriarch_api"), "MATRIARCH_DATABASE__URL": pooler("transaction")}
    refused = subprocess.run(
        [process.binary(), "serve"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1 and "PgBouncer 1.21" in refused.stderr, refused.stderr


@needs_pgbouncer
def test_a_pooler_in_session_mode_serves(database, pooler, start_nodes):
    (node,) = start_nodes(database, MATRIARCH_DATABASE__URL=pooler("session"))
    alice = node.register("alice")
    alice.send(alice.create_room(), "through a pooler")
    assert httpx.get(f"{node.url}/health/ready").status_code == 200
