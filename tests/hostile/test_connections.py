"""Connections that are held: by saying nothing, by sending slowly, by not taking answers, by their number."""

import re
import socket
import struct
from pathlib import Path

import pytest

from conftest import Started
from harness.attack import SCALE, client_at, connect, head, is_closed, is_served, latency, reached
from harness.waiting import eventually

HELD = 50 * SCALE
WRONG_LOGIN = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "x"}, "password": "x"}


@pytest.fixture(scope="module")
def impatient(shared_cluster):
    """A node with short timeouts, and few connections for each address."""
    database = shared_cluster.create_database()
    with Started() as started:
        yield started(
            database,
            "impatient",
            MATRIARCH_LIMITS__HEAD_TIMEOUT="2",
            MATRIARCH_LIMITS__BODY_TIMEOUT="2",
            MATRIARCH_LIMITS__MAX_CONNECTIONS_PER_ADDRESS=str(2 * HELD),
        )
    database.drop()


def hold(node, sent: bytes, address="127.0.0.2") -> list[socket.socket]:
    """Connections on which so much is sent, and then nothing."""
    connections = [connect(node, address) for _ in range(HELD)]
    for connection in connections:
        connection.sendall(sent)
    return connections


BEGINNINGS = {
    "nothing": b"",
    "half of a head": b"GET /_matrix/client/versions HTTP/1.1\r\nHost: loc",
    "half of the preface of HTTP/2": b"PRI * HTTP/2.0\r\n",
    "one byte of a body": head("POST", "/_matrix/client/v3/login", 1000) + b"{",
    "a body to nowhere": head("POST", "/nothing", 1000) + b"{",
}


@pytest.mark.parametrize("sent", BEGINNINGS.values(), ids=BEGINNINGS)
def test_who_does_not_go_on_is_not_waited_for(impatient, sent):
    alice = impatient.register("alice")
    before = latency(alice)
    held = hold(impatient, sent)
    is_served(alice, before)
    eventually(lambda: all(is_closed(connection) for connection in held))
    if b"\r\n\r\n{" in sent:
        assert reached(impatient, "body_time") >= HELD


def test_a_body_must_arrive_at_a_least_rate(impatient):
    with connect(impatient) as connection:
        connection.sendall(head("POST", "/_matrix/client/v3/login", 60_000))
        before = reached(impatient, "body_time")

        def is_refused():
            if not is_closed(connection):
                connection.sendall(b" ")
            return reached(impatient, "body_time") > before

        eventually(is_refused)


def test_who_takes_no_answer_loses_the_connection(impatient):
    connection = connect(impatient)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(0.5)
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def is_gone():
        try:
            connection.sendall(100 * request)
        except TimeoutError:
            pass
        except ConnectionError:
            return True
        return False

    eventually(is_gone)


def test_an_address_has_so_many_connections(impatient):
    alice = impatient.register("alice")
    held = hold(impatient, b"GET") + hold(impatient, b"GET")
    held += [connect(impatient, "127.0.0.2") for _ in range(5)]
    eventually(lambda: reached(impatient, "connections_per_address") >= 5)
    eventually(lambda: sum(is_closed(connection) for connection in held[-5:]) == 5, seconds=1.5)
    # Others, and after a while the same again, are served.
    alice.get("/account/whoami")
    client_at(impatient, "127.0.0.3").get("/_matrix/client/versions")
    eventually(lambda: all(is_closed(connection) for connection in held))
    client_at(impatient, "127.0.0.2").get("/_matrix/client/versions")
    assert re.search(r'"limit":"connections_per_address","holder":"127.0.0.2"', impatient.log.read_text())


def test_a_node_has_so_many_connections(database, start_nodes):
    (node,) = start_nodes(database, MATRIARCH_LIMITS__MAX_CONNECTIONS="20")
    held = [connect(node, f"127.0.0.{2 + number}") for number in range(25)]
    eventually(lambda: sum(is_closed(connection) for connection in held) >= 5)
    for connection in held:
        connection.close()
    eventually(lambda: reached(node, "connections") >= 5)


def test_a_node_takes_as_many_file_descriptors_as_it_may(node):
    limits = Path(f"/proc/{node.process.pid}/limits").read_text()
    soft, hard = re.search(r"Max open files\s+(\S+)\s+(\S+)", limits).groups()
    assert soft == hard
    assert f'"file_descriptors":{hard}' in node.log.read_text()


def test_a_connection_of_http_2_has_few_requests_at_a_time(node):
    """As the node's SETTINGS say."""
    with connect(node) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        frame = connection.recv(9, socket.MSG_WAITALL)
        length, kind = int.from_bytes(frame[:3]), frame[3]
        assert kind == 4
        payload = connection.recv(length, socket.MSG_WAITALL)
    settings = dict(struct.unpack_from(">HI", payload, place) for place in range(0, length, 6))
    assert settings[3] == 32
    assert settings[4] <= 65536
