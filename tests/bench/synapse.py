"""How fast events are sent from one server to another: between two Matriarchs, a Matriarch and a Synapse, and
two Synapses.

`python -m bench --only synapse` runs it. Users of the sender write as fast as it lets them, until all is at
the receiver. Where a Synapse sends, its speed at writing is the limit; what the receiver pays for an event
then tells more than the rate. A Synapse that cannot keep up drops what it has acknowledged and staged, and
takes it for a gap: such events count as not arrived."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.client import Client
from harness.cluster import Cluster
from harness.node import Node
from harness.server import Authority, Server
from harness.synapse import Synapse

EVENTS = 500
WRITERS = 8
# Seconds without a new event after which the wait ends.
TIMEOUT = 20
# Seconds between counts, which cost the receiver time.
POLL = 0.25
TICKS = os.sysconf("SC_CLK_TCK")


class Ours:
    """A Matriarch server with a cluster of its own."""

    name = "ours"

    def __init__(self, authority: Authority):
        self.cluster = new_cluster()
        self.server = Server(self.cluster, authority, self.start, MATRIARCH_LOG__LEVEL="warn")

    def start(self, database, name, port, **settings) -> Node:
        return Node(database, self.cluster.folder.path, name, port, **settings).start()

    @property
    def process(self):
        return self.server.node.process

    def messages(self, room: str) -> int:
        """The number of the room's messages on this server."""
        statement = """
            select count(*) from matriarch.events join matriarch.rooms using (room_nid)
            where room_id = %s and type = 'm.room.message' and pos is not null"""
        return self.server.database.query(statement, [room])[0][0]

    def stop(self):
        self.server.node.stop()
        self.cluster.remove()


class Theirs:
    """A Synapse with a cluster of its own."""

    name = "Synapse"

    def __init__(self, authority: Authority):
        self.cluster = new_cluster(make_template=False)
        self.server = Synapse(authority, self.cluster.folder.path, self.cluster).start()

    @property
    def process(self):
        return self.server.process

    def messages(self, room: str) -> int:
        """The number of the room's messages on this server."""
        statement = (
            "select count(*) from events where room_id = %s and type = 'm.room.message' and not outlier"
        )
        with self.cluster.connect(self.server.database_name) as connection:
            return connection.execute(statement, [room]).fetchone()[0]

    def stop(self):
        self.server.stop()
        self.cluster.remove()


def new_cluster(make_template: bool = True) -> Cluster:
    cluster = Cluster(durable=True)
    cluster.start()
    if make_template:
        cluster.make_template()
    return cluster


def run(cluster: Cluster):
    authority = Authority(cluster.folder.path)
    reference = None
    for sender, receiver in ((Theirs, Theirs), (Theirs, Ours), (Ours, Theirs), (Ours, Ours)):
        pair = sender(authority), receiver(authority)
        try:
            rate, cpu = measure(*pair)
        finally:
            for server in pair:
                server.stop()
        reference = reference or rate
        what = f"from {sender.name} to {receiver.name}"
        beside = f"{rate / reference:6.2f} of Synapse to Synapse"
        print(
            f"{what:<30} {rate:8.0f} events/s {beside}, {cpu:6.2f} ms CPU at the receiver an event",
            flush=True,
        )


def measure(sender, receiver) -> tuple[float, float]:
    """Events a second, and milliseconds of the receiver's CPU time for each."""
    alice, bob = sender.server.register("alice"), receiver.server.register("bob")
    room = alice.create_room(preset="public_chat", room_version="11")
    bob.join(room, params={"via": sender.server.name, "server_name": sender.server.name})
    alice.send(room, "first")
    arrived(receiver, room, 1)
    twins = [twin(alice) for _ in range(WRITERS)]
    before, begun = used(receiver), time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as writers:
        list(
            writers.map(lambda number: twins[number % WRITERS].send(room, f"message {number}"), range(EVENTS))
        )
    have, ended = arrived(receiver, room, EVENTS + 1)
    if have <= EVENTS:
        print(
            f"{EVENTS + 1 - have} of {EVENTS + 1} messages "
            f"from {sender.name} to {receiver.name} did not arrive"
        )
    return have / (ended - begun), (used(receiver) - before) * 1000 / have


def twin(client: Client) -> Client:
    """A client with the same access token on another connection."""
    other = Client(client.url, client.access_token)
    other.http.timeout = 300
    return other


def arrived(server, room: str, count: int) -> tuple[int, float]:
    """Waits until a server has `count` messages or gets no more. Returns how many it has, and since when."""
    have, newest = 0, time.perf_counter()
    while have < count and time.perf_counter() - newest < TIMEOUT:
        time.sleep(POLL)
        now = server.messages(room)
        if now > have:
            have, newest = now, time.perf_counter()
    return have, newest


def used(server) -> float:
    """CPU time of a server and its database so far, in seconds."""
    postmaster = server.cluster.postmaster.pid
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return sum(seconds(pid) for pid in (server.process.pid, postmaster, *children))


def seconds(pid) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # utime and stime, and those of ended children: the postmaster's ended sessions.
    return sum(int(fields[index]) for index in (11, 12, 13, 14)) / TICKS
