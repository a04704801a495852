"""GET messages, context, event, state, members: history and state of a room, page by page."""

import pytest

from harness.client import bodies, path


@pytest.fixture
def alice(node):
    return node.register("alice")


@pytest.fixture
def room(alice):
    """A room with fifteen messages."""
    room = alice.create_room(preset="public_chat")
    for n in range(15):
        alice.send(room, str(n))
    return room


def numbers(first, last) -> list[str]:
    """The bodies from first to last."""
    step = 1 if first <= last else -1
    return [str(n) for n in range(first, last + step, step)]


def test_backward_pages_meet_and_end(alice, room):
    page = alice.messages(room)
    assert bodies(page["chunk"]) == numbers(14, 5)
    assert page["start"].startswith("t")
    seen = [event["event_id"] for event in page["chunk"]]
    while "end" in page:
        page = alice.messages(room, from_=page["end"], limit=4)
        assert page["chunk"]
        seen += [event["event_id"] for event in page["chunk"]]
    assert len(seen) == len(set(seen))
    assert page["chunk"][-1]["type"] == "m.room.create"


def test_forward_from_the_beginning(alice, room):
    page = alice.messages(room, dir="f", limit=3)
    assert page["chunk"][0]["type"] == "m.room.create"
    seen = page["chunk"]
    while "end" in page:
        page = alice.messages(room, dir="f", from_=page["end"], limit=3)
        seen += page["chunk"]
    assert bodies(seen) == numbers(0, 14)


def test_forward_pages_tell_where_news_will_be(alice, room, node):
    page = alice.messages(room, dir="f", limit=100)
    assert bodies(page["chunk"]) == numbers(0, 14)
    assert alice.messages(room, dir="f", from_=page["end"])["chunk"] == []
    alice.send(room, "15")
    page = alice.messages(room, dir="f", from_=page["end"])
    assert bodies(page["chunk"]) == ["15"] and page["end"] != page["start"]
    # For a user who left there will be none.
    bob = node.register("bob")
    bob.join(room)
    bob.leave(room)
    page = bob.messages(room, dir="f", limit=100)
    assert bodies(page["chunk"]) == numbers(0, 15) and "end" not in page


def test_tokens_of_sync_messages_and_context_are_one(alice, room):
    section = alice.sync(filter={"room": {"timeline": {"limit": 5}}})["rooms"]["join"][room]
    back = alice.messages(room, from_=section["timeline"]["prev_batch"], limit=3)
    assert bodies(back["chunk"]) == numbers(9, 7)
    forward = alice.messages(room, dir="f", from_=back["end"], limit=4)
    assert bodies(forward["chunk"]) == numbers(7, 10)
    token = alice.sync()["next_batch"]
    alice.send(room, "15")
    assert bodies(alice.messages(room, from_=token, limit=2)["chunk"]) == numbers(14, 13)
    assert bodies(alice.messages(room, dir="f", from_=token)["chunk"]) == ["15"]
    event_id = back["chunk"][0]["event_id"]
    context = alice.get(path("rooms", room, "context", event_id), params={"limit": 4})
    assert bodies(context["events_before"]) == numbers(8, 7)
    assert bodies(context["events_after"]) == numbers(10, 11)
    assert bodies(alice.messages(room, from_=context["start"], limit=1)["chunk"]) == ["6"]
    assert bodies(alice.messages(room, dir="f", from_=context["end"], limit=1)["chunk"]) == ["12"]


def test_to_is_a_stop(alice, room):
    to = alice.messages(room, limit=5)["end"]
    page = alice.messages(room, limit=100, to=to)
    assert bodies(page["chunk"]) == numbers(14, 10)
    assert "end" not in page
    page = alice.messages(room, dir="f", from_=to, to=alice.messages(room, limit=2)["end"], limit=100)
    assert bodies(page["chunk"]) == numbers(10, 12)


def test_an_empty_parameter_counts_as_none(alice, room):
    """Clients that have no token yet write `from=`."""
    whole = alice.messages(room, limit=100)["chunk"]
    empty = {"from": "", "to": "", "filter": "", "limit": ""}
    page = alice.get(path("rooms", room, "messages"), params={"dir": "b", **empty})
    assert [event["event_id"] for event in page["chunk"]] == [event["event_id"] for event in whole[:10]]
    assert room in alice.get("/sync", params={"since": "", "filter": "", "timeout": ""})["rooms"]["join"]
    alice.get("/events", params={"from": "", "timeout": "0"})
    alice.get("/publicRooms", params={"since": "", "limit": ""})
    alice.post("/publicRooms", {"since": ""})
    alice.get("/_matrix/client/v1" + path("rooms", room, "hierarchy"), params={"from": ""})
    # A required one is still missing.
    alice.get(path("rooms", room, "messages"), params={"dir": ""}, status=400)


