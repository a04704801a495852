"""GET /admin/whois, and /.well-known/matrix/support: who is who on this server."""

import pytest

from harness.client import expect, path


def whois(user, of, **options):
    return user.get(path("admin", "whois", of.user_id), **options)


def test_users_see_their_own_connections(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    other = alice.another_device()
    other.get("/account/whoami")

    def seen():
        devices = whois(alice, alice)["devices"]
        assert set(devices) == {alice.device_id, other.device_id}
        connections = [session for device in devices.values() for session in device["sessions"]]
        return [connection for session in connections for connection in session["connections"]]

    assert whois(alice, alice)["user_id"] == alice.user_id
    # Nodes write it when they stop, at the latest.
    node.stop()
    node.start()
    for connection in seen():
        assert connection["ip"] == "127.0.0.1" and connection["last_seen"] > 0
    assert len(seen()) == 2


def test_only_administrators_see_those_of_others(node):
    alice, bob, admin = (node.register(name) for name in ("alice", "bob", "admin"))
    whois(bob, alice, status=403, errcode="M_FORBIDDEN")
    bob.get(path("admin", "whois", "@nobody:elsewhere.example"), status=403, errcode="M_FORBIDDEN")
    node.database.query(
        """
        update matriarch.accounts set admin = true
        where user_nid = (select user_nid from matriarch.users where user_id = %s)""",
        [admin.user_id],
    )
    assert list(whois(admin, alice)["devices"]) == [alice.device_id]
    admin.get(path("admin", "whois", "@nobody:elsewhere.example"), status=404, errcode="M_NOT_FOUND")
    expect(node.client().request("GET", path("admin", "whois", alice.user_id)), 401, "M_MISSING_TOKEN")


SUPPORT = "/.well-known/matrix/support"


def test_support_is_told_where_it_is_set(database, start_nodes):
    (node,) = start_nodes(
        database,
        MATRIARCH_SUPPORT__CONTACTS='[{role = "m.role.admin", email_address = "admin@test.example"}]',
        MATRIARCH_SUPPORT__PAGE="https://test.example/support",
    )
    assert node.client().get(SUPPORT) == {
        "contacts": [{"role": "m.role.admin", "email_address": "admin@test.example"}],
        "support_page": "https://test.example/support",
    }


def test_support_is_not_found_where_it_is_not_set(node):
    node.client().get(SUPPORT, status=404, errcode="M_NOT_FOUND")


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_support_can_only_be_read(node, method):
    expect(node.client().request(method, SUPPORT), 405, "M_UNRECOGNIZED")
