"""Users of two servers in one room: joined, invited, restricted, in several room versions; each server once
as the room's own."""

import pytest

from harness.client import bodies, path, timeline
from harness.server import Server
from harness.verify import repair
from harness.waiting import eventually


@pytest.fixture(scope="module")
def one(servers) -> Server:
    return servers[0]


@pytest.fixture(scope="module")
def two(servers) -> Server:
    return servers[1]


def members(client, room) -> dict:
    events = client.get(path("rooms", room, "members"))["chunk"]
    return {event["state_key"]: event["content"]["membership"] for event in events}


def sound(server: Server, room: str):
    assert server.database.query("select * from matrix.verify_room(%s)", [room]) == []


@pytest.mark.parametrize("version", ["6", "9", "10", "11", "12"])
def test_a_public_room_is_joined(one, two, version):
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="public_chat", room_version=version, name="Across")
    for number in range(3):
        alice.send(room, f"before {number}")
    since = alice.sync()["next_batch"]
    bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob of two"})
    assert bob.join(room, params={"via": one.name}) == {"room_id": room}
    assert members(bob, room) == members(alice, room) == {alice.user_id: "join", bob.user_id: "join"}
    assert bob.state(room, "m.room.name") == {"name": "Across"}
    (join,) = timeline(alice.sync(since), room)
    assert (join["state_key"], join["content"]["displayname"]) == (bob.user_id, "Bob of two")
    assert room in bob.sync()["rooms"]["join"]
    for server in (one, two):
        sound(server, room)


