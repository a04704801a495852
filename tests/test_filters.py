"""Filters of syncs, inline and uploaded."""

import pytest

from harness.client import bodies, path, timeline


@pytest.fixture
def alice(node):
    return node.register("alice")


@pytest.fixture
def bob(node):
    return node.register("bob")


@pytest.fixture
def room(alice, bob):
    """A room in which both have said several things."""
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    alice.send(room, "from alice")
    bob.send(room, "from bob")
    alice.send(room, {"msgtype": "m.image", "body": "picture", "url": "mxc://test.example/abc"})
    alice.send(room, {"n": 1}, type="org.example.one")
    alice.send(room, {"n": 2}, type="org.example.two")
    return room


def shown(user, room, timeline_filter, **params):
    return timeline(
        user.sync(filter={"room": {"timeline": {"limit": 100, **timeline_filter}}}, **params), room
    )


def test_types_with_wildcards(alice, room):
    assert {event["type"] for event in shown(alice, room, {"types": ["org.example.*"]})} == {
        "org.example.one",
        "org.example.two",
    }
    assert {event["type"] for event in shown(alice, room, {"types": ["*.two", "m.room.cr*e"]})} == {
        "org.example.two",
        "m.room.create",
    }
    assert shown(alice, room, {"types": []}) == []
    rest = {event["type"] for event in shown(alice, room, {"not_types": ["m.room.*", "org.example.one"]})}
    assert rest == {"org.example.two"}
    # Exclusion wins.
    assert shown(alice, room, {"types": ["org.example.one"], "not_types": ["org.*"]}) == []


def test_senders(alice, bob, room):
    assert bodies(shown(alice, room, {"senders": [bob.user_id], "types": ["m.room.message"]})) == ["from bob"]
    assert "from bob" not in bodies(shown(alice, room, {"not_senders": [bob.user_id]}))
    assert shown(alice, room, {"senders": [bob.user_id], "not_senders": [bob.user_id]}) == []


def test_contains_url(alice, room):
    assert bodies(shown(alice, room, {"contains_url": True})) == ["picture"]
    assert bodies(shown(alice, room, {"contains_url": False})) == ["from alice", "from bob"]


def test_limit(alice, room):
    assert len(shown(alice, room, {"limit": 2})) == 2
    answer = alice.sync(filter={"room": {"timeline": {"limit": 0}}})
    section = answer["rooms"]["join"][room]["timeline"]
    assert section["events"] == [] and section["limited"] is True
    assert len(alice.messages(room, from_=section["prev_batch"], limit=100)["chunk"]) > 5


def test_filtered_events_do_not_count_against_the_limit(alice, bob, room):
    for n in range(50):
        alice.send(room, {"n": n}, type="org.example.noise")
    filter = {"limit": 2, "types": ["m.room.message"]}
    assert bodies(shown(alice, room, filter)) == ["from bob", "picture"]
    since = bob.sync()["next_batch"]
    for n in range(50):
        alice.send(room, {"n": n}, type="org.example.noise")
    assert room not in bob.sync(since, filter={"room": {"timeline": filter}})["rooms"]["join"]
    answer = bob.sync(since, filter={"room": {"timeline": {"limit": 2}}})
    assert answer["rooms"]["join"][room]["timeline"]["limited"] is True


def test_state_that_the_timeline_leaves_out_still_comes(alice, bob, room):
    since = bob.sync()["next_batch"]
    alice.send_state(room, "m.room.topic", {"topic": "ivory"})
    section = bob.sync(since, filter={"room": {"timeline": {"types": ["m.room.message"]}}})["rooms"]["join"][
        room
    ]
    assert section["timeline"]["events"] == []
    assert [event["content"] for event in section["state"]["events"]] == [{"topic": "ivory"}]


def test_rooms_and_not_rooms(alice, room):
    other = alice.create_room()
    joined = lambda **filter: set(alice.sync(filter={"room": filter})["rooms"]["join"])
    assert joined() == {room, other}
    assert joined(rooms=[room]) == {room}
    assert joined(not_rooms=[room]) == {other}
    assert joined(rooms=[room], not_rooms=[room]) == set()
    assert shown(alice, room, {"rooms": [other]}) == []
    assert shown(alice, other, {"rooms": [other]}) != []
    assert shown(alice, other, {"not_rooms": [other]}) == []


