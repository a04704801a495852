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


# The filters of clients, word for word.
FILTERS_OF_CLIENTS = {
    "gomuks before verification": '{"presence":{"not_rooms":["*"]},"room":{"not_rooms":["*"]}}',
    "gomuks": '{"presence":{"not_rooms":["*"]},"room":{"state":{"lazy_load_members":true},'
    '"timeline":{"limit":100,"lazy_load_members":true}}}',
    "mautrix-go": '{"room":{"timeline":{"limit":50}}}',
    "mautrix-go, the library's default": '{"account_data":{"limit":20},"event_format":"client",'
    '"presence":{"limit":20},"room":{"account_data":{"limit":20},"ephemeral":{"limit":20},'
    '"state":{"limit":20},"timeline":{"limit":20}}}',
    "mautrix-go, encryption of bridges": '{"account_data":{"not_types":["*"]},"presence":{"not_types":["*"]},'
    '"room":{"account_data":{"not_types":["*"]},"ephemeral":{"not_types":["*"]},'
    '"state":{"not_types":["*"]},"timeline":{"not_types":["*"]}}}',
    "matrix-js-sdk": '{"room":{"timeline":{"unread_thread_notifications":true},'
    '"state":{"lazy_load_members":true}}}',
    "Element Web": '{"room":{"timeline":{"unread_thread_notifications":true,"limit":20},'
    '"state":{"lazy_load_members":true}}}',
    "Element Web before threads": '{"room":{"timeline":'
    '{"org.matrix.msc3773.unread_thread_notifications":true},"state":{"lazy_load_members":true}}}',
    "matrix-js-sdk, left rooms": '{"room":{"timeline":{"limit":1},"include_leave":true}}',
    "Element Web, files": '{"room":{"timeline":{"contains_url":true,"types":["m.room.message"]}}}',
    "matrix-nio": '{"event_format": "client", "presence": {}, "account_data": {}, '
    '"room": {"timeline": {"limit": 1}}}',
}


@pytest.mark.parametrize("text", FILTERS_OF_CLIENTS.values(), ids=FILTERS_OF_CLIENTS.keys())
def test_the_filters_of_clients_are_taken(node, text):
    alice = node.register("alice")
    room = alice.create_room()
    filter_id = alice.call("POST", where(alice), content=text.encode())["filter_id"]
    for given in (filter_id, text):
        joined = alice.sync(filter=given)["rooms"]["join"]
        shuts_out_all = '"room":{"not_rooms":["*"]}' in text
        assert (room in joined) != shuts_out_all


def test_the_filters_of_clients_for_messages_are_taken(node):
    alice = node.register("alice")
    room = alice.create_room()
    for text in ('{"lazy_load_members":true}', '{"types":["m.room.message"],"contains_url":true}'):
        alice.messages(room, filter=text)
