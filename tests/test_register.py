"""Registration: Client-Server API, "Account registration"."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import PASSWORD, Client, expect
from harness.cluster import SERVER_NAME

DUMMY = {"type": "m.login.dummy"}


def name(prefix="new") -> str:
    return f"{prefix}-{secrets.token_hex(4)}"


def body(**more) -> dict:
    return {"username": name(), "password": PASSWORD, "auth": DUMMY, **more}


@pytest.mark.parametrize("version", ["v3", "r0"])
def test_a_user_registers_through_the_dummy_stage(node, version):
    client = node.client()
    where = f"/_matrix/client/{version}/register"
    request = {
        "username": name(),
        "password": PASSWORD,
        "device_id": "PHONE",
        "initial_device_display_name": "Phone",
    }
    stage = client.call("POST", where, request, status=401)
    assert stage["flows"] == [{"stages": ["m.login.dummy"]}]
    assert stage["params"] == {} and "errcode" not in stage and stage["completed"] == []
    answer = client.call("POST", where, {**request, "auth": {**DUMMY, "session": stage["session"]}})
    assert answer["user_id"] == f"@{request['username']}:{SERVER_NAME}"
    assert answer["home_server"] == SERVER_NAME
    assert answer["device_id"] == "PHONE"
    assert "refresh_token" not in answer and "expires_in_ms" not in answer
    client.adopt(answer)
    assert client.get("/account/whoami") == {
        "user_id": answer["user_id"],
        "device_id": "PHONE",
        "is_guest": False,
    }


def test_the_first_request_may_complete_the_stage(node):
    answer = node.client().post("/register", body())
    assert answer["access_token"].startswith("mat_")
    assert len(answer["device_id"]) == 10


def test_a_new_user_has_their_localpart_as_display_name(node):
    request = body()
    user = node.client().adopt(node.client().post("/register", request))
    rows = node.database.query(
        "select value from matriarch.profiles join matriarch.users using (user_nid) "
        "where user_id = %s and key = 'displayname'",
        [user.user_id],
    )
    assert rows == [(f'"{request["username"]}"',)]


def test_a_name_is_generated_when_none_is_asked_for(node):
    first, second = (node.client().post("/register", {"password": PASSWORD, "auth": DUMMY}) for _ in range(2))
    assert first["user_id"] != second["user_id"]
    assert first["user_id"].endswith(f":{SERVER_NAME}")


def test_upper_case_is_folded(node):
    wanted = name("MiXed")
    answer = node.client().post("/register", body(username=wanted))
    assert answer["user_id"] == f"@{wanted.lower()}:{SERVER_NAME}"
    node.client().login(wanted)


@pytest.mark.parametrize("bad", ["", "a b", "é", "@a", "a:b", "a\0", "a*", "x" * 300, "/\\"])
def test_names_out_of_the_grammar_are_invalid_before_and_after_authentication(node, bad):
    node.client().call(
        "POST", "/register", {"username": bad, "password": PASSWORD}, status=400, errcode="M_INVALID_USERNAME"
    )
    node.client().call("POST", "/register", body(username=bad), status=400, errcode="M_INVALID_USERNAME")
    if "\0" not in bad:
        node.client().get(
            "/register/available", params={"username": bad}, status=400, errcode="M_INVALID_USERNAME"
        )


def test_a_name_is_taken_once(node):
    request = body()
    client = node.client()
    assert client.get("/register/available", params={"username": request["username"]}) == {"available": True}
    client.post("/register", request)
    # Before authentication as well, and whatever the case.
    taken = {"username": request["username"].upper(), "password": PASSWORD}
    client.call("POST", "/register", taken, status=400, errcode="M_USER_IN_USE")
    client.call("POST", "/register", request, status=400, errcode="M_USER_IN_USE")
    where = "/register/available"
    client.get(where, params={"username": request["username"]}, status=400, errcode="M_USER_IN_USE")
    client.get(where, status=400, errcode="M_MISSING_PARAM")


@pytest.mark.parametrize(
    "more", [{}, {"device_id": "MINE"}, {"inhibit_login": True}, {"refresh_token": True}]
)
def test_a_repeated_registration_answers_with_the_same_user(nodes, more):
    """The client lost the first answer."""
    request = {"username": name(), "password": PASSWORD, **more}
    stage = expect(nodes[0].client().request("POST", "/register", request), 401)
    last = {**request, "auth": {**DUMMY, "session": stage["session"]}}
    first, again = (node.client().post("/register", last) for node in nodes)
    same = ("user_id", "home_server", "device_id")
    assert {key: first.get(key) for key in same} == {key: again.get(key) for key in same}
    assert set(first) == set(again) and ("access_token" in first) == ("inhibit_login" not in more)
    if "access_token" in first:
        # The first answer may have arrived all the same.
        assert first["access_token"] != again["access_token"]
        for answer in (first, again):
            user = nodes[0].client().adopt(answer)
            assert user.get("/account/whoami")["device_id"] == first["device_id"]
        assert len(user.get("/devices")["devices"]) == 1


def test_a_registration_is_repeated_by_who_knows_the_password(node):
    """The session's id is in URLs, and so in the logs of proxies."""
    request = {"username": name(), "password": PASSWORD}
    client = node.client()
    stage = expect(client.request("POST", "/register", request), 401)
    auth = {**DUMMY, "session": stage["session"]}
    user = node.client().adopt(client.post("/register", {**request, "auth": auth}), PASSWORD)
    for guess in ({}, {"password": PASSWORD}):
        answer = client.request("POST", "/register", {**guess, "auth": auth})
        assert "access_token" not in answer.json()
    confirmed = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": PASSWORD,
    }
    user.post("/account/password", {"new_password": "a new password", "auth": confirmed})
    client.call("POST", "/register", {**request, "auth": auth}, status=403, errcode="M_FORBIDDEN")


