"""GET /versions: what clients are told that this server has."""

import pytest

from harness.client import path

# For each feature, a request that only a server with that feature answers with 200.
FEATURES = {
    "com.beeper.msc4169": lambda alice, room: alice.send(
        room, {"redacts": alice.send(room)}, type="m.room.redaction"
    ),
    "org.matrix.e2e_cross_signing": lambda alice, _: alice.post("/keys/signatures/upload", {}),
    "org.matrix.msc2285.stable": lambda alice, room: alice.post(
        path("rooms", room, "receipt", "m.read.private", alice.send(room)), {}
    ),
    "org.matrix.msc2432": lambda alice, room: alice.get(path("rooms", room, "aliases")),
    "org.matrix.msc3030": lambda alice, room: alice.get(
        "/_matrix/client/unstable/org.matrix.msc3030" + path("rooms", room, "timestamp_to_event"),
        params={"ts": 0, "dir": "f"},
    ),
    "org.matrix.msc3030.stable": lambda alice, room: alice.get(
        "/_matrix/client/v1" + path("rooms", room, "timestamp_to_event"), params={"ts": 0, "dir": "f"}
    ),
    "org.matrix.msc3771": lambda alice, room: alice.post(
        path("rooms", room, "receipt", "m.read", alice.send(room)), {"thread_id": "main"}
    ),
    "org.matrix.msc3773": lambda alice, _: alice.sync(
        filter={"room": {"timeline": {"org.matrix.msc3773.unread_thread_notifications": True}}}
    ),
    "org.matrix.msc3814": lambda alice, _: alice.put(
        "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device", {}, status=400
    ),
    "org.matrix.msc3827.stable": lambda alice, _: alice.post(
        "/publicRooms", {"filter": {"room_types": ["m.space"]}}
    ),
    "org.matrix.msc4222": lambda alice, room: alice.sync(**{"org.matrix.msc4222.use_state_after": "true"})[
        "rooms"
    ]["join"][room]["org.matrix.msc4222.state_after"],
    "uk.tcpip.msc4133": lambda alice, _: alice.put(
        "/_matrix/client/unstable/uk.tcpip.msc4133" + path("profile", alice.user_id, "org.example"),
        {"org.example": 1},
    ),
    "uk.tcpip.msc4133.stable": lambda alice, _: alice.put(
        path("profile", alice.user_id, "org.example"), {"org.example": 1}
    ),
}


@pytest.fixture
def alice(node):
    return node.register("alice")


def test_exactly_the_features_that_are_tried_here_are_announced(alice):
    announced = alice.get("/_matrix/client/versions")["unstable_features"]
    assert announced == dict.fromkeys(FEATURES, True)


@pytest.mark.parametrize("feature", FEATURES)
def test_what_is_announced_is_there(alice, feature):
    FEATURES[feature](alice, alice.create_room())


def test_the_releases_that_clients_need(alice):
    """gomuks demands exactly v1.1."""
    assert "v1.1" in alice.get("/_matrix/client/versions")["versions"]
