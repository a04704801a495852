"""Lazy-loaded members: those who sent what is shown, in sync, messages and context."""

import json

import pytest

from harness.client import path, timeline

LAZY = {"room": {"state": {"lazy_load_members": True}}}


@pytest.fixture
def herd(node):
    """A named room of six, in which the third has spoken last: the users and the room."""
    users = [node.register("herd") for _ in range(6)]
    room = users[0].create_room(preset="public_chat", name="Herd")
    for user in users[1:]:
        user.join(room)
    for n in range(12):
        users[2].send(room, str(n))
    return users, room


def members(events: list[dict]) -> set[str]:
    return {event["state_key"] for event in events if event["type"] == "m.room.member"}


def test_initial_sync_has_senders_and_oneself(herd):
    users, room = herd
    section = users[0].sync(filter=LAZY)["rooms"]["join"][room]
    assert members(section["state"]["events"]) == {users[0].user_id, users[2].user_id}
    assert "m.room.name" in [event["type"] for event in section["state"]["events"]]
    eager = users[0].sync()["rooms"]["join"][room]
    assert members(eager["state"]["events"]) == {user.user_id for user in users}


def test_incremental_sync_has_the_members_who_spoke(herd):
    users, room = herd
    since = users[0].sync(filter=LAZY)["next_batch"]
    users[4].send(room, "hello")
    section = users[0].sync(since, filter=LAZY)["rooms"]["join"][room]
    assert members(section["state"]["events"]) == {users[4].user_id}
    assert users[0].sync(since)["rooms"]["join"][room]["state"]["events"] == []
    state_after = {"org.matrix.msc4222.use_state_after": "true"}
    after = users[0].sync(since, filter=LAZY, **state_after)["rooms"]["join"][room]
    assert members(after["org.matrix.msc4222.state_after"]["events"]) == {users[4].user_id}


def test_a_gap_brings_all_memberships_that_changed(herd):
    users, room = herd
    since = users[0].sync(filter=LAZY)["next_batch"]
    users[5].leave(room)
    users[3].put(path("profile", users[3].user_id, "displayname"), {"displayname": "Trunk"})
    for n in range(12):
        users[2].send(room, str(n))
    section = users[0].sync(since, filter=LAZY)["rooms"]["join"][room]
    assert section["timeline"]["limited"] is True
    assert members(section["state"]["events"]) == {user.user_id for user in (users[2], users[3], users[5])}


def test_joining_brings_ones_own_membership(herd, node):
    users, room = herd
    late = node.register("late")
    since = late.sync(filter=LAZY)["next_batch"]
    late.join(room)
    for n in range(12):
        users[1].send(room, str(n))
    section = late.sync(since, filter=LAZY)["rooms"]["join"][room]
    assert members(section["state"]["events"]) == {late.user_id, users[1].user_id}


def test_heroes_come_with_a_room_that_has_no_name(node):
    users = [node.register("herd") for _ in range(8)]
    room = users[0].create_room(preset="public_chat")
    for user in users[1:]:
        user.join(room)
    for n in range(12):
        users[0].send(room, str(n))
    section = users[0].sync(filter=LAZY)["rooms"]["join"][room]
    heroes = section["summary"]["m.heroes"]
    assert len(heroes) == 5
    assert members(section["state"]["events"]) == {users[0].user_id, *heroes}


def test_members_are_those_at_the_start_of_the_timeline(herd):
    users, room = herd
    since = users[0].sync(filter=LAZY)["next_batch"]
    users[1].send(room, "before")
    users[1].put(path("profile", users[1].user_id, "displayname"), {"displayname": "New"})
    users[1].send(room, "after")
    answer = users[0].sync(since, filter=LAZY)
    (member,) = answer["rooms"]["join"][room]["state"]["events"]
    assert member["content"].get("displayname") != "New"
    assert [event["type"] for event in timeline(answer, room)].count("m.room.member") == 1


def test_messages_and_context(herd):
    users, room = herd
    users[3].send(room, "one more")
    lazy = json.dumps({"lazy_load_members": True})
    page = users[0].messages(room, limit=4, filter=lazy)
    assert members(page["state"]) == {users[2].user_id, users[3].user_id}
    assert "state" not in users[0].messages(room, limit=4)
    event_id = page["chunk"][0]["event_id"]
    where = path("rooms", room, "context", event_id)
    context = users[0].get(where, params={"limit": 2, "filter": lazy})
    assert members(context["state"]) == {users[2].user_id, users[3].user_id}
    assert "m.room.create" in [event["type"] for event in context["state"]]
    assert members(users[0].get(where)["state"]) == {user.user_id for user in users}