def test_a_name_taken_during_authentication_is_refused_at_its_end(node):
    request = {"username": name(), "password": PASSWORD}
    stage = expect(node.client().request("POST", "/register", request), 401)
    node.client().post("/register", {**request, "auth": DUMMY})
    late = {**request, "auth": {**DUMMY, "session": stage["session"]}}
    node.client().call("POST", "/register", late, status=400, errcode="M_USER_IN_USE")


def test_of_many_who_race_for_a_name_one_gets_it(nodes):
    request = body()
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: Client(nodes[n % 2].url).request("POST", "/register", request), range(8))
        )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [400] * 7
    assert {answer.json()["errcode"] for answer in answers if answer.status_code == 400} == {"M_USER_IN_USE"}


def test_a_user_that_rooms_mention_can_still_register(node):
    request = body()
    node.database.query(
        "insert into matriarch.users (user_id) values (%s)", [f"@{request['username']}:{SERVER_NAME}"]
    )
    node.client().post("/register", request)


def test_inhibit_login_gives_no_token_and_no_device(node):
    answer = node.client().post("/register", body(inhibit_login=True, refresh_token=True, device_id="X"))
    assert set(answer) == {"user_id", "home_server"}
    rows = node.database.query(
        "select count(d.device_nid) from matriarch.users u left "
        "join matriarch.devices d using (user_nid) where user_id = %s",
        [answer["user_id"]],
    )
    assert rows == [(0,)]
    node.client().login(answer["user_id"])


def test_a_client_that_refreshes_gets_an_expiring_token(node):
    answer = node.client().post("/register", body(refresh_token=True))
    assert answer["refresh_token"].startswith("mar_")
    assert answer["expires_in_ms"] == 3_600_000


def test_guests_are_refused(node):
    options = {"params": {"kind": "guest"}, "status": 403, "errcode": "M_GUEST_ACCESS_FORBIDDEN"}
    node.client().call("POST", "/register", {}, **options)
    node.client().call("POST", "/register", body(), params={"kind": "user"})
    node.client().call(
        "POST", "/register", body(), params={"kind": "x"}, status=400, errcode="M_INVALID_PARAM"
    )


def test_a_password_is_needed(node):
    request = {"username": name(), "auth": DUMMY}
    node.client().call("POST", "/register", request, status=400, errcode="M_MISSING_PARAM")
    node.client().call(
        "POST", "/register", {**request, "password": ""}, status=400, errcode="M_WEAK_PASSWORD"
    )
    node.client().call(
        "POST", "/register", {**request, "password": "x" * 2000}, status=400, errcode="M_INVALID_PARAM"
    )
    # Nothing was registered, so the name is free.
    node.client().call("POST", "/register", {**request, "password": "NUL \0 is a character"})
    node.client().login(request["username"], "NUL \0 is a character")


@pytest.mark.parametrize(
    ("bad", "errcode"),
    [
        ({"username": 1}, "M_BAD_JSON"),
        ({"password": ["x"]}, "M_BAD_JSON"),
        ({"inhibit_login": "yes"}, "M_BAD_JSON"),
        ({"device_id": {}}, "M_BAD_JSON"),
        ({"device_id": "a\0b"}, "M_INVALID_PARAM"),
        ({"device_id": "x" * 1000}, "M_INVALID_PARAM"),
        ({"initial_device_display_name": "\0"}, "M_INVALID_PARAM"),
        ({"initial_device_display_name": "x" * 5000}, "M_INVALID_PARAM"),
        ({"auth": "m.login.dummy"}, "M_BAD_JSON"),
        ({"auth": {"type": 1}}, "M_BAD_JSON"),
        ({"auth": {"type": "m.login.dummy", "session": 1}}, "M_BAD_JSON"),
    ],
)
def test_malformed_bodies_are_refused(node, bad, errcode):
    node.client().call("POST", "/register", body(**bad), status=400, errcode=errcode)


def test_null_is_as_good_as_absent(node):
    absent = (
        "auth",
        "username",
        "device_id",
        "initial_device_display_name",
        "inhibit_login",
        "refresh_token",
    )
    request = dict.fromkeys(absent)
    stage = node.client().call("POST", "/register", {**request, "password": PASSWORD}, status=401)
    auth = {"auth": {**DUMMY, "session": stage["session"]}}
    node.client().post("/register", {**request, "password": PASSWORD, **auth})


