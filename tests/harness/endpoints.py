"""The client-server endpoints: what the tests of bad input walk through.

A path's `{name}` is filled in from a world of existing things (see `test_bad_input.py`)."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Endpoint:
    """`body` is a good request body, None where the endpoint reads none; `needs` its required keys; `query`
    the query parameters with good values. `free` content takes any JSON object. What a good request `spends`,
    "session" or "room", is made anew for each."""

    method: str
    path: str
    body: dict | None = None
    needs: tuple[str, ...] = ()
    query: dict = field(default_factory=dict, hash=False)
    authenticated: bool = True
    free: bool = False
    spends: str = ""

    def __str__(self):
        return f"{self.method} {self.path}"

    def paths(self) -> list[str]:
        """The full path templates: `/client/…` and `/.…` as they are, others below v3 and r0."""
        if self.path.startswith(("/client/", "/_", "/.")):
            return [self.path.replace("/client/", "/_matrix/client/", 1)]
        return [f"/_matrix/client/{version}{self.path}" for version in ("v3", "r0")]

    def confirmed(self) -> bool:
        """Whether a logged in user must authenticate once more: that comes before a look at the rest of the
        body."""
        return self.authenticated and "auth" in (self.body or {})


def E(method, path, *needs, **options) -> Endpoint:
    return Endpoint(method, path, needs=needs, **options)


ROOM_KEY = {
    "first_message_index": 1,
    "forwarded_count": 0,
    "is_verified": True,
    "session_data": {"ciphertext": "c"},
}
DEHYDRATED_DEVICE = "/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
TEXT = {"msgtype": "m.text", "body": "hello"}

ENDPOINTS = [
    # Finding the server
    E("GET", "/client/versions", authenticated=False),
    E("GET", "/.well-known/matrix/client", authenticated=False),
    E("GET", "/.well-known/matrix/support", authenticated=False),
    E("GET", "/admin/whois/{user}"),
    E("GET", "/capabilities"),
    # Accounts
    E(
        "POST",
        "/register",
        body={
            "username": "{new}",
            "password": "x",
            "device_id": "D",
            "inhibit_login": False,
            "initial_device_display_name": "n",
            "refresh_token": False,
            "auth": {"type": "m.login.dummy"},
        },
        authenticated=False,
    ),
    E("GET", "/register/available", query={"username": "{new}"}, authenticated=False),
    E(
        "GET",
        "/client/v1/register/m.login.registration_token/validity",
        query={"token": "t"},
        authenticated=False,
    ),
    E("GET", "/login", authenticated=False),
    E(
        "POST",
        "/login",
        "type",
        body={
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "{user}"},
            "password": "x",
            "device_id": "D",
            "initial_device_display_name": "n",
        },
        authenticated=False,
    ),
    E("POST", "/refresh", "refresh_token", body={"refresh_token": "x"}, authenticated=False),
    E("POST", "/logout", spends="session"),
    E("POST", "/logout/all", spends="session"),
    E("GET", "/account/whoami"),
    E(
        "POST",
        "/account/password",
        "new_password",
        body={"new_password": "x", "logout_devices": False, "auth": {"type": "m.login.password"}},
    ),
    E("POST", "/account/deactivate", body={"auth": {"type": "m.login.password"}, "erase": False}),
    E("GET", "/_synapse/admin/v1/register", authenticated=False),
    E(
        "POST",
        "/_synapse/admin/v1/register",
        "nonce",
        "username",
        "password",
        "mac",
        body={"nonce": "n", "username": "{new}", "password": "x", "mac": "00", "admin": False},
        authenticated=False,
    ),
    # Rooms
    E(
        "POST",
        "/createRoom",
        body={
            "preset": "private_chat",
            "visibility": "private",
            "name": "n",
            "topic": "t",
            "room_alias_name": "{new}",
            "invite": ["{friend}"],
            "is_direct": False,
            "room_version": "12",
            "creation_content": {"m.federate": True},
            "power_level_content_override": {"ban": 60},
            "initial_state": [
                {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}}
            ],
        },
    ),
    E("GET", "/joined_rooms"),
    E("POST", "/join/{room}", body={"reason": "r"}),
    E("POST", "/rooms/{room}/join", body={"reason": "r"}),
    E("POST", "/knock/{room}", body={"reason": "r"}),
    E("POST", "/rooms/{room}/invite", "user_id", body={"user_id": "{friend}", "reason": "r"}),
    E("POST", "/rooms/{room}/kick", "user_id", body={"user_id": "{friend}", "reason": "r"}),
    E("POST", "/rooms/{room}/ban", "user_id", body={"user_id": "{friend}", "reason": "r"}),
    E("POST", "/rooms/{room}/unban", "user_id", body={"user_id": "{friend}", "reason": "r"}),
    E("POST", "/rooms/{room}/leave", body={"reason": "r"}, spends="room"),
    E("POST", "/rooms/{room}/forget", spends="room"),
    E(
        "POST",
        "/rooms/{room}/upgrade",
        "new_version",
        body={"new_version": "12", "additional_creators": ["{friend}"]},
        spends="room",
    ),
    E("PUT", "/rooms/{room}/send/m.room.message/{txn}", body=TEXT, free=True),
    E("PUT", "/rooms/{room}/state/org.example.kind/key", body={"a": 1}, free=True),
    E("PUT", "/rooms/{room}/state/org.example.kind", body={"a": 1}, free=True),
    E("PUT", "/rooms/{room}/state/org.example.kind/", body={"a": 1}, free=True),
    E("GET", "/rooms/{room}/state/m.room.create", query={"format": "event"}),
    E("GET", "/rooms/{room}/state/m.room.create/"),
    E("GET", "/rooms/{room}/state/m.room.member/{user}"),
    E("PUT", "/rooms/{room}/redact/{event}/{txn}", body={"reason": "r"}),
    E("GET", "/rooms/{room}/event/{event}"),
    E("GET", "/rooms/{room}/context/{event}", query={"limit": "3", "filter": "{}"}),
    E("GET", "/client/v1/rooms/{room}/timestamp_to_event", query={"ts": "1", "dir": "f"}),
    E(
        "GET",
        "/client/v1/rooms/{room}/hierarchy",
        query={"limit": "3", "max_depth": "2", "suggested_only": "true"},
    ),
    E("GET", "/client/v1/room_summary/{room}", query={"via": "test.example"}, authenticated=False),
    E(
        "GET",
        "/rooms/{room}/messages",
        query={"dir": "b", "from": "{token}", "to": "{token}", "limit": "3", "filter": "{}"},
    ),
    E("GET", "/rooms/{room}/members", query={"at": "{token}", "membership": "join", "not_membership": "ban"}),
    E("GET", "/rooms/{room}/joined_members"),
    E("GET", "/rooms/{room}/state"),
    E("GET", "/rooms/{room}/initialSync", query={"limit": "3"}),
    E("GET", "/rooms/{room}/aliases"),
    E("PUT", "/directory/room/{alias}", "room_id", body={"room_id": "{room}"}),
    E("GET", "/directory/room/{alias}", authenticated=False),
    E("DELETE", "/directory/room/{alias}"),
    E("GET", "/directory/list/room/{room}", authenticated=False),
    E("PUT", "/directory/list/room/{room}", body={"visibility": "public"}),
    E(
        "GET",
        "/publicRooms",
        query={"limit": "3", "since": "x", "server": "test.example"},
        authenticated=False,
    ),
    E(
        "POST",
        "/publicRooms",
        body={"limit": 3, "since": "x", "filter": {"generic_search_term": "a", "room_types": [None]}},
    ),
    E("PUT", "/rooms/{room}/typing/{user}", "typing", body={"typing": True, "timeout": 1000}),
    E("POST", "/rooms/{room}/receipt/m.read/{event}", body={"thread_id": "main"}),
    E(
        "POST",
        "/rooms/{room}/read_markers",
        body={"m.fully_read": "{event}", "m.read": "{event}", "m.read.private": "{event}"},
    ),
    # Users
    E("GET", "/presence/{user}/status"),
    E("PUT", "/presence/{user}/status", "presence", body={"presence": "unavailable", "status_msg": "m"}),
    E("GET", "/profile/{user}", authenticated=False),
    E("GET", "/profile/{user}/displayname", authenticated=False),
    E("PUT", "/profile/{user}/displayname", body={"displayname": "n"}),
    E("GET", "/profile/{user}/avatar_url", authenticated=False),
    E("PUT", "/profile/{user}/avatar_url", body={"avatar_url": "mxc://test.example/a"}),
    E("GET", "/profile/{user}/org.example.field", authenticated=False),
    E(
        "PUT",
        "/profile/{user}/org.example.field",
        "org.example.field",
        body={"org.example.field": "v"},
        free=True,
    ),
    E("DELETE", "/profile/{user}/org.example.field"),
    E("DELETE", "/profile/{user}/displayname"),
    E("GET", "/pushrules/"),
    E("GET", "/pushrules/global/"),
    E(
        "POST",
        "/user/{user}/filter",
        body={
            "room": {"timeline": {"limit": 3}},
            "event_fields": ["type"],
            "event_format": "client",
            "presence": {},
            "account_data": {"types": ["m.a"]},
        },
    ),
    E("GET", "/user/{user}/filter/{filter}"),
    E("PUT", "/user/{user}/account_data/org.example.kind", body={"a": 1}, free=True),
    E("GET", "/user/{user}/account_data/org.example.kind"),
    E("PUT", "/user/{user}/rooms/{room}/account_data/org.example.kind", body={"a": 1}, free=True),
    E("GET", "/user/{user}/rooms/{room}/account_data/org.example.kind"),
    E("GET", "/user/{user}/rooms/{room}/tags"),
    E("PUT", "/user/{user}/rooms/{room}/tags/u.work", body={"order": 0.5}),
    E("DELETE", "/user/{user}/rooms/{room}/tags/u.work"),
    # Key backups
    E(
        "POST",
        "/room_keys/version",
        "algorithm",
        "auth_data",
        body={"algorithm": "a", "auth_data": {"public_key": "k"}},
    ),
    E("GET", "/room_keys/version"),
    E("GET", "/room_keys/version/1"),
    E(
        "PUT",
        "/room_keys/version/1",
        "algorithm",
        "auth_data",
        body={"algorithm": "a", "auth_data": {}, "version": "1"},
    ),
    E("DELETE", "/room_keys/version/1"),
    E(
        "PUT",
        "/room_keys/keys",
        "rooms",
        body={"rooms": {"!r:test.example": {"sessions": {"s": ROOM_KEY}}}},
        query={"version": "1"},
    ),
    E(
        "PUT",
        "/room_keys/keys/!r:test.example",
        "sessions",
        body={"sessions": {"s": ROOM_KEY}},
        query={"version": "1"},
    ),
    E("PUT", "/room_keys/keys/!r:test.example/s", *ROOM_KEY, body=ROOM_KEY, query={"version": "1"}),
    *(
        E(method, "/room_keys/keys" + scope, query={"version": "1"})
        for method in ("GET", "DELETE")
        for scope in ("", "/!r:test.example", "/!r:test.example/s")
    ),
    # Devices
    E("GET", "/devices"),
    E("GET", "/devices/{device}"),
    E("PUT", "/devices/{device}", body={"display_name": "n"}),
    E("DELETE", "/devices/{device}", body={"auth": {"type": "m.login.password"}}),
    E(
        "POST",
        "/delete_devices",
        "devices",
        body={"devices": ["{device}"], "auth": {"type": "m.login.password"}},
    ),
    # End-to-end encryption
    E(
        "POST",
        "/keys/upload",
        body={
            "device_keys": {
                "user_id": "{user}",
                "device_id": "{device}",
                "algorithms": [],
                "keys": {},
                "signatures": {},
            },
            "one_time_keys": {"curve25519:A": "k"},
            "fallback_keys": {"curve25519:B": "k"},
        },
    ),
    E(
        "POST",
        "/keys/query",
        "device_keys",
        body={"device_keys": {"@user:test.example": ["D"]}, "timeout": 1000},
    ),
    E(
        "POST",
        "/keys/claim",
        "one_time_keys",
        body={"one_time_keys": {"@user:test.example": {"D": "curve25519"}}, "timeout": 1000},
    ),
    E("GET", "/keys/changes", query={"from": "{token}", "to": "{token}"}),
    E(
        "POST",
        "/keys/device_signing/upload",
        "master_key",
        body={"master_key": {"user_id": "{user}", "usage": ["master"], "keys": {}}},
    ),
    E("POST", "/keys/signatures/upload", body={"@user:test.example": {"D": {}}}),
    E(
        "PUT",
        "/sendToDevice/org.example.kind/{txn}",
        "messages",
        body={"messages": {"@nobody:test.example": {"*": {"a": 1}}}},
    ),
    # Dehydrated devices
    E(
        "PUT",
        DEHYDRATED_DEVICE,
        "device_id",
        "device_data",
        "device_keys",
        body={
            "device_id": "DRY",
            "device_data": {"algorithm": "a"},
            "initial_device_display_name": "n",
            "device_keys": {
                "user_id": "{user}",
                "device_id": "DRY",
                "algorithms": [],
                "keys": {},
                "signatures": {},
            },
            "one_time_keys": {"curve25519:A": "k"},
            "fallback_keys": {"curve25519:B": "k"},
        },
    ),
    E("GET", DEHYDRATED_DEVICE),
    E("DELETE", DEHYDRATED_DEVICE),
    E("GET", DEHYDRATED_DEVICE + "/{device}/events", query={"from": "{token}"}),
    E("POST", DEHYDRATED_DEVICE + "/{device}/events", body={"next_batch": "{token}"}),
    # What clients ask for as they start
    E("GET", "/account/3pid"),
    E("GET", "/pushers"),
    E("GET", "/thirdparty/protocols"),
    E("GET", "/voip/turnServer"),
    E("GET", "/client/v1/media/config"),
    E("GET", "/_matrix/media/v3/config"),
    E("GET", "/_matrix/media/r0/config"),
    # Sync and its elders
    E(
        "GET",
        "/sync",
        query={
            "since": "{token}",
            "timeout": "0",
            "full_state": "false",
            "filter": "{}",
            "set_presence": "offline",
            "use_state_after": "true",
        },
    ),
    E("GET", "/events", query={"from": "{token}", "timeout": "0", "room_id": "{room}"}),
    E("GET", "/events/{event}"),
    E("GET", "/initialSync", query={"limit": "3", "archived": "false"}),
]
