"""Intake of events made elsewhere."""

import pytest

from harness import functions
from harness.peer import Peer, public_room, receive, verdicts

VERSIONS = ["11", "12"]


@pytest.fixture
def rooms(database):
    functions.initialize(database)
    return database


@pytest.fixture
def peers(rooms):
    peers = [Peer("one.example"), Peer("two.example")]
    for peer in peers:
        peer.publish(rooms)
    return peers


def current_state(database, room):
    statement = "select type, state_key, event_id from matrix.current_state(%s)"
    return {(type, key): event_id for type, key, event_id in database.query(statement, [room.room_id])}


def extremities(database, room):
    statement = """
        select e.event_id from matriarch.rooms r, matriarch.events e
        where r.room_id = %s and e.event_nid = any(r.forward_extremities)"""
    return {event_id for (event_id,) in database.query(statement, [room.room_id])}


def ids(state):
    return {key: pdu.event_id for key, pdu in state.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_room_from_elsewhere(rooms, peers, version):
    alice, bob = peers[0].user("alice"), peers[1].user("bob")
    room = public_room(alice, peers, version)
    room.join(bob)
    last = room.message(bob)
    reports = receive(rooms, room, room.pdus)
    assert verdicts(reports) == ["accepted"] * len(room.pdus), reports
    assert current_state(rooms, room) == ids(last.state)
    assert extremities(rooms, room) == {last.event_id}
    members = rooms.query("select user_id, membership from matrix.members where room_id = %s", [room.room_id])
    assert set(members) == {(alice, "join"), (bob, "join")}
    assert receive(rooms, room, room.pdus) == reports
