"""The deprecated endpoints that the specification still has, and previews of rooms by them."""

import pytest

from harness.client import bodies, path
from harness.waiting import long_poll


@pytest.fixture
def alice(node):
    return node.register("alice")


@pytest.fixture
def bob(node):
    return node.register("bob")


def test_initial_sync(alice, bob):
    room = alice.create_room(name="Elephants")
    alice.send(room, "hello")
    invited = bob.create_room(invite=[alice.user_id])
    left = alice.create_room()
    alice.leave(left)
    alice.put(path("user", alice.user_id, "account_data", "org.example.a"), {"b": 1})
    answer = alice.get("/initialSync", params={"limit": 2})
    rooms = {info["room_id"]: info for info in answer["rooms"]}
    assert set(rooms) == {room, invited}
    assert [event["sender"] for event in answer["presence"]] in ([], [alice.user_id])
    assert {"type": "org.example.a", "content": {"b": 1}} in answer["account_data"]
    info = rooms[room]
    assert info["membership"] == "join" and info["visibility"] == "private"
    assert len(info["messages"]["chunk"]) == 2 and bodies(info["messages"]["chunk"]) == ["hello"]
    assert "m.room.name" in [event["type"] for event in info["state"]]
    assert rooms[invited]["membership"] == "invite"
    assert rooms[invited]["invite"]["content"]["membership"] == "invite"
    older = alice.messages(room, from_=info["messages"]["start"], limit=1)
    assert older["chunk"][0]["event_id"] not in [event["event_id"] for event in info["messages"]["chunk"]]
    archived = alice.get("/initialSync", params={"archived": "true"})["rooms"]
    assert left in [info["room_id"] for info in archived]


