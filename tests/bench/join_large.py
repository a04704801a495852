"""Joining remote rooms of 10,000 and 100,000 members, which are loaded after the join (MSC3706): the time
until the user can send, and until all members are known; the memory of node and database.

`make bench` and `python -m bench --only join-large` run it. Beside it: what the same machine takes to verify
as many signatures on one core, and to copy the same JSON into a bare table; and Synapse, on the same
PostgreSQL, which joins the same room."""

import threading
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.client import path
from harness.cluster import Cluster
from harness.large_room import LargeRoom
from harness.node import Node
from harness.remote_server import RemoteServer
from harness.server import Authority
from harness.synapse import Synapse

SIZES = (10_000, 100_000)
MEBIBYTE = 1024.0
BARE_TABLE = "create table bare_join (event_id text primary key, json text)"


class Memory:
    """The peak memory of the node, and of the largest backend of the database, in MiB."""

    def __init__(self, node: Node | Synapse, postmaster: int):
        self.node, self.postmaster = Path(f"/proc/{node.process.pid}"), postmaster
        self.session = 0.0
        self.ended = threading.Event()

    def __enter__(self):
        (self.node / "clear_refs").write_text("5")
        self.before = self.of(self.node, "VmRSS")
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.peak = self.of(self.node, "VmHWM")

    @staticmethod
    def of(process: Path, field: str) -> float:
        try:
            lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        except (FileNotFoundError, ProcessLookupError):
            return 0.0
        return int(lines.get(field, "0 kB").split()[0]) / MEBIBYTE

    def watch(self):
        while not self.ended.wait(0.05):
            for child in Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split():
                self.session = max(self.session, self.of(Path(f"/proc/{child}"), "RssAnon"))


def run(cluster: Cluster):
    authority = Authority(cluster.folder.path)
    database = cluster.create_database()
    node = Node(
        database,
        cluster.folder.path,
        "joiner",
        MATRIARCH_LOG__LEVEL="warn",
        MATRIARCH_FEDERATION__ENABLED="true",
        MATRIARCH_FEDERATION__CA_FILE=str(authority.file),
        MATRIARCH_FEDERATION__ALLOW_PRIVATE_ADDRESSES="true",
    ).start()
    server = RemoteServer(authority)
    synapse = Synapse(authority, cluster.folder.path, cluster)
    try:
        synapse.start()
        for size in SIZES:
            measure(node, synapse, server, size, cluster.postmaster.pid)
    finally:
        server.close()
        synapse.stop()
        node.stop()
        database.drop()


def measure(node: Node, synapse: Synapse, server: RemoteServer, size: int, postmaster: int):
    room = LargeRoom(server, size)
    room.serve(omits_members=True)
    with Memory(node, postmaster) as memory:
        usable, took = join(node, room)
    statement = "select joined_members from matriarch.rooms where room_id = %s"
    assert node.database.query(statement, [room.room_id]) == [(size + 1,)]
    report(
        f"a room of {size} members, all known", took, "s", signatures(size), "as many signatures, one core"
    )
    report(f"a room of {size} members, all known", took, "s", copy(node, room), "copy of its JSON")
    with Memory(synapse, postmaster) as of_synapse:
        synapse_usable, synapse_took = join(synapse, room)
    report(f"a room of {size} members, until one speaks", usable, "s", synapse_usable, "Synapse")
    report(f"a room of {size} members, all known", took, "s", synapse_took, "Synapse")
    report(f"the node's memory, {size} members", memory.peak, "MiB", of_synapse.peak, "Synapse")
    report(f"the node's memory, {size} members", memory.peak, "MiB", memory.before, "before")
    report(f"a session's memory, {size} members", memory.session, "MiB")


def join(server: Node | Synapse, room: LargeRoom) -> tuple[float, float]:
    """Seconds until a new user has joined and sent a message, and until the user is told all members."""
    user = server.register("joiner")
    user.http.timeout = 3600
    begun = time.perf_counter()
    user.join(room.room_id, params={"via": room.server.name})
    user.send(room.room_id)
    usable = time.perf_counter() - begun
    while user.request("GET", path("rooms", room.room_id, "joined_members")).status_code != 200:
        pass
    return usable, time.perf_counter() - begun


def signatures(count: int) -> float:
    """Seconds for `count` verifications of the signature of a text as long as an event."""
    key, text = Ed25519PrivateKey.generate(), b"x" * 500
    public, signature = key.public_key(), key.sign(text)
    begun = time.perf_counter()
    for _ in range(count):
        public.verify(signature, text)
    return time.perf_counter() - begun


def copy(node: Node, room: LargeRoom) -> float:
    """Seconds for the copy of the events into a table."""
    with node.database.connect() as connection:
        connection.execute(BARE_TABLE)
        begun = time.perf_counter()
        with connection.cursor().copy("copy bare_join from stdin") as rows:
            for event_id, json in room.events.items():
                rows.write_row((event_id, json.decode()))
        took = time.perf_counter() - begun
        connection.execute("drop table bare_join")
    return took


def report(scenario: str, figure: float, unit: str, limit: float | None = None, what: str = ""):
    beside = f" {figure / limit:12.2f}  {what} ({limit:.1f} {unit})" if limit else ""
    print(f"{scenario:<44} {f'{figure:.1f} {unit}':>12}{beside}", flush=True)
