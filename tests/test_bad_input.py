"""Every endpoint against input that no good client sends: the right Matrix error, never a 500, never a
dropped connection (which fails a test here by httpx's exception)."""

import json
import secrets

import httpx
import pytest

from harness.client import Client, expect, new_txn_id, path, timeline
from harness.endpoints import ENDPOINTS, Endpoint

OTHER_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH")
WITH_BODY = [endpoint for endpoint in ENDPOINTS if endpoint.body is not None]
WITH_QUERY = [endpoint for endpoint in ENDPOINTS if endpoint.query]
WITH_IDS = [endpoint for endpoint in ENDPOINTS if "{" in endpoint.path.replace("{txn}", "")]
AUTHENTICATED = [endpoint for endpoint in ENDPOINTS if endpoint.authenticated]

NO_JSON = {
    "empty": b"",
    "a brace": b"{",
    "text": b"hello",
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "a NUL byte": b'{"a": "\x00"}',
    "two values": b"{} {}",
    "a trailing comma": b'{"a": 1,}',
    "NaN": b'{"a": NaN}',
    "a byte order mark in UTF-16": '{"a": 1}'.encode("utf-16"),
    "half a surrogate, not escaped": b'{"a": "\xed\xa0\x80"}',
}
NO_OBJECT = {"an array": b"[]", "a string": b'"a"', "a number": b"1", "null": b"null", "true": b"true"}
# Bodies that may be good or bad, as the endpoint sees it; only a 500 or a dropped connection is wrong.
STRANGE = {
    "100,000 arrays deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100 arrays deep": b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
    "an endless array": b'{"a":' + b"[" * 100_000,
    "duplicate keys": b'{"a": 1, "a": 2, "body": 1, "body": "b", "type": 1, "type": "m.login.password"}',
    "a number beyond floats": b'{"a": 1e400}',
    "a number of 1,000 digits": b'{"a": ' + b"9" * 1000 + b"}",
    "an exact 2^53": b'{"a": 9007199254740992}',
    "a fraction": b'{"a": 0.1}',
    "a negative zero": b'{"a": -0}',
    "an escaped NUL": rb'{"a": "\u0000", "\u0000": 1}',
    "half a surrogate, escaped": rb'{"a": "\ud800"}',
    "an empty key": b'{"": 1}',
    "10,000 keys": json.dumps({f"k{i}": i for i in range(10_000)}).encode(),
    "a prototype": b'{"__proto__": {"a": 1}, "constructor": 1}',
}
WRONG = {
    "string": "text",
    "number": 17,
    "fraction": 0.5,
    "true": True,
    "array": [1, "a", None],
    "object": {"a": {"b": []}},
    "huge": 10**30,
    "negative": -1,
    "long string": "x" * 70_000,
    "NUL": "a\u0000b",
    "half a surrogate": "\ud800",
}
IDS = {
    "empty": "",
    "no sigil": "nothing",
    "other sigil": "+x:test.example",
    "room id": "!nosuch:test.example",
    "event id": "$nosuch",
    "user id": "@nosuch:test.example",
    "alias": "#nosuch:test.example",
    "other server": "!nosuch:elsewhere.example",
    "long": "!" + "a" * 300 + ":test.example",
    "very long": "@" + "a" * 20_000,
    "NUL": "!a\u0000b:test.example",
    "slash": "!a/b:test.example",
    "emoji": "#🐘:test.example",
    "percent": "%",
    "number": "18446744073709551616",
}


