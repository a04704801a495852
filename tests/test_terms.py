"""Documents to agree to at registration: Client-Server API, "Terms of service at registration"."""

import html
import re
import secrets

import pytest

from harness.client import PASSWORD, expect

TERMS = """[
    {id = "privacy", version = "1.2", languages = {en = {name = "Privacy <policy>", url = "https://example.org/p?a=1&b='2'"}}},
    {id = "rules", version = "7", languages = {de = {name = "Regeln", url = "https://example.org/de"},\
    en = {name = "Rules", url = "http://example.org/en"}}}]"""
NEWER = TERMS.replace('"1.2"', '"2.0"')
POLICIES = {
    "privacy": {
        "version": "1.2",
        "en": {"name": "Privacy <policy>", "url": "https://example.org/p?a=1&b='2'"},
    },
    "rules": {
        "version": "7",
        "de": {"name": "Regeln", "url": "https://example.org/de"},
        "en": {"name": "Rules", "url": "http://example.org/en"},
    },
}
AGREE = {"type": "m.login.terms"}


def settings(mode="open", terms=TERMS) -> dict:
    return {"MATRIARCH_REGISTRATION__MODE": mode, "MATRIARCH_REGISTRATION__TERMS": terms.replace("\n", " ")}


def request(**more) -> dict:
    return {"username": f"terms-{secrets.token_hex(4)}", "password": PASSWORD, **more}


def challenge(node, body) -> dict:
    return expect(node.client().request("POST", "/register", body), 401)


def agreed(database, user_id) -> dict:
    sql = (
        "select policy_id, version from matriarch.agreed_terms join matriarch.users using (user_nid) "
        "where user_id = %s"
    )
    return dict(database.query(sql, [user_id]))


@pytest.fixture
def nodes(database, start_nodes):
    return start_nodes(database, 2, **settings())


def test_they_are_shown_and_agreed_to(database, nodes):
    body = request()
    stage = challenge(nodes[0], body)
    assert stage["flows"] == [{"stages": ["m.login.terms"]}]
    assert stage["params"] == {"m.login.terms": {"policies": POLICIES}}
    answer = nodes[1].client().post("/register", {**body, "auth": {**AGREE, "session": stage["session"]}})
    assert agreed(database, answer["user_id"]) == {"privacy": "1.2", "rules": "7"}
    rows = database.query(
        "select agreed_at <= now() and agreed_at > now() - interval '1 minute' from matriarch.agreed_terms"
    )
    assert rows == [(True,), (True,)]


def test_what_was_not_shown_cannot_be_agreed_to(database, nodes):
    body = request()
    answer = challenge(nodes[0], {**body, "auth": AGREE})
    assert answer["errcode"] == "M_FORBIDDEN" and answer["params"]["m.login.terms"]["policies"] == POLICIES
    assert answer["completed"] == []
    nodes[0].client().post("/register", {**body, "auth": {**AGREE, "session": answer["session"]}})


def test_nothing_else_will_do(nodes):
    body = request()
    session = challenge(nodes[0], body)["session"]
    for kind in ("m.login.dummy", "m.login.registration_token", "m.login.password"):
        assert (
            challenge(nodes[0], {**body, "auth": {"type": kind, "session": session}})["errcode"]
            == "M_UNRECOGNIZED"
        )
    nodes[0].client().get("/register/available", params={"username": body["username"]})


def test_a_registration_token_comes_first(database, start_nodes):
    nodes = start_nodes(database, 2, **settings("token"))
    database.query("insert into matriarch.registration_tokens (token, uses_allowed) values ('good', 1)")
    body = request()
    stage = challenge(nodes[0], body)
    assert stage["flows"] == [{"stages": ["m.login.registration_token", "m.login.terms"]}]
    session = {"session": stage["session"]}
    assert challenge(nodes[1], {**body, "auth": {**AGREE, **session}})["errcode"] == "M_UNRECOGNIZED"
    half = challenge(
        nodes[1], {**body, "auth": {"type": "m.login.registration_token", "token": "good", **session}}
    )
    assert half["completed"] == ["m.login.registration_token"] and "errcode" not in half
    answer = nodes[0].client().post("/register", {"auth": {**AGREE, **session}})
    assert agreed(database, answer["user_id"]) == {"privacy": "1.2", "rules": "7"}
    assert database.query("select uses from matriarch.registration_tokens") == [(1,)]