def test_state_account_data_and_ephemeral(alice, bob, room):
    own = path("user", alice.user_id)
    for name in ("one", "two"):
        alice.put(own + f"/account_data/org.example.{name}", {})
        alice.put(own + path("rooms", room, "account_data", f"org.example.{name}"), {})
    bob.put(path("rooms", room, "typing", bob.user_id), {"typing": True})
    bob.post(path("rooms", room, "receipt", "m.read", bob.messages(room)["chunk"][0]["event_id"]))
    filter = {
        "account_data": {"types": ["*.one"]},
        "room": {
            "timeline": {"limit": 1},
            "state": {"types": ["m.room.member"], "not_senders": [alice.user_id]},
            "account_data": {"not_types": ["*.one"]},
            "ephemeral": {"types": ["m.typing"]},
        },
    }
    answer = alice.sync(filter=filter)
    section = answer["rooms"]["join"][room]
    assert [event["type"] for event in answer["account_data"]["events"]] == ["org.example.one"]
    assert [event["type"] for event in section["account_data"]["events"]] == ["org.example.two"]
    assert [event["type"] for event in section["ephemeral"]["events"]] == ["m.typing"]
    assert [event["state_key"] for event in section["state"]["events"]] == [bob.user_id]


def test_event_fields(alice, room):
    filter = {
        "event_fields": ["type", "content.body", "content.m\\.x", "unsigned.age"],
        "room": {"timeline": {"limit": 1}},
    }
    alice.send(room, {"msgtype": "m.text", "body": "x", "m.x": 1, "m": {"x": 2}})
    (event,) = timeline(alice.sync(filter=filter), room)
    assert isinstance(event["unsigned"].pop("age"), int)
    assert isinstance(event.pop("origin_server_ts"), int) and event.pop("event_id")
    # What makes an event is kept unasked.
    assert event == {
        "type": "m.room.message",
        "content": {"body": "x", "m.x": 1},
        "unsigned": {},
        "sender": alice.user_id,
    }


@pytest.mark.parametrize("version", ["1", "10", "12"])
def test_event_format_federation(alice, version):
    room = alice.create_room(room_version=version)
    event_id = alice.send(room, "signed")
    event = timeline(alice.sync(filter={"event_format": "federation"}), room)[-1]
    assert event["event_id"] == event_id
    for key in ("auth_events", "prev_events", "hashes", "signatures", "depth", "unsigned"):
        assert key in event


def test_uploaded_filters(alice, bob, room):
    filter = {"room": {"timeline": {"types": ["org.example.one"]}}}
    filter_id = alice.post(path("user", alice.user_id, "filter"), filter)["filter_id"]
    assert [event["type"] for event in timeline(alice.sync(filter=filter_id), room)] == ["org.example.one"]
    # It is nobody else's.
    bob.get("/sync", params={"filter": filter_id}, status=400, errcode="M_INVALID_PARAM")


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "{]",
        '{"room": []}',
        '{"room": {"timeline": []}}',
        '{"room": {"timeline": {"limit": "5"}}}',
        '{"room": {"timeline": {"limit": 1.5}}}',
        '{"room": {"timeline": {"types": "m.room.message"}}}',
        '{"room": {"timeline": {"senders": ["alice"]}}}',
        '{"room": {"rooms": ["#alias:test.example"]}}',
        '{"room": {"include_leave": "yes"}}',
        '{"event_format": "xml"}',
        '{"event_fields": "content"}',
        '{"presence": 5}',
        "[]",
        "abc",
        "99999999999999999999999",
        "-1",
    ],
)
def test_bad_filters(alice, bad):
    alice.get("/sync", params={"filter": bad}, status=400)


def test_what_a_filter_hides_does_not_end_a_long_poll(alice, bob, room):
    since = alice.sync()["next_batch"]
    bob.send(room, "hidden")
    filter = {"room": {"timeline": {"types": ["org.example.one"]}}}
    answer = alice.sync(since, timeout=300, filter=filter)
    assert answer["rooms"]["join"] == {}
    assert answer["next_batch"] != since
