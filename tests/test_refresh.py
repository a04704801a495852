"""Refresh tokens and expiring access tokens: Client-Server API, "Refreshing access tokens", "Soft logout"."""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import Client, expect, path
from harness.crypto import Device, query
from harness.process import ROOT
from harness.waiting import eventually, long_poll

REFUSED = {"status": 401, "errcode": "M_UNKNOWN_TOKEN"}


def log_in(user, **body) -> dict:
    """A login that can refresh."""
    identifier = {"type": "m.id.user", "user": user.user_id}
    request = {
        "type": "m.login.password",
        "identifier": identifier,
        "password": user.password,
        "refresh_token": True,
    }
    return Client(user.url).post("/login", {**request, **body})


def refresh(node, token, **options) -> dict:
    return node.client().post("/refresh", {"refresh_token": token}, **options)


def works(node, answer) -> bool:
    """Whether the access token of an answer is good; this uses it."""
    return Client(node.url, answer["access_token"]).request("GET", "/account/whoami").status_code == 200


def ended(node, answer) -> bool:
    """Whether the tokens of an answer are dead while their device lives on. This presents the refresh
    token."""
    refused = Client(node.url, answer["access_token"]).get("/account/whoami", **REFUSED)
    return (
        refused.get("soft_logout")
        is refresh(node, answer["refresh_token"], **REFUSED).get("soft_logout")
        is True
    )


def devices(node, user) -> list[str]:
    sql = "select device_id from matriarch.devices join matriarch.users using (user_nid) where user_id = %s"
    return [device for (device,) in node.database.query(sql, [user.user_id])]


@pytest.fixture(scope="module")
def user(shared_nodes):
    return shared_nodes[0].register("refresh")


