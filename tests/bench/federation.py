"""Events between two Matriarch servers, and to a thousand other servers of which a hundred are dead.

`make bench` and `python -m bench --only federation` run it; `python -m bench.federation` alone. Beside the
figures of two servers: what the sending server does when nobody else is in the rooms, and bare requests of
the same kind over TLS."""

import asyncio
import json
import os
import ssl
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.cluster import Cluster
from harness.node import Node
from harness.peer import Peer
from harness.server import Authority, Server

SERVERS, DEAD = 1000, 100
EVENTS = 1000
SEND = """select status from matriarch.send(array_fill(%s::text, array[{0}]), %s,
    array_fill('m.room.message'::text, array[{0}]),
    array_fill(null::text, array[{0}]), %s, %s, array_fill(null::text, array[{0}]))"""
TOKEN = (
    "select t.token_hash from matriarch.access_tokens t join matriarch.users u using (user_nid) "
    "where u.user_id = %s"
)
ARRIVED = "select count(*) from matriarch.events where type = 'm.room.message' and status = 0"


def cpu(node: Node) -> float:
    """CPU time of a node so far, in seconds."""
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def count(server: Server) -> int:
    return server.database.query(ARRIVED)[0][0]


def write(server: Server, user, rooms: list[str], events: int, size: int) -> float:
    """Appends events to the rooms in turn, `size` in each call. Returns the seconds that it took."""
    token = server.database.query(TOKEN, [user.user_id])[0][0]
    content = json.dumps({"msgtype": "m.text", "body": "x" * 100})
    with server.database.connect("matriarch_api", prepare_threshold=1) as connection:
        started = time.perf_counter()
        for number in range(events // size):
            ids = [f"{time.time_ns()}.{n}" for n in range(size)]
            connection.execute(
                SEND.format(size), [rooms[number % len(rooms)], [token] * size, ids, [content] * size]
            )
        return time.perf_counter() - started


def bare_requests(authority: Authority, node: Node, port: int) -> float:
    """Requests a second over TLS, sequentially on one connection, that need no database."""
    with httpx.Client(verify=ssl.create_default_context(cafile=authority.file)) as client:
        url = f"https://localhost:{port}/_matrix/federation/v1/version"
        client.get(url)
        started = time.perf_counter()
        for _ in range(500):
            client.get(url)
        return 500 / (time.perf_counter() - started)


def between_two(cluster: Cluster, authority: Authority, start):
    """The rates of intake at the other server, counted there."""
    one, two = Server(cluster, authority, start), Server(cluster, authority, start)
    alice, bob = one.register("alice"), two.register("bob")
    rooms = [alice.create_room(preset="public_chat") for _ in range(50)]
    alone = [alice.create_room(preset="public_chat") for _ in range(50)]
    for room in rooms:
        bob.join(room, params={"via": one.name})
    requests = bare_requests(authority, two.node, two.port)
    print(f"{'bare requests over TLS, one after the other':48} {requests:8.0f} a second", flush=True)
    for used, name in ((rooms[:1], "1 room"), (rooms, "50 rooms")):
        for size in (1, 50):
            limit = EVENTS / write(one, alice, alone[: len(used)], EVENTS, size)
            before, busy, started = (
                count(two),
                [cpu(server.node) for server in (one, two)],
                time.perf_counter(),
            )
            writing = write(one, alice, used, EVENTS, size)
            # The events were not sent through the node, so its poll has to find them.
            while count(two) < before + EVENTS // size * size:
                if time.perf_counter() - started > 300:
                    raise RuntimeError("events did not arrive")
                time.sleep(0.02)
            took = time.perf_counter() - started
            out, into = (
                (cpu(server.node) - was) * 1e6 / EVENTS for server, was in zip((one, two), busy, strict=True)
            )
            print(
                f"{f'{name}, {size} events a call':48} {EVENTS / took:8.0f} events a second there, "
                f"{EVENTS / writing:8.0f} written,"
                f" {limit:8.0f} without others ({EVENTS / took / limit:.2f}); CPU of nodes "
                f"{out:.0f} and {into:.0f} µs an event",
                flush=True,
            )


class Receivers:
    """Servers on loopback ports that accept all transactions, and note when events arrived."""

    def __init__(self, authority: Authority, number: int):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(authority.certificate, authority.key)
        self.arrivals: list[float] = []
        self.names = asyncio.run_coroutine_threadsafe(self.listen(number), self.loop).result(120)

    async def listen(self, number: int) -> list[str]:
        servers = [
            await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.context) for _ in range(number)
        ]
        return [f"localhost:{server.sockets[0].getsockname()[1]}" for server in servers]

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = (
                    int(head.split("content-length:")[1].split("\r\n")[0]) if "content-length:" in head else 0
                )
                body = await reader.readexactly(length)
                self.arrivals += [time.perf_counter()] * body.count(b'"m.room.message"')
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                    b'11\r\n\r\n{"pdus":{}}'
                )
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


