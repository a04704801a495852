"""User-interactive authentication: Client-Server API, "User-Interactive Authentication API"."""

import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import PASSWORD, Client, expect
from harness.process import ROOT

DUMMY = {"type": "m.login.dummy"}
NEW = "another password"


def name() -> str:
    return f"uia-{secrets.token_hex(4)}"


def begin(client, where="/account/password", body=None) -> dict:
    return expect(client.request("POST", where, {"new_password": NEW} if body is None else body), 401)


def by_password(user, session=None, password=None, **more) -> dict:
    auth = {"type": "m.login.password", "password": password or user.password, **more}
    auth.setdefault("identifier", {"type": "m.id.user", "user": user.user_id})
    return {**auth, "session": session} if session else auth


@pytest.fixture
def user(node):
    return node.register("uia")


def test_a_session_begun_at_one_node_is_finished_at_the_other(nodes, user):
    stage = begin(user)
    assert stage["flows"] == [{"stages": ["m.login.password"]}]
    other = user.at(nodes[1])
    other.post("/account/password", {"new_password": NEW, "auth": by_password(user, stage["session"])})
    nodes[0].client().login(user.user_id, NEW)


def test_sessions_differ_and_are_hard_to_guess(user):
    sessions = {begin(user)["session"] for _ in range(5)}
    assert len(sessions) == 5 and all(len(session) >= 40 for session in sessions)


def test_a_failed_stage_can_be_tried_again(user):
    stage = begin(user)
    for _ in range(2):
        failed = begin(user, body={"new_password": NEW, "auth": by_password(user, stage["session"], "wrong")})
        assert failed["errcode"] == "M_FORBIDDEN" and failed["error"]
        assert failed["session"] == stage["session"] and failed["flows"] == stage["flows"]
        assert failed["completed"] == []
    user.post("/account/password", {"new_password": NEW, "auth": by_password(user, stage["session"])})


def test_the_first_request_may_bring_the_password(nodes, user):
    failed = begin(user, body={"new_password": NEW, "auth": by_password(user, password="wrong")})
    assert failed["errcode"] == "M_FORBIDDEN"
    # The session that was made for the failure serves.
    user.at(nodes[1]).post(
        "/account/password", {"new_password": NEW, "auth": by_password(user, failed["session"])}
    )
    user.post("/account/password", {"new_password": PASSWORD, "auth": by_password(user, password=NEW)})


def test_later_requests_may_leave_the_body_out(nodes, user):
    stage = begin(user)
    user.at(nodes[1]).post("/account/password", {"auth": by_password(user, stage["session"])})
    nodes[0].client().login(user.user_id, NEW)


def test_a_changed_body_is_refused(user):
    stage = begin(user)
    for changed in ({"new_password": "evil"}, {"new_password": NEW, "logout_devices": False}):
        body = {**changed, "auth": by_password(user, stage["session"])}
        user.post("/account/password", body, status=403, errcode="M_FORBIDDEN")
    user.post("/account/password", {"new_password": NEW, "auth": by_password(user, stage["session"])})


def test_a_session_begun_with_nothing_takes_the_body_later(node):
    stage = begin(node.client(), "/register", {})
    body = {"username": name(), "password": PASSWORD, "auth": {**DUMMY, "session": stage["session"]}}
    node.client().post("/register", body)


def test_another_users_session_is_refused(node, user):
    stage = begin(user)
    thief = node.register("thief")
    answer = begin(thief, body={"new_password": NEW, "auth": by_password(thief, stage["session"])})
    assert answer["session"] != stage["session"] and answer["errcode"] == "M_UNKNOWN"
    nobody = begin(node.client(), "/register", {"auth": {"session": stage["session"]}})
    assert nobody["session"] != stage["session"]
    node.client().login(thief.user_id)


def test_another_device_of_the_user_may_finish(user):
    stage = begin(user)
    other = user.another_device()
    other.post("/account/password", {"new_password": NEW, "auth": by_password(user, stage["session"])})


def test_a_session_is_bound_to_its_endpoint(user):
    stage = begin(user, body={"x": 1})
    answer = begin(user, "/account/deactivate", {"x": 1, "auth": by_password(user, stage["session"])})
    assert answer["session"] != stage["session"] and answer["errcode"] == "M_UNKNOWN"
    user.get("/account/whoami")


def test_the_two_paths_of_an_endpoint_are_one(user):
    stage = begin(user, "/_matrix/client/r0/account/password")
    user.post("/account/password", {"new_password": NEW, "auth": by_password(user, stage["session"])})