def test_by_alias(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    name = alice.user_id.split(":")[0][1:]
    room = alice.create_room(preset="public_chat", room_alias_name=name)
    assert bob.join(f"#{name}:{one.name}") == {"room_id": room}
    # Another user of the same server needs nobody's help any more.
    carol = two.register("carol")
    assert carol.join(f"#{name}:{one.name}") == {"room_id": room}
    assert members(carol, room)[carol.user_id] == "join"


def test_servers_are_asked_in_turn(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room, params={"via": ["127.0.0.1:1", "nonsense..name", one.name]})
    assert members(bob, room)[bob.user_id] == "join"


def test_rooms_that_cannot_be_joined(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    private = alice.create_room(preset="private_chat")
    bob.join(private, params={"via": one.name}, status=403, errcode="M_FORBIDDEN")
    bob.join(private, status=404, errcode="M_NOT_FOUND")
    bob.join("!nowhere:localhost", params={"via": one.name}, status=404)
    bob.join(private, params={"via": "127.0.0.1:1"}, status=502)
    banned = alice.create_room(preset="public_chat")
    alice.post(path("rooms", banned, "ban"), {"user_id": bob.user_id})
    bob.join(banned, params={"via": one.name}, status=403, errcode="M_FORBIDDEN")
    assert members(alice, banned) == {alice.user_id: "join", bob.user_id: "ban"}


def test_an_invite_is_seen_and_taken(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="private_chat", name="For you")
    bob.next()
    alice.invite(room, bob)
    assert members(alice, room)[bob.user_id] == "invite"
    invite = bob.next()["rooms"]["invite"][room]["invite_state"]["events"]
    shown = {(event["type"], event["state_key"]): event for event in invite}
    assert shown["m.room.name", ""]["content"] == {"name": "For you"}
    assert shown["m.room.member", bob.user_id]["sender"] == alice.user_id
    # By this the invited user's client shows the inviter's name.
    assert shown["m.room.member", alice.user_id]["content"]["membership"] == "join"
    # The server of who invited helps.
    bob.join(room)
    assert members(bob, room) == {alice.user_id: "join", bob.user_id: "join"}
    for server in (one, two):
        sound(server, room)


def test_invites_with_a_new_room_and_as_state(one, two):
    alice, bob, carol, dave = (
        one.register("alice"),
        two.register("bob"),
        two.register("carol"),
        one.register("dave"),
    )
    gone = "@gone:127.0.0.1:1"
    room = alice.create_room(
        preset="trusted_private_chat",
        is_direct=True,
        invite=[bob.user_id, dave.user_id, gone],
        room_version="11",
    )
    # Who cannot be told is not invited.
    assert members(alice, room) == {alice.user_id: "join", bob.user_id: "invite", dave.user_id: "invite"}
    (event,) = [
        event
        for event in bob.sync()["rooms"]["invite"][room]["invite_state"]["events"]
        if event.get("state_key") == bob.user_id
    ]
    assert event["content"]["is_direct"] is True
    bob.join(room)
    assert bob.state(room, "m.room.power_levels")["users"][bob.user_id] == 100
    event_id = alice.send_state(
        room, "m.room.member", {"membership": "invite", "reason": "come"}, carol.user_id
    )
    assert alice.event(room, event_id)["content"]["reason"] == "come"
    assert room in carol.sync()["rooms"]["invite"]
    carol.join(room)
    for server in (one, two):
        sound(server, room)


def test_restricted_rooms(one, two):
    alice, bob, carol = one.register("alice"), two.register("bob"), two.register("carol")
    space = alice.create_room(preset="public_chat")
    room = alice.create_room(preset="private_chat")
    allow = [{"type": "m.room_membership", "room_id": space}]
    alice.send_state(room, "m.room.join_rules", {"join_rule": "restricted", "allow": allow})
    bob.join(space, params={"via": one.name})
    bob.join(room, params={"via": one.name})
    content = bob.state(room, "m.room.member", bob.user_id)
    assert content["join_authorised_via_users_server"] == alice.user_id
    carol.join(room, params={"via": one.name}, status=403, errcode="M_FORBIDDEN")
    # Bob may invite, and so authorise who is in the space: nobody else need be asked.
    carol.join(space)
    carol.join(room)
    alice.sync_until(
        lambda answer: carol.user_id in [event.get("state_key") for event in timeline(answer, room)]
    )
    assert (
        alice.state(room, "m.room.member", carol.user_id)["join_authorised_via_users_server"] == bob.user_id
    )
    for server in (one, two):
        sound(server, room)


def test_both_write_and_read(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room, params={"via": one.name})
    for client in (alice, bob):
        client.next()
    alice.send(room, "hello")
    assert bodies(timeline(bob.sync_until(lambda answer: bodies(timeline(answer, room))), room)) == ["hello"]
    bob.send(room, "hello to you")
    assert "hello to you" in bodies(
        timeline(alice.sync_until(lambda answer: "hello to you" in bodies(timeline(answer, room))), room)
    )
    for server in (one, two):
        sound(server, room)


def state_of(server: Server, room: str) -> set[str]:
    rows = server.database.query("select event_id from matrix.current_state(%s)", [room])
    return {event_id for (event_id,) in rows}


def extremities(server: Server, room: str) -> set[str]:
    statement = "select unnest(forward_extremities) from matriarch.room_extremities(%s)"
    rows = server.database.query(statement, [room])
    return {event_id for (event_id,) in rows}


def act(client, room: str, action: str, user):
    client.post(path("rooms", room, action), {"user_id": user.user_id})


def memberships(server: Server, room: str) -> dict:
    rows = server.database.query("select user_id, membership from matrix.members where room_id = %s", [room])
    return dict(rows)


def refuse_an_invite(alice, bob, room: str):
    bob.leave(room)
    eventually(lambda: members(alice, room)[bob.user_id] == "leave")
    alice.invite(room, bob)
    eventually(lambda: room in bob.sync()["rooms"].get("invite", {}))
    bob.leave(room)
    eventually(lambda: members(alice, room)[bob.user_id] == "leave")


ENDS = {
    "leaves": lambda alice, bob, room: bob.leave(room),
    "is kicked": lambda alice, bob, room: act(alice, room, "kick", bob),
    "is banned": lambda alice, bob, room: act(alice, room, "ban", bob),
    "leaves and is banned": lambda alice, bob, room: (bob.leave(room), act(alice, room, "ban", bob)),
    "refuses an invite": refuse_an_invite,
}


@pytest.mark.parametrize("version", ["10", "12"])
@pytest.mark.parametrize("how", ENDS)
def test_a_server_comes_back_to_a_room(one, two, how, version):
    """What it knew when it left counts no more."""
    alice, bob = one.register("alice"), two.register("bob")
    stays, goes, banned, freed = (one.register(name) for name in ("stays", "goes", "banned", "freed"))
    room = alice.create_room(preset="public_chat", room_version=version, name="Old name", topic="Old topic")
    for member in (stays, goes, banned, freed):
        member.join(room)
    act(alice, room, "ban", freed)
    bob.join(room, params={"via": one.name})
    bob.send(room, "hello")
    ENDS[how](alice, bob, room)
    eventually(lambda: memberships(two, room)[bob.user_id] in ("leave", "ban"))

    alice.send_state(room, "m.room.name", {"name": "New name"})
    alice.send_state(room, "m.room.topic", {"topic": "New topic"})
    levels = alice.state(room, "m.room.power_levels")
    levels["users"] = levels["users"] | {stays.user_id: 50}
    alice.send_state(room, "m.room.power_levels", levels)
    alice.send_state(room, "m.room.join_rules", {"join_rule": "invite"})
    goes.leave(room)
    act(alice, room, "ban", banned)
    act(alice, room, "unban", freed)
    stays.put(path("profile", stays.user_id, "displayname"), {"displayname": "Another"})
    if "banned" in how:
        act(alice, room, "unban", bob)
    alice.invite(room, bob)
    eventually(lambda: room in bob.sync()["rooms"].get("invite", {}))
    bob.join(room)

    eventually(lambda: state_of(one, room) == state_of(two, room))
    assert extremities(one, room) == extremities(two, room)
    assert memberships(one, room) == memberships(two, room)
    sound(two, room)
    # A repair brings nothing of it back.
    assert repair(two.database, room, dry_run=False) == []
    event_id = bob.send(room, "here again")
    eventually(lambda: event_id in extremities(one, room))
    assert state_of(one, room) == state_of(two, room)
    sound(one, room)


@pytest.mark.parametrize("version", ["10", "12"])
def test_state_that_came_with_a_join_is_seen_when_it_changes(one, two, version):
    """Both servers show every event alike."""
    alice, bob = one.register("alice"), two.register("bob")
    renamed, kicked, banned, freed = (one.register(name) for name in ("renamed", "kicked", "banned", "freed"))
    room = alice.create_room(preset="private_chat", room_version=version, name="Old", topic="Old topic")
    for member in (renamed, kicked, banned, freed):
        alice.invite(room, member)
        member.join(room)
    act(alice, room, "ban", freed)
    invite = {"user_id": bob.user_id, "reason": "be welcome"}
    alice.post(path("rooms", room, "invite"), invite)
    eventually(lambda: room in bob.next()["rooms"].get("invite", {}))
    bob.join(room)
    alice.next()
    bob.next()
    alice.send_state(room, "m.room.name", {"name": "New"})
    alice.send_state(room, "m.room.topic", {"topic": "New topic"})
    renamed.put(path("profile", renamed.user_id, "displayname"), {"displayname": "Another"})
    act(alice, room, "kick", kicked)
    act(alice, room, "ban", banned)
    act(alice, room, "unban", freed)
    last = alice.send(room, "all done")

    def changes(client):
        """What each event replaced, as the client is shown it."""
        shown = {}
        while last not in shown:
            shown |= {event["event_id"]: event["unsigned"] for event in timeline(client.next(2000), room)}
        kept = ("prev_content", "replaces_state", "membership")
        return {id: {key: all[key] for key in kept if key in all} for id, all in shown.items()}

    of_bob = changes(bob)
    assert of_bob == changes(alice)
    replaced = [unsigned.get("prev_content", {}) for unsigned in of_bob.values()]
    assert {"name": "Old"} in replaced and "Old topic" in [content.get("topic") for content in replaced]
    before = [content["membership"] for content in replaced if "membership" in content]
    assert sorted(before) == ["ban", "join", "join", "join"]
    (own,) = [event for event in bob.history(room) if event.get("state_key") == bob.user_id][-1:]
    assert own["unsigned"]["prev_content"]["membership"] == "invite"
    assert own["unsigned"]["prev_content"]["reason"] == "be welcome"


def test_state_that_came_with_a_join_can_be_read_alone(start_servers):
    """Also while no other server can be asked."""
    one, two = start_servers()
    alice, bob, carol = one.register("alice"), two.register("bob"), two.register("carol")
    room = alice.create_room(preset="public_chat")
    unset = alice.send_state(room, "m.room.topic", {"topic": "Older"})
    old = alice.send_state(room, "m.room.topic", {"topic": "Old"})
    name = alice.send_state(room, "m.room.name", {"name": "Name"})
    hello = alice.send(room, "hello")
    bob.join(room, params={"via": one.name})
    new = alice.send_state(room, "m.room.topic", {"topic": "New"})
    eventually(lambda: bob.state(room, "m.room.topic") == {"topic": "New"})
    one.node.stop()
    for event_id, content in ((old, {"topic": "Old"}), (name, {"name": "Name"})):
        assert bob.event(room, event_id)["content"] == content
        context = bob.get(path("rooms", room, "context", event_id))
        assert context["event"]["content"] == content
        assert context["events_before"] == context["events_after"] == []
        assert {"topic": "Old"} in [event["content"] for event in context["state"]]
        carol.event(room, event_id, status=404, errcode="M_NOT_FOUND")
        # Going on from there leads to what is known.
        page = bob.messages(room, dir="f", from_=context["end"])
        assert new in [event["event_id"] for event in page["chunk"]]
    for event_id in (unset, hello):
        bob.event(room, event_id, status=404, errcode="M_NOT_FOUND")


def test_an_invite_is_refused(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="private_chat")
    alice.invite(room, bob)
    assert room in bob.next()["rooms"]["invite"]
    bob.leave(room)
    assert members(alice, room) == {alice.user_id: "join", bob.user_id: "leave"}
    answer = bob.next()
    assert room in answer["rooms"]["leave"]
    assert room not in bob.sync()["rooms"].get("invite", {})
    bob.join(room, status=403, errcode="M_FORBIDDEN", params={"via": one.name})


def test_an_invite_of_a_server_that_is_gone_is_refused(start_servers):
    one, two = start_servers()
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="private_chat")
    alice.invite(room, bob)
    one.node.stop()
    bob.leave(room)
    assert room not in bob.sync()["rooms"].get("invite", {})


def test_leaving_twice_is_no_error(start_servers):
    one, two = start_servers()
    alice, bob, carol = one.register("alice"), two.register("bob"), two.register("carol")
    room, other = alice.create_room(preset="public_chat"), alice.create_room(preset="private_chat")
    bob.join(room, params={"via": one.name})
    alice.invite(other, bob)
    eventually(lambda: other in bob.sync()["rooms"].get("invite", {}))
    for left in (room, other):
        bob.leave(left)
    one.node.stop()
    for left in (room, other):
        assert bob.leave(left) == {}
        carol.leave(left, status=404, errcode="M_NOT_FOUND")


def test_aliases_name_the_servers_in_the_room(start_servers):
    one, two, three = start_servers(3)
    alice, bob, carol, dan = (
        server.register(name)
        for server, name in ((one, "alice"), (two, "bob"), (two, "carol"), (three, "dan"))
    )
    room = alice.create_room(preset="public_chat", room_alias_name="hall")
    alias = path("directory", "room", f"#hall:{one.name}")

    def servers(client=alice):
        return client.get(alias)["servers"]

    assert servers() == [one.name]
    for member in (dan, bob, carol):
        member.join(room, params={"via": one.name})
    # This server is told of a further user of a server that was in the room by a transaction.
    eventually(lambda: servers() == servers(dan) == [one.name, two.name, three.name])
    alice.leave(room)
    eventually(lambda: members(bob, room)[alice.user_id] == "leave")
    assert servers() == servers(dan) == [two.name, three.name]
    # The room lives on, also for those who ask by its alias.
    eve = three.register("eve")
    assert eve.join(f"#hall:{one.name}") == {"room_id": room}
    erin = one.register("erin")
    assert erin.join(f"#hall:{one.name}") == {"room_id": room}
    assert servers()[0] == one.name


def refusal(status: int, errcode: str, **more):
    return status, {"errcode": errcode, "error": "Because.", **more}


BANNED = refusal(403, "M_FORBIDDEN")
UNABLE = refusal(400, "M_UNABLE_TO_AUTHORISE_JOIN")
INCOMPATIBLE = refusal(400, "M_INCOMPATIBLE_ROOM_VERSION", room_version="12.5")
UNKNOWN = refusal(404, "M_NOT_FOUND")
BUSY = refusal(429, "M_LIMIT_EXCEEDED", retry_after_ms=1500)
BROKEN = refusal(500, "M_UNKNOWN")
BARE = 404, []


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (BANNED, BUSY, BANNED),
        (BANNED, BARE, BANNED),
        (UNABLE, UNKNOWN, UNABLE),
        (UNABLE, BROKEN, UNABLE),
        (UNKNOWN, UNABLE, UNABLE),
        (BROKEN, UNKNOWN, UNKNOWN),
        (BARE, UNKNOWN, UNKNOWN),
        (BROKEN, BUSY, BUSY),
        (INCOMPATIBLE, UNABLE, INCOMPATIBLE),
        (UNABLE, BANNED, UNABLE),
    ],
)
@pytest.mark.parametrize("action", ["join", "knock"])
def test_what_says_most_is_passed_on(one, remote_servers, action, first, second, told):
    user, servers = one.register("user"), remote_servers(2)
    for server, answer in zip(servers, (first, second), strict=True):
        server.hooks[f"make_{action}"] = lambda *_, answer=answer: answer
    room = f"!room:{servers[0].name}"
    via = [server.name for server in servers]
    status, expected = told
    answer = user.post(path(action, room), params={"via": via}, status=status, errcode=expected["errcode"])
    if told is not BUSY:
        assert answer == expected
    assert answer.get("retry_after_ms") == expected.get("retry_after_ms")
    # What is forbidden is forbidden by all servers of the room.
    assert len(servers[1].asked_for(f"make_{action}")) == (0 if first is BANNED else 1)


