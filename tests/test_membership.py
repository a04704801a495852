"""Joining, inviting, leaving, kicking, banning, unbanning, knocking, forgetting."""

import pytest

from harness import functions
from harness.functions import Refused, User, state_content

VERSIONS = ["1", "6", "7", "10", "11", "12"]


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


def refused(status, errcode, call, *arguments, **options):
    with pytest.raises(Refused) as caught:
        call(*arguments, **options)
    assert (caught.value.status, caught.value.errcode) == (status, errcode), caught.value
    return caught.value


def membership(database, room, user):
    """The flat row, after checking that it agrees with the state event."""
    rows = database.query(
        """
        select m.membership, m.display_name, m.forgotten
        from matriarch.memberships m join matriarch.users u using (user_nid)
        join matriarch.rooms r using (room_nid)
        where r.room_id = %s and u.user_id = %s""",
        [room, functions.id_of(user)],
    )
    content = state_content(database, room, "m.room.member", functions.id_of(user))
    assert [row[0] for row in rows] == ([content["membership"]] if content else [])
    return rows[0] if rows else None


def counters(database, room):
    return database.query(
        "select joined_members, invited_members from matriarch.rooms where room_id = %s", [room]
    )[0]


def events(database, room):
    statement = (
        "select count(*) from matriarch.events e join matriarch.rooms r using (room_nid) where r.room_id = %s"
    )
    return database.query(statement, [room])[0][0]


def test_a_whole_life(rooms, version):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    bob.set_profile(displayname="Bob")
    room = alice.create_room(room_version=version)
    refused(403, "M_FORBIDDEN", bob.join, room)
    alice.invite(room, bob, reason="come in")
    assert membership(rooms, room, bob) == ("invite", "Bob", False)
    assert state_content(rooms, room, "m.room.member", bob.user_id)["reason"] == "come in"
    assert counters(rooms, room) == (1, 1)
    assert bob.join(room, reason="thanks") == {"room_id": room}
    assert counters(rooms, room) == (2, 0)
    content = state_content(rooms, room, "m.room.member", bob.user_id)
    assert content == {"membership": "join", "displayname": "Bob", "reason": "thanks"}
    before = events(rooms, room)
    assert bob.join(room) == {"room_id": room}
    assert events(rooms, room) == before
    refused(403, "M_FORBIDDEN", alice.invite, room, bob)
    assert bob.act(room, "leave", reason="bye") == {}
    assert membership(rooms, room, bob)[0] == "leave"
    assert counters(rooms, room) == (1, 0)
    assert bob.act(room, "leave") == {}
    refused(403, "M_FORBIDDEN", bob.join, room)
    refused(403, "M_FORBIDDEN", bob.send, room)