def test_a_session_serves_once(node, user):
    stage = begin(user)
    body = {"new_password": NEW, "auth": by_password(user, stage["session"])}
    user.post("/account/password", body)
    another = {"new_password": "a third password", "auth": by_password(user, stage["session"], NEW)}
    again = begin(user, body=another)
    assert again["errcode"] == "M_UNKNOWN" and again["session"] != stage["session"]
    node.client().login(user.user_id, NEW)


def test_a_repeated_last_request_gets_its_answer_without_effect(nodes, user):
    """The client lost the first answer."""
    stage = begin(user)
    body = {"new_password": NEW, "auth": by_password(user, stage["session"])}
    assert user.post("/account/password", body) == {}
    user.post("/account/password", {"new_password": PASSWORD, "auth": by_password(user, password=NEW)})
    for repeated in (body, {"auth": body["auth"]}):
        assert user.at(nodes[1]).post("/account/password", repeated) == {}
    nodes[0].client().login(user.user_id, PASSWORD)


def test_a_repeated_deletion_of_a_device_succeeds(user):
    other = user.another_device()
    stage = begin(user, "/delete_devices", {"devices": [other.device_id]})
    body = {"devices": [other.device_id], "auth": by_password(user, stage["session"])}
    for _ in range(2):
        assert user.post("/delete_devices", body) == {}


def test_a_failed_request_is_not_repeated_as_a_success(node):
    taken, client = {"username": name(), "password": PASSWORD}, node.client()
    stage = begin(client, "/register", taken)
    client.post("/register", {**taken, "auth": DUMMY})
    late = {**taken, "auth": {**DUMMY, "session": stage["session"]}}
    for _ in range(2):
        client.call("POST", "/register", late, status=400, errcode="M_USER_IN_USE")


def test_of_two_who_finish_a_session_at_one_moment_one_succeeds(nodes):
    stage = begin(nodes[0].client(), "/register", {"password": PASSWORD})
    body = {"password": PASSWORD, "auth": {**DUMMY, "session": stage["session"]}}
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda n: Client(nodes[n % 2].url).request("POST", "/register", body), range(6))
        )
    # Whoever came late enough repeated what had succeeded.
    assert {answer.status_code for answer in answers} <= {200, 401}
    assert len({answer.json()["user_id"] for answer in answers if answer.status_code == 200}) == 1


@pytest.mark.parametrize("session", ["unknown", "", "\0", "x" * 5000])
def test_unknown_sessions_begin_anew(node, session):
    answer = begin(node.client(), "/register", {"password": PASSWORD, "auth": {**DUMMY, "session": session}})
    assert answer["errcode"] == "M_UNKNOWN" and answer["session"] != session


def test_an_expired_session_begins_anew(database, start_nodes):
    [node] = start_nodes(database)
    stage = begin(node.client(), "/register", {"password": PASSWORD})
    database.query("update matriarch.uia_sessions set expires_at = now() - interval '1 second'")
    answer = begin(node.client(), "/register", {"auth": {**DUMMY, "session": stage["session"]}})
    assert answer["errcode"] == "M_UNKNOWN"


def test_pruning_deletes_what_has_expired_alone(database, start_nodes):
    [node] = start_nodes(database)
    first, second = (begin(node.client(), "/register", {"password": PASSWORD})["session"] for _ in range(2))
    digest = hashlib.sha256(first.encode()).digest()
    past = "now() - interval '1 second'"
    database.query(f"update matriarch.uia_sessions set expires_at = {past} where session_hash = %s", [digest])
    database.query(
        f"insert into matriarch.registration_nonces "
        f"values ('old', {past}), ('new', now() + interval '1 hour')"
    )
    database.query((ROOT / "server/src/database/housekeeping.sql").read_text(), user="matriarch_api")
    left = database.query("select session_hash from matriarch.uia_sessions")
    assert left == [(hashlib.sha256(second.encode()).digest(),)]
    assert database.query("select nonce from matriarch.registration_nonces") == [("new",)]


def test_nothing_succeeds_without_auth(node, user):
    stage = begin(user)
    for auth in (None, {}, {"session": stage["session"]}):
        begin(user, body={"new_password": NEW, "auth": auth})
    node.client().login(user.user_id)


def test_unknown_stages_are_refused(user):
    stage = begin(user)
    for kind in ("m.login.dummy", "m.login.registration_token", "x", ""):
        auth = {"type": kind, "session": stage["session"], "token": "x"}
        assert begin(user, body={"new_password": NEW, "auth": auth})["errcode"] == "M_UNRECOGNIZED"


