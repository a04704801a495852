"""The cost of a function of the extension grows no faster than its input, or the input is refused.

What counts is the CPU time of the backend. Each function gets inputs that double; the slope is that of the
cost over the size, in logarithms, between the largest input and one four times smaller."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.client import new_txn_id
from harness.functions import Refused, Request, User, send
from harness.peer import Peer, public_room

# Fixed costs make the slope flatter, noise makes it steeper.
STEEPEST = 1.2
# The costs of smaller inputs are noise.
MEASURABLE_NS = 2_000_000
REPEATS = 5
SCALE = int(os.environ.get("MATRIARCH_HOSTILE_SCALE", "1"))


@dataclass
class World:
    """A database with users, a room with history, and a connection as API nodes have."""

    database: object
    alice: User
    bob: User
    room: str

    def user(self, name: str) -> User:
        """Another user, on the same backend."""
        return User(self.database, name, self.alice.connection)

    def call(self, statement: str, parameters: list):
        return self.alice.connection.execute(statement, parameters).fetchall()


@pytest.fixture
def world(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    for _ in range(4):
        requests = [Request(alice, "m.room.message", {"n": n}, txn_id=new_txn_id()) for n in range(250)]
        send(alice.connection, room, requests)
    return World(rooms, alice, bob, room)


CASES: dict[str, tuple[list[int], Callable]] = {}


def case(*sizes: int):
    """Registers a function that makes a call with an input of a size. It gets the world and the size, and
    returns what to call."""

    def register(function):
        CASES[function.__name__] = ([size * SCALE for size in sizes], function)
        return function

    return register


@case(60, 120, 240, 480)
def initial_state(world, size):
    state = [{"type": "org.example", "state_key": str(n), "content": {"n": n}} for n in range(size)]
    return lambda: world.alice.create_room(initial_state=state)


@case(25, 50, 100, 200)
def invites(world, size):
    users = [f"@invited{n}:test.example" for n in range(size)]
    return lambda: world.alice.create_room(invite=users)


@case(1000, 4000, 16_000)
def additional_creators(world, size):
    users = [f"@creator{n}:test.example" for n in range(size)]
    return lambda: world.alice.create_room(creation_content={"additional_creators": users})


@case(60, 120, 240, 480)
def sends(world, size):
    def call():
        requests = [Request(world.alice, "m.room.message", {}, txn_id=new_txn_id()) for _ in range(size)]
        send(world.alice.connection, world.room, requests)

    return call


@case(60, 120, 240, 480)
def state_sends(world, size):
    def call():
        requests = [
            Request(world.alice, "org.example", {"n": new_txn_id()}, state_key=str(n)) for n in range(size)
        ]
        send(world.alice.connection, world.room, requests)

    return call


@case(8, 32, 128)
def filter_patterns(world, size):
    filter = json.dumps({"not_types": ["*a" * 100 + str(n) for n in range(size)]})
    statement = "select status, body from matriarch.messages(%s, %s, null, null, 'b', 500, %s, false)"
    return lambda: checked(world.call(statement, [world.alice.token_hash, world.room, filter]))


@case(100, 200, 400, 800)
def messages(world, size):
    statement = "select status, body from matriarch.messages(%s, %s, null, null, 'b', %s, null, false)"
    return lambda: checked(world.call(statement, [world.alice.token_hash, world.room, size]))


@case(100, 200, 400, 800)
def timeline(world, size):
    filter = json.dumps({"room": {"timeline": {"limit": size}}})
    request = {"since": None, "filter": filter, "full_state": False, "use_state_after": False}
    request = json.dumps({**request, "unstable_use_state_after": False, "presence": False})
    statement = "select status, body from matriarch.sync(%s, %s)"
    return lambda: checked(world.call(statement, [[world.alice.token_hash], [request]]))


@case(25, 50, 100, 200)
def synced_rooms(world, size):
    user = world.user("rooms")
    for _ in range(size):
        user.create_room()
    request = {"since": None, "filter": None, "full_state": False, "use_state_after": False}
    request = json.dumps({**request, "unstable_use_state_after": False, "presence": False})
    statement = "select status, body from matriarch.sync(%s, %s)"
    return lambda: checked(world.call(statement, [[user.token_hash], [request]]))


@case(100_000, 200_000, 400_000, 800_000)
def account_data(world, size):
    content = json.dumps({"body": ["x"] * (size // 4)})
    arguments = (world.alice.user_id, None, "org.example", content)
    return lambda: world.alice.call("set_account_data", *arguments)


@case(250, 500, 1000, 2000)
def one_time_keys(world, size):
    keys = {f"signed_curve25519:{n}": {"key": "x" * 43} for n in range(size)}
    user = world.user("keys")
    return lambda: user.call("upload_keys", {"one_time_keys": keys})


@case(500, 1000, 2000, 4000)
def signatures(world, size):
    keys = {f"DEVICE{n}": {"signatures": {world.alice.user_id: {"ed25519:X": "x" * 86}}} for n in range(size)}
    return lambda: world.alice.call("upload_signatures", {world.alice.user_id: keys})


@case(500, 1000, 2000, 4000)
def queried_keys(world, size):
    users = {f"@user{n}:test.example": [] for n in range(size)}
    return lambda: world.alice.call("query_keys", {"device_keys": users}, [])


@case(500, 1000, 2000, 4000)
def claimed_keys(world, size):
    users = {f"@user{n}:test.example": {"DEVICE": "signed_curve25519"} for n in range(size)}
    return lambda: world.alice.call("claim_keys", {"one_time_keys": users})


@case(500, 1000, 2000, 4000)
def messages_to_devices(world, size):
    messages = {f"@user{n}:test.example": {"*": {"n": n}} for n in range(size)}
    body = {"messages": messages}
    return lambda: world.alice.call("send_to_device", "org.example", new_txn_id(), body)


@case(500, 1000, 2000, 4000)
def backed_up_keys(world, size):
    user = world.user("backup")
    version = user.call("create_key_backup", {"algorithm": "m.megolm", "auth_data": {}})["version"]
    key = {"first_message_index": 0, "forwarded_count": 0, "is_verified": True, "session_data": {}}
    sessions = {"sessions": {f"session{n}": key for n in range(size)}}
    return lambda: user.call("set_backup_keys", version, "!room:test.example", None, sessions)


@case(500, 1000, 2000, 4000)
def canonical_aliases(world, size):
    aliases = [f"#a{n}:test.example" for n in range(size)]
    content = {"alt_aliases": aliases}

    def call():
        with pytest.raises(Refused):
            world.alice.send_state(world.room, "m.room.canonical_alias", content)

    return call


@case(60, 120, 240, 480)
def received_events(world, size):
    """A chain of events of another server."""
    peer = Peer("chain.example")
    peer.publish(world.database)

    def make():
        room = public_room(peer.user("mallory"), [peer])
        for n in range(size):
            room.message(peer.user("mallory"), str(n))
        return receiving(world, room)

    return [make() for _ in range(REPEATS + 1)]


@case(60, 120, 240, 480)
def received_forks(world, size):
    """Changes of state that all follow one event."""
    peer = Peer("fork.example")
    peer.publish(world.database)

    def make():
        room = public_room(peer.user("mallory"), [peer])
        for n in range(size):
            content = {"membership": "join", "displayname": str(n)}
            room.make(peer.user("mallory"), "m.room.member", content, peer.user("mallory"))
        return receiving(world, room)

    return [make() for _ in range(REPEATS + 1)]


def receiving(world, room):
    texts = [pdu.text for pdu in room.pdus]
    statement = "select status, body from matriarch.receive_pdus(%s, %s, 'live', %s, null, null)"
    return lambda: checked(world.call(statement, [room.room_id, room.version, texts]))


def checked(rows):
    status, body = rows[0][:2]
    if status != 200:
        raise Refused(status, json.loads(body))


def cpu_ns(pid: int) -> int:
    """The CPU time of a process."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def cost(pid: int, calls) -> int | None:
    """The least CPU time of several calls; None if they are refused, within a second."""
    calls = calls if isinstance(calls, list) else [calls] * (REPEATS + 1)
    costs = []
    for call in calls:
        before = cpu_ns(pid)
        try:
            call()
        except Refused as refused:
            if refused.status not in (400, 413) or cpu_ns(pid) - before > 1_000_000_000:
                raise
            return None
        costs.append(cpu_ns(pid) - before)
    # The first one also makes plans.
    return min(costs[1:])


@pytest.mark.parametrize("name", CASES)
def test_a_cost_grows_no_faster_than_the_input(world, name):
    sizes, function = CASES[name]
    pid = world.alice.connection.info.backend_pid
    costs = {}
    for size in sizes:
        spent = cost(pid, function(world, size))
        if spent is None:
            break
        costs[size] = spent
    measurable = [size for size in costs if costs[size] > MEASURABLE_NS]
    if len(measurable) < 2:
        return
    last = measurable[-1]
    first = next(size for size in measurable if last <= 4 * size)
    slope = math.log(costs[last] / costs[first]) / math.log(last / first)
    assert slope < STEEPEST, {size: f"{spent / 1e6:.1f} ms" for size, spent in costs.items()}
