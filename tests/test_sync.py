"""GET /sync: sections, timelines, state, and what wakes a long poll."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import bodies, path, timeline


@pytest.fixture
def alice(node):
    return node.register("alice")


@pytest.fixture
def bob(node):
    return node.register("bob")


def joined(answer: dict, room: str) -> dict:
    """A joined room's section."""
    return answer["rooms"]["join"][room]


def state_of(section: dict, name: str = "state") -> dict:
    """(type, state key) to content."""
    return {(event["type"], event["state_key"]): event["content"] for event in section[name]["events"]}


def test_initial_sync_has_whole_state_and_timeline(alice):
    room = alice.create_room(name="Elephants", preset="public_chat")
    sent = [alice.send(room, f"message {n}") for n in range(3)]
    answer = alice.sync(filter={"room": {"timeline": {"limit": 2}}})
    section = joined(answer, room)
    assert [event["event_id"] for event in section["timeline"]["events"]] == sent[1:]
    assert section["timeline"]["limited"] is True
    state = state_of(section)
    assert state["m.room.name", ""] == {"name": "Elephants"}
    assert state["m.room.member", alice.user_id]["membership"] == "join"
    assert ("m.room.create", "") in state
    assert section["summary"]["m.joined_member_count"] == 1
    assert section["summary"]["m.invited_member_count"] == 0


def test_state_is_that_before_the_timeline(alice):
    room = alice.create_room()
    answer = alice.sync(filter={"room": {"timeline": {"limit": 1000}}})
    section = joined(answer, room)
    assert section["state"]["events"] == []
    assert section["timeline"]["limited"] is False
    assert section["timeline"]["events"][0]["type"] == "m.room.create"


def test_state_after_is_that_behind_the_timeline(alice):
    room = alice.create_room()
    answer = alice.sync(use_state_after="true", filter={"room": {"timeline": {"limit": 1000}}})
    section = joined(answer, room)
    assert "state" not in section
    assert ("m.room.create", "") in state_of(section, "state_after")
    alice.send(room)
    alice.send_state(room, "m.room.topic", {"topic": "ivory"})
    answer = alice.sync(answer["next_batch"], use_state_after="true")
    assert state_of(joined(answer, room), "state_after") == {("m.room.topic", ""): {"topic": "ivory"}}


def test_incremental_sync_brings_only_what_is_new(alice, bob):
    room = alice.create_room(preset="public_chat")
    other = alice.create_room()
    bob.join(room)
    since = alice.sync()["next_batch"]
    event_id = bob.send(room, "news")
    answer = alice.sync(since)
    assert list(answer["rooms"]["join"]) == [room]
    assert other not in answer["rooms"]["join"]
    section = joined(answer, room)
    assert [event["event_id"] for event in section["timeline"]["events"]] == [event_id]
    assert section["timeline"]["limited"] is False
    assert section["state"]["events"] == []
    assert alice.sync(since)["rooms"]["join"][room]["timeline"]["events"][0]["event_id"] == event_id
    assert alice.sync(answer["next_batch"])["rooms"]["join"] == {}


def test_events_in_a_sync_have_no_room_id_but_an_age(alice):
    room = alice.create_room()
    alice.send(room)
    event = timeline(alice.sync(), room)[-1]
    assert "room_id" not in event
    assert 0 <= event["unsigned"]["age"] < 60_000
    for key in ("auth_events", "prev_events", "hashes", "signatures", "depth"):
        assert key not in event
