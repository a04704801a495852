"""Restricted rooms: joining by being in another room."""

import pytest

from harness.functions import Refused, User, state_content

AUTHORISER = "join_authorised_via_users_server"


def restrict(user, room, *allowed, join_rule="restricted", **more):
    allow = [{"type": "m.room_membership", "room_id": other} for other in allowed]
    user.send_state(room, "m.room.join_rules", {"join_rule": join_rule, "allow": allow, **more})


def refused(call, *arguments, **options):
    with pytest.raises(Refused) as caught:
        call(*arguments, **options)
    assert (caught.value.status, caught.value.errcode) == (403, "M_FORBIDDEN"), caught.value


def content(rooms, room, user):
    return state_content(rooms, room, "m.room.member", user.user_id)


@pytest.mark.parametrize("version", [str(version) for version in range(7, 13)])
def test_restricted_join(rooms, version):
    alice, bob, eve = (User(rooms, name) for name in ("alice", "bob", "eve"))
    space = alice.create_room(preset="public_chat")
    room = alice.create_room(room_version=version)
    restrict(alice, room, "!unknown:test.example", space)
    refused(bob.join, room)
    bob.join(space)
    if version == "7":
        refused(bob.join, room)
        return
    bob.join(room)
    assert content(rooms, room, bob)[AUTHORISER] == alice.user_id
    bob.send(room)
    # Conditions are looked at when joining only, and profile changes need no authoriser.
    bob.act(space, "leave")
    bob.send_state(
        room,
        "m.room.member",
        {"membership": "join", "displayname": "Bob", AUTHORISER: alice.user_id},
        state_key=bob.user_id,
    )
    assert AUTHORISER not in content(rooms, room, bob)
    bob.act(room, "leave")
    refused(bob.join, room)
    # Who is invited needs to be nowhere.
    alice.invite(room, eve)
    eve.join(room)
    assert AUTHORISER not in content(rooms, room, eve)


@pytest.mark.parametrize("version", ["9", "10", "12"])
def test_knock_restricted(rooms, version):
    alice, bob, eve = (User(rooms, name) for name in ("alice", "bob", "eve"))
    space = alice.create_room(preset="public_chat")
    room = alice.create_room(room_version=version)
    restrict(alice, room, space, join_rule="knock_restricted")
    bob.join(space)
    if version == "9":
        refused(bob.join, room)
        refused(eve.act, room, "knock")
        return
    bob.join(room)
    refused(eve.join, room)
    eve.act(room, "knock")


def test_who_may_authorise(rooms):
    """A user of this server who is in the room and may invite; if there is none, nobody joins."""
    alice, bob, carol, dave = (User(rooms, name) for name in ("alice", "bob", "carol", "dave"))
    space = alice.create_room(preset="public_chat")
    for user in (bob, carol, dave):
        user.join(space)
    levels = {"invite": 50, "users": {alice.user_id: 100, bob.user_id: 50}}
    room = alice.create_room(room_version="11", power_level_content_override=levels)
    restrict(alice, room, space)
    bob.join(room)
    assert content(rooms, room, bob)[AUTHORISER] == alice.user_id
    alice.act(room, "leave")
    carol.join(room)
    assert content(rooms, room, carol)[AUTHORISER] == bob.user_id
    bob.act(room, "leave")
    refused(dave.join, room)
    room = alice.create_room(power_level_content_override={"invite": 0, "users": {bob.user_id: -1}})
    restrict(alice, room, space)
    bob.join(room)
    carol.join(room)
    alice.act(room, "leave")
    dave.join(room)
    assert content(rooms, room, dave)[AUTHORISER] == carol.user_id


def test_bans_and_odd_conditions(rooms):
    alice, bob, carol = (User(rooms, name) for name in ("alice", "bob", "carol"))
    space = alice.create_room(preset="public_chat")
    bob.join(space)
    carol.join(space)
    room = alice.create_room()
    restrict(alice, room, space)
    alice.act(room, "ban", user_id=bob.user_id)
    refused(bob.join, room)
    odd = [
        1,
        {"type": "org.example"},
        {"type": "m.room_membership"},
        {"type": "m.room_membership", "room_id": "a\0"},
    ]
    alice.send_state(room, "m.room.join_rules", {"join_rule": "restricted", "allow": odd})
    refused(carol.join, room)
    alice.send_state(room, "m.room.join_rules", {"join_rule": "restricted", "allow": "all"})
    refused(carol.join, room)
    alice.send_state(room, "m.room.join_rules", {"join_rule": "restricted"})
    refused(carol.join, room)