def test_registration_that_is_off(database, start_nodes):
    [node] = start_nodes(database, MATRIARCH_REGISTRATION__MODE="off")
    client = node.client()
    refused = {"status": 403, "errcode": "M_FORBIDDEN"}
    client.call("POST", "/register", {}, **refused)
    client.call("POST", "/register", body(), **refused)
    client.get("/register/available", params={"username": "free"}, **refused)
    validity = "/_matrix/client/v1/register/m.login.registration_token/validity"
    client.get(validity, params={"token": "x"}, **refused)


class TestWithTokens:
    """Mode `token`: UIA with `m.login.registration_token`."""

    VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity"
    OLD_VALIDITY = (
        "/_matrix/client/unstable/org.matrix.msc3231/register/"
        "org.matrix.msc3231.login.registration_token/validity"
    )

    @pytest.fixture
    def nodes(self, database, start_nodes):
        return start_nodes(database, 2, MATRIARCH_REGISTRATION__MODE="token")

    def auth(self, token, **more):
        return {"auth": {"type": "m.login.registration_token", "token": token, **more}}

    def add(self, database, token, uses_allowed=None, expires="1 hour"):
        database.query(
            "insert into matriarch.registration_tokens (token, uses_allowed, expires_at) "
            "values (%s, %s, now() + %s::interval)",
            [token, uses_allowed, expires],
        )

    def uses(self, database, token):
        return database.query("select uses from matriarch.registration_tokens where token = %s", [token])[0][
            0
        ]

    def test_a_good_token_registers_and_is_counted(self, database, nodes):
        self.add(database, "good", 1)
        client = nodes[0].client()
        request = {"username": name(), "password": PASSWORD}
        stage = expect(client.request("POST", "/register", request), 401)
        assert stage["flows"] == [{"stages": ["m.login.registration_token"]}]
        for where in (self.VALIDITY, self.OLD_VALIDITY):
            assert client.get(where, params={"token": "good"}) == {"valid": True}

        wrong = expect(
            client.request("POST", "/register", {**request, **self.auth("bad", session=stage["session"])}),
            401,
        )
        assert wrong["errcode"] == "M_FORBIDDEN" and wrong["session"] == stage["session"]
        assert self.uses(database, "good") == 0
        # The other node finishes what this one began.
        Client(nodes[1].url).post("/register", {**request, **self.auth("good", session=stage["session"])})
        assert self.uses(database, "good") == 1
        assert client.get(self.VALIDITY, params={"token": "good"}) == {"valid": False}
        again = {"username": name(), "password": PASSWORD, **self.auth("good")}
        assert expect(client.request("POST", "/register", again), 401)["errcode"] == "M_FORBIDDEN"

    def test_other_tokens_and_other_stages_do_not(self, database, nodes):
        self.add(database, "old", expires="-1 second")
        self.add(database, "none", 0)
        client = nodes[0].client()
        for token in ("old", "none", "unknown", "", "\0", "x" * 1000):
            answer = expect(client.request("POST", "/register", body(**self.auth(token))), 401)
            assert answer["errcode"] == "M_FORBIDDEN"
            if "\0" not in token:
                assert client.get(self.VALIDITY, params={"token": token}) == {"valid": False}
        client.get(self.VALIDITY, status=400, errcode="M_MISSING_PARAM")
        assert expect(client.request("POST", "/register", body()), 401)["errcode"] == "M_UNRECOGNIZED"
        missing = body(auth={"type": "m.login.registration_token"})
        assert expect(client.request("POST", "/register", missing), 401)["errcode"] == "M_MISSING_PARAM"

    def test_a_token_for_three_registers_three_of_many(self, database, nodes):
        self.add(database, "three", 3)
        with ThreadPoolExecutor(8) as pool:
            requests = [body(**self.auth("three")) for _ in range(10)]
            answers = list(
                pool.map(
                    lambda n: Client(nodes[n % 2].url).request("POST", "/register", requests[n]), range(10)
                )
            )
        assert sorted(answer.status_code for answer in answers)[:4] != [200] * 4
        assert sum(answer.status_code == 200 for answer in answers) == 3
        assert {answer.status_code for answer in answers} <= {200, 401, 403}
        assert self.uses(database, "three") == 3
        assert database.query("select count(*) from matriarch.accounts") == [(3,)]

    def test_a_taken_name_does_not_use_the_token_up(self, database, nodes):
        self.add(database, "two", 2)
        request = {"username": name(), "password": PASSWORD}
        stage = expect(nodes[0].client().request("POST", "/register", request), 401)
        nodes[0].client().post("/register", {**request, **self.auth("two")})
        late = {**request, **self.auth("two", session=stage["session"])}
        nodes[0].client().call("POST", "/register", late, status=400, errcode="M_USER_IN_USE")
        assert self.uses(database, "two") == 1
