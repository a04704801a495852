"""What SQL tells of the event graph: differences, chains, resolutions, and why."""

import json

import psycopg
import pytest

from harness import functions
from harness.peer import Peer, public_room, receive, verdicts


@pytest.fixture
def fork(database):
    """A room in which alice bans bob while bob sets the topic; both are heads."""
    functions.initialize(database)
    peers = [Peer("one.example"), Peer("two.example")]
    for peer in peers:
        peer.publish(database)
    alice, bob = peers[0].user("alice"), peers[1].user("bob")
    room = public_room(alice, peers, users={bob: 50})
    room.alice, room.bob = alice, bob
    room.join(bob)
    room.topic = room.send(alice, "m.room.topic", {"topic": "old"}, "")
    assert set(verdicts(receive(database, room, room.pdus))) == {"accepted"}
    room.ban = room.make(alice, "m.room.member", {"membership": "ban"}, bob)
    room.by_bob = room.make(bob, "m.room.topic", {"topic": "mine"}, "")
    room.merge = room.make(
        alice, "m.room.message", {"body": "?"}, prev=[room.ban, room.by_bob], state=room.ban.state
    )
    # The topic first: the ban would make it fail softly.
    for pdu in (room.by_bob, room.ban, room.merge):
        assert verdicts(receive(database, room, [pdu])) == ["accepted"]
    return room


def rows(database, statement, *arguments):
    """As an analyst asks."""
    with database.connect() as connection:
        connection.execute("set role matriarch_readonly")
        return connection.execute(statement, arguments).fetchall()


def test_state_diff(database, fork):
    found = rows(database, "select * from matrix.state_diff(%s, %s)", fork.ban.event_id, fork.merge.event_id)
    bobs_join = fork.pdus[4].event_id
    assert found == [("m.room.member", fork.bob, bobs_join, fork.ban.event_id)]


def test_auth_chain_and_difference(database, fork):
    def chain(*pdus):
        """The definition."""
        by_id = {pdu.event_id: pdu for pdu in fork.pdus}
        found, todo = set(), list(pdus)
        while todo:
            for event_id in todo.pop().json["auth_events"]:
                if event_id not in found:
                    found.add(event_id)
                    todo.append(by_id[event_id])
        return found

    statement = "select event_id from matrix.auth_chain(%s)"
    assert {row[0] for row in rows(database, statement, [fork.by_bob.event_id])} == chain(fork.by_bob)
    sets = [[fork.by_bob.event_id, fork.topic.event_id], [fork.ban.event_id, None]]
    found = rows(database, "select event_id, in_chains from matrix.auth_difference(%s)", sets)
    first, second = chain(fork.by_bob, fork.topic), chain(fork.ban)
    assert {event_id for event_id, _ in found} == first ^ second
    assert all(in_chains == ([1] if event_id in first else [2]) for event_id, in_chains in found)


def test_resolve_state(database, fork):
    heads = [fork.ban.event_id, fork.by_bob.event_id]
    resolved = rows(database, "select type, state_key, event_id from matrix.resolve_state(%s)", heads)
    assert resolved == rows(
        database, "select type, state_key, event_id from matrix.state_at(%s)", fork.merge.event_id
    )
    assert ("m.room.topic", "", fork.topic.event_id) in resolved or all(
        row[0] != "m.room.topic" for row in resolved
    )
    alone = rows(database, "select event_id from matrix.resolve_state(%s)", [fork.by_bob.event_id])
    assert {row[0] for row in alone} == {pdu.event_id for pdu in fork.by_bob.state.values()}
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="not known"):
        rows(database, "select * from matrix.resolve_state(%s)", ["$unknown"])


def test_explain_resolution(database, fork):
    statement = "select phase, event_id, allowed, rule from matrix.explain_resolution(%s) order by step"
    steps = rows(database, statement, fork.merge.event_id)
    assert {(phase, event_id) for phase, event_id, _, _ in steps} >= {
        ("prev event", fork.ban.event_id),
        ("prev event", fork.by_bob.event_id),
        ("conflicted state", fork.ban.event_id),
        ("conflicted state", fork.by_bob.event_id),
    }
    assert ("power event", fork.ban.event_id, True, None) in steps
    assert ("other event", fork.by_bob.event_id, False, "6") in steps
    assert ("result", fork.ban.event_id, None, None) in steps
    assert {phase for phase, *_ in rows(database, statement, fork.ban.event_id)} == {"prev event"}


def test_explain_event(database, fork):
    statement = 'select "check", passed, rule, reason, events from matrix.explain_event(%s) order by step'
    checks = {row[0]: row[1:] for row in rows(database, statement, fork.by_bob.event_id)}
    assert list(checks) == [
        "format", "event id", "signatures", "content hash", "auth events", "state before", "current state",
        "verdict",
    ]  # fmt: skip
    assert all(check[0] is True for check in checks.values())
    assert set(checks["auth events"][3]) == set(fork.by_bob.json["auth_events"])
    late = fork.make(fork.bob, "m.room.message", {"body": "still here"}, prev=[fork.by_bob])
    after = fork.make(
        fork.bob, "m.room.message", {"body": "and here"}, prev=[fork.merge], state=fork.by_bob.state
    )
    assert verdicts(receive(database, fork, [late, after])) == ["soft-failed", "rejected"]
    checks = {row[0]: row[1:] for row in rows(database, statement, late.event_id)}
    assert checks["state before"][0] is True
    assert checks["current state"][0] is False and "rule 6" in checks["current state"][2]
    assert checks["verdict"][2].startswith("soft-failed")
    checks = {row[0]: row[1:] for row in rows(database, statement, after.event_id)}
    assert checks["auth events"][0] is True
    assert checks["state before"][:2] == (False, "6")
    assert checks["verdict"][0] is False


def test_check_auth_at_an_event(database, fork):
    event = {"room_id": fork.room_id, "type": "m.room.message", "sender": fork.bob, "content": {}}
    check = "select allowed, rule from matrix.check_auth(%s, %s)"
    assert rows(database, check, json.dumps(event), fork.ban.event_id) == [(True, None)]
    assert rows(database, check, json.dumps(event), fork.merge.event_id) == [(False, "6")]
    now = "select allowed, auth_events from matrix.check_auth(%s)"
    ((allowed, auth_events),) = rows(database, now, json.dumps(event))
    assert not allowed and fork.ban.event_id in auth_events