class World:
    """A user with a room, and what the paths name."""

    def __init__(self, node):
        self.client = node.register("bad")
        self.friend = node.register("friend")
        room = self.client.create_room()
        self.names = {
            "user": self.client.user_id,
            "device": self.client.device_id,
            "friend": self.friend.user_id,
            "room": room,
            "event": self.client.send(room),
            "alias": f"#alias-{secrets.token_hex(4)}:test.example",
            "token": self.client.sync()["next_batch"],
            "filter": self.client.post(path("user", self.client.user_id, "filter"), {})["filter_id"],
        }

    def fill(self, value, **names):
        """The value with its `{name}`s filled in."""
        if isinstance(value, str):
            if value == "{}":
                return value
            return value.format(
                new=f"new-{secrets.token_hex(4)}", txn=new_txn_id(), **{**self.names, **names}
            )
        if isinstance(value, dict):
            return {key: self.fill(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.fill(inner) for inner in value]
        return value

    def path(self, endpoint: Endpoint, template: str | None = None, **names) -> str:
        """The endpoint's path, each name percent-encoded. What the endpoint spends is made anew."""
        template = template or endpoint.paths()[0]
        if endpoint.spends == "room":
            names.setdefault("room", self.client.create_room())
        encoded = {key: path(value)[1:] for key, value in {**self.names, **names}.items()}
        return template.format(txn=new_txn_id(), **encoded)

    def request(
        self, endpoint: Endpoint, client: Client | None = None, where=None, template=None, **options
    ) -> httpx.Response:
        """A good request to the endpoint, but for what the arguments say."""
        if client is None:
            client = self.client if endpoint.authenticated else Client(self.client.url)
            if endpoint.spends == "session":
                client = Client(self.client.url).register("leaving")
        options.setdefault("params", self.fill(endpoint.query))
        if "content" not in options and endpoint.body is not None and "json" not in options:
            options["json"] = self.fill(endpoint.body)
        return client.request(endpoint.method, where or self.path(endpoint, template), **options)


@pytest.fixture(scope="module")
def world(shared_nodes) -> World:
    return World(shared_nodes[0])


def shown(response: httpx.Response, about: str) -> str:
    request = response.request
    return (
        f"{about}: {request.method} {str(request.url)[:300]} gave {response.status_code} "
        f"{response.text[:500]}"
    )


def sane(response: httpx.Response, about: str = "") -> httpx.Response:
    """Whatever it is, it is a Matrix answer, and not of a server at fault."""
    assert response.status_code < 500, shown(response, about)
    if response.status_code >= 400:
        body = response.json()
        # A step of user-interactive authentication is a 401 without an errcode.
        step = response.status_code == 401 and "flows" in body
        assert isinstance(body.get("errcode"), str) or step, shown(response, about)
    return response


def refused(response: httpx.Response, *errcodes: str, status: int = 400, about: str = ""):
    """It is refused with the status and one of the errcodes."""
    sane(response, about)
    right = response.status_code == status and response.json().get("errcode") in errcodes
    assert right, shown(response, about)


def each(endpoints):
    return pytest.mark.parametrize("endpoint", endpoints, ids=str)


@each(ENDPOINTS)
def test_every_version_of_the_path_is_known(world, endpoint):
    for template in endpoint.paths():
        response = sane(world.request(endpoint, template=template))
        assert response.status_code != 405, template
        assert response.status_code != 404 or response.json()["errcode"] != "M_UNRECOGNIZED", template


@each(ENDPOINTS)
def test_other_methods_are_405(world, endpoint):
    for template in endpoint.paths():
        same = {other.method for other in ENDPOINTS if template in other.paths()}
        # These are one path to a router, though not to a reader.
        if "/profile/{user}/" in endpoint.path:
            same |= {"GET", "PUT", "DELETE"}
        if "/state/" in endpoint.path:
            same |= {"GET", "PUT"}
        for method in set(OTHER_METHODS) - same:
            refused(
                world.client.request(method, world.path(endpoint, template)), "M_UNRECOGNIZED", status=405
            )


@pytest.mark.parametrize(
    "where",
    [
        "/nothing",
        "/rooms",
        "/rooms/!a:b/nothing",
        "/_matrix/client/v99/sync",
        "/_matrix/client/v3",
        "/_matrix/",
        "/_matrix/nothing",
        "/_matrix/client/v3/sync/",
        "/_matrix/client/v3//sync",
        "/_matrix/client/r0/%00",
        "/_nothing",
    ],
)
def test_unknown_paths_are_404(node, where):
    for method in ("GET", "POST", "PUT"):
        refused(node.client().request(method, where), "M_UNRECOGNIZED", status=404)


@each(AUTHENTICATED)
def test_no_token_is_missing_and_any_other_unknown(world, endpoint):
    url = world.client.url
    refused(world.request(endpoint, Client(url)), "M_MISSING_TOKEN", status=401)
    for token in ("unknown", "x" * 5000, "a b", "'; drop table events; --"):
        refused(world.request(endpoint, Client(url, token)), "M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", status=401)
        query = {**world.fill(endpoint.query), "access_token": token}
        refused(world.request(endpoint, Client(url), params=query), "M_UNKNOWN_TOKEN", status=401)
    for header in ("", "Bearer", "Basic dXNlcjpwYXNz", "bearer\tx", "Bearer ☃".encode()):
        response = world.request(endpoint, Client(url), headers={"Authorization": header})
        refused(response, "M_MISSING_TOKEN", "M_UNKNOWN_TOKEN", status=401)
    sane(world.request(endpoint, Client(url), params={"access_token": "a\u0000b"}))


@each(WITH_BODY)
def test_body_that_is_no_json(world, endpoint):
    for name, content in NO_JSON.items():
        response = sane(world.request(endpoint, content=content), name)
        if name != "empty" or endpoint.needs or endpoint.free:
            refused(response, "M_NOT_JSON", about=name)


@each(WITH_BODY)
def test_body_that_is_no_object(world, endpoint):
    for name, content in NO_OBJECT.items():
        refused(world.request(endpoint, content=content), "M_BAD_JSON", "M_NOT_JSON", about=name)


@each(WITH_BODY)
def test_strange_body(world, endpoint):
    for name, content in STRANGE.items():
        sane(world.request(endpoint, content=content), name)


@each([endpoint for endpoint in WITH_BODY if endpoint.free and endpoint.path.startswith("/rooms/")])
def test_event_content_keeps_to_canonical_json(world, endpoint):
    for name in (
        "a number beyond floats",
        "a number of 1,000 digits",
        "an exact 2^53",
        "a fraction",
        "half a surrogate, escaped",
    ):
        refused(world.request(endpoint, content=STRANGE[name]), "M_BAD_JSON", "M_NOT_JSON")


@each(WITH_BODY)
def test_body_beyond_the_limit(world, endpoint):
    refused(world.request(endpoint, content=b'{"a": "' + b"x" * 3_000_000 + b'"}'), "M_TOO_LARGE", status=413)


@each([endpoint for endpoint in WITH_BODY if endpoint.needs])
def test_missing_key(world, endpoint):
    for key in endpoint.needs:
        body = {other: value for other, value in world.fill(endpoint.body).items() if other != key}
        response = world.request(endpoint, json=body)
        if response.status_code != 401 or not endpoint.confirmed():
            refused(response, "M_MISSING_PARAM", "M_BAD_JSON")


@each([endpoint for endpoint in WITH_BODY if not endpoint.free])
def test_mistyped_key(world, endpoint):
    for name, wrong in WRONG.items():
        for key, good in endpoint.body.items():
            about = f"{name} as {key}"
            response = sane(world.request(endpoint, json={**world.fill(endpoint.body), key: wrong}), about)
            if json_type(good) != json_type(wrong):
                refusals = (400, 401, 403, 413) if endpoint.confirmed() else (400, 403, 413)
                assert response.status_code in refusals, (
                    f"{about} gave {response.status_code} {response.text}"
                )


def json_type(value) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return {str: "string", list: "array", dict: "object", type(None): "null"}[type(value)]


@each(WITH_IDS)
def test_bad_ids(world, endpoint):
    for part in ("room", "event", "user", "alias", "filter"):
        if f"{{{part}}}" not in endpoint.path:
            continue
        for name, value in IDS.items():
            response = sane(world.request(endpoint, where=world.path(endpoint, **{part: value})), name)
            if part == "alias" and name in ("alias", "emoji"):
                continue  # Somebody may just have made it.
            assert response.status_code >= 400, f"{name} gave {response.text}"
        # Bytes that are no UTF-8, and a half of an escape.
        for raw in ("%FF", "%E2%98", "%00", "%"):
            marked = world.path(endpoint, **{part: "MARK"}).replace("MARK", raw)
            response = sane(world.request(endpoint, where=marked), raw)
            assert response.status_code >= 400, f"{raw} gave {response.text}"


@each(WITH_QUERY)
def test_bad_query(world, endpoint):
    bad = [
        "",
        "x",
        "-1",
        "99999999999999999999999999",
        "0.5",
        "a\u0000b",
        "{",
        "[]",
        "null",
        "☃",
        "x" * 5000,
        "'; --",
        "s0_0",
        "s-1_-1",
        "t99999999999999999999",
        "s99999999999999999999_1",
        "t",
        "s",
        "s1_1_1_1",
        "{" * 5000,
    ]
    for key in endpoint.query:
        for value in bad:
            if key == "timeout" and value.isdigit():
                continue  # It would wait so long.
            sane(
                world.request(endpoint, params={**world.fill(endpoint.query), key: value}),
                f"{key}={value[:50]}",
            )
        where = world.path(endpoint)
        for raw in ("%FF", "%", "%00", "&&&===", "%C0%80"):
            sane(world.request(endpoint, where=f"{where}?{key}={raw}", params=None))


class TestSync:
    """Sync's own parameters."""

    @pytest.mark.parametrize(
        "since",
        ["garbage", "s", "t1", "s1", "s-1_2", "s1_1_x", "s99999999999999999999_1", "", "s1_1_" + "1_" * 9999],
    )
    def test_garbage_token(self, world, since):
        response = sane(world.client.request("GET", "/sync", params={"since": since}))
        if since:
            refused(response, "M_INVALID_PARAM", "M_UNKNOWN_POS")

    def test_unknown_filter(self, world):
        for name in ("99999", "nothing", "0"):
            sane(world.client.request("GET", "/sync", params={"filter": name}))


class TestEvents:
    """Events at and beyond the limits of the specification's "Size limits"."""

    def send(self, world, content, type="m.room.message"):
        return world.client.request(
            "PUT", path("rooms", world.names["room"], "send", type, new_txn_id()), content
        )

    def put_state(self, world, type, state_key):
        return world.client.request("PUT", path("rooms", world.names["room"], "state", type, state_key), {})

    def test_event_over_65536_bytes(self, world):
        refused(self.send(world, {"body": "x" * 65_536}), "M_TOO_LARGE", status=413)
        expect(self.send(world, {"body": "x" * 60_000}), 200)

    def test_escapes_do_not_count_as_their_escaped_form(self, world):
        # 30,000 snowmen are 90,000 bytes; as escapes in the request they would be 180,000.
        refused(self.send(world, {"body": "☃" * 30_000}), "M_TOO_LARGE", status=413)
        expect(self.send(world, {"body": "☃" * 20_000}), 200)

    def test_type_over_255_bytes(self, world):
        expect(self.send(world, {}, "t" * 255), 200)
        for type in ("t" * 256, "☃" * 86):
            assert sane(self.send(world, {}, type)).status_code in (400, 413)

    def test_state_key_over_255_bytes(self, world):
        expect(self.put_state(world, "org.example.kind", "k" * 255), 200)
        for key in ("k" * 256, "☃" * 86):
            assert sane(self.put_state(world, "org.example.kind", key)).status_code in (400, 413)

    def test_nul_in_a_type_or_state_key(self, world):
        assert sane(self.send(world, {}, "a\u0000b")).status_code == 400
        assert sane(self.put_state(world, "org.example.kind", "a\u0000b")).status_code == 400

    def test_nul_in_a_message_comes_back_intact(self, world):
        room = world.names["room"]
        content = {
            "msgtype": "m.text",
            "body": "before\u0000after",
            "\u0000": ["\u0000", "☃", "\u0001\u001f\u007f\u2028"],
        }
        event_id = expect(self.send(world, content), 200)["event_id"]
        assert world.client.event(room, event_id)["content"] == content
        assert world.client.messages(room, limit=1)["chunk"][0]["content"] == content
        assert timeline(world.client.sync(), room)[-1]["content"] == content

    def test_deep_content_up_to_the_limit(self, world):
        deep = content = {}
        for _ in range(60):
            deep["a"] = deep = {}
        event_id = expect(self.send(world, content), 200)["event_id"]
        assert world.client.event(world.names["room"], event_id)["content"] == content

    def test_numbers_at_the_limit(self, world):
        content = {"most": 2**53 - 1, "least": -(2**53) + 1, "zero": 0}
        event_id = expect(self.send(world, content), 200)["event_id"]
        assert world.client.event(world.names["room"], event_id)["content"] == content

    def test_account_data_keeps_what_events_refuse(self, world):
        where = path("user", world.client.user_id, "account_data", "org.example.odd")
        content = {"fraction": 0.5, "nul": "\u0000", "big": 2**60}
        world.client.put(where, content)
        assert world.client.get(where) == content
