"""Registration by shared secret, as tools for Synapse do it."""

import hashlib
import hmac
import secrets

import pytest

from harness.client import Client
from harness.cluster import SERVER_NAME
from harness.node import SHARED_SECRET

WHERE = "/_synapse/admin/v1/register"


def signed(nonce, secret=SHARED_SECRET, **body) -> dict:
    """A request with its HMAC."""
    body = {"username": f"shared-{secrets.token_hex(4)}", "password": "a password", "admin": False, **body}
    parts = [nonce, body["username"], body["password"], "admin" if body["admin"] else "notadmin"]
    parts += [body["user_type"]] if "user_type" in body else []
    mac = hmac.new(secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
    return {"nonce": nonce, "mac": mac, **body}


def nonce(node) -> str:
    answer = node.client().get(WHERE)
    assert set(answer) == {"nonce"}
    return answer["nonce"]


@pytest.mark.parametrize("admin", [False, True])
def test_a_signed_request_registers_and_logs_in(node, admin):
    body = signed(nonce(node), admin=admin)
    answer = node.client().post(WHERE, body)
    assert answer["user_id"] == f"@{body['username']}:{SERVER_NAME}"
    assert answer["home_server"] == SERVER_NAME
    user = Client(node.url, answer["access_token"])
    assert user.get("/account/whoami")["device_id"] == answer["device_id"]
    Client(node.url).login(body["username"], "a password")
    rows = node.database.query(
        "select admin from matriarch.accounts join matriarch.users using (user_nid) where user_id = %s",
        [answer["user_id"]],
    )
    assert rows == [(admin,)]


def test_the_nonce_of_one_node_serves_once_at_any(nodes):
    one = nonce(nodes[0])
    nodes[1].client().post(WHERE, signed(one))
    for node in nodes:
        node.client().post(WHERE, signed(one), status=400, errcode="M_UNKNOWN")


@pytest.mark.parametrize("bad", ["", "x", "\0", "AAAA", "A" * 76, "é"])
def test_other_nonces_do_not_serve(node, bad):
    node.client().post(WHERE, signed(bad), status=400, errcode="M_UNKNOWN")


def test_an_hmac_is_good_for_one_reading_of_its_fields(node):
    one = nonce(node)
    # What is signed reads as the password "pw" of an administrator of type "notadmin", too.
    safe = signed(one, password="pw\0admin")
    escalated = {**safe, "password": "pw", "admin": True, "user_type": "notadmin"}
    assert signed(one, **{key: escalated[key] for key in ("username", "password", "admin", "user_type")}) == (
        escalated
    )
    for body in (safe, signed(one, user_type="a\0b")):
        node.client().post(WHERE, body, status=400, errcode="M_INVALID_PARAM")
    node.client().post(WHERE, signed(one, username="a\0b"), status=400, errcode="M_INVALID_USERNAME")
    # None of them has used the nonce up.
    node.client().post(WHERE, signed(one))


def test_a_wrong_hmac_is_refused_and_the_nonce_stays(node):
    one = nonce(node)
    good = signed(one)
    for bad in (
        signed(one, secret="another secret"),
        {**good, "mac": "00"},
        {**good, "mac": "xyz"},
        {**good, "admin": True},
        {**good, "user_type": "bot"},
        {**good, "password": "another password"},
    ):
        node.client().post(WHERE, bad, status=403, errcode="M_UNKNOWN")
    node.client().post(WHERE, good)


def test_user_type_is_signed(node):
    node.client().post(WHERE, signed(nonce(node), user_type="bot"))


def test_displayname_is_taken(node):
    answer = node.client().post(WHERE, {**signed(nonce(node)), "displayname": 'The "Bot"'})
    rows = node.database.query(
        "select value from matriarch.profiles join matriarch.users using (user_nid) where user_id = %s",
        [answer["user_id"]],
    )
    assert rows == [('"The \\"Bot\\""',)]


def test_names_are_checked(node):
    node.client().post(WHERE, signed(nonce(node), username="a b"), status=400, errcode="M_INVALID_USERNAME")
    body = signed(nonce(node))
    node.client().post(WHERE, body)
    again = signed(nonce(node), username=body["username"])
    node.client().post(WHERE, again, status=400, errcode="M_USER_IN_USE")


def test_malformed_requests_are_refused(node):
    good = signed(nonce(node))
    for key in ("nonce", "username", "password", "mac"):
        missing = {name: value for name, value in good.items() if name != key}
        node.client().post(WHERE, missing, status=400, errcode="M_MISSING_PARAM")
    node.client().post(WHERE, {**good, "admin": "yes"}, status=400, errcode="M_BAD_JSON")


def test_it_works_while_public_registration_is_off_and_not_without_a_secret(database, start_nodes):
    [node] = start_nodes(database, MATRIARCH_REGISTRATION__MODE="shared_secret")
    node.client().post("/register", {}, status=403, errcode="M_FORBIDDEN")
    node.client().post(WHERE, signed(nonce(node)))


def test_without_a_secret_there_is_none(database, start_nodes):
    listeners = {"MATRIARCH_REGISTRATION__MODE": "open"}
    [node] = start_nodes(database, **listeners)
    node.stop()
    del node.environment["MATRIARCH_REGISTRATION__SHARED_SECRET"]
    node.start()
    node.client().get(WHERE, status=400, errcode="M_UNKNOWN")
    node.client().post(WHERE, signed("x"), status=400, errcode="M_UNKNOWN")