@pytest.mark.parametrize(
    "where",
    [
        "/refresh",
        "/_matrix/client/r0/refresh",
        "/_matrix/client/v1/refresh",
        "/_matrix/client/unstable/org.matrix.msc2918/refresh",
    ],
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
    # What was lost is void, since something else took its place. It was never used, so it harms nobody.
    assert not works(nodes[0], lost)
    assert refresh(nodes[0], lost["refresh_token"], **REFUSED)["soft_logout"] is True
    assert works(nodes[0], second)


def test_the_old_pair_is_good_until_the_new_access_token_is_used(nodes, user):
    first = log_in(user)
    assert works(nodes[0], first)
    second = refresh(nodes[0], first["refresh_token"])
    assert works(nodes[0], first) and works(nodes[1], first)
    assert works(nodes[1], second)
    assert not works(nodes[0], first)
    assert refresh(nodes[0], first["refresh_token"], **REFUSED)["soft_logout"] is True


def test_the_old_pair_is_good_until_the_new_refresh_token_is_used(nodes, user):
    first = log_in(user)
    second = refresh(nodes[0], first["refresh_token"])
    third = refresh(nodes[1], second["refresh_token"])
    assert not works(nodes[0], first)
    # The second pair is the old one now.
    assert works(nodes[0], second)
    assert works(nodes[0], third)
    assert not works(nodes[1], second)
    assert refresh(nodes[1], second["refresh_token"], **REFUSED)["soft_logout"] is True


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
        "select count(*) from matriarch.refresh_tokens join matriarch.devices using (device_nid) "
        "where device_id = %s",
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


class TestReplay:
    """A refresh token that comes again after its successor was used is in two hands."""

    def chain(self, nodes, user, length=2, **body) -> list[dict]:
        """Pairs of tokens, each refreshed from the one before and used."""
        pairs = [log_in(user, **body)]
        for n in range(length - 1):
            pairs.append(refresh(nodes[n % 2], pairs[-1]["refresh_token"]))
            assert works(nodes[(n + 1) % 2], pairs[-1])
        return pairs

    @pytest.mark.parametrize("use", ["access_token", "refresh_token"])
    def test_it_ends_the_session_after_either_use(self, nodes, user, use):
        first = log_in(user)
        newest = second = refresh(nodes[0], first["refresh_token"])
        if use == "access_token":
            assert works(nodes[1], second)
        else:
            newest = refresh(nodes[1], second["refresh_token"])
        assert refresh(nodes[0], first["refresh_token"], **REFUSED)["soft_logout"] is True
        for node in nodes:
            assert ended(node, newest) and ended(node, newest)

    def test_any_earlier_token_ends_it(self, nodes, user):
        for replayed in range(3):
            pairs = self.chain(nodes, user, 4)
            refresh(nodes[1], pairs[replayed]["refresh_token"], **REFUSED)
            assert ended(nodes[0], pairs[-1])

    def test_the_device_stays_and_can_log_in_again(self, nodes):
        user = nodes[0].register("replay")
        pairs = self.chain(nodes, user, device_id="KEPT")
        refresh(nodes[0], pairs[0]["refresh_token"], **REFUSED)
        assert sorted(devices(nodes[0], user)) == sorted([user.device_id, "KEPT"])
        again = log_in(user, device_id="KEPT")
        assert works(nodes[1], again)
        # What the ended session had does not touch the new one.
        for pair in pairs:
            assert "soft_logout" not in refresh(nodes[1], pair["refresh_token"], **REFUSED)
            assert not works(nodes[0], pair)
        assert works(nodes[0], refresh(nodes[0], again["refresh_token"]))

    def test_the_devices_keys_and_messages_stay(self, nodes):
        user = nodes[0].register("replay")
        pairs = self.chain(nodes, user, device_id="KEYS")
        client = Client(nodes[0].url, pairs[-1]["access_token"])
        client.user_id, client.device_id = user.user_id, "KEYS"
        device = Device(client)
        keys = device.publish()
        client.post("/keys/upload", {"one_time_keys": device.one_time_keys(3)})
        user.put(
            path("sendToDevice", "org.example.kind", "t"), {"messages": {user.user_id: {"KEYS": {"n": 1}}}}
        )
        refresh(nodes[1], pairs[0]["refresh_token"], **REFUSED)
        assert query(user, user)["device_keys"][user.user_id]["KEYS"]["keys"] == keys["keys"]
        again = Client(nodes[1].url, log_in(user, device_id="KEYS")["access_token"]).sync()
        assert again["device_one_time_keys_count"]["signed_curve25519"] == 3
        assert [event["content"] for event in again["to_device"]["events"]] == [{"n": 1}]

    def test_other_sessions_of_the_user_go_on(self, nodes, user):
        other, pairs = log_in(user), self.chain(nodes, user)
        refresh(nodes[0], pairs[0]["refresh_token"], **REFUSED)
        assert works(nodes[0], other) and works(nodes[0], refresh(nodes[1], other["refresh_token"]))
        user.get("/account/whoami")

    def test_a_waiting_sync_learns_it(self, nodes, user):
        pairs = self.chain(nodes, user)
        waiting = Client(nodes[1].url, pairs[-1]["access_token"])
        since = waiting.sync()["next_batch"]
        params = {"set_presence": "offline", "since": since, "timeout": 30_000}
        with long_poll(waiting, waiting.request, "GET", "/sync", params=params) as sync:
            begun = time.monotonic()
            refresh(nodes[0], pairs[0]["refresh_token"], **REFUSED)
            answer = expect(sync.result(), 401, "M_UNKNOWN_TOKEN")
        assert answer["soft_logout"] is True and time.monotonic() - begun < 5

    def test_a_pair_handed_out_but_not_used_makes_no_replay(self, nodes, user):
        first = log_in(user)
        answers = [refresh(nodes[n % 2], first["refresh_token"]) for n in range(4)]
        assert works(nodes[0], answers[-1])
        for lost in answers[:-1]:
            assert refresh(nodes[0], lost["refresh_token"], **REFUSED)["soft_logout"] is True
        assert works(nodes[1], answers[-1])

    def test_logging_out_forgets_the_tokens(self, nodes, user):
        pairs = self.chain(nodes, user, 3)
        expect(Client(nodes[0].url, pairs[-1]["access_token"]).request("POST", "/logout"), 200)
        for pair in pairs:
            assert "soft_logout" not in refresh(nodes[1], pair["refresh_token"], **REFUSED)

    def test_replays_race_with_refreshes_and_uses(self, nodes, user):
        """Whatever is under way as the session ends, nothing of it is good afterwards."""
        for _ in range(8):
            pairs = self.chain(nodes, user, 2)
            last = [pairs[-1]["refresh_token"]]

            def step(n):
                url = nodes[n % 2].url
                if n == 7:
                    return Client(url).request(
                        "POST", "/refresh", {"refresh_token": pairs[0]["refresh_token"]}
                    )
                answer = Client(url).request("POST", "/refresh", {"refresh_token": last[-1]})
                if answer.status_code == 200:
                    last.append(answer.json()["refresh_token"])
                    works(nodes[(n + 1) % 2], answer.json())
                return answer

            with ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(step, range(16)))
            assert {answer.status_code for answer in answers} <= {200, 401}
            assert answers[7].status_code == 401
            good = [answer.json() for answer in answers if answer.status_code == 200]
            assert all(ended(nodes[0], answer) or not works(nodes[1], answer) for answer in good)
            sql = (
                "select count(*) from matriarch.refresh_tokens "
                "join matriarch.devices using (device_nid) where device_id = %s"
            )
            assert nodes[0].database.query(sql, [pairs[0]["device_id"]]) == [(0,)]

    def test_of_replays_at_one_moment_all_are_refused(self, nodes, user):
        pairs = self.chain(nodes, user, 3)
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda n: refresh(nodes[n % 2], pairs[n % 2]["refresh_token"], **REFUSED), range(16))
            )
        assert all(answer["soft_logout"] is True for answer in answers)
        assert ended(nodes[0], pairs[-1])

    def test_revoked_tokens_are_forgotten_after_a_week(self, database, start_nodes):
        nodes = start_nodes(database, 2)
        user = nodes[0].register("prune")
        pairs = self.chain(nodes, user, 3)
        counts = "select count(*) from matriarch.revoked_refresh_tokens"
        prune = (ROOT / "server/src/database/housekeeping.sql").read_text()
        database.query("update matriarch.revoked_refresh_tokens set revoked_at = now() - interval '6 days'")
        database.query(prune, user="matriarch_api")
        assert database.query(counts) == [(2,)]
        database.query("update matriarch.revoked_refresh_tokens set revoked_at = now() - interval '8 days'")
        database.query(prune, user="matriarch_api")
        assert database.query(counts) == [(0,)]
        assert "soft_logout" not in refresh(nodes[0], pairs[0]["refresh_token"], **REFUSED)
        assert works(nodes[0], pairs[-1])

    def test_the_database_has_hashes_alone(self, node, user):
        pairs = self.chain([node, node], user, 3)
        rows = node.database.query("select token_hash from matriarch.revoked_refresh_tokens")
        hashes = {bytes(hash) for (hash,) in rows}
        assert hashlib.sha256(pairs[0]["refresh_token"].encode()).digest() in hashes


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
    eventually(lambda: not works(node, answer))
    expired = Client(node.url, answer["access_token"])
    for method, where in (("GET", "/account/whoami"), ("POST", "/logout/all"), ("POST", "/account/password")):
        assert expired.call(method, where, {}, **REFUSED)["soft_logout"] is True, where
    # The device lives on: refreshing works, and so does logging in again.
    assert works(node, refresh(node, answer["refresh_token"]))
    assert works(node, log_in(user, device_id=answer["device_id"]))
    # The token of the client that cannot refresh has not expired.
    user.get("/account/whoami")


def test_an_expired_access_token_can_log_out(database, start_nodes):
    [node] = start_nodes(database, MATRIARCH_TOKENS__ACCESS_TOKEN_LIFETIME="1")
    user = node.register("short")
    answer = log_in(user)
    eventually(lambda: not works(node, answer))
    expired = Client(node.url, answer["access_token"])
    assert expired.post("/logout") == {}
    devices = [device["device_id"] for device in user.get("/devices")["devices"]]
    assert devices == [user.device_id]
    expired.post("/logout", **REFUSED)
    node.client().post("/refresh", {"refresh_token": answer["refresh_token"]}, **REFUSED)


@pytest.mark.parametrize("bad", ["0", "-1", "99999999999"])
def test_an_impossible_lifetime_stops_the_node(database, start_nodes, bad):
    with pytest.raises(RuntimeError, match=r"tokens\.access_token_lifetime"):
        start_nodes(database, MATRIARCH_TOKENS__ACCESS_TOKEN_LIFETIME=bad)