def test_limits(alice, room):
    assert alice.messages(room, limit=0)["chunk"] == []
    assert len(alice.messages(room, limit=100000)["chunk"]) > 15
    alice.get(
        path("rooms", room, "messages"),
        params={"dir": "b", "limit": -1},
        status=400,
        errcode="M_INVALID_PARAM",
    )
    page = alice.messages(room, filter='{"limit": 2}')
    assert bodies(page["chunk"]) == numbers(14, 13)


def test_filters_reach_over_what_they_leave_out(alice, room):
    page = alice.messages(room, limit=2, filter='{"types": ["m.room.create", "m.room.power_*"]}')
    assert [event["type"] for event in page["chunk"]] == ["m.room.power_levels", "m.room.create"]
    assert "end" not in page


def test_bad_requests(alice, room):
    where = path("rooms", room, "messages")
    alice.get(where, status=400, errcode="M_MISSING_PARAM")
    for params in (
        {"dir": "x"},
        {"dir": "b", "from": "nonsense"},
        {"dir": "b", "to": "t+5"},
        {"dir": "b", "limit": "x"},
    ):
        alice.get(where, params=params, status=400, errcode="M_INVALID_PARAM")
    for token in ("t", "t--5", "t1.5", "t" + "9" * 30, "s", "s99999999999_5", "T5"):
        alice.get(where, params={"dir": "b", "from": token}, status=400, errcode="M_INVALID_PARAM")
    alice.get(where, params={"dir": "b", "filter": "[]"}, status=400, errcode="M_BAD_JSON")
    # Places before the first and after the last event are places.
    assert alice.messages(room, from_="t-9223372036854775808")["chunk"] == []
    assert len(alice.messages(room, from_="t9223372036854775807")["chunk"]) == 10
    assert alice.messages(room, dir="f", from_="t9223372036854775807")["chunk"] == []


def test_events_are_in_client_format(alice, room):
    event = alice.messages(room)["chunk"][0]
    assert set(event) == {"content", "event_id", "origin_server_ts", "room_id", "sender", "type", "unsigned"}
    assert event["room_id"] == room
    create = alice.history(room)[0]
    assert create["type"] == "m.room.create" and create["room_id"] == room and create["state_key"] == ""


def test_context_shares_its_limit(alice, room):
    event_id = next(event["event_id"] for event in alice.history(room) if event["content"].get("body") == "7")
    context = alice.get(path("rooms", room, "context", event_id), params={"limit": 5})
    assert len(context["events_before"]) + len(context["events_after"]) == 5
    assert context["event"]["event_id"] == event_id
    assert ("m.room.create", "") in {(event["type"], event["state_key"]) for event in context["state"]}
    context = alice.get(path("rooms", room, "context", event_id), params={"limit": 0})
    assert context["events_before"] == context["events_after"] == []
    assert context["event"]["content"]["body"] == "7"


def test_context_has_the_state_at_its_last_event(alice, room):
    alice.send_state(room, "m.room.topic", {"topic": "then"})
    event_id = alice.send(room, "here")
    alice.send_state(room, "m.room.topic", {"topic": "later"})
    context = alice.get(path("rooms", room, "context", event_id), params={"limit": 0})
    topics = [event["content"]["topic"] for event in context["state"] if event["type"] == "m.room.topic"]
    assert topics == ["then"]


