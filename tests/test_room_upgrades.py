"""Room upgrades. Client-Server API, "Room Upgrades"."""

import pytest

from harness.client import path, timeline


def upgrade(client, room: str, version: str, **body) -> str:
    return client.post(path("rooms", room, "upgrade"), {"new_version": version, **body})["replacement_room"]


def types(client, room) -> set:
    return {(event["type"], event["state_key"]) for event in client.get(path("rooms", room, "state"))}


def absent(client, room, type):
    client.state(room, type, status=404, errcode="M_NOT_FOUND")


@pytest.mark.parametrize(
    ("old", "new"), [("1", "2"), ("9", "10"), ("10", "11"), ("11", "12"), ("12", "12"), ("12", "11")]
)
def test_a_room_is_replaced(shared_database, node, old, new):
    alice, bob, carol = (node.register(name) for name in ("alice", "bob", "carol"))
    state = {
        "m.room.history_visibility": {"history_visibility": "invited"},
        "m.room.guest_access": {"guest_access": "forbidden"},
        "m.room.avatar": {"url": "mxc://test.example/a"},
        "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
        "m.room.server_acl": {"allow": ["*"], "deny": ["bad.example"]},
    }
    room = alice.create_room(
        preset="public_chat", name="Name", topic="Topic", room_version=old,
        creation_content={"type": "org.example.kind", "m.federate": False},
        initial_state=[{"type": type, "content": content} for type, content in state.items()],
    )  # fmt: skip
    for member in (bob, carol):
        member.join(room)
    alice.send_state(room, "org.example.own", {"a": 1})
    levels = alice.state(room, "m.room.power_levels")
    levels["users"][bob.user_id] = 60
    alice.send_state(room, "m.room.power_levels", levels)
    alice.post(path("rooms", room, "ban"), {"user_id": carol.user_id, "reason": "no"})
    bob.next()

    replacement = upgrade(alice, room, new)
    create = alice.state(replacement, "m.room.create")
    assert (create["room_version"], create["type"], create["m.federate"]) == (new, "org.example.kind", False)
    assert create["predecessor"]["room_id"] == room
    tombstone = alice.get(path("rooms", room, "state", "m.room.tombstone"), params={"format": "event"})
    assert tombstone["content"]["replacement_room"] == replacement
    assert create["predecessor"].get("event_id") == (None if new == "12" else tombstone["event_id"])
    for type in (*state, "m.room.name", "m.room.topic", "m.room.join_rules"):
        assert alice.state(replacement, type) == alice.state(room, type)
    absent(alice, replacement, "org.example.own")
    assert alice.state(replacement, "m.room.member", carol.user_id) == {"membership": "ban", "reason": "no"}
    members = {key for type, key in types(alice, replacement) if type == "m.room.member"}
    assert members == {alice.user_id, carol.user_id}

    found = alice.state(replacement, "m.room.power_levels")
    assert found["users"][bob.user_id] == 60
    assert (alice.user_id in found["users"]) == (new != "12")
    assert found["ban"] == levels["ban"]
    # Bob sees where to go, and nobody but moderators talks here any more.
    assert "m.room.tombstone" in [event["type"] for event in timeline(bob.next(), room)]
    grave = alice.state(room, "m.room.power_levels")
    assert (grave["events_default"], grave["invite"]) == (50, 50)
    bob.join(replacement)
    bob.send(replacement, "here we are")
    for one in (room, replacement):
        assert shared_database.query("select * from matrix.verify_room(%s)", [one]) == []


def test_who_may(node):
    alice, bob, eve = (node.register(name) for name in ("alice", "bob", "eve"))
    room = alice.create_room(preset="public_chat", room_version="11")
    bob.join(room)
    for other in (bob, eve):
        other.post(path("rooms", room, "upgrade"), {"new_version": "12"}, status=403, errcode="M_FORBIDDEN")
    alice.post(
        path("rooms", room, "upgrade"),
        {"new_version": "none"},
        status=400,
        errcode="M_UNSUPPORTED_ROOM_VERSION",
    )
    alice.post(path("rooms", room, "upgrade"), {}, status=400, errcode="M_MISSING_PARAM")
    alice.post(
        path("rooms", "!none:test.example", "upgrade"),
        {"new_version": "12"},
        status=404,
        errcode="M_NOT_FOUND",
    )
    body = {"new_version": "12", "additional_creators": ["nobody"]}
    alice.post(path("rooms", room, "upgrade"), body, status=400, errcode="M_BAD_JSON")
    absent(alice, room, "m.room.tombstone")
    # Who may send the tombstone, and little else, copies all the same.
    levels = alice.state(room, "m.room.power_levels")
    levels["users"] |= {alice.user_id: 100, bob.user_id: 20}
    levels["events"]["m.room.tombstone"] = 20
    alice.send_state(room, "m.room.power_levels", levels)
    replacement = upgrade(bob, room, "11")
    assert bob.state(replacement, "m.room.power_levels")["users"] == {alice.user_id: 100, bob.user_id: 20}
    # What he may not do in the old room stays undone.
    assert bob.state(room, "m.room.power_levels") == levels


