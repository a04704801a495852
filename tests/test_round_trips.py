"""A request is one SQL statement: how many each takes, as the node counts them."""

from harness.client import new_txn_id, path

MESSAGE = {"msgtype": "m.text", "body": "hello"}


def statements(client, method: str, where: str, json=None, **options) -> int:
    """The statements of one request, which must succeed."""
    response = client.request(method, where, json, **options)
    assert response.status_code == 200, response.text
    return int(response.headers["x-matriarch-db-statements"])


def test_writing_takes_one_statement(node):
    alice, bob = node.register("alice"), node.register("bob")
    assert (
        statements(
            alice, "POST", "/createRoom", {"preset": "public_chat", "name": "x", "invite": [bob.user_id]}
        )
        <= 2
    )
    room = alice.create_room(preset="public_chat")
    assert statements(bob, "POST", path("join", room), {}) == 1
    assert statements(bob, "PUT", path("rooms", room, "send", "m.room.message", new_txn_id()), MESSAGE) == 1
    assert statements(alice, "PUT", path("rooms", room, "state", "m.room.topic", ""), {"topic": "x"}) == 1
    event_id = alice.send(room, "x")
    assert statements(alice, "PUT", path("rooms", room, "redact", event_id, new_txn_id()), {}) == 1
    assert statements(bob, "POST", path("rooms", room, "receipt", "m.read", event_id), {}) == 1
    assert (
        statements(bob, "PUT", path("rooms", room, "typing", bob.user_id), {"typing": True, "timeout": 1000})
        == 1
    )
    assert statements(alice, "POST", path("rooms", room, "kick"), {"user_id": bob.user_id}) == 1


def test_reading_takes_one_statement(node):
    alice = node.register("alice")
    room = alice.create_room(preset="private_chat")
    event_id = alice.send(room, "x")
    assert statements(alice, "GET", "/sync", params={"timeout": 0}) == 1
    since = alice.sync()["next_batch"]
    assert statements(alice, "GET", "/sync", params={"timeout": 0, "since": since}) == 1
    alice.send(room, "y")
    # There is news, so there is nothing to wait for.
    assert statements(alice, "GET", "/sync", params={"timeout": 10_000, "since": since}) == 1
    assert statements(alice, "GET", path("rooms", room, "messages"), params={"dir": "b"}) == 1
    assert statements(alice, "GET", path("rooms", room, "context", event_id)) == 1
    assert statements(alice, "GET", path("rooms", room, "event", event_id)) == 1
    assert statements(alice, "GET", path("rooms", room, "state")) == 1
    assert statements(alice, "GET", path("rooms", room, "members")) == 1
    assert statements(alice, "GET", "/joined_rooms") == 1
    assert statements(alice, "GET", "/account/whoami") == 1
