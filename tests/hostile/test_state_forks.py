"""Forks that members of other servers make, who have no power in the room."""

import os
import statistics
import time

import pytest

from harness.functions import User
from harness.peer import Peer, public_room, receive, verdicts
from harness.verify import verify

SCALE = int(os.environ.get("MATRIARCH_HOSTILE_SCALE", "1"))
FORKS = 60 * SCALE
SERVERS = 4


@pytest.fixture
def forked(rooms):
    """A room with a local user, and members of other servers."""
    peers = [Peer(f"fork{number}.example") for number in range(SERVERS)]
    for peer in peers:
        peer.publish(rooms)
    room = public_room(peers[0].user("creator"), peers)
    members = [peer.user("mallory") for peer in peers]
    for member in members:
        room.join(member)
    assert set(verdicts(receive(rooms, room, room.pdus))) == {"accepted"}
    alice = User(rooms, "alice")
    assert room.let_in(rooms, alice) == "accepted"
    return room, alice, members


def typical(alice, room, count=7) -> float:
    """How long a local send takes."""
    times = []
    for _ in range(count):
        began = time.monotonic()
        alice.send(room.room_id)
        times.append(time.monotonic() - began)
    return statistics.median(times)


def fork(room, member, number):
    content = {"membership": "join", "displayname": f"{member} {number}"}
    return room.make(member, "m.room.member", content, member)


def test_forks_cost_little(rooms, forked):
    room, alice, members = forked
    alice.send(room.room_id, "before")
    before = typical(alice, room)
    forks = [fork(room, member, number) for number in range(FORKS) for member in members]
    batches = [forks[start : start + 40] for start in range(0, len(forks), 40)]
    took = []
    for batch in batches:
        began = time.monotonic()
        assert set(verdicts(receive(rooms, room, batch))) == {"accepted"}
        took.append(time.monotonic() - began)
    ((extremities,),) = rooms.query("select cardinality(forward_extremities) from matriarch.rooms")
    assert extremities > 100
    # The last batches cost no more than those before them, whatever the number of forward extremities.
    half = len(took) // 2
    assert statistics.median(took[half:]) < 2 * statistics.median(took[1:half]) + 0.2, took
    assert typical(alice, room) < 10 * before + 0.2
    # No resolution has all of them.
    ((longest,),) = rooms.query("select max(cardinality(roots)) from matriarch.state_resolutions")
    assert longest < 60
    assert verify(rooms, room.room_id) == []


def test_the_room_goes_on_after_forks(rooms, forked):
    """What is set while there are too many forward extremities is in the state, and stays in it when sends
    have merged them."""
    room, alice, members = forked
    creator = room.create.json["sender"]
    forks = [fork(room, member, number) for number in range(15) for member in members]
    receive(rooms, room, forks[:40])
    topic = room.make(creator, "m.room.topic", {"topic": "in the fork"}, "")
    assert verdicts(receive(rooms, room, [*forks[40:], topic]))[-1] == "accepted"
    current = "select current_event_nid from matriarch.room_state_keys where type = 'm.room.topic'"
    ((nid,),) = rooms.query(current)
    assert nid is not None
    count = "select cardinality(forward_extremities) from matriarch.rooms"
    for _ in range(6):
        alice.send(room.room_id, "merging")
    assert rooms.query(count) == [(1,)]
    assert rooms.query(current) == [(nid,)]
    assert verify(rooms, room.room_id) == []