def to_many(cluster: Cluster, authority: Authority, start):
    """How fast a message reaches 900 servers, with and without 100 dead ones in the room."""
    for dead in (0, DEAD):
        home = Server(cluster, authority, start)
        receivers = Receivers(authority, SERVERS - DEAD)
        # No process listens on the lowest ports.
        names = receivers.names + [f"localhost:{port}" for port in range(2, 2 + dead)]
        alice = home.register("alice")
        room = alice.create_room(preset="public_chat")
        for name in names:
            join(home, room, Peer(name))
        alice.send(room, "warm")
        wait(receivers, SERVERS - DEAD)
        for number in (1, 20):
            receivers.arrivals.clear()
            busy, started = cpu(home.node), time.perf_counter()
            for n in range(number):
                alice.send(room, f"message {n}")
            wait(receivers, number * (SERVERS - DEAD))
            delays = sorted(at - started for at in receivers.arrivals)
            each = (cpu(home.node) - busy) * 1e6 / len(delays)
            print(
                f"{f'{number} messages to {SERVERS - DEAD} servers, {dead} dead beside':48} "
                f"{len(delays) / delays[-1]:8.0f} deliveries a second,"
                f" half after {delays[len(delays) // 2]:.2f} s, last after {delays[-1]:.2f} s; CPU "
                f"{each:.0f} µs each",
                flush=True,
            )


def wait(receivers: Receivers, number: int):
    deadline = time.monotonic() + 300
    while len(receivers.arrivals) < number:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {len(receivers.arrivals)} of {number} events were delivered")
        time.sleep(0.02)


def join(home: Server, room: str, peer: Peer):
    """Records in the database that a server has members in a room."""
    statement = """
        with server as (
            insert into matriarch.destinations (server_name) values (%s) returning destination_nid
        )
        insert into matriarch.destination_rooms (destination_nid, room_nid, joined_members, sent_nid)
        select destination_nid, room_nid, 1, (select max(event_nid) from matriarch.events)
        from server, matriarch.rooms where room_id = %s"""
    home.database.query(statement, [peer.name, room])
    home.database.query(
        "update matriarch.rooms set other_servers = other_servers + 1 where room_id = %s", [room]
    )


@contextmanager
def nodes(cluster: Cluster):
    """A function that starts nodes."""
    started = []

    def start(database, name, port, **settings):
        node = Node(
            database, cluster.folder.path, name, port, **{"MATRIARCH_LOG__LEVEL": "error", **settings}
        )
        started.append(node)
        return node.start()

    try:
        yield start
    finally:
        for node in started:
            node.stop()


def run(cluster: Cluster):
    authority = Authority(cluster.folder.path)
    for part in (between_two, to_many):
        with nodes(cluster) as start:
            part(cluster, authority, start)


def main():
    cluster = Cluster(durable=True, settings={"shared_buffers": "1GB", "max_wal_size": "4GB"})
    try:
        cluster.start()
        cluster.make_template()
        run(cluster)
    finally:
        cluster.remove()


if __name__ == "__main__":
    main()
