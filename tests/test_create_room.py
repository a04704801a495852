"""POST /createRoom: what the request's parts become, in which order, and what is refused."""

import json
import threading

import pytest

from harness.client import path
from harness.functions import Refused, User, state_content

ALL = [str(version) for version in range(1, 13)]


def timeline(database, room):
    """Type, state key and content of every event, in order."""
    statement = """
        select e.json from matriarch.events e join matriarch.rooms r using (room_nid) where r.room_id = %s
        order by e.pos"""
    events = [json.loads(row[0]) for row in database.query(statement, [room])]
    return [(event["type"], event.get("state_key"), event["content"]) for event in events]


def counted(database):
    return [
        database.query(f"select count(*) from matriarch.{table}")[0][0]
        for table in ("rooms", "events", "room_aliases")
    ]


def refused(status, errcode, call, **body):
    with pytest.raises(Refused) as caught:
        call(**body)
    assert (caught.value.status, caught.value.errcode) == (status, errcode), caught.value
    return caught.value


@pytest.mark.parametrize("version", ALL)
def test_order_of_events(rooms, version):
    alice, bob, carol = (User(rooms, name) for name in ("alice", "bob", "carol"))
    alice.set_profile(displayname="Alice")
    bob.set_profile(displayname="Bob", avatar_url="mxc://test.example/b")
    room = alice.create_room(
        room_version=version,
        visibility="public",
        room_alias_name=f"pub{version}",
        name="The pub",
        topic="Beer",
        invite=[bob.user_id, carol.user_id, bob.user_id],
        creation_content={
            "m.federate": False,
            "creator": "@x:test.example",
            "room_version": "x",
            "type": "m.space",
        },
        initial_state=[
            {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}},
            {"type": "org.example", "state_key": "k", "content": {"a": 1}},
            {"type": "m.room.name", "state_key": "", "content": {"name": "overwritten"}},
        ],
    )
    events = timeline(rooms, room)
    assert [(type, key) for type, key, _ in events] == [
        ("m.room.create", ""),
        ("m.room.member", alice.user_id),
        ("m.room.power_levels", ""),
        ("m.room.canonical_alias", ""),
        ("m.room.join_rules", ""),
        ("m.room.guest_access", ""),
        ("m.room.history_visibility", ""),
        ("org.example", "k"),
        ("m.room.name", ""),
        ("m.room.name", ""),
        ("m.room.topic", ""),
        ("m.room.member", bob.user_id),
        ("m.room.member", carol.user_id),
    ]
    contents = {(type, key): content for type, key, content in events}
    create = {"m.federate": False, "room_version": version, "type": "m.space"}
    if int(version) < 11:
        create["creator"] = alice.user_id
    assert contents["m.room.create", ""] == create
    assert contents["m.room.member", alice.user_id] == {"membership": "join", "displayname": "Alice"}
    invite = {"membership": "invite", "displayname": "Bob", "avatar_url": "mxc://test.example/b"}
    assert contents["m.room.member", bob.user_id] == invite
    assert contents["m.room.canonical_alias", ""] == {"alias": f"#pub{version}:test.example"}
    assert contents["m.room.join_rules", ""] == {"join_rule": "public"}
    assert contents["m.room.guest_access", ""] == {"guest_access": "forbidden"}
    assert contents["m.room.history_visibility", ""] == {"history_visibility": "joined"}
    assert contents["m.room.name", ""] == {"name": "The pub"}
    assert contents["m.room.topic", ""] == {"topic": "Beer", "m.topic": {"m.text": [{"body": "Beer"}]}}
    levels = contents["m.room.power_levels", ""]
    if version == "12":
        assert levels["users"] == {}
        assert levels["events"]["m.room.tombstone"] > levels["state_default"]
    else:
        assert levels["users"] == {alice.user_id: 100}
    row = rooms.query(
        "select published, joined_members, invited_members from matriarch.rooms where room_id = %s", [room]
    )
    assert row == [(True, 1, 2)]
    alice.send(room)


