"""Answers of other servers that take much memory."""

import json

import pytest

from harness.attack import MEBIBYTE, OBJECTS, SCALE, in_flight, is_served, latency, many, rss
from harness.client import path
from harness.waiting import eventually

MARGIN = 200 * MEBIBYTE


def laden(size: int) -> bytes:
    """A JSON object of so many bytes that consists of objects."""
    return b'{"device_keys":{},"x":[' + OBJECTS * (size // len(OBJECTS)) + b"0]}"


def answering(server, endpoint: str, data: bytes):
    def answer(handler, *_):
        server.write(handler, 200, data)
        return "answered"

    server.hooks[endpoint] = answer


def test_profiles_and_aliases_are_short(home, remote_servers):
    node, (server,) = home[0], remote_servers()
    alice = node.register("alice")
    before, memory = latency(alice), rss(node)
    answering(server, "query", laden(4 * MEBIBYTE))
    for where in (path("profile", server.user("x")), path("directory", "room", f"#x:{server.name}")):
        many(4 * SCALE, lambda _, where=where: alice.get(where, status=502, errcode="M_UNKNOWN"))
    is_served(alice, before)
    assert rss(node) < memory + 50 * MEBIBYTE
    answering(server, "query", json.dumps({"displayname": "x" * 60_000}).encode())
    assert len(alice.get(path("profile", server.user("x")))["displayname"]) == 60_000


@pytest.mark.parametrize("size", [15 * MEBIBYTE, MEBIBYTE])
def test_keys_of_many_servers_have_one_budget(home, remote_servers, size):
    node, servers = home[0], remote_servers(8 * SCALE)
    alice = node.register("alice")
    before, memory = latency(alice), rss(node)
    for server in servers:
        answering(server, "user", laden(size))
    wanted = {server.user("x"): [] for server in servers}
    answer = alice.post("/keys/query", {"device_keys": wanted, "timeout": 20_000})
    assert set(answer["failures"]) <= {server.name for server in servers}
    if size > 4 * MEBIBYTE:
        assert set(answer["failures"]) == {server.name for server in servers}
    is_served(alice, before)
    assert rss(node) < memory + 512 * MEBIBYTE + MARGIN
    eventually(lambda: in_flight(node), 0)
