"""Refresh tokens and expiring access tokens: Client-Server API, "Refreshing access tokens", "Soft logout"."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.client import Client, expect

REFUSED = {"status": 401, "errcode": "M_UNKNOWN_TOKEN"}


def log_in(user, **body) -> dict:
    """A login that can refresh."""
    identifier = {"type": "m.id.user", "user": user.user_id}
    request = {"type": "m.login.password", "identifier": identifier, "password": user.password, "refresh_token": True}
    return Client(user.url).post("/login", {**request, **body})


def refresh(node, token, **options) -> dict:
    return node.client().post("/refresh", {"refresh_token": token}, **options)


def works(node, answer) -> bool:
    """Whether the access token of an answer is good; this uses it."""
    return Client(node.url, answer["access_token"]).request("GET", "/account/whoami").status_code == 200


@pytest.fixture(scope="module")
def user(shared_nodes):
    return shared_nodes[0].register("refresh")


@pytest.mark.parametrize(
    "where", ["/refresh", "/_matrix/client/r0/refresh", "/_matrix/client/v1/refresh", "/_matrix/client/unstable/org.matrix.msc2918/refresh"]
)
def test_a_refresh_gives_a_new_pair_to_the_same_device(node, user, where):
    first = log_in(user)
    second = node.client().post(where, {"refresh_token": first["refresh_token"]})
    assert second["expires_in_ms"] == 3_600_000
    assert set(second) == {"access_token", "refresh_token", "expires_in_ms"}
    assert {first["access_token"], first["refresh_token"]}.isdisjoint(second.values())
    who = Client(node.url, second["access_token"]).get("/account/whoami")
    assert (who["user_id"], who["device_id"]) == (user.user_id, first["device_id"])


def test_a_lost_answer_can_be_repeated(nodes, user):
    first = log_in(user)
    lost = refresh(nodes[0], first["refresh_token"])
    second = refresh(nodes[1], first["refresh_token"])
    assert works(nodes[0], second)
    # What was lost is void, since something else took its place.
    assert not works(nodes[0], lost)
    refresh(nodes[0], lost["refresh_token"], **REFUSED)


def test_the_old_pair_is_good_until_the_new_access_token_is_used(nodes, user):
    first = log_in(user)
    assert works(nodes[0], first)
    second = refresh(nodes[0], first["refresh_token"])
    assert works(nodes[0], first) and works(nodes[1], first)
    assert works(nodes[1], second)
    assert not works(nodes[0], first)
    refresh(nodes[0], first["refresh_token"], **REFUSED)
    # The refused replay hurts nobody.
    assert works(nodes[0], second)
    assert works(nodes[0], refresh(nodes[0], second["refresh_token"]))


def test_the_old_pair_is_good_until_the_new_refresh_token_is_used(nodes, user):
    first = log_in(user)
    second = refresh(nodes[0], first["refresh_token"])
    third = refresh(nodes[1], second["refresh_token"])
    refresh(nodes[0], first["refresh_token"], **REFUSED)
    assert not works(nodes[0], first)
    # The second pair is the old one now.
    assert works(nodes[0], second)
    assert works(nodes[0], third)
    assert not works(nodes[1], second)
    refresh(nodes[1], second["refresh_token"], **REFUSED)


def test_requests_with_the_old_token_do_not_spoil_a_refresh_under_way(nodes, user):
    first = log_in(user)
    second = refresh(nodes[0], first["refresh_token"])
    assert works(nodes[0], second)
    third = refresh(nodes[0], second["refresh_token"])
    # The second node sees the second token for the first time, after it was replaced.
    assert works(nodes[1], second)
    assert works(nodes[1], third)


def test_a_token_in_the_query_counts_as_used(nodes, user):
    first = log_in(user)
    second = refresh(nodes[0], first["refresh_token"])
    nodes[0].client().get("/account/whoami", params={"access_token": second["access_token"]})
    refresh(nodes[0], first["refresh_token"], **REFUSED)


def test_of_refreshes_at_one_moment_one_pair_remains(nodes, user):
    first = log_in(user)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: refresh(nodes[n % 2], first["refresh_token"]), range(8)))
    rows = nodes[0].database.query(
        "select count(*) from matriarch.refresh_tokens join matriarch.devices using (device_nid) where device_id = %s",
        [first["device_id"]],
    )
    assert rows == [(2,)]
    assert sum(works(nodes[0], answer) for answer in answers) == 1


def test_the_number_of_stored_tokens_does_not_grow(node, user):
    answer = log_in(user)
    for _ in range(5):
        answer = {**answer, **refresh(node, answer["refresh_token"])}
        assert works(node, answer)
    counts = "select count(*) from {} join matriarch.devices using (device_nid) where device_id = %s"
    for table in ("matriarch.refresh_tokens", "matriarch.access_tokens"):
        assert node.database.query(counts.format(table), [answer["device_id"]]) == [(1,)]


def test_refresh_tokens_are_no_access_tokens_nor_the_reverse(node, user):
    answer = log_in(user)
    Client(node.url, answer["refresh_token"]).get("/account/whoami", **REFUSED)
    refresh(node, answer["access_token"], **REFUSED)


def test_logging_out_ends_the_refresh_token(node, user):
    answer = log_in(user)
    expect(Client(node.url, answer["access_token"]).request("POST", "/logout"), 200)
    refresh(node, answer["refresh_token"], **REFUSED)


def test_logging_in_on_the_device_ends_the_refresh_token(node, user):
    answer = log_in(user, device_id="RELOGIN")
    again = log_in(user, device_id="RELOGIN")
    refresh(node, answer["refresh_token"], **REFUSED)
    assert works(node, refresh(node, again["refresh_token"]))


def test_malformed_refreshes_are_refused(node):
    client = node.client()
    client.post("/refresh", {}, status=400, errcode="M_MISSING_PARAM")
    client.post("/refresh", {"refresh_token": 1}, status=400, errcode="M_BAD_JSON")
    client.post("/refresh", {"refresh_token": "\0"}, **REFUSED)
    client.post("/refresh", {"refresh_token": ""}, **REFUSED)
    # No access token is looked at.
    Client(node.url, "bad").post("/refresh", {"refresh_token": "x"}, **REFUSED)
    Client(node.url, "matr_bad").get("/account/whoami", **REFUSED)


def test_an_expired_access_token_is_a_soft_logout(database, start_nodes):
    [node] = start_nodes(database, MATRIARCH_TOKENS__ACCESS_TOKEN_LIFETIME="1")
    user = node.register("short")
    answer = log_in(user)
    assert answer["expires_in_ms"] == 1000
    assert works(node, answer)
    time.sleep(1.1)
    expired = Client(node.url, answer["access_token"])
    for method, where in (("GET", "/account/whoami"), ("POST", "/logout"), ("POST", "/account/password")):
        assert expired.call(method, where, {}, **REFUSED)["soft_logout"] is True, where
    # The device lives on: refreshing works, and so does logging in again.
    assert works(node, refresh(node, answer["refresh_token"]))
    assert works(node, log_in(user, device_id=answer["device_id"]))
    # The token of the client that cannot refresh has not expired.
    user.get("/account/whoami")


@pytest.mark.parametrize("bad", ["0", "-1", "99999999999"])
def test_an_impossible_lifetime_stops_the_node(database, start_nodes, bad):
    with pytest.raises(RuntimeError, match="tokens.access_token_lifetime"):
        start_nodes(database, MATRIARCH_TOKENS__ACCESS_TOKEN_LIFETIME=bad)
