"""Every endpoint of user data is one statement."""

import secrets

import pytest

from harness.client import path
from harness.endpoints import ROOM_KEY

REQUESTS = [
    ("PUT", "user/{user}/account_data/org.example.a", {}),
    ("GET", "user/{user}/account_data/org.example.a", None),
    ("PUT", "user/{user}/rooms/{room}/account_data/org.example.a", {}),
    ("GET", "user/{user}/rooms/{room}/account_data/org.example.a", None),
    ("PUT", "user/{user}/rooms/{room}/tags/u.a", {}),
    ("GET", "user/{user}/rooms/{room}/tags", None),
    ("DELETE", "user/{user}/rooms/{room}/tags/u.a", None),
    ("POST", "user/{user}/filter", {}),
    ("GET", "user/{user}/filter/0", None),
    ("GET", "pushrules/", None),
    ("GET", "pushrules/global/", None),
    ("PUT", "profile/{user}/displayname", {"displayname": "New"}),
    ("PUT", "profile/{user}/m.tz", {"m.tz": "Europe/London"}),
    ("GET", "profile/{user}", None),
    ("GET", "profile/{user}/displayname", None),
    ("DELETE", "profile/{user}/displayname", None),
    ("PUT", "directory/room/{alias}", {"room_id": "{room}"}),
    ("GET", "directory/room/{alias}", None),
    ("GET", "rooms/{room}/aliases", None),
    ("DELETE", "directory/room/{alias}", None),
    ("PUT", "directory/list/room/{room}", {"visibility": "public"}),
    ("GET", "directory/list/room/{room}", None),
    ("GET", "publicRooms", None),
    ("POST", "publicRooms", {"filter": {"generic_search_term": "a"}}),
    ("PUT", "rooms/{room}/typing/{user}", {"typing": True}),
    ("POST", "rooms/{room}/receipt/m.read/{event}", {}),
    ("POST", "rooms/{room}/read_markers", {"m.fully_read": "{event}", "m.read.private": "{event}"}),
    ("POST", "room_keys/version", {"algorithm": "a", "auth_data": {}}),
    ("GET", "room_keys/version", None),
    ("GET", "room_keys/version/1", None),
    ("PUT", "room_keys/version/1", {"algorithm": "a", "auth_data": {}}),
    ("PUT", "room_keys/keys?version=1", {"rooms": {"!a:b": {"sessions": {"s": ROOM_KEY}}}}),
    ("PUT", "room_keys/keys/!a:b?version=1", {"sessions": {"t": ROOM_KEY}}),
    ("PUT", "room_keys/keys/!a:b/u?version=1", ROOM_KEY),
    ("GET", "room_keys/keys?version=1", None),
    ("GET", "room_keys/keys/!a:b?version=1", None),
    ("GET", "room_keys/keys/!a:b/u?version=1", None),
    ("DELETE", "room_keys/keys/!a:b/u?version=1", None),
    ("DELETE", "room_keys/keys/!a:b?version=1", None),
    ("DELETE", "room_keys/keys?version=1", None),
    ("DELETE", "room_keys/version/1", None),
    ("GET", "devices", None),
    ("GET", "devices/{device}", None),
    ("PUT", "devices/{device}", {"display_name": "New"}),
    ("PUT", "sendToDevice/org.example.kind/1", {"messages": {"@nobody:test.example": {"*": {}}}}),
    ("GET", "pushers", None),
    ("GET", "thirdparty/protocols", None),
    ("GET", "voip/turnServer", None),
]


@pytest.mark.parametrize("version", ["v3", "r0"])
def test_one_statement_each(node, version):
    alice = node.register("alice")
    room = alice.create_room()
    names = {
        "user": alice.user_id,
        "device": alice.device_id,
        "room": room,
        "event": alice.send(room),
        "alias": f"#{secrets.token_hex(6)}:test.example",
    }
    encoded = {name: path(value)[1:] for name, value in names.items()}
    for method, where, body in REQUESTS:
        named = body and {
            key: value.format(**names) if isinstance(value, str) else value for key, value in body.items()
        }
        response = alice.request(method, f"/_matrix/client/{version}/{where.format(**encoded)}", named)
        shown = f"{method} {where} gave {response.status_code} {response.text}"
        assert response.headers["x-matriarch-db-statements"] == "1", shown
        expected = {"user/{user}/filter/0": 404}.get(where, 200)
        assert response.status_code == expected, shown
