"""What users may store: each kind has a bound, and what is above it is refused while the rest goes on."""

import json

import pytest

from harness.client import path
from harness.functions import Refused, User

MEBIBYTE = 1 << 20
TOO_LARGE = {"status": 413, "errcode": "M_TOO_LARGE"}


@pytest.fixture
def alice(node):
    return node.register("alice")


def test_account_data(alice):
    def put(number, size, **options):
        where = path("user", alice.user_id, "account_data", f"org.example.{number}")
        return alice.put(where, {"body": "x" * size}, **options)

    for number in range(9):
        put(number, 900_000)
    put(9, 900_000, **TOO_LARGE)
    room = alice.create_room()
    tag = path("user", alice.user_id, "rooms", room, "tags", "u.long")
    alice.put(tag, {"body": "x" * 900_000}, **TOO_LARGE)
    # Changes of what is there go on, and less makes room.
    put(1, 10)
    put(9, 900_000)
    assert len(alice.request("GET", "/sync").content) < 10 * MEBIBYTE


def test_filters(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    where = path("user", alice.user_id, "filter")
    database.query(
        """
        insert into matriarch.filters (user_nid, content_hash, content)
        select user_nid, int4send(n), '{}'
        from matriarch.users, generate_series(1, 999) n where user_id = %s""",
        [alice.user_id],
    )
    first = alice.post(where, {"event_fields": ["a"]})
    alice.post(where, {"event_fields": ["b"]}, **TOO_LARGE)
    assert alice.post(where, {"event_fields": ["a"]}) == first


def test_aliases(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room()
    rooms.query(
        """
        insert into matriarch.room_aliases (room_alias, room_nid, creator_nid)
        select '#' || n || ':test.example', room_nid, user_nid
        from generate_series(1, 999) n, matriarch.rooms r, matriarch.users u
        where r.room_id = %s and u.user_id = %s""",
        [room, alice.user_id],
    )
    alice.call("set_alias", "#last:test.example", room)
    for call in (
        lambda: alice.call("set_alias", "#more:test.example", room),
        lambda: alice.create_room(room_alias_name="more"),
    ):
        with pytest.raises(Refused) as refused:
            call()
        assert (refused.value.status, refused.value.errcode) == (413, "M_TOO_LARGE")


def test_devices(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    database.query(
        """
        insert into matriarch.devices (user_nid, device_id)
        select user_nid, 'DEVICE' || n
        from matriarch.users, generate_series(1, 999) n where user_id = %s""",
        [alice.user_id],
    )
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": alice.user_id},
        "password": alice.password,
    }
    alice.post("/login", login, status=403, errcode="M_FORBIDDEN")
    # On a device that is there, as before.
    alice.post("/login", {**login, "device_id": "DEVICE1"})
    alice.post("/login", {**login, "device_id": alice.device_id})


@pytest.mark.parametrize(("size", "most"), [(60_000, 501), (100, 5001)])
def test_the_queue_of_a_device(rooms, size, most):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    rooms.query(
        """
        insert into matriarch.to_device_messages (device_nid, message)
        select device_nid, '{}'
        from matriarch.devices join matriarch.users using (user_nid), generate_series(1, %s)
        where user_id = %s""",
        [most - 1, bob.user_id],
    )
    for number in range(3):
        messages = {bob.user_id: {"*": {"body": "x" * size}}, alice.user_id: {"*": {"body": "short"}}}
        alice.call("send_to_device", "m.room_key", f"txn{number}", {"messages": messages})
    queued = """
        select count(*) from matriarch.to_device_messages
        join matriarch.devices using (device_nid) join matriarch.users using (user_nid)
        where user_id = %s"""
    assert rooms.query(queued, [bob.user_id]) == [(most,)]
    assert rooms.query(queued, [alice.user_id]) == [(3,)]


def test_key_backups(alice):
    version = alice.post("/room_keys/version", {"algorithm": "m.megolm", "auth_data": {}})["version"]
    alice.post("/room_keys/version", {"algorithm": "m.megolm", "auth_data": {"x": "x" * 65_536}}, **TOO_LARGE)

    def put(size, **options):
        key = {
            "first_message_index": 0,
            "forwarded_count": 0,
            "is_verified": True,
            "session_data": {"ciphertext": "x" * size},
        }
        where = path("room_keys", "keys", "!room:test.example", "session")
        alice.put(where, key, params={"version": version}, **options)

    put(8000)
    put(8200, **TOO_LARGE)


def test_the_number_of_keys_in_backups(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    version = alice.post("/room_keys/version", {"algorithm": "m.megolm", "auth_data": {}})["version"]
    database.query("update matriarch.key_backup_versions set key_count = 199999")
    key = {"first_message_index": 0, "forwarded_count": 0, "is_verified": True, "session_data": {}}
    keys = {"sessions": {"one": key, "two": key}}
    where = path("room_keys", "keys", "!room:test.example")
    alice.put(where, keys, params={"version": version}, **TOO_LARGE)
    assert database.query("select count(*) from matriarch.key_backup_keys") == [(0,)]
    alice.put(where, {"sessions": {"one": key}}, params={"version": version})


def test_sessions_of_authentication_before_an_account(node):
    """Anybody can begin one. Its request is stored, so it is short."""
    client = node.client()
    body = {"username": "anybody", "password": "x" * 5000}
    assert client.request("POST", "/register", body).status_code == 413
    assert client.request("POST", "/register", {**body, "password": "x" * 500}).status_code == 401


def test_error_messages_are_short(rooms):
    """PostgreSQL logs the errors that end a statement."""
    alice = User(rooms, "alice")
    long = [{"type": "m.room.member", "state_key": "x" * 900_000, "content": {}}]
    with pytest.raises(Refused) as refused:
        alice.create_room(initial_state=long)
    assert len(json.dumps(refused.value.error)) < 2000
