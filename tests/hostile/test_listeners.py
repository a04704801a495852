"""Web pages, and others who reach a listener that was not meant for them."""

import pytest

from conftest import Started
from harness import process
from harness.attack import reached

CORS = "Access-Control-Allow-Origin"


@pytest.fixture(scope="module")
def plain(shared_cluster):
    """A node with one listener, of which the configuration says only where it is."""
    database = shared_cluster.create_database()
    port = process.free_port()
    listeners = f'[{{address = "127.0.0.1", port = {port}}}]'
    with Started() as started:
        yield started(database, "plain", port, MATRIARCH_LISTENERS=listeners)
    database.drop()


def test_a_listener_serves_clients_unless_told_more(plain):
    client = plain.client()
    client.get("/_matrix/client/versions")
    assert client.request("GET", "/health").status_code == 200
    for path in ("/metrics", "/_synapse/admin/v1/register", "/_matrix/key/v2/server"):
        client.get(path, status=404, errcode="M_UNRECOGNIZED")


def test_pages_may_use_the_client_api_only(node):
    client = node.client()
    for path in ("/_matrix/client/versions", "/_matrix/client/v3/nothing", "/.well-known/matrix/client"):
        for method in ("GET", "OPTIONS"):
            assert client.request(method, path).headers.get(CORS) == "*", (method, path)
    for path in ("/metrics", "/health", "/_synapse/admin/v1/register"):
        for method in ("GET", "OPTIONS"):
            assert CORS not in client.request(method, path).headers, (method, path)


@pytest.mark.parametrize(
    "path", ["/_matrix/client/versions", "/_matrix/client/v3/sync", "/metrics", "/health", "/x"]
)
def test_no_answer_is_taken_for_something_else(node, path):
    assert node.client().request("GET", path).headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8008", "localhost.evil.example", ""])
def test_pages_do_not_come_by_a_name_of_their_own(node, host):
    """As if its name resolved to this machine."""
    client = node.client()
    before = reached(node, "host")
    client.get("/_matrix/client/versions", headers={"Host": host}, status=421, errcode="M_UNKNOWN")
    assert reached(node, "host") == before + 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]", "test.example", "app.localhost"])
def test_programs_come_by_the_names_of_this_machine_and_of_the_server(node, host):
    node.client().get("/_matrix/client/versions", headers={"Host": host})
