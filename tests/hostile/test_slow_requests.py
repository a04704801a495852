"""Requests that take long: they can be canceled, and no other user waits for them."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from harness.client import new_txn_id, path
from harness.functions import Request, User, send

PATTERNS = [f"{'*a' * 126}{number:02}" for number in range(100)]
# So many syncs in one call take seconds.
ASKERS = 60
MANY = {"room": {"timeline": {"limit": 1000, "not_types": PATTERNS}}}


def sync(user: User, connection, filter: dict, askers: int = 1):
    request = json.dumps(
        {
            "since": None,
            "filter": json.dumps(filter),
            "full_state": False,
            "use_state_after": False,
            "unstable_use_state_after": False,
            "presence": False,
        }
    )
    statement = "select status, body from matriarch.sync(%s, %s)"
    return connection.execute(statement, [[user.token_hash] * askers, [request] * askers]).fetchone()


@pytest.fixture
def crowd(rooms):
    """A user, and a room with events that are slow to compare with patterns."""
    alice = User(rooms, "alice")
    room = alice.create_room()
    for _ in range(4):
        requests = [Request(alice, "a" * 255, {}, txn_id=new_txn_id()) for _ in range(250)]
        send(alice.connection, room, requests)
    return alice


def test_a_filter_is_bounded(node):
    alice = node.register("alice")
    where = path("user", alice.user_id, "filter")
    long = alice.post(where, {"room": {"timeline": {"types": PATTERNS, "not_types": PATTERNS}}})
    alice.sync(filter=long["filter_id"])
    for refused in (
        {"types": ["m"] * 101},
        {"not_types": ["m" * 256]},
        {"senders": [f"@{number}:example.org" for number in range(4000)]},
    ):
        alice.post(where, {"room": {"timeline": refused}}, status=400, errcode="M_BAD_JSON")
    inline = json.dumps({"types": ["m"] * 101})
    room = alice.create_room()
    messages = path("rooms", room, "messages")
    alice.get(messages, params={"dir": "b", "filter": inline}, status=400, errcode="M_BAD_JSON")


def test_a_sync_ends_when_it_is_canceled(rooms, crowd):
    with rooms.connect("matriarch_api") as connection:
        sync(crowd, connection, MANY)
        began = time.monotonic()
        assert sync(crowd, connection, MANY, ASKERS)[0] == 200
        whole = time.monotonic() - began
        connection.execute(f"set statement_timeout = {max(1, int(whole * 1000 / 10))}")
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            sync(crowd, connection, MANY, ASKERS)
        assert time.monotonic() - began < whole / 2


def test_nobody_waits_for_the_room_of_others(database, start_nodes):
    """Sends to eight rooms, which share four batches at a time, while another room is locked."""
    (node,) = start_nodes(database)
    alice, bob = node.register("alice"), node.register("bob")
    locked = alice.create_room()
    others = [bob.create_room() for _ in range(8)]
    for room in (locked, *others):
        (bob if room in others else alice).send(room, "before")
    with database.connect(autocommit=False) as holder, ThreadPoolExecutor(20) as pool:
        holder.execute("select from matriarch.rooms where room_id = %s for update", [locked])
        stuck = [pool.submit(alice.send, locked, f"stuck {number}") for number in range(4)]
        while not database.has_lock_waiter():
            time.sleep(0.01)
        began = time.monotonic()
        list(pool.map(lambda room: bob.send(room, "meanwhile"), others))
        assert time.monotonic() - began < 10
        assert not any(future.done() for future in stuck)
        holder.rollback()
        assert all(future.result() for future in stuck)
    # Slow batches have no lasting effect.
    assert alice.send(locked, "afterwards")


def test_creating_a_room_is_bounded(node):
    alice = node.register("alice")
    user_ids = [f"@user{number}:test.example" for number in range(20_000)]
    state = [{"type": "org.example", "state_key": str(number), "content": {}} for number in range(501)]
    for body in (
        {"invite": user_ids[:101]},
        {"invite": user_ids},
        {"creation_content": {"additional_creators": user_ids[:101]}},
        {"creation_content": {"additional_creators": user_ids}},
        {"initial_state": state},
    ):
        began = time.monotonic()
        alice.post("/createRoom", body, status=400, errcode="M_INVALID_PARAM")
        assert time.monotonic() - began < 5
    alice.create_room(
        invite=user_ids[:100],
        creation_content={"additional_creators": user_ids[:100]},
        initial_state=state[:500],
    )