def test_event_stream(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    end = alice.get("/initialSync")["end"]
    event_id = bob.send(room, "news")
    answer = alice.get("/events", params={"from": end, "timeout": 0})
    (event,) = answer["chunk"]
    assert event["event_id"] == event_id and event["room_id"] == room
    assert answer["start"] == end
    assert alice.get("/events", params={"from": answer["end"]})["chunk"] == []
    alice.get("/events", params={"from": "x"}, status=400, errcode="M_INVALID_PARAM")


def test_who_is_there(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob"})
    set_presence = lambda presence: bob.put(path("presence", bob.user_id, "status"), {"presence": presence})
    set_presence("unavailable")
    answer = alice.get("/initialSync")
    (event,) = [event for event in answer["presence"] if event["sender"] == bob.user_id]
    assert event["type"] == "m.presence"
    assert event["content"] == {
        "presence": "unavailable",
        "displayname": "Bob",
        "last_active_ago": event["content"]["last_active_ago"],
    }
    params = {"from": answer["end"], "timeout": 20000}
    with long_poll(alice, alice.get, "/events", params=params) as waiting:
        set_presence("online")
        (event,) = waiting.result()["chunk"]
    assert (event["type"], event["sender"], event["content"]["presence"]) == (
        "m.presence",
        bob.user_id,
        "online",
    )
    # Those whom one ignores are not shown.
    ignored = {"ignored_users": {bob.user_id: {}}}
    end = alice.get("/initialSync")["end"]
    alice.put(path("user", alice.user_id, "account_data", "m.ignored_user_list"), ignored)
    set_presence("unavailable")
    assert bob.user_id not in str(alice.get("/initialSync")["presence"])
    chunk = alice.get("/events", params={"from": end, "timeout": 0})["chunk"]
    assert [event["type"] for event in chunk] == ["m.ignored_user_list"]


def test_event_stream_tells_account_data(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    data = path("user", alice.user_id, "account_data", "org.example.a")
    of_room = path("user", alice.user_id, "rooms", room, "account_data", "org.example.b")
    tag = path("user", alice.user_id, "rooms", room, "tags", "m.favourite")
    end = alice.get("/initialSync")["end"]
    for where, content, expected in [
        (data, {"n": 1}, {"type": "org.example.a", "content": {"n": 1}}),
        (of_room, {"n": 2}, {"type": "org.example.b", "content": {"n": 2}, "room_id": room}),
        (tag, {"order": 0.5},
         {"type": "m.tag", "content": {"tags": {"m.favourite": {"order": 0.5}}}, "room_id": room}),
    ]:  # fmt: skip
        with long_poll(alice, alice.get, "/events", params={"from": end, "timeout": 20000}) as waiting:
            alice.put(where, content)
            answer = waiting.result()
        assert answer["chunk"] == [expected]
        assert bob.get("/events", params={"from": end, "timeout": 0})["chunk"] == []
        end = answer["end"]


def test_event_stream_of_a_room_tells_receipts_and_typing(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    event_id = alice.send(room, "hello")
    end = alice.get("/events", params={"room_id": room, "timeout": 0})["end"]

    def then(act):
        nonlocal end
        params = {"room_id": room, "from": end, "timeout": 20000}
        with long_poll(alice, alice.get, "/events", params=params) as waiting:
            act()
            answer = waiting.result()
        end = answer["end"]
        (event,) = answer["chunk"]
        return event

    typing = path("rooms", room, "typing", bob.user_id)
    event = then(lambda: bob.put(typing, {"typing": True, "timeout": 60000}))
    assert event == {"type": "m.typing", "content": {"user_ids": [bob.user_id]}, "room_id": room}
    event = then(lambda: bob.post(path("rooms", room, "receipt", "m.read", event_id)))
    assert event["type"] == "m.receipt" and event["room_id"] == room
    assert list(event["content"][event_id]["m.read"]) == [bob.user_id]
    assert then(lambda: bob.send(room, "news"))["content"]["body"] == "news"
    assert then(lambda: bob.put(typing, {"typing": False}))["content"] == {"user_ids": []}
    assert alice.get("/events", params={"room_id": room, "from": end, "timeout": 0})["chunk"] == []
    # Who begins at a place in the history gets what is so now.
    preview = alice.get(path("rooms", room, "initialSync"))["messages"]["end"]
    chunk = alice.get("/events", params={"room_id": room, "from": preview, "timeout": 0})["chunk"]
    assert [event["type"] for event in chunk] == ["m.receipt"]
    alice.leave(room)
    bob.put(typing, {"typing": True, "timeout": 60000})
    answer = alice.get("/events", params={"room_id": room, "from": end, "timeout": 0})
    assert [event["type"] for event in answer["chunk"]] == ["m.room.member"]


def test_event_stream_waits(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    with long_poll(alice, alice.get, "/events", params={"timeout": 20000}) as waiting:
        event_id = bob.send(room, "wake up")
        assert [event["event_id"] for event in waiting.result()["chunk"]] == [event_id]


def test_preview_of_a_world_readable_room(alice, bob):
    visibility = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
    room = alice.create_room(initial_state=[visibility], preset="public_chat", visibility="public")
    alice.send(room, "before")
    info = bob.get(path("rooms", room, "initialSync"))
    assert "membership" not in info
    assert info["visibility"] == "public"
    assert bodies(info["messages"]["chunk"]) == ["before"]
    params = {"room_id": room, "from": info["messages"]["end"], "timeout": 20000}
    with long_poll(bob, bob.get, "/events", params=params) as waiting:
        alice.send(room, "while bob looks on")
        answer = waiting.result()
    assert bodies(answer["chunk"]) == ["while bob looks on"]
    assert bob.get("/events", params={"room_id": room, "from": answer["end"]})["chunk"] == []
    assert room not in bob.sync()["rooms"]["join"]
    alice.send_state(room, "m.room.history_visibility", {"history_visibility": "shared"})
    bob.get("/events", params={"room_id": room, "from": answer["end"]}, status=403, errcode="M_FORBIDDEN")


def test_events_by_id_alone(alice, bob):
    room = alice.create_room()
    event_id = alice.send(room, "hello")
    assert alice.get(path("events", event_id))["room_id"] == room
    bob.get(path("events", event_id), status=404, errcode="M_NOT_FOUND")


def test_r0_paths(alice):
    room = alice.create_room()
    for where in ("/sync", "/events", "/initialSync", path("rooms", room, "initialSync"), "/joined_rooms"):
        alice.get("/_matrix/client/r0" + where)