def test_failures_of_other_servers_tell_no_insides(one, remote_servers):
    user, (server,) = one.register("user"), remote_servers()
    for answer in (BROKEN, BARE, refusal(400, "M_BAD_JSON"), (403, [])):
        server.hooks["make_join"] = lambda *_, answer=answer: answer
        user.join(f"!a:{server.name}", params={"via": server.name}, status=502, errcode="M_UNKNOWN")
    room = user.create_room()
    answer = user.invite(room, "@x:nonsense..name", status=502, errcode="M_UNKNOWN")
    assert answer["error"] == "The other server gave no usable answer"


def test_a_room_version_that_is_not_known(one, remote_servers):
    user, (server,) = one.register("user"), remote_servers()
    server.hooks["make_join"] = lambda *_: (200, {"room_version": "12.5", "event": {}})
    errcode = "M_INCOMPATIBLE_ROOM_VERSION"
    answer = user.join(f"!a:{server.name}", params={"via": server.name}, status=400, errcode=errcode)
    assert answer["room_version"] == "12.5"


def test_what_the_server_of_an_invited_user_refuses(one, remote_servers):
    user, (server,) = one.register("user"), remote_servers()
    room = user.create_room(preset="private_chat")
    server.hooks["invite"] = lambda *_: INCOMPATIBLE
    assert user.invite(room, server.user("x"), status=400) == INCOMPATIBLE[1]
    server.hooks["invite"] = lambda *_: BUSY
    answer = user.invite(room, server.user("x"), status=429, errcode="M_LIMIT_EXCEEDED")
    assert answer["retry_after_ms"] == 1500
    for errcode in ("M_MISSING_PARAM", "M_INVALID_PARAM"):
        server.hooks["invite"] = lambda *_, errcode=errcode: refusal(400, errcode)
        user.invite(room, server.user("x"), status=502, errcode="M_UNKNOWN")


