"""Bodies that take much memory: long ones, and short ones with many JSON objects."""

import time

import pytest

from conftest import Started
from harness.attack import (
    MEBIBYTE,
    OBJECTS,
    SCALE,
    client_at,
    connect,
    head,
    in_flight,
    is_served,
    latency,
    many,
    reached,
    rss,
)
from harness.waiting import eventually

ATTACKERS = 20 * SCALE
# A node that was at rest, and what honest requests take.
MARGIN = 200 * MEBIBYTE


@pytest.fixture(scope="module")
def alone(shared_cluster):
    """A node for the tests of this file, without federation."""
    database = shared_cluster.create_database()
    with Started() as started:
        yield started(database, "alone")
    database.drop()


def objects(size: int) -> bytes:
    """A body of so many bytes that consists of JSON objects."""
    return b'{"x":[' + OBJECTS * (size // len(OBJECTS)) + b"0]}"


def flood(node, method, path, body, token=None, times=3) -> set[int]:
    """Sends a body on many connections at once; the statuses of the answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(number):
        client = client_at(node, f"127.0.1.{1 + number % 200}").http
        return [client.request(method, path, content=body, headers=headers).status_code for _ in range(times)]

    return {status for statuses in many(ATTACKERS, send) for status in statuses}


PATHS = ["/_matrix/client/v3/account/password", "/_matrix/client/v3/register", "/_matrix/client/v3/login"]


@pytest.mark.parametrize("path", PATHS)
def test_objects_of_strangers_take_no_memory(alone, path):
    alice = alone.register("alice")
    before, memory = latency(alice), rss(alone)
    body = objects(MEBIBYTE - 100)
    assert flood(alone, "POST", path, body) == {413}
    assert flood(alone, "POST", path, body, token="invented") == {401}
    is_served(alice, before)
    assert rss(alone) < memory + MARGIN
    assert reached(alone, "body_of_unknown")


def test_objects_of_a_user_are_counted(alone):
    alice, mallory = alone.register("alice"), alone.register("mallory")
    before, memory = latency(alice), rss(alone)
    path = "/_matrix/client/v3/account/password"
    assert flood(alone, "POST", path, objects(MEBIBYTE - 100), mallory.access_token) == {413}
    # As many as a body may have take their part of one budget. The last is too long for what is kept of it.
    statuses = flood(alone, "POST", path, objects(49_000 * len(OBJECTS)), mallory.access_token)
    assert statuses <= {413, 429}
    is_served(alice, before)
    assert rss(alone) < memory + 512 * MEBIBYTE + MARGIN
    eventually(lambda: in_flight(alone), 0)
    # What it does not need any more it gives back.
    eventually(lambda: rss(alone) < memory + MARGIN, seconds=30)


def test_nested_arrays_are_refused(alone):
    deep = b'{"x":' + b"[" * 500_000 + b"]" * 500_000 + b"}"
    alice = alone.register("alice")
    assert flood(alone, "POST", "/_matrix/client/v3/createRoom", deep, alice.access_token) == {400}
    assert reached(alone, "json_depth")


@pytest.mark.parametrize(
    "path", ["/_matrix/federation/v1/send/1", "/_matrix/key/v2/query", "/nothing", "/health"]
)
def test_paths_that_are_not_served_have_no_long_bodies(alone, path):
    memory = rss(alone)
    statuses = set()
    for _ in range(ATTACKERS):
        with connect(alone, "127.0.0.2") as connection:
            connection.sendall(head("PUT", path, 12 * MEBIBYTE) + b" " * 900_000)
            connection.shutdown(1)
            answer = connection.recv(65536)
            statuses.add(answer.split(b" ")[1] if answer else None)
    assert statuses <= {b"413", b"400"}
    assert rss(alone) < memory + 50 * MEBIBYTE


def test_slow_senders_do_not_take_the_memory_of_others(database, start_nodes):
    """Who is known sends long bodies up to the last byte, from one address, and waits."""
    (node,) = start_nodes(database, MATRIARCH_LIMITS__MAX_MEMORY=str(64 * MEBIBYTE))
    alice, mallory = node.register("alice"), node.register("mallory")
    path = "/_matrix/client/v3/createRoom"
    body = b'{"x":"' + b"y" * (MEBIBYTE - 100) + b'"}'
    held = []
    for _ in range(12):
        connection = connect(node, "127.0.0.2")
        connection.sendall(head("POST", path, len(body), mallory.access_token) + body[:-1])
        held.append(connection)
    eventually(lambda: reached(node, "memory_share") > 0)
    # Neither what others send in the meantime, nor what they themselves do afterwards, is refused.
    room = alice.create_room(topic="t" * 30_000)
    alice.send(room, "hello")
    for connection in held:
        connection.close()

    def is_free():
        answer = client_at(node, "127.0.0.2").request(
            "POST", path, content=body, headers={"Authorization": f"Bearer {mallory.access_token}"}
        )
        return answer.status_code != 429

    eventually(is_free)


def test_an_honest_long_body_is_read(alone):
    alice = alone.register("alice")
    began = time.monotonic()
    room = alice.create_room()
    content = {f"key{number}": {"a": [number]} for number in range(400)}
    alice.send_state(room, "org.example.long", content)
    alice.put(f"/user/{alice.user_id}/account_data/org.example.long", {"x": "y" * 900_000})
    assert time.monotonic() - began < 60
