"""Names that make the server reach into its own network, for users who may choose them."""

import contextlib
import socket
import threading
from urllib.parse import quote

import pytest

from conftest import Started
from harness import process
from harness.client import Client

# As other programs write 127.0.0.1.
SPELLINGS = ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.1.", "0", "127.0.0.1", "localhost"]


class Listening:
    """Programs on the loopback interface: one that says nothing, one that speaks no TLS. They count who
    comes."""

    def __init__(self):
        self.came = 0
        self.sockets = []
        self.silent, self.plain = self.serve(None), self.serve(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.closed = process.free_port()

    def serve(self, greeting) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        self.sockets.append(listening)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    self.came += 1
                    if greeting:
                        connection.sendall(greeting)
                        connection.close()

        threading.Thread(target=accept, daemon=True).start()
        return listening.getsockname()[1]

    def close(self):
        for listening in self.sockets:
            listening.close()


@pytest.fixture(scope="module")
def listening():
    listening = Listening()
    yield listening
    listening.close()


@pytest.fixture(scope="module")
def careful(shared_cluster):
    """A node that federates, and may not reach into its own network."""
    database = shared_cluster.create_database()
    with Started() as started:
        yield started(database, "careful", MATRIARCH_FEDERATION__ENABLED="true")
    database.drop()


def paths(name: str) -> list[str]:
    return [f"/profile/{quote('@x:' + name)}", f"/directory/room/{quote('#x:' + name)}"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_an_address_leads_to_the_private_network(careful, listening, spelling):
    alice = careful.register("alice")
    for path in paths(f"{spelling}:{listening.silent}"):
        answer = alice.request("GET", path)
        assert answer.status_code in (403, 502), answer.text
    alice.post("/keys/query", {"device_keys": {f"@x:{spelling}:{listening.silent}": []}, "timeout": 5000})
    assert listening.came == 0


def test_a_user_does_not_learn_what_listens(home, listening):
    """Even where private addresses are allowed, the answer is the same for every port."""
    alice = home[0].register("alice")
    ports = (listening.closed, listening.plain)
    answers = {alice.request("GET", path).text for port in ports for path in paths(f"127.0.0.1:{port}")}
    assert len(answers) == 1 and str(listening.plain) not in answers.pop()
    assert listening.came


def test_strangers_have_no_server_asked(home, remote_servers):
    (server,) = remote_servers()
    for path in paths(server.name):
        home[0].client().get(path, status=401, errcode="M_MISSING_TOKEN")
        Client(home[0].url, "invented").get(path, status=401, errcode="M_UNKNOWN_TOKEN")
    assert server.asked == []