@pytest.mark.parametrize("version", ["1", "2", "10"])
@pytest.mark.parametrize("status", [400, 404])
def test_old_servers_are_invited_by_the_first_version_of_the_endpoint(one, remote_servers, version, status):
    user, (server,) = one.register("user"), remote_servers()
    room = user.create_room(preset="private_chat", room_version=version, name="Hall")
    paths = []

    def sign(handler, parts, _query, body):
        paths.append(handler.path.split("/")[3])
        if paths[-1] == "v2":
            return refusal(status, "M_UNRECOGNIZED")
        state = body["unsigned"]["invite_room_state"]
        assert {"name": "Hall"} in [event["content"] for event in state]
        del body["unsigned"]
        server.sign(body)
        return 200, [200, {"event": body}]

    server.hooks["invite"] = sign
    if version == "10":
        user.invite(room, server.user("x"), status=502, errcode="M_UNKNOWN")
        assert paths == ["v2"]
    else:
        user.invite(room, server.user("x"))
        assert paths == ["v2", "v1"]
        assert members(user, room)[server.user("x")] == "invite"


def test_invites_to_a_new_room_are_tried_again(one, remote_servers):
    user, (server,) = one.register("user"), remote_servers()
    failures = iter([BROKEN])

    def sign(_handler, _parts, _query, body):
        if failure := next(failures, None):
            return failure
        server.sign(body["event"])
        return 200, {"event": body["event"]}

    server.hooks["invite"] = sign
    room = user.create_room(preset="private_chat", room_version="11", invite=[server.user("x")])
    assert server.user("x") not in members(user, room)
    eventually(lambda: members(user, room).get(server.user("x")) == "invite")