@pytest.mark.parametrize(
    ("preset", "join_rule", "guest_access"),
    [
        ("private_chat", "invite", "can_join"),
        ("trusted_private_chat", "invite", "can_join"),
        ("public_chat", "public", "forbidden"),
        (None, "invite", "can_join"),
    ],
)
def test_presets(rooms, preset, join_rule, guest_access):
    alice = User(rooms, "alice")
    room = alice.create_room(**({"preset": preset} if preset else {}))
    assert state_content(rooms, room, "m.room.join_rules") == {"join_rule": join_rule}
    assert state_content(rooms, room, "m.room.guest_access") == {"guest_access": guest_access}
    assert state_content(rooms, room, "m.room.history_visibility") == {"history_visibility": "shared"}
    create = state_content(rooms, room, "m.room.create")
    assert create == {"room_version": "12"}


def test_preset_beats_visibility(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room(visibility="public", preset="private_chat")
    assert state_content(rooms, room, "m.room.join_rules") == {"join_rule": "invite"}
    assert rooms.query("select published from matriarch.rooms where room_id = %s", [room]) == [(True,)]


def test_trusted_private_chat_makes_equals(rooms):
    alice, bob, carol = (User(rooms, name) for name in ("alice", "bob", "carol"))
    body = {"preset": "trusted_private_chat", "invite": [bob.user_id], "is_direct": True}
    room = alice.create_room(room_version="11", **body)
    assert state_content(rooms, room, "m.room.power_levels")["users"] == {
        alice.user_id: 100,
        bob.user_id: 100,
    }
    assert state_content(rooms, room, "m.room.member", bob.user_id)["is_direct"] is True
    creators = {"additional_creators": [carol.user_id, bob.user_id]}
    room = alice.create_room(creation_content=creators, **body)
    assert state_content(rooms, room, "m.room.create")["additional_creators"] == [carol.user_id, bob.user_id]
    assert state_content(rooms, room, "m.room.power_levels")["users"] == {}
    bob.join(room)
    bob.send_state(room, "m.room.tombstone", {"body": "gone", "replacement_room": "!x"})


def test_power_level_override(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    override = {"users": {alice.user_id: 100, bob.user_id: 50}, "invite": 75, "events": {"org.example": 1}}
    room = alice.create_room(room_version="11", power_level_content_override=override)
    levels = state_content(rooms, room, "m.room.power_levels")
    assert levels["invite"] == 75 and levels["events"] == {"org.example": 1} and levels["ban"] == 50
    assert levels["users"][bob.user_id] == 50
    room = alice.create_room(power_level_content_override={"events": {"org.example": 1}})
    levels = state_content(rooms, room, "m.room.power_levels")
    assert levels["events"] == {"org.example": 1, "m.room.tombstone": 150}
    room = alice.create_room(power_level_content_override={"state_default": 200})
    assert state_content(rooms, room, "m.room.power_levels")["events"]["m.room.tombstone"] > 200


def test_levels_of_creators_are_dropped_where_no_version_was_named(rooms):
    """Clients that know nothing of privileged creators give the creator a level."""
    alice, bob, carol = (User(rooms, name) for name in ("alice", "bob", "carol"))
    users = {alice.user_id: 100, bob.user_id: 100, carol.user_id: 50}
    body = {"preset": "trusted_private_chat", "invite": [bob.user_id]}
    levels = [{"type": "m.room.power_levels", "state_key": "", "content": {"users": users}}]
    for given in ({"power_level_content_override": {"users": users}}, {"initial_state": levels}):
        room = alice.create_room(**body, **given)
        assert state_content(rooms, room, "m.room.power_levels")["users"] == {carol.user_id: 50}
        create = alice.create_room
        asked = refused(400, "M_INVALID_ROOM_STATE", create, room_version="12", **body, **given)
        assert asked.error == f"`users` must not name {alice.user_id}: creators have unlimited power."


def test_a_creator_without_a_level_is_told_so(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    override = {"users": {bob.user_id: 100}}
    create = alice.create_room
    without = refused(
        400, "M_INVALID_ROOM_STATE", create, room_version="11", power_level_content_override=override
    )
    assert without.error == f"`users` must give {alice.user_id}, the room's creator, a level."
    alice.create_room(room_version="11", power_level_content_override={**override, "users_default": 100})


def test_room_versions_are_a_setting(database, start_nodes):
    """What /capabilities tells is what /createRoom and /upgrade do."""
    settings = {
        "MATRIARCH_ROOM_VERSIONS__DEFAULT": "11",
        "MATRIARCH_ROOM_VERSIONS__AVAILABLE": '["10", 11]',
    }
    (node,) = start_nodes(database, **settings)
    alice = node.register("alice")
    versions = alice.get("/capabilities")["capabilities"]["m.room_versions"]
    assert versions == {"default": "11", "available": {"10": "stable", "11": "stable"}}
    override = {"users": {alice.user_id: 100}}
    room = alice.create_room(power_level_content_override=override)
    assert alice.state(room, "m.room.create")["room_version"] == "11"
    assert alice.state(room, "m.room.power_levels")["users"] == override["users"]
    for where, body in [
        ("/createRoom", {"room_version": "12"}),
        (path("rooms", room, "upgrade"), {"new_version": "12"}),
    ]:
        alice.post(where, body, status=400, errcode="M_UNSUPPORTED_ROOM_VERSION")
    alice.post(path("rooms", room, "upgrade"), {"new_version": "10"})


def test_refusals_leave_nothing(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    alice.create_room(room_alias_name="taken")
    before = counted(rooms)
    create = alice.create_room
    refused(400, "M_UNSUPPORTED_ROOM_VERSION", create, room_version="13")
    refused(400, "M_BAD_JSON", create, room_version=12)
    refused(400, "M_INVALID_PARAM", create, visibility="secret")
    refused(400, "M_INVALID_PARAM", create, preset="chat")
    refused(400, "M_BAD_JSON", create, invite="@a:test.example")
    refused(400, "M_INVALID_PARAM", create, invite=["a"])
    refused(400, "M_BAD_JSON", create, name=1)
    refused(400, "M_BAD_JSON", create, initial_state=[{"type": "x"}])
    refused(400, "M_BAD_JSON", create, creation_content={"additional_creators": "x"})
    refused(400, "M_BAD_JSON", create, creation_content={"additional_creators": ["x"]})
    refused(400, "M_INVALID_PARAM", create, room_alias_name="#taken:test.example")
    refused(400, "M_INVALID_PARAM", create, room_alias_name="")
    refused(400, "M_INVALID_PARAM", create, room_alias_name="a" * 250)
    refused(400, "M_INVALID_PARAM", create, room_alias_name="a\0")
    third_party = [{"id_server": "x", "id_access_token": "x", "medium": "email", "address": "a@b"}]
    refused(403, "M_SERVER_NOT_TRUSTED", create, invite_3pid=third_party)
    refused(400, "M_ROOM_IN_USE", create, room_alias_name="taken", name="x")
    weak = {"users": {alice.user_id: 10}}
    refused(
        400, "M_INVALID_ROOM_STATE", create, room_version="11", power_level_content_override=weak, name="x"
    )
    refused(400, "M_INVALID_ROOM_STATE", create, initial_state=[{"type": "m.room.create", "content": {}}])
    refused(
        400,
        "M_BAD_ALIAS",
        create,
        initial_state=[{"type": "m.room.canonical_alias", "content": {"alias": "#no:test.example"}}],
    )
    refused(400, "M_INVALID_PARAM", create, initial_state=[{"type": "a\0", "content": {}}])
    refused(413, "M_TOO_LARGE", create, topic="x" * 70_000)
    refused(400, "M_BAD_JSON", create, initial_state=[{"type": "x", "content": {"a": 1.5}}])
    refused(403, "M_FORBIDDEN", create, invite=[alice.user_id])
    assert counted(rooms) == before
    alice.create_room(invite=[bob.user_id, "@nobody:test.example", "@far:elsewhere.example"])


def test_initial_state_may_encrypt_and_ban(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    room = alice.create_room(
        initial_state=[
            {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}},
            {"type": "m.room.member", "state_key": bob.user_id, "content": {"membership": "ban"}},
        ]
    )
    assert state_content(rooms, room, "m.room.member", bob.user_id) == {"membership": "ban"}
    assert state_content(rooms, room, "m.room.encryption") == {"algorithm": "m.megolm.v1.aes-sha2"}


def test_two_rooms_at_the_same_moment_are_two(rooms):
    """Since version 12 the room's id is made of the create event, which two requests may make alike."""
    alice = User(rooms, "alice")
    connections = [rooms.connect("matriarch_api") for _ in range(4)]
    created = []
    threads = [
        threading.Thread(
            target=lambda c=connection: created.extend(alice.on(c).create_room() for _ in range(10))
        )
        for connection in connections
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(created)) == 40
