"""Intake of events made elsewhere."""

import json

import pytest

from harness.functions import User
from harness.peer import Peer, public_room, receive, verdicts
from harness.verify import verify

VERSIONS = ["11", "12"]


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


def test_a_fork_is_resolved(rooms, peers):
    alice, bob = peers[0].user("alice"), peers[1].user("bob")
    room = public_room(alice, peers, users={bob: 50})
    joined = room.join(bob)
    left = room.make(alice, "m.room.topic", {"topic": "left"}, "", prev=[joined])
    right = room.make(alice, "m.room.name", {"name": "right"}, "", prev=[joined])
    assert verdicts(receive(rooms, room, room.pdus)) == ["accepted"] * len(room.pdus)
    assert extremities(rooms, room) == {left.event_id, right.event_id}
    state = current_state(rooms, room)
    assert state["m.room.topic", ""] == left.event_id
    assert state["m.room.name", ""] == right.event_id
    # The ban stands against what the banned does at the same time.
    ban = room.make(alice, "m.room.member", {"membership": "ban"}, bob, prev=[left, right])
    name = room.make(bob, "m.room.name", {"name": "I am here"}, "", prev=[left, right])
    after = room.make(bob, "m.room.message", {"body": "and I stay"}, prev=[name])
    assert verdicts(receive(rooms, room, [ban])) == ["accepted"]
    reports = receive(rooms, room, [after, name])
    assert verdicts(reports) == ["soft-failed", "soft-failed"]
    assert "by the current state: rule" in reports[0]["reason"]
    assert extremities(rooms, room) == {ban.event_id}
    merge = room.make(alice, "m.room.message", {"body": "so?"}, prev=[ban, after])
    assert verdicts(receive(rooms, room, [merge])) == ["accepted"]
    assert extremities(rooms, room) == {merge.event_id}
    assert current_state(rooms, room)["m.room.name", ""] == right.event_id
    assert rooms.query(
        "select position is null from matrix.events where event_id = %s", [after.event_id]
    ) == [(True,)]


def test_what_is_no_event_of_the_room_is_refused(rooms, peers):
    alice = peers[0].user("alice")
    room, other = public_room(alice, peers), public_room(alice, peers)
    receive(rooms, room, room.pdus)
    message = room.message(alice)
    bad_signature = {**message.json, "signatures": {"one.example": {"ed25519:peer": "A" * 86}}}
    unsigned = {**message.json, "signatures": {}}
    nul = room.make(alice, "m.room.nul\0", {})
    for pdu, reason in [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"type": "m.room.message"}', "missing"),
        (json.dumps(bad_signature), "wrong signature"),
        (json.dumps(unsigned), "no signature of one.example"),
        (nul, "U+0000"),
        (other.create, "another room"),
        (room.make(alice, "m.big", {"body": "x" * 65000}), "the limit is 65536"),
    ]:
        (report,) = receive(rooms, room, [pdu])
        assert report["verdict"] == "refused" and reason in report["reason"], report
    assert verdicts(receive(rooms, room, [message])) == ["accepted"]


def test_keys(rooms, peers):
    alice = peers[0].user("alice")
    room = public_room(alice, [*peers, Peer("three.example")])
    carol = room.peers["three.example"].user("carol")
    receive(rooms, room, room.pdus)
    join = room.join(carol)
    needs = {"keys": [["three.example", "ed25519:peer"]]}
    assert receive(rooms, room, [join]) == [{"event_id": join.event_id, "verdict": "needs", "needs": needs}]
    (report,) = receive(rooms, room, [join], given_up={"keys": ["three.example"]})
    assert report["verdict"] == "refused" and "no known key" in report["reason"]
    # A key that was valid long ago could be valid still.
    room.peers["three.example"].publish(rooms, valid_until_ts=1000)
    assert receive(rooms, room, [join])[0]["needs"] == needs
    # One that has expired could not.
    room.peers["three.example"].publish(rooms, valid_until_ts=1000, expired=True)
    assert verdicts(receive(rooms, room, [join])) == ["refused"]
    early = room.make(
        carol, "m.room.member", {"membership": "join"}, carol, ts=999, prev=[*room.head[:0], room.pdus[3]]
    )
    assert verdicts(receive(rooms, room, [early])) == ["accepted"]


