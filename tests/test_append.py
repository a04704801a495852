"""Appending events: many writers, idempotency, redactions, what is refused."""

import pytest

from harness import functions
from harness.functions import Refused, Request, User, stored_event

VERSIONS = [str(version) for version in range(1, 13)]


@pytest.fixture
def rooms(database):
    functions.initialize(database)
    return database


@pytest.mark.parametrize("version", VERSIONS)
def test_a_room_of_every_version(rooms, version):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    room = alice.create_room(room_version=version, preset="public_chat", name="A room", topic="To try things")
    bob.join(room)
    event_id = bob.send(room, "hi")
    event = stored_event(rooms, event_id)
    assert event["sender"] == bob.user_id
    assert event["content"] == {"msgtype": "m.text", "body": "hi"}
