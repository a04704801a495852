"""What clients ask every server for, and this one lacks: answers by which they go on."""

import pytest

from harness.client import expect


@pytest.fixture
def alice(node):
    return node.register("alice")


def test_calls_without_a_turn_server(alice):
    """A refusal would make clients ask again for ever."""
    assert alice.get("/voip/turnServer") == {}


@pytest.mark.parametrize(
    "where",
    ["/_matrix/media/v3/config", "/_matrix/media/r0/config", "/_matrix/client/v1/media/config"],
)
def test_no_file_is_small_enough(node, alice, where):
    assert alice.get(where) == {"m.upload.size": 0}
    expect(node.client().request("GET", where), 401, "M_MISSING_TOKEN")


@pytest.mark.parametrize("where", ["/login", "/register"])
def test_application_services_are_not_known(node, alice, where):
    body = {"type": "m.login.application_service", "username": "bot", "identifier": {}}
    expect(node.client().request("POST", where, body), 401, "M_MISSING_TOKEN")
    for token in ("as_token", alice.access_token):
        headers = {"Authorization": f"Bearer {token}"}
        answer = node.client().request("POST", where, body, headers=headers)
        assert "flows" not in expect(answer, 401, "M_UNKNOWN_TOKEN")
