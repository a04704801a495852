"""`matriarch serve` with no configuration: a private PostgreSQL, loopback only, registration open and said
so."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from harness import process
from harness.client import Client, bodies
from harness.waiting import eventually


class Embedded:
    """A node with its private PostgreSQL in a folder of its own."""

    def __init__(self, folder, bin_dir):
        self.port = process.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data"
        self.log = folder / f"embedded-{self.port}.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "MATRIARCH_DATA_DIR": str(self.data),
            "MATRIARCH_EMBEDDED__BIN_DIR": str(bin_dir),
            "MATRIARCH_LISTENERS": f'[{{address = "127.0.0.1", port = {self.port}}}]',
        }
        self.process = None

    def start(self):
        self.process = process.spawn([process.binary(), "serve"], log=self.log, env=self.environment)
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{self.url}/health").status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the node did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def end(self, how):
        self.process.send_signal(how)
        return self.process.wait(60)

    def postmaster(self) -> int | None:
        """The process id of the private PostgreSQL, if it runs."""
        try:
            pid = int((self.data / "postgres/postmaster.pid").read_text().split()[0])
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return None
        except PermissionError:
            pass
        return pid


def in_a_folder(bin_dir):
    folder = process.Folder()
    node = Embedded(folder.path, bin_dir)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.end(signal.SIGTERM)
    folder.remove()


@pytest.fixture
def embedded(shared_cluster):
    """A node to be stopped and started."""
    yield from in_a_folder(shared_cluster.bin)


@pytest.fixture(scope="module")
def running(shared_cluster):
    """A node to be looked at."""
    for node in in_a_folder(shared_cluster.bin):
        yield node.start()


def test_the_second_start_finds_the_data_of_the_first(embedded):
    embedded.start()
    alice = Client(embedded.url).register("alice")
    assert alice.user_id.endswith(":localhost")
    room = alice.create_room()
    alice.send(room, "remember me")
    assert embedded.end(signal.SIGTERM) == 0
    assert embedded.postmaster() is None

    started = time.monotonic()
    embedded.start()
    assert time.monotonic() - started < 15
    assert bodies(alice.history(room)) == ["remember me"]
    Client(embedded.url).login(alice.user_id)


def test_a_killed_node_takes_its_postgres_along_and_recovers(embedded):
    embedded.start()
    alice = Client(embedded.url).register("alice")
    room = alice.create_room()
    alice.send(room, "safe")
    embedded.end(signal.SIGKILL)
    eventually(embedded.postmaster, None)
    embedded.start()
    assert bodies(alice.history(room)) == ["safe"]


def test_it_says_how_to_register_and_that_anybody_may(running):
    said = running.log.read_text()
    assert (
        "registration" in said
        and "/_matrix/client/v3/register" in said
        and running.url.split("//")[1] in said
    )


def test_postgres_listens_on_no_network_and_never_runs_as_root(running):
    pid = running.postmaster()
    assert pid is not None
    status = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE).group(1) != "0"
    arguments = (
        Path(f"/proc/{pid}/cmdline").read_text() + (running.data / "postgres/postgresql.conf").read_text()
    )
    assert re.search(r"listen_addresses\s*=\s*('')?(\0|\s)", arguments), arguments
    if os.geteuid() == 0:
        folder = running.data / "postgres"
        assert folder.stat().st_mode & 0o077 == 0


def test_two_nodes_cannot_share_one_data_folder(running):
    second = subprocess.run(
        [process.binary(), "serve"],
        env={
            **running.environment,
            "MATRIARCH_LISTENERS": f'[{{address = "127.0.0.1", port = {process.free_port()}}}]',
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode != 0
    assert "data_dir" in second.stderr


def test_the_log_of_postgres_is_private_and_bounded(embedded):
    embedded.data.mkdir()
    log = embedded.data / "postgres.log"
    log.touch(mode=0o644)
    embedded.start()
    alice = Client(embedded.url).register("alice")
    assert log.stat().st_mode & 0o777 == 0o600
    # What a client sent is cut in messages.
    body = {"initial_state": [{"type": "m.room.member", "state_key": "x" * 500_000, "content": {}}]}
    before = log.stat().st_size
    alice.post("/createRoom", body, status=400)
    assert log.stat().st_size - before < 10_000
    with log.open("ab") as long:
        long.truncate(17 * 1024 * 1024)
    eventually(lambda: log.stat().st_size < 1024 * 1024, seconds=30)
    old = log.with_suffix(".log.old")
    assert old.stat().st_size > 16 * 1024 * 1024
    assert old.stat().st_mode & 0o777 == 0o600
    # PostgreSQL goes on with the file.
    size = log.stat().st_size
    alice.post("/createRoom", body, status=400)
    eventually(lambda: size < log.stat().st_size < 1024 * 1024)