def test_a_version_that_changes_meanwhile_is_asked_for_again(database, start_nodes):
    [old] = start_nodes(database, **settings())
    [new] = start_nodes(database, **settings(terms=NEWER))
    body = request()
    session = {"session": challenge(old, body)["session"]}
    answer = challenge(new, {**body, "auth": {**AGREE, **session}})
    assert answer["errcode"] == "M_FORBIDDEN" and answer["session"] == session["session"]
    assert answer["params"]["m.login.terms"]["policies"]["privacy"]["version"] == "2.0"
    user = new.client().post("/register", {**body, "auth": {**AGREE, **session}})
    assert agreed(database, user["user_id"]) == {"privacy": "2.0", "rules": "7"}


def test_without_documents_nothing_is_asked(node):
    body = request()
    stage = challenge(node, body)
    assert stage["flows"] == [{"stages": ["m.login.dummy"]}] and stage["params"] == {}
    refused = challenge(node, {**body, "auth": {**AGREE, "session": stage["session"]}})
    assert refused["errcode"] == "M_UNRECOGNIZED"


def test_other_endpoints_ask_for_no_documents(nodes):
    client = nodes[0].client()
    body = request()
    session = challenge(nodes[0], body)["session"]
    client.adopt(client.post("/register", {**body, "auth": {**AGREE, "session": session}}), PASSWORD)
    stage = client.call("POST", "/account/password", {"new_password": "x"}, status=401)
    assert stage["flows"] == [{"stages": ["m.login.password"]}] and stage["params"] == {}


class TestFallback:
    """The stage's page."""

    def page(self, node, session, method="GET", **options):
        where = "/auth/m.login.terms/fallback/web"
        return node.client().request(method, where, params={"session": session}, **options)

    def versions(self, page) -> str:
        return html.unescape(re.search("name='versions' value='([^']*)'", page.text)[1])

    def test_it_shows_the_documents_and_takes_agreement(self, database, nodes):
        body = request()
        session = challenge(nodes[0], body)["session"]
        page = self.page(nodes[1], session)
        assert page.status_code == 200
        for escaped in (
            "Privacy &lt;policy&gt;",
            "https://example.org/p?a=1&amp;b=&#39;2&#39;",
            "Regeln",
            "http://example.org/en",
        ):
            assert escaped in page.text
        # To look at the page is not to agree.
        assert challenge(nodes[0], {"auth": {"session": session}})["completed"] == []
        done = self.page(nodes[1], session, "POST", data={"agreed": "yes", "versions": self.versions(page)})
        assert "authDone" in done.text
        answer = nodes[0].client().post("/register", {**body, "auth": {"session": session}})
        assert agreed(database, answer["user_id"]) == {"privacy": "1.2", "rules": "7"}

    def test_agreement_must_be_given_to_what_was_shown(self, database, start_nodes):
        [node] = start_nodes(database, **settings())
        [newer] = start_nodes(database, **settings(terms=NEWER))
        session = challenge(node, request())["session"]
        versions = self.versions(self.page(node, session))
        for data in (
            {},
            {"versions": versions},
            {"agreed": "no", "versions": versions},
            {"agreed": "yes"},
            {"agreed": "yes", "versions": "{}"},
            {"agreed": "yes", "versions": "{<"},
        ):
            assert "without agreeing" in self.page(node, session, "POST", data=data).text, data
        again = self.page(newer, session, "POST", data={"agreed": "yes", "versions": versions})
        assert "without agreeing" in again.text and "2.0" in self.versions(again)
        assert challenge(node, {"auth": {"session": session}})["completed"] == []
        assert (
            "authDone"
            in self.page(
                newer, session, "POST", data={"agreed": "yes", "versions": self.versions(again)}
            ).text
        )

    def test_without_documents_there_is_no_page(self, node):
        session = challenge(node, request())["session"]
        assert self.page(node, session).status_code == 404
        assert self.page(node, session, "POST", data={"agreed": "yes", "versions": "{}"}).status_code == 404


def test_an_impossible_document_stops_the_node(database, start_nodes):
    with pytest.raises(RuntimeError, match=r"registration\.terms\.0\.languages"):
        start_nodes(database, MATRIARCH_REGISTRATION__TERMS='[{id = "a", version = "1", languages = {}}]')