def test_the_password_must_be_the_askers_own(node, user):
    other = node.register("other", password="other's password")
    for auth in (
        by_password(user, identifier={"type": "m.id.user", "user": other.user_id}),
        by_password(other),
        by_password(user, identifier={"type": "m.id.thirdparty", "medium": "email", "address": "a@b"}),
        by_password(user, password="other's password"),
    ):
        assert begin(user, body={"new_password": NEW, "auth": auth})["errcode"] == "M_FORBIDDEN"
    assert (
        begin(user, body={"new_password": NEW, "auth": {"type": "m.login.password"}})["errcode"]
        == "M_MISSING_PARAM"
    )
    bad = {"new_password": NEW, "auth": by_password(user, identifier="x")}
    user.post("/account/password", bad, status=400, errcode="M_BAD_JSON")


@pytest.mark.parametrize(
    "how",
    [{"user": "localpart"}, {"identifier": None}, {"identifier": {"type": "m.id.user", "user": "localpart"}}],
)
def test_old_ways_to_name_oneself_serve(user, how):
    localpart = user.user_id[1:].split(":")[0]
    named = {key: localpart if value == "localpart" else value for key, value in how.items()}
    if isinstance(named.get("identifier"), dict):
        named["identifier"]["user"] = localpart
    auth = {"type": "m.login.password", "password": user.password, **named}
    user.post("/account/password", {"new_password": NEW, "auth": auth})


def test_a_body_too_large_to_keep_is_refused(node):
    node.client().post("/register", {"x": "y" * 70_000}, status=413, errcode="M_TOO_LARGE")


class TestFallback:
    """The pages at /auth/{type}/fallback/web."""

    def page(self, node, kind, session, method="GET", version="v3", **options):
        where = f"/_matrix/client/{version}/auth/{kind}/fallback/web"
        answer = node.client().request(method, where, params={"session": session}, **options)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        return answer

    @pytest.mark.parametrize("version", ["v3", "r0"])
    def test_the_dummy_stage_is_completed_by_its_button(self, nodes, version):
        request = {"username": name(), "password": PASSWORD}
        session = begin(nodes[0].client(), "/register", request)["session"]
        page = self.page(nodes[1], "m.login.dummy", session, version=version)
        assert page.status_code == 200 and "<form method='post'>" in page.text
        # To look at the page completes nothing.
        assert begin(nodes[0].client(), "/register", {"auth": {"session": session}})["completed"] == []
        form = {"content-type": "application/x-www-form-urlencoded"}
        done = self.page(nodes[1], "m.login.dummy", session, "POST", version, headers=form, content=b"")
        assert done.status_code == 200
        assert "window.onAuthDone()" in done.text and "postMessage('authDone', '*')" in done.text
        answer = nodes[0].client().post("/register", {**request, "auth": {"session": session}})
        assert answer["user_id"].startswith(f"@{request['username']}:")

    def test_unknown_sessions_and_stages_have_no_page(self, node):
        session = begin(node.client(), "/register", {})["session"]
        assert self.page(node, "m.login.dummy", "unknown").status_code == 400
        assert self.page(node, "m.login.dummy", "unknown", "POST", data={}).status_code == 400
        for kind in ("m.login.password", "m.login.sso", "<script>"):
            answer = self.page(node, kind, session)
            assert answer.status_code == 404 and kind not in answer.text
        where = "/auth/m.login.dummy/fallback/web"
        node.client().get(where, status=400, errcode="M_MISSING_PARAM")

    def test_a_registration_token_is_given_on_its_page(self, database, start_nodes):
        nodes = start_nodes(database, 2, MATRIARCH_REGISTRATION__MODE="token")
        database.query(
            "insert into matriarch.registration_tokens (token, uses_allowed) values ('a.good~one', 1)"
        )
        request = {"username": name(), "password": PASSWORD}
        session = begin(nodes[0].client(), "/register", request)["session"]
        kind = "m.login.registration_token"
        assert "name='token'" in self.page(nodes[1], kind, session).text
        wrong = self.page(nodes[1], kind, session, "POST", data={"token": "<script>"})
        assert "not good" in wrong.text and "<script>" not in wrong.text
        assert "authDone" in self.page(nodes[1], kind, session, "POST", data={"token": " a.good~one "}).text
        assert database.query("select uses from matriarch.registration_tokens") == [(0,)]
        nodes[0].client().post("/register", {**request, "auth": {"session": session}})
        assert database.query("select uses from matriarch.registration_tokens") == [(1,)]