def test_what_is_missing_is_asked_for(rooms, peers):
    alice, bob = peers[0].user("alice"), peers[1].user("bob")
    room = public_room(alice, peers)
    receive(rooms, room, room.pdus)
    join, first, second = room.join(bob), room.message(bob), room.message(bob)

    def needs(pdu, **options):
        (report,) = receive(rooms, room, [pdu], **options)
        assert report["verdict"] == "needs", report
        return report["needs"]

    assert needs(second) == {"events": [join.event_id], "prev_events": [first.event_id]}
    assert verdicts(receive(rooms, room, [join], kind="outlier")) == ["outlier"]
    assert needs(second) == {"prev_events": [first.event_id]}
    assert needs(second, given_up={"prev_events": [first.event_id]}) == {"state": True}
    state = {second.event_id: [pdu.event_id for pdu in second.state_before.values()]}
    options = {"given_up": {"prev_events": [first.event_id]}, "states": state}
    assert verdicts(receive(rooms, room, [second], **options)) == ["accepted"]
    assert current_state(rooms, room) == ids(second.state)
    statement = "select prev_event_id from matriarch.missing_prev_events"
    assert rooms.query(statement) == [(first.event_id,)]
    # What was missing comes after all: the outlier gets its place in the graph.
    assert verdicts(receive(rooms, room, [first, join], kind="backfilled")) == ["accepted", "accepted"]
    assert rooms.query(statement) == []
    statement = "select event_id from matrix.events where position is not null order by position"
    assert [event_id for (event_id,) in rooms.query(statement)] == [
        *[pdu.event_id for pdu in room.pdus[:4]], join.event_id, first.event_id, second.event_id,
    ]  # fmt: skip
    # The room had two heads, and `second` comes after one of them.
    assert extremities(rooms, room) == {room.pdus[3].event_id, second.event_id}


def test_rejections(rooms, peers):
    alice, bob = peers[0].user("alice"), peers[1].user("bob")
    room = public_room(alice, peers)
    joined = room.join(bob)
    ban = room.make(alice, "m.room.member", {"membership": "ban"}, bob, prev=[joined])
    by_auth = room.make(bob, "m.room.topic", {"topic": "mine"}, "", prev=[joined])
    room.make(bob, "m.room.message", {"body": "hi"}, prev=[ban], state=joined.state)
    reports = receive(rooms, room, [*room.pdus])
    assert verdicts(reports)[-3:] == ["accepted", "rejected", "rejected"]
    assert "by its auth events: rule 8: " in reports[-2]["reason"]
    assert "by the state before it: rule 6: " in reports[-1]["reason"]
    assert extremities(rooms, room) == {ban.event_id}
    # What cites a rejected event as auth event is rejected too; as prev event it does no harm.
    cites = room.make(alice, "m.room.message", {"body": "hm"}, prev=[ban, by_auth], state=ban.state)
    assert verdicts(receive(rooms, room, [cites])) == ["accepted"]
    assert ("m.room.topic", "") not in current_state(rooms, room)
    bad = room.make(alice, "m.room.topic", {"topic": "x"}, "", auth=[*room.pdus[:3], by_auth])
    (report,) = receive(rooms, room, [bad])
    assert report["verdict"] == "rejected" and "auth event" in report["reason"]


def test_an_outlier_that_was_rejected_is_not_in_the_graph(rooms, peers):
    alice, bob = peers[0].user("alice"), peers[1].user("bob")
    room = public_room(alice, peers)
    joined = room.join(bob)
    bad = room.make(bob, "m.room.topic", {"topic": "mine"}, "", prev=[joined])
    after = room.make(alice, "m.room.message", {"body": "hm"}, prev=[bad], state=joined.state)
    receive(rooms, room, room.pdus[:5])
    assert verdicts(receive(rooms, room, [bad], kind="outlier")) == ["rejected"]
    # The state after it is not known yet.
    (report,) = receive(rooms, room, [after])
    assert report["needs"] == {"prev_events": [bad.event_id]}
    assert verdicts(receive(rooms, room, [bad, after])) == ["rejected", "accepted"]
    assert extremities(rooms, room) == {after.event_id}
    assert current_state(rooms, room) == ids(joined.state)
    assert verify(rooms, room.room_id) == []