def test_state_in_all_path_forms(alice, room):
    alice.send_state(room, "m.room.topic", {"topic": "ivory"})
    alice.send_state(room, "org.example/with slash", {"n": 1}, "key/with #%")
    for form in ("m.room.topic", "m.room.topic/"):
        assert alice.get(path("rooms", room, "state") + "/" + form)["topic"] == "ivory"
    assert alice.state(room, "org.example/with slash", "key/with #%") == {"n": 1}
    event = alice.state(room, "m.room.topic", params={"format": "event"})
    assert (
        event["content"]["topic"] == "ivory" and event["room_id"] == room and event["sender"] == alice.user_id
    )
    assert alice.state(room, "m.room.topic", params={"format": "content"})["topic"] == "ivory"
    alice.state(room, "m.room.topic", params={"format": "xml"}, status=400, errcode="M_INVALID_PARAM")
    alice.state(room, "m.room.nothing", status=404, errcode="M_NOT_FOUND")
    alice.state(room, "m.room.topic", "key", status=404, errcode="M_NOT_FOUND")
    whole = alice.get(path("rooms", room, "state"))
    assert ("m.room.topic", "") in {(event["type"], event["state_key"]) for event in whole}


def test_members_by_membership_and_place(alice, room, node):
    before = alice.sync()["next_batch"]
    bob, carol, dave = (node.register(name) for name in ("bob", "carol", "dave"))
    bob.join(room)
    section = alice.sync(before)["rooms"]["join"][room]
    alice.invite(room, carol)
    dave.join(room)
    dave.leave(room)

    def members(**params):
        return {
            event["state_key"] for event in alice.get(path("rooms", room, "members"), params=params)["chunk"]
        }

    assert members() == {user.user_id for user in (alice, bob, carol, dave)}
    assert members(membership="join") == {alice.user_id, bob.user_id}
    assert members(membership="invite") == {carol.user_id}
    assert members(not_membership="leave") == {alice.user_id, bob.user_id, carol.user_id}
    assert members(membership="leave", not_membership="invite") == {alice.user_id, bob.user_id, dave.user_id}
    assert members(at=before) == {alice.user_id}
    assert members(at=section["timeline"]["prev_batch"]) == {alice.user_id}
    alice.get(
        path("rooms", room, "members"), params={"membership": "guest"}, status=400, errcode="M_INVALID_PARAM"
    )
    alice.get(path("rooms", room, "members"), params={"at": "x"}, status=400, errcode="M_INVALID_PARAM")


def test_joined_members_and_rooms(alice, room, node):
    bob = node.register("bob")
    bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob"})
    bob.join(room)
    joined = alice.get(path("rooms", room, "joined_members"))["joined"]
    assert set(joined) == {alice.user_id, bob.user_id}
    assert joined[bob.user_id] == {"display_name": "Bob"}
    assert bob.get("/joined_rooms") == {"joined_rooms": [room]}
    bob.leave(room)
    assert bob.get("/joined_rooms") == {"joined_rooms": []}
    bob.get(path("rooms", room, "joined_members"), status=403, errcode="M_FORBIDDEN")


def test_text_that_sql_cannot_hold(alice, room):
    event_id = alice.send(room, {"msgtype": "m.text", "body": "nul \0 and \u2028 and 🐘"})
    assert alice.event(room, event_id)["content"]["body"] == "nul \0 and \u2028 and 🐘"
    assert alice.messages(room, limit=1)["chunk"][0]["content"]["body"] == "nul \0 and \u2028 and 🐘"


def test_the_event_closest_to_a_time(alice, room, node):
    where = f"/_matrix/client/v1{path('rooms', room, 'timestamp_to_event')}"
    events = alice.history(room)
    last = events[-1]
    answer = {"event_id": last["event_id"], "origin_server_ts": last["origin_server_ts"]}
    assert alice.get(where, params={"ts": 2**53, "dir": "b"}) == answer
    assert alice.get(where, params={"ts": 0, "dir": "f"})["event_id"] == events[0]["event_id"]
    for ts, dir in ((0, "b"), (2**53, "f")):
        alice.get(where, params={"ts": ts, "dir": dir}, status=404, errcode="M_NOT_FOUND")
    alice.get(where, params={"ts": 1, "dir": "x"}, status=400, errcode="M_INVALID_PARAM")
    node.register("stranger").get(where, params={"ts": 0, "dir": "f"}, status=403, errcode="M_FORBIDDEN")
    # What is hidden from a member is passed over.
    alice.send_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    alice.send(room, "hidden")
    bob = node.register("bob")
    bob.join(room)
    own = bob.state(room, "m.room.member", bob.user_id) and bob.messages(room, limit=1)["chunk"][0]
    hidden = alice.history(room)[-2]
    assert (
        bob.get(where, params={"ts": hidden["origin_server_ts"], "dir": "f"})["event_id"] == own["event_id"]
    )
