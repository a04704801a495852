"""What others put into a user's sync by inviting."""

import itertools
import json
from urllib.parse import quote

import pytest

from harness.client import expect, path
from harness.functions import Refused, User
from harness.peer import Peer, RemoteRoom, event_id_of

V2 = "/_matrix/federation/v2"
NUMBERS = itertools.count(1)
# What one invite may bring along, with the invite itself.
MAX_BYTES = 200_000 + 65_536


@pytest.fixture
def stranger(federated):
    peer = Peer(f"stranger{next(NUMBERS)}.example")
    peer.publish(federated.database)
    return peer


def try_to_invite(node, peer: Peer, user, state: list[dict], name="mallory"):
    """Invites to a new room of version 11, whose stripped state nobody signs. The response and the room."""
    sender = peer.user(name)
    room = RemoteRoom(sender, [peer], "11")
    room.join(sender)
    event = room.make(sender, "m.room.member", {"membership": "invite"}, user.user_id)
    where = "/".join(quote(part, safe="") for part in (room.room_id, event_id_of(event.json)))
    stripped = [{"state_key": "", "sender": sender, **event} for event in state]
    body = {"event": event.json, "room_version": "11", "invite_room_state": stripped}
    return peer.request(node, "PUT", f"{V2}/invite/{where}", body), room.room_id


def invite(node, peer: Peer, user, state: list[dict], status=200, errcode=None) -> str:
    response, room = try_to_invite(node, peer, user, state)
    expect(response, status, errcode)
    return room


def shown(user) -> dict[str, list]:
    invites = user.sync()["rooms"]["invite"]
    return {room: invite["invite_state"]["events"] for room, invite in invites.items()}


def test_an_invite_brings_a_bounded_state(federated, stranger):
    bob = federated.register("bob")
    long = {"type": "m.room.topic", "content": {"topic": "x" * 60_000}}
    state = [
        {"type": "org.example.long", "content": {"body": "x" * 8_000_000}},
        *({**long, "type": f"org.example.{number}"} for number in range(50)),
        {"type": "m.room.create", "content": {"room_version": "11"}},
        {"type": "m.room.name", "content": {"name": "short"}},
    ]
    room = invite(federated, stranger, bob, state)
    events = shown(bob)[room]
    assert len(json.dumps(events)) < MAX_BYTES
    assert {"m.room.create", "m.room.name", "m.room.member"} <= {event["type"] for event in events}


def test_the_invites_of_a_server_are_bounded(federated, stranger):
    bob = federated.register("bob")
    state = [{"type": f"org.example.{number}", "content": {"topic": "x" * 60_000}} for number in range(3)]
    before = federated.database.query("select count(*) from matriarch.out_of_band_memberships")[0][0]
    responses = (
        try_to_invite(federated, stranger, bob, state, f"mallory{number}")[0] for number in range(60)
    )
    expect(next(response for response in responses if response.status_code != 200), 403, "M_FORBIDDEN")
    stored = federated.database.query("select count(*) from matriarch.out_of_band_memberships")[0][0] - before
    assert len(bob.request("GET", "/sync").content) < 2 * 8_388_608
    assert stored <= 60
    # Those of another server still arrive, and what was refused makes room for others.
    other = Peer(f"honest{next(NUMBERS)}.example")
    other.publish(federated.database)
    room = invite(federated, other, bob, [])
    assert room in shown(bob)
    for room in list(shown(bob))[:2]:
        bob.post(path("rooms", room, "leave"))
    invite(federated, stranger, bob, [])


def test_the_invites_of_a_user_are_bounded(rooms):
    """A local user who invites to hundreds of rooms."""
    alice, bob, carol = (User(rooms, name) for name in ("alice", "bob", "carol"))
    # As if alice had invited bob before.
    rooms.query(
        """
        with r as (
            insert into matriarch.rooms (room_id, room_version)
            select '!' || n, '11' from generate_series(1, 500) n
            returning room_nid
        ),
        s as (select user_nid from matriarch.users where user_id = %s),
        t as (select user_nid from matriarch.users where user_id = %s)
        insert into matriarch.memberships (room_nid, user_nid, event_nid, sender_nid, membership)
        select r.room_nid, t.user_nid, 0, s.user_nid, 'invite' from r, s, t""",
        [alice.user_id, bob.user_id],
    )
    with pytest.raises(Refused, match="M_FORBIDDEN"):
        alice.invite(alice.create_room(), bob)
    carol.invite(carol.create_room(), bob)


def test_invites_to_rooms_with_long_state(nodes):
    """Of many invites to rooms of this server, a sync shows the state of those that fit."""
    alice, bob = nodes[0].register("alice"), nodes[0].register("bob")
    types = ("m.room.name", "m.room.topic", "m.room.avatar")
    contents = [{"name": "x" * 60_000}, {"topic": "x" * 60_000}, {"url": "x" * 60_000}]
    state = [
        {"type": type, "content": content, "state_key": ""}
        for type, content in zip(types, contents, strict=True)
    ]
    rooms = [alice.create_room(invite=[bob.user_id], initial_state=state) for _ in range(100)]
    answer = bob.request("GET", "/sync")
    assert answer.status_code == 200 and len(answer.content) < 20_000_000
    invites = answer.json()["rooms"]["invite"]
    assert set(rooms) <= set(invites)
    for events in (invites[room]["invite_state"]["events"] for room in rooms):
        assert events[-1]["type"] == "m.room.member"


def test_a_user_who_wants_no_invites(federated, stranger, nodes):
    alice, bob = federated.register("alice"), federated.register("bob")
    before = alice.create_room(invite=[bob.user_id])
    assert before in shown(bob)
    where = path("user", bob.user_id, "account_data", "m.invite_permission_config")
    bob.put(where, {"default_action": "block"})
    assert shown(bob) == {}
    blocked = {"status": 403, "errcode": "M_INVITE_BLOCKED"}
    room = alice.create_room(invite=[bob.user_id])
    alice.invite(room, bob, **blocked)
    member = path("rooms", room, "state", "m.room.member", bob.user_id)
    alice.put(member, {"membership": "invite"}, **blocked)
    invite(federated, stranger, bob, [], **blocked)
    assert shown(bob) == {}
    bob.put(where, {})
    assert set(shown(bob)) == {before}
    alice.invite(room, bob)
    assert room in shown(bob)