def test_events_of_other_rooms_are_not_before_it(rooms, peers):
    alice = peers[0].user("alice")
    room, other = public_room(alice, peers), public_room(alice, peers)
    for each in (room, other):
        receive(rooms, each, each.pdus)
    stray = room.make(alice, "m.room.message", {"body": "hm"}, prev=[other.head[0]], state=room.head[0].state)
    (report,) = receive(rooms, room, [stray])
    assert report["needs"] == {"prev_events": [other.head[0].event_id]}
    options = {
        "given_up": {"prev_events": [other.head[0].event_id]},
        "states": {stray.event_id: [pdu.event_id for pdu in stray.state_before.values()]},
    }
    assert verdicts(receive(rooms, room, [stray], **options)) == ["accepted"]
    assert verify(rooms, room.room_id) == []


def test_an_event_with_the_wrong_content_hash_is_redacted(rooms, peers):
    alice = peers[0].user("alice")
    room = public_room(alice, peers)
    receive(rooms, room, room.pdus)
    message = room.message(alice)
    forged = {**message.json, "content": {"body": "I never said that"}}
    assert verdicts(receive(rooms, room, [json.dumps(forged)])) == ["accepted"]
    assert rooms.query("select content from matrix.events where event_id = %s", [message.event_id]) == [({},)]


@pytest.mark.parametrize("redaction_first", [False, True])
def test_redactions(rooms, peers, redaction_first):
    alice, bob, eve = peers[0].user("alice"), peers[1].user("bob"), peers[0].user("eve")
    room = public_room(alice, peers)
    room.join(bob), room.join(eve)
    receive(rooms, room, room.pdus)
    target = room.make(bob, "m.room.message", {"body": "oops"})
    kept = room.make(bob, "m.room.message", {"body": "stays"})
    redaction = room.make(alice, "m.room.redaction", {"redacts": target.event_id})
    powerless = room.make(eve, "m.room.redaction", {"redacts": kept.event_id})
    batches = [[redaction, powerless], [target, kept]]
    for batch in batches if redaction_first else reversed(batches):
        assert verdicts(receive(rooms, room, batch)) == ["accepted"] * 2
    content = "select content from matrix.events where event_id = %s"
    assert rooms.query(content, [target.event_id]) == [({},)]
    assert rooms.query(content, [kept.event_id]) == [({"body": "stays"},)]


def test_an_outlier_that_was_redacted_stays_so(rooms, peers):
    alice, bob = peers[0].user("alice"), peers[1].user("bob")
    room = public_room(alice, peers)
    receive(rooms, room, room.pdus)
    join = room.make(bob, "m.room.member", {"membership": "join", "displayname": "Bob"}, bob)
    redaction = room.make(alice, "m.room.redaction", {"redacts": join.event_id})
    assert verdicts(receive(rooms, room, [join], kind="outlier")) == ["outlier"]
    assert verdicts(receive(rooms, room, [redaction])) == ["accepted"]
    assert verdicts(receive(rooms, room, [join])) == ["accepted"]
    members = rooms.query("select membership, display_name from matrix.members where user_id = %s", [bob])
    assert members == [("join", None)]
    assert verify(rooms, room.room_id) == []


def test_a_local_user_in_a_room_with_branches(rooms, peers):
    alice, bob = User(rooms, "alice"), peers[0].user("bob")
    room = public_room(bob, peers)
    receive(rooms, room, room.pdus)
    beginning = room.head
    assert room.let_in(rooms, alice) == "accepted"
    room.head = beginning
    (_join,) = extremities(rooms, room)
    state = {**room.head[0].state}
    heads = []
    for number in range(30):
        topic = room.make(bob, f"org.example.{number}", {"number": number}, "", ts=1000 + number)
        heads.append(topic)
    assert verdicts(receive(rooms, room, heads)) == ["accepted"] * 30
    assert len(extremities(rooms, room)) == 31
    first = alice.send(room.room_id)
    assert len(extremities(rooms, room)) == 12
    second = alice.send(room.room_id)
    assert extremities(rooms, room) == {second}
    found = current_state(rooms, room)
    assert {key: found[key] for key in ids(state)} == ids(state)
    assert all(found[f"org.example.{number}", ""] == heads[number].event_id for number in range(30))
    # The state before the first has what the events that it cites say, no more.
    known = rooms.query("select count(*) from matrix.state_at(%s) where type like 'org.example.%%'", [first])
    assert known == [(20,)] or known == [(19,)]
