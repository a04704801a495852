"""Account data, global and of rooms (Client-Server API, "Client Config"), and the push rules that live
there."""

import pytest

from harness.client import path

TYPE = "org.example.config"


def of(user, *parts):
    return path("user", user.user_id, *parts)


def test_global_account_data_is_read_back_as_it_was_sent(node):
    alice = node.register("alice")
    alice.get(of(alice, "account_data", TYPE), status=404, errcode="M_NOT_FOUND")
    for content in ({"a": 1}, {"b": {"c": [None, "\u0000é", 1.5]}}, {}):
        assert alice.put(of(alice, "account_data", TYPE), content) == {}
        assert alice.get(of(alice, "account_data", TYPE)) == content


def test_the_data_of_a_room_is_apart_from_the_global(node):
    alice = node.register("alice")
    room, other = alice.create_room(), alice.create_room()
    alice.put(of(alice, "account_data", TYPE), {"where": "global"})
    alice.put(of(alice, "rooms", room, "account_data", TYPE), {"where": "room"})
    assert alice.get(of(alice, "account_data", TYPE)) == {"where": "global"}
    assert alice.get(of(alice, "rooms", room, "account_data", TYPE)) == {"where": "room"}
    alice.get(of(alice, "rooms", other, "account_data", TYPE), status=404, errcode="M_NOT_FOUND")


@pytest.mark.parametrize(
    "parts", [("account_data", TYPE), ("rooms", "!nowhere:test.example", "account_data", TYPE)]
)
def test_account_data_of_others_is_forbidden(node, parts):
    alice, bob = node.register("alice"), node.register("bob")
    bob.put(of(alice, *parts), {}, status=403, errcode="M_FORBIDDEN")
    bob.get(of(alice, *parts), status=403, errcode="M_FORBIDDEN")


def test_what_the_server_manages_cannot_be_set(node):
    alice = node.register("alice")
    room = alice.create_room()
    for data_type in ("m.fully_read", "m.push_rules"):
        alice.put(of(alice, "account_data", data_type), {"a": 1}, status=405, errcode="M_BAD_JSON")
        alice.put(
            of(alice, "rooms", room, "account_data", data_type), {"a": 1}, status=405, errcode="M_BAD_JSON"
        )


def test_bad_account_data_is_refused(node):
    alice = node.register("alice")
    where = of(alice, "account_data", TYPE)
    alice.call("PUT", where, content=b"{", status=400, errcode="M_NOT_JSON")
    alice.call("PUT", where, content=b"[]", status=400, errcode="M_BAD_JSON")
    alice.put(of(alice, "account_data", "x" * 256), {}, status=400, errcode="M_INVALID_PARAM")
    alice.put(
        of(alice, "rooms", "not a room", "account_data", TYPE), {}, status=400, errcode="M_INVALID_PARAM"
    )
    alice.get(of(alice, "rooms", "not a room", "account_data", TYPE), status=400, errcode="M_INVALID_PARAM")
    alice.put(of(alice, "rooms", "!nowhere:test.example", "account_data", TYPE), {}, status=404)


def test_a_request_is_one_statement(node):
    alice = node.register("alice")
    for method, body in (("PUT", {}), ("GET", None)):
        response = alice.request(method, of(alice, "account_data", TYPE), body)
        assert response.headers["x-matriarch-db-statements"] == "1"


def test_changes_reach_the_other_node(nodes):
    alice = nodes[0].register("alice")
    room = alice.create_room()
    there = alice.at(nodes[1])
    there.next()

    alice.put(of(alice, "account_data", TYPE), {"n": 1})
    there.sync_until(
        lambda answer: {"type": TYPE, "content": {"n": 1}} in answer.get("account_data", {}).get("events", [])
    )

    alice.put(of(alice, "rooms", room, "account_data", TYPE), {"n": 2})

    def seen(answer):
        joined = answer.get("rooms", {}).get("join", {}).get(room, {})
        return {"type": TYPE, "content": {"n": 2}} in joined.get("account_data", {}).get("events", [])

    there.sync_until(seen)


def test_predefined_push_rules(node):
    alice = node.register("alice")
    rules = alice.get("/pushrules/global/")
    assert set(rules) == {"override", "content", "room", "sender", "underride"}
    assert rules["override"][0]["rule_id"] == ".m.rule.master" and not rules["override"][0]["enabled"]
    assert all(rule["default"] for kind in rules.values() for rule in kind)
    by_id = {rule["rule_id"]: rule for rule in rules["override"]}
    assert by_id[".m.rule.is_user_mention"]["conditions"][0]["value"] == alice.user_id
    assert by_id[".m.rule.invite_for_me"]["conditions"][2]["pattern"] == alice.user_id
    assert alice.get("/pushrules/") == {"global": rules}
    assert alice.get(of(alice, "account_data", "m.push_rules")) == {"global": rules}
