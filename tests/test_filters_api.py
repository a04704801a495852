"""Stored filters (Client-Server API, "Filtering"). What they do to a sync is tested with sync."""

import json

import pytest

from harness.client import path

FILTER = {
    "room": {
        "timeline": {"limit": 10, "types": ["m.room.*"], "not_senders": ["@spam:example.com"]},
        "state": {"lazy_load_members": True, "not_rooms": ["!a:example.com"]},
        "include_leave": True,
    },
    "presence": {"not_types": ["*"]},
    "event_fields": ["type", "content.body"],
    "event_format": "client",
}


def where(user, *filter_id):
    return path("user", user.user_id, "filter", *filter_id)


def test_a_filter_is_read_back(node):
    alice = node.register("alice")
    filter_id = alice.post(where(alice), FILTER)["filter_id"]
    assert isinstance(filter_id, str) and not filter_id.startswith("{")
    assert alice.get(where(alice, filter_id)) == FILTER


def test_the_same_filter_has_the_same_id(nodes):
    alice = nodes[0].register("alice")
    first = alice.post(where(alice), FILTER)["filter_id"]
    shuffled = dict(reversed(FILTER.items()))
    content = json.dumps(shuffled, indent=2).encode()
    assert alice.at(nodes[1]).call("POST", where(alice), content=content)["filter_id"] == first
    assert alice.post(where(alice), {})["filter_id"] != first


def test_filters_are_their_users_own(node):
    alice, bob = node.register("alice"), node.register("bob")
    filter_id = alice.post(where(alice), FILTER)["filter_id"]
    bob.get(where(alice, filter_id), status=403, errcode="M_FORBIDDEN")
    bob.post(where(alice), FILTER, status=403, errcode="M_FORBIDDEN")
    bob.get(where(bob, filter_id), status=404, errcode="M_NOT_FOUND")


@pytest.mark.parametrize("filter_id", ["0", "999999", "-1", "x", "9" * 40, "1.5"])
def test_unknown_filters_are_not_found(node, filter_id):
    alice = node.register("alice")
    alice.get(where(alice, filter_id), status=404, errcode="M_NOT_FOUND")


@pytest.mark.parametrize(
    "bad",
    [
        {"room": []},
        {"room": {"timeline": {"types": "m.room.message"}}},
        {"room": {"timeline": {"limit": "ten"}}},
        {"room": {"rooms": ["no room id"]}},
        {"presence": {"senders": ["no user id"]}},
        {"event_format": "xml"},
        {"event_fields": "type"},
        {"account_data": {"not_types": [1]}},
    ],
)
def test_bad_filters_are_refused(node, bad):
    alice = node.register("alice")
    alice.post(where(alice), bad, status=400, errcode="M_BAD_JSON")


def test_what_is_no_filter_at_all_is_refused(node):
    alice = node.register("alice")
    alice.call("POST", where(alice), content=b"nothing", status=400, errcode="M_NOT_JSON")
    alice.call("POST", where(alice), content=b"[1]", status=400, errcode="M_BAD_JSON")