def test_a_ban_may_ask_that_messages_are_redacted(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    redact = "org.matrix.msc4293.redact_events"
    for action in ("ban", "kick"):
        room = alice.create_room(preset="public_chat")
        bob.join(room)
        refused(400, "M_BAD_JSON", alice.act, room, action, user_id=bob.user_id, **{redact: "yes"})
        alice.act(room, action, user_id=bob.user_id, **{redact: True})
        assert state_content(rooms, room, "m.room.member", bob.user_id)[redact] is True


def test_refusals_are_words_for_people(rooms):
    """Bridges recognize the first two."""
    alice, bob, carol = (User(rooms, name) for name in ("alice", "bob", "carol"))
    room = alice.create_room(preset="private_chat", power_level_content_override={"invite": 50})

    def told(call, *arguments, **options):
        return refused(403, "M_FORBIDDEN", call, *arguments, **options).error

    assert told(bob.join, room) == "You are not invited to this room."
    alice.invite(room, bob)
    bob.join(room)
    assert told(alice.invite, room, bob) == f"{bob.user_id} is already in the room."
    alice.act(room, "ban", user_id=carol.user_id)
    assert told(alice.invite, room, carol) == f"{carol.user_id} is banned from the room."
    assert told(carol.join, room) == "You are banned from this room."
    assert told(carol.invite, room, bob) == "You are not in this room."
    assert told(carol.send, room) == "You are not in this room."
    assert told(bob.invite, room, "@dora:test.example") == (
        "You do not have permission to invite users to this room."
    )
    assert told(bob.send_state, room, "m.room.name", {"name": "mine"}) == (
        "You do not have permission to send m.room.name events to this room."
    )
    assert told(bob.act, room, "kick", user_id=alice.user_id) == (
        "You do not have permission to remove this user from the room."
    )
    assert told(bob.act, room, "unban", user_id=carol.user_id) == (
        "You do not have permission to lift bans in this room."
    )
    refusals = (
        told(bob.act, room, "knock"),
        told(bob.send_state, room, "m.room.member", {"membership": "join"}, alice.user_id),
        told(bob.send_state, room, "m.room.member", {"membership": "x"}, bob.user_id),
        told(alice.send_state, room, "m.room.power_levels", {"users": {alice.user_id: 100}}),
        told(bob.act, room, "ban", user_id=alice.user_id),
    )
    for text in refusals:
        assert "rule" not in text.replace("join rule", ""), text
        assert (text[0].isupper() or text[0] == "@") and text.endswith("."), text


def test_rejecting_an_invite(rooms, version):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    room = alice.create_room(room_version=version, invite=[bob.user_id])
    bob.act(room, "leave")
    assert membership(rooms, room, bob)[0] == "leave"
    assert counters(rooms, room) == (1, 0)


def test_kick_ban_unban(rooms, version):
    alice, bob, carol, eve = (User(rooms, name) for name in ("alice", "bob", "carol", "eve"))
    room = alice.create_room(room_version=version, preset="public_chat")
    bob.join(room)
    carol.join(room)
    act = lambda user, action, target: user.act(room, action, user_id=target.user_id, reason="because")
    refused(403, "M_FORBIDDEN", act, bob, "kick", carol)
    refused(403, "M_FORBIDDEN", act, bob, "ban", carol)
    refused(403, "M_FORBIDDEN", act, bob, "kick", alice)
    refused(403, "M_FORBIDDEN", act, eve, "ban", carol)
    refused(403, "M_FORBIDDEN", act, alice, "kick", eve)
    act(alice, "kick", bob)
    assert state_content(rooms, room, "m.room.member", bob.user_id) == {
        "membership": "leave",
        "reason": "because",
    }
    refused(403, "M_FORBIDDEN", act, alice, "kick", bob)
    refused(403, "M_FORBIDDEN", act, alice, "unban", bob)
    refused(403, "M_FORBIDDEN", act, alice, "unban", carol)
    refused(403, "M_FORBIDDEN", act, alice, "unban", eve)
    bob.join(room)
    act(alice, "ban", bob)
    act(alice, "ban", eve)
    assert membership(rooms, room, bob)[0] == "ban" and membership(rooms, room, eve)[0] == "ban"
    assert counters(rooms, room) == (2, 0)
    refused(403, "M_FORBIDDEN", bob.join, room)
    refused(403, "M_FORBIDDEN", alice.invite, room, bob)
    refused(403, "M_FORBIDDEN", bob.act, room, "leave")
    refused(403, "M_FORBIDDEN", act, alice, "kick", bob)
    refused(403, "M_FORBIDDEN", act, carol, "unban", bob)
    act(alice, "unban", bob)
    assert membership(rooms, room, bob)[0] == "leave"
    bob.join(room)


def test_state_endpoint_obeys_the_same_rules(rooms, version):
    alice, bob, carol = (User(rooms, name) for name in ("alice", "bob", "carol"))
    bob.set_profile(displayname="Bob", avatar_url="mxc://test.example/b")
    room = alice.create_room(room_version=version)
    put = lambda user, target, **content: user.send_state(room, "m.room.member", content, state_key=target)
    put(alice, bob.user_id, membership="invite", is_direct=True)
    invited = state_content(rooms, room, "m.room.member", bob.user_id)
    assert invited["displayname"] == "Bob" and invited["is_direct"] is True
    put(bob, bob.user_id, membership="join", displayname="Robert")
    joined = state_content(rooms, room, "m.room.member", bob.user_id)
    assert joined == {"membership": "join", "displayname": "Robert", "avatar_url": "mxc://test.example/b"}
    assert membership(rooms, room, bob)[1] == "Robert"
    refused(403, "M_FORBIDDEN", put, bob, alice.user_id, membership="leave")
    refused(403, "M_FORBIDDEN", put, carol, carol.user_id, membership="join")
    refused(403, "M_FORBIDDEN", put, alice, carol.user_id, membership="sideways")
    refused(403, "M_FORBIDDEN", put, alice, carol.user_id)
    refused(400, "M_INVALID_PARAM", put, alice, "nobody", membership="invite")
    put(alice, carol.user_id, membership="ban")
    put(alice, carol.user_id, membership="leave")
    assert membership(rooms, room, carol)[0] == "leave"


def test_invites(rooms):
    alice, bob, eve = (User(rooms, name) for name in ("alice", "bob", "eve"))
    room = alice.create_room(power_level_content_override={"invite": 50})
    refused(400, "M_MISSING_PARAM", alice.act, room, "invite")
    refused(400, "M_BAD_JSON", alice.act, room, "invite", user_id=1)
    refused(400, "M_INVALID_PARAM", alice.act, room, "invite", user_id="bob")
    refused(400, "M_INVALID_PARAM", alice.act, room, "invite", user_id="@b\0b:test.example")
    refused(400, "M_BAD_JSON", alice.invite, room, bob, reason=1)
    third_party = {"id_server": "x", "id_access_token": "x", "medium": "email", "address": "a@b"}
    refused(403, "M_SERVER_NOT_TRUSTED", alice.act, room, "invite", **third_party)
    refused(403, "M_FORBIDDEN", eve.invite, room, bob)
    alice.invite(room, bob)
    bob.join(room)
    refused(403, "M_FORBIDDEN", bob.invite, room, eve)
    # Who does not exist here (yet) may be invited: the answer tells nobody who does.
    alice.invite(room, "@nobody:test.example")
    alice.invite(room, "@somebody:elsewhere.example")
    assert counters(rooms, room) == (2, 2)


def test_unknown_rooms_and_aliases(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room(room_alias_name="here", preset="public_chat")
    bob = User(rooms, "bob")
    assert bob.join("#here:test.example") == {"room_id": room}
    for unknown in ("!nowhere:test.example", "!x", "#nowhere:test.example", "#here:elsewhere.example"):
        refused(404, "M_NOT_FOUND", bob.join, unknown)
    for malformed in ("nowhere", "#nowhere", "@bob:test.example", ""):
        refused(400, "M_INVALID_PARAM", bob.join, malformed)
    refused(404, "M_NOT_FOUND", bob.act, "!nowhere:test.example", "leave")
    refused(404, "M_NOT_FOUND", bob.forget, "!nowhere:test.example")
    refused(404, "M_NOT_FOUND", bob.act, "!nowhere:test.example", "knock")
    bob.token_hash = bytes(32)
    refused(401, "M_UNKNOWN_TOKEN", bob.join, room)
    refused(401, "M_UNKNOWN_TOKEN", bob.act, room, "leave")
    refused(401, "M_UNKNOWN_TOKEN", bob.forget, room)


def test_the_last_one_leaves(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room(preset="public_chat")
    alice.act(room, "leave")
    assert counters(rooms, room) == (0, 0)
    alice.join(room)
    assert counters(rooms, room) == (1, 0)


def test_forgetting(rooms):
    alice, bob, eve = (User(rooms, name) for name in ("alice", "bob", "eve"))
    room = alice.create_room(invite=[bob.user_id])
    refused(400, "M_UNKNOWN", bob.forget, room)
    refused(404, "M_NOT_FOUND", eve.forget, room)
    refused(403, "M_FORBIDDEN", eve.act, room, "leave")
    bob.join(room)
    refused(400, "M_UNKNOWN", bob.forget, room)
    bob.act(room, "leave")
    assert bob.forget(room) == {} and bob.forget(room) == {}
    assert membership(rooms, room, bob) == ("leave", None, True)
    alice.act(room, "ban", user_id=bob.user_id)
    assert membership(rooms, room, bob) == ("ban", None, True)
    alice.act(room, "unban", user_id=bob.user_id)
    alice.invite(room, bob)
    assert membership(rooms, room, bob)[2] is False


@pytest.mark.parametrize("version", ["6", "7", "10", "12"])
def test_knocking(rooms, version):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    bob.set_profile(displayname="Bob")
    room = alice.create_room(room_version=version, room_alias_name="door")
    refused(403, "M_FORBIDDEN", bob.act, room, "knock")
    alice.send_state(room, "m.room.join_rules", {"join_rule": "knock"})
    if version == "6":
        refused(403, "M_FORBIDDEN", bob.act, room, "knock")
        return
    assert bob.act("#door:test.example", "knock", reason="hello?") == {"room_id": room}
    content = state_content(rooms, room, "m.room.member", bob.user_id)
    assert content == {"membership": "knock", "displayname": "Bob", "reason": "hello?"}
    refused(403, "M_FORBIDDEN", bob.join, room)
    bob.act(room, "leave")
    bob.act(room, "knock")
    alice.invite(room, bob)
    bob.join(room)
    refused(403, "M_FORBIDDEN", bob.act, room, "knock")
