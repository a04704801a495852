"""Login and logout: Client-Server API, "Login"."""

import secrets
import time

import pytest

from harness.client import PASSWORD, Client, expect
from harness.cluster import SERVER_NAME


def password_login(user, password=PASSWORD, **more) -> dict:
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": password,
        **more,
    }


@pytest.fixture(scope="module")
def user(shared_nodes):
    return shared_nodes[0].register("login")


def localpart(user) -> str:
    return user.user_id[1:].split(":")[0]


@pytest.mark.parametrize("version", ["v3", "r0"])
def test_the_flows_are_listed(node, version):
    assert node.client().get(f"/_matrix/client/{version}/login") == {"flows": [{"type": "m.login.password"}]}


def test_a_user_logs_in_by_id_and_by_localpart_at_any_node(nodes, user):
    for node in nodes:
        for name in (user.user_id, localpart(user), localpart(user).upper()):
            client = node.client().login(name)
            assert client.get("/account/whoami")["user_id"] == user.user_id
            assert client.device_id != user.device_id


def test_the_deprecated_user_field_serves(node, user):
    answer = node.client().post(
        "/login", {"type": "m.login.password", "user": localpart(user), "password": PASSWORD}
    )
    assert answer["user_id"] == user.user_id
    assert answer["home_server"] == SERVER_NAME
    assert "well_known" not in answer


def test_historical_names_log_in_exactly(node):
    user = node.register("hist")
    old = user.user_id.replace("hist", "Hist Örical")
    node.database.query("update matriarch.users set user_id = %s where user_id = %s", [old, user.user_id])
    assert node.client().login(old).user_id == old
    assert node.client().login(old[1:].split(":")[0]).user_id == old


def test_well_known_comes_along_when_configured(database, start_nodes):
    [node] = start_nodes(database, MATRIARCH_PUBLIC_BASE_URL="https://matrix.test.example")
    user = node.register()
    answer = node.client().post("/login", password_login(user.user_id))
    assert answer["well_known"] == {"m.homeserver": {"base_url": "https://matrix.test.example"}}


def test_wrong_password_and_unknown_user_look_alike(node, user):
    wrong = node.client().request("POST", "/login", password_login(user.user_id, "wrong"))
    body = expect(wrong, 403, "M_FORBIDDEN")
    names = ["nobody-" + secrets.token_hex(4), "@alice:elsewhere.example", "@", "", "a:b", "nul\0", "x" * 300]
    for name in names:
        assert expect(node.client().request("POST", "/login", password_login(name)), 403) == body, name


def test_wrong_password_and_unknown_user_take_the_same_time(node, user):
    def seconds(name):
        started = time.perf_counter()
        node.client().call("POST", "/login", password_login(name, "wrong"), status=403)
        return time.perf_counter() - started

    # By turns, and the least of many: other work on the machine only adds.
    names = [user.user_id, "nobody-" + secrets.token_hex(4)]
    pairs = [[seconds(name) for name in names] for _ in range(12)]
    known, unknown = (min(times) for times in zip(*pairs, strict=True))
    assert 1 / 3 < known / unknown < 3


def test_a_known_device_is_reused_and_its_earlier_tokens_die(nodes):
    user = nodes[0].register("reuse", device_id="DEV", initial_device_display_name="First")
    again = nodes[1].client().login(user.user_id, device_id="DEV", initial_device_display_name="Second")
    assert again.device_id == "DEV"
    user.get("/account/whoami", status=401, errcode="M_UNKNOWN_TOKEN")
    assert again.get("/account/whoami")["device_id"] == "DEV"
    rows = nodes[0].database.query(
        "select d.display_name from matriarch.devices d join matriarch.users u using (user_nid) "
        "where u.user_id = %s",
        [user.user_id],
    )
    assert rows == [("First",)]


def test_another_device_leaves_the_first_alone(node, user):
    user.another_device()
    user.get("/account/whoami")


def test_an_empty_device_id_is_replaced(node, user):
    assert len(node.client().login(user.user_id, device_id="").device_id) == 10


@pytest.mark.parametrize(
    ("body", "status", "errcode"),
    [
        ({}, 400, "M_MISSING_PARAM"),
        ({"type": 1}, 400, "M_BAD_JSON"),
        ({"type": "m.login.token", "token": "x"}, 400, "M_UNKNOWN"),
        ({"type": "m.login.password"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "user": "x"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "password": "x"}, 400, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "user": 1, "password": "x"}, 400, "M_BAD_JSON"),
        ({"type": "m.login.password", "user": "x", "password": 1}, 400, "M_BAD_JSON"),
        ({"type": "m.login.password", "identifier": "x", "password": "x"}, 400, "M_BAD_JSON"),
        ({"type": "m.login.password", "identifier": {"type": "x"}, "password": "x"}, 400, "M_UNRECOGNIZED"),
        (
            {"type": "m.login.password", "medium": "email", "address": "a@b", "password": "x"},
            403,
            "M_FORBIDDEN",
        ),
        ({**password_login("x"), "device_id": "\0"}, 400, "M_INVALID_PARAM"),
    ],
)
def test_malformed_requests_are_refused(node, body, status, errcode):
    node.client().call("POST", "/login", body, status=status, errcode=errcode)


def test_addresses_are_unknown(node):
    for identifier in (
        {"type": "m.id.thirdparty", "medium": "email", "address": "a@b.example"},
        {"type": "m.id.phone", "country": "GB", "phone": "07700900001"},
    ):
        body = {"type": "m.login.password", "identifier": identifier, "password": "x"}
        node.client().call("POST", "/login", body, status=403, errcode="M_FORBIDDEN")


@pytest.mark.parametrize("version", ["v3", "r0"])
def test_logout_ends_the_device(nodes, version):
    user = nodes[0].register()
    other = user.another_device()
    where = f"/_matrix/client/{version}/logout"
    # No body, or any: it is not looked at.
    expect(user.at(nodes[1]).request("POST", where), 200)
    user.get("/account/whoami", status=401, errcode="M_UNKNOWN_TOKEN")
    assert "soft_logout" not in user.get("/account/whoami", status=401)
    user.call("POST", where, status=401, errcode="M_UNKNOWN_TOKEN")
    other.get("/account/whoami")
    rows = nodes[0].database.query(
        "select d.device_id from matriarch.devices d join matriarch.users u using (user_nid) "
        "where u.user_id = %s",
        [user.user_id],
    )
    assert rows == [(other.device_id,)]
    expect(other.request("POST", where, content=b"not json"), 200)


def test_logout_all_ends_every_device(node):
    user = node.register()
    other = user.another_device()
    bystander = node.register()
    expect(user.request("POST", "/logout/all"), 200)
    for client in (user, other):
        client.get("/account/whoami", status=401, errcode="M_UNKNOWN_TOKEN")
    bystander.get("/account/whoami")
    node.client().login(user.user_id)


def test_logout_needs_a_token(node):
    for where in ("/logout", "/logout/all"):
        node.client().call("POST", where, status=401, errcode="M_MISSING_TOKEN")


def test_the_token_may_stand_in_the_query(node, user):
    nobody = Client(node.url)
    assert (
        nobody.get("/account/whoami", params={"access_token": user.access_token})["user_id"] == user.user_id
    )
    nobody.get("/account/whoami", status=401, errcode="M_MISSING_TOKEN")
    nobody.get("/account/whoami", params={"access_token": "x"}, status=401, errcode="M_UNKNOWN_TOKEN")