@pytest.mark.parametrize("by", ["redact", "send"])
def test_events_from_before_the_join_are_redacted(one, two, by):
    alice, bob = one.register("alice"), two.register("bob")
    levels = {"users": {alice.user_id: 100, bob.user_id: 50}}
    room = alice.create_room(preset="public_chat", room_version="11", power_level_content_override=levels)
    old = alice.send(room, "old")
    bob.join(room, params={"via": one.name})
    if by == "redact":
        bob.redact(room, old)
    else:
        bob.send(room, {"redacts": old}, type="m.room.redaction")
    assert bob.event(room, old)["content"] == {}
    eventually(lambda: alice.event(room, old)["content"] == {})
    where = path("rooms", room, "redact", "$nobody-has-this", "txn")
    bob.put(where, status=404, errcode="M_NOT_FOUND")


def test_knocking(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="private_chat", name="Knock first")
    alice.send_state(room, "m.room.join_rules", {"join_rule": "knock"})
    bob.next()
    assert bob.post(path("knock", room), {"reason": "please"}, params={"via": one.name}) == {"room_id": room}
    state = bob.next()["rooms"]["knock"][room]["knock_state"]["events"]
    assert {"name": "Knock first"} in [event["content"] for event in state]
    assert alice.state(room, "m.room.member", bob.user_id)["reason"] == "please"
    alice.invite(room, bob)
    assert room in bob.next()["rooms"]["invite"]
    bob.join(room)
    assert members(alice, room)[bob.user_id] == "join"
