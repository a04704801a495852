"""Limits that other servers reach only with patience: each is counted and logged by its name, and nobody else
notices.

Most of the time is spent waiting, so that all are reached side by side, each at a node of its own."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from conftest import Started
from harness.large_room import LargeRoom
from harness.remote_server import RemoteServer
from harness.shared_room import Shared
from harness.waiting import eventually
from test_federation_history import Late

# On one worker, as each worker would play the scenes of its own.
pytestmark = pytest.mark.xdist_group("limits")


class Scene:
    """A node with a database of its own, and the servers that it deals with."""

    def __init__(self, start, cluster, authority, timeout: int):
        self.authority = authority
        self.database = cluster.create_database()
        self.node = start(
            self.database,
            "limited",
            MATRIARCH_FEDERATION__ENABLED="true",
            MATRIARCH_FEDERATION__CA_FILE=str(authority.file),
            MATRIARCH_FEDERATION__ALLOW_PRIVATE_ADDRESSES="true",
            MATRIARCH_FEDERATION__REQUEST_TIMEOUT=str(timeout),
            MATRIARCH_LIMITS__HEAD_TIMEOUT="10",
        )
        self.servers: list[RemoteServer] = []
        # Set when servers that hang are to go on.
        self.over = threading.Event()

    def server(self) -> RemoteServer:
        self.servers.append(RemoteServer(self.authority))
        return self.servers[-1]

    def room(self, server: RemoteServer | None = None) -> Shared:
        """A room with a local user and one of another server."""
        return Shared([self.node], server or self.server())

    def hang(self, *_):
        """For `hooks`."""
        self.over.wait(120)
        return 404, {"errcode": "M_NOT_FOUND", "error": "Not here."}

    def await_long_answers(self, servers: int):
        """Has the node wait for as many long answers as servers have queues, two of each."""
        rooms, messages = [], []
        for server in [self.server() for _ in range(servers)]:
            rooms += [self.room(server), self.room(server)]
            server.hooks["event_auth"] = self.hang
        for shared in rooms:
            carol, before = shared.server.user("carol"), shared.room.head
            join = shared.room.join(carol)
            # The join is missing among the auth events alone: a gap that has it would be asked for first.
            messages.append(
                shared.room.message(carol, "in which the join is missing", prev=before, state=join.state)
            )
        # At once, so that the last do not find the first to have ended.
        with ThreadPoolExecutor(len(rooms)) as executor:
            list(
                executor.map(
                    lambda shared, message: shared.send([message], txn_id=message.event_id[1:]),
                    rooms,
                    messages,
                )
            )
        eventually(
            lambda: sum(len(server.asked_for("event_auth")) for server in self.servers) >= min(8, len(rooms))
        )

    def names(self, limit: str, seconds: float = 90):
        """Waits until the limit is reached."""
        line = f'matriarch_federation_limits_total{{limit="{limit}"}}'
        eventually(lambda: line in self.node.client().http.get("/metrics").text, seconds=seconds)
        assert f'"limit":"{limit}"' in self.node.log.read_text()

    def is_lively(self, shared: Shared):
        """A local user and a server that wants little do not notice."""
        began = time.monotonic()
        shared.alice.send(shared.room_id, "hello")
        message = shared.room.message(shared.bob, "hello, too")
        shared.send([message])
        shared.wait([message])
        assert time.monotonic() - began < 10

    def close(self):
        # It would wait for all that is under way.
        self.node.kill()
        self.over.set()
        for server in self.servers:
            server.close()


def long_answers(scene: Scene):
    """Servers are slow to give authorization chains, for which there is memory of eight at a time."""
    shared = scene.room()
    scene.await_long_answers(9)
    scene.is_lively(shared)
    scene.names("long_answers")


def state_memory(scene: Scene):
    """The same, while a user joins a room whose state is long."""
    shared = scene.room()
    scene.await_long_answers(4)
    server = scene.server()
    room = LargeRoom(server, 10)
    room.serve()
    template = json.loads(room.events[room.newest[0]])

    def many(handler, *_):
        events = [
            {**template, "auth_events": [f"${number:033}{place:010}" for place in range(10)]}
            for number in range(1_500)
        ]
        return 200, {"state": events, "auth_chain": [], "event": {}}

    server.hooks["send_join"] = many
    user = scene.node.register("joiner")

    def join():
        # It takes longer than a client waits.
        with contextlib.suppress(httpx.TimeoutException):
            user.join(room.room_id, params={"via": server.name}, status=502)

    threading.Thread(target=join).start()
    eventually(lambda: server.asked_for("send_join"))
    scene.is_lively(shared)
    scene.names("state_memory")


def state_time(scene: Scene):
    """The state before history comes slowly, and with an event of a server that does not give its keys."""
    shared = scene.room()
    server, stranger = scene.server(), scene.server()
    late = Late([scene.node], [server], messages=50)
    server.backfill_limit = 10
    late.join()
    late.room.peers[stranger.name] = stranger
    stranger.hooks["keys"] = scene.hang
    user = stranger.user("user")
    join = late.room.make(user, "m.room.member", {"membership": "join"}, user, prev=[late.room.pdus[5]])

    def state(handler, parts, query, body):
        time.sleep(8)
        status, answer = server.answer_state(parts, query, body)
        return status, {**answer, "pdus": [*answer["pdus"], join.json]}

    server.hooks |= {"state": state, "state_ids": lambda *_: (404, {})}
    late.alice.messages(late.room_id, dir="b", limit=30)
    eventually(lambda: stranger.asked_for("keys"))
    scene.is_lively(shared)
    scene.names("state_time")


def state_gaps(scene: Scene):
    """Members whose joins cite what nobody has."""
    shared = scene.room()
    server = scene.server()
    room = LargeRoom(server, 5)
    for number in range(5_001):
        user = f"@lost{number}:{server.name}"
        room.add(user, "m.room.member", user, {"membership": "join"}, [*room.rules, f"${number:043}"])
    room.serve()
    user = scene.node.register("joiner")
    with ThreadPoolExecutor() as executor:
        join = executor.submit(user.join, room.room_id, params={"via": server.name})
        eventually(lambda: server.asked_for("event"), seconds=90)
        scene.is_lively(shared)
        join.result()
    scene.names("state_gaps")
    assert len(user.get(f"/rooms/{room.room_id}/joined_members")["joined"]) == 6


def heads(scene: Scene):
    """A request's head that does not end. It names nobody, and is not counted."""
    shared = scene.room()
    address = urlsplit(scene.node.url)
    began = time.monotonic()
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(b"PUT /_matrix/federation/v1/send/1 HTTP/1.1\r\nHost: localhost\r\n")
        scene.is_lively(shared)
        with contextlib.suppress(ConnectionError):
            while connection.recv(1000):
                pass
    assert 7 < time.monotonic() - began < 25


# With the seconds that other servers may take to answer.
SCENES = {long_answers: 10, state_memory: 75, state_time: 30, state_gaps: 30, heads: 60}


@pytest.fixture(scope="module")
def reached(shared_cluster, authority):
    """What becomes of each."""
    with Started() as start, ThreadPoolExecutor() as executor:
        scenes = {play: Scene(start, shared_cluster, authority, timeout) for play, timeout in SCENES.items()}
        yield {play: executor.submit(play, scene) for play, scene in scenes.items()}
        for scene in scenes.values():
            scene.close()
    for scene in scenes.values():
        scene.database.drop()


@pytest.mark.parametrize("play", SCENES, ids=lambda play: play.__name__)
def test_a_limit_is_counted_and_named(reached, play):
    reached[play].result()