def test_creators(node):
    alice, bob, carol = (node.register(name) for name in ("alice", "bob", "carol"))
    room = alice.create_room(preset="public_chat", room_version="11", power_level_content_override={"users": {
        alice.user_id: 100, bob.user_id: 100, carol.user_id: 50,
    }})  # fmt: skip
    newer = upgrade(alice, room, "12", additional_creators=[bob.user_id, bob.user_id])
    create = alice.state(newer, "m.room.create")
    assert create["additional_creators"] == [bob.user_id]
    levels = alice.state(newer, "m.room.power_levels")
    assert levels["users"] == {carol.user_id: 50}
    assert levels["events"]["m.room.tombstone"] == 150
    # They are not taken over.
    newest = upgrade(alice, newer, "12")
    assert "additional_creators" not in alice.state(newest, "m.room.create")
    # A version that has none ignores them, and gives levels to those who were creators.
    older = upgrade(alice, newer, "11", additional_creators=[carol.user_id])
    assert alice.state(older, "m.room.power_levels")["users"] == {
        alice.user_id: 100,
        bob.user_id: 100,
        carol.user_id: 50,
    }


def test_aliases_and_the_directory(node):
    alice, bob = node.register("alice"), node.register("bob")
    name = alice.user_id.split(":")[0][1:]
    room = alice.create_room(
        preset="public_chat", room_version="11", visibility="public", room_alias_name=name
    )
    alias, other = f"#{name}:test.example", f"#{name}-too:test.example"
    alice.put(path("directory", "room", other), {"room_id": room})
    alice.send_state(room, "m.room.canonical_alias", {"alias": alias, "alt_aliases": [other]})
    replacement = upgrade(alice, room, "12")
    for one in (alias, other):
        assert bob.get(path("directory", "room", one))["room_id"] == replacement
    assert alice.state(replacement, "m.room.canonical_alias") == {"alias": alias, "alt_aliases": [other]}
    assert alice.state(room, "m.room.canonical_alias") == {}
    assert alice.get(path("directory", "list", "room", room)) == {"visibility": "private"}
    assert alice.get(path("directory", "list", "room", replacement)) == {"visibility": "public"}


def test_a_space(node):
    alice = node.register("alice")
    space = alice.create_room(creation_content={"type": "m.space"}, room_version="11")
    alice.send_state(space, "m.space.child", {"via": ["test.example"]}, "!child:test.example")
    replacement = upgrade(alice, space, "12")
    assert alice.state(replacement, "m.space.child", "!child:test.example") == {"via": ["test.example"]}


def test_what_is_personal_follows(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat", room_version="11")
    bob.join(room)
    for user in (alice, bob):
        user.put(path("user", user.user_id, "rooms", room, "tags", "m.favourite"), {"order": 0.25})
    direct = {alice.user_id: [room], "@else:test.example": ["!else:test.example"]}
    bob.put(path("user", bob.user_id, "account_data", "m.direct"), direct)
    replacement = upgrade(alice, room, "12")
    bob.next()
    bob.join(replacement)
    answer = bob.next()
    for user in (alice, bob):
        tags = user.get(path("user", user.user_id, "rooms", replacement, "tags"))
        assert tags == {"tags": {"m.favourite": {"order": 0.25}}}
    direct[alice.user_id].append(replacement)
    assert bob.get(path("user", bob.user_id, "account_data", "m.direct")) == direct
    assert {"type": "m.direct", "content": direct} in answer["account_data"]["events"]
    tags = {"type": "m.tag", "content": {"tags": {"m.favourite": {"order": 0.25}}}}
    assert tags in answer["rooms"]["join"][replacement]["account_data"]["events"]
