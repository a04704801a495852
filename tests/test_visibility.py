"""History visibility, judged at each event on every read path: each setting, each membership."""

import pytest

from harness.client import path

SETTINGS = ["world_readable", "shared", "invited", "joined", "nonsense"]

# Which of the messages each reader sees. The room says "before" before the reader is invited, "invited" after
# it, "joined" after they joined, "left" after they left.
SEEN = {
    # Was invited, joined, and left.
    "left": {
        "world_readable": {"before", "invited", "joined", "left"},
        "shared": {"before", "invited", "joined"},
        "invited": {"invited", "joined"},
        "joined": {"joined"},
        "nonsense": {"before", "invited", "joined"},
    },
    # Joined again afterwards.
    "rejoined": {
        "world_readable": {"before", "invited", "joined", "left", "again"},
        "shared": {"before", "invited", "joined", "left", "again"},
        "invited": {"invited", "joined", "again"},
        "joined": {"joined", "again"},
        "nonsense": {"before", "invited", "joined", "left", "again"},
    },
}


def make_room(alice, setting):
    return alice.create_room(
        preset="public_chat",
        initial_state=[{"type": "m.room.history_visibility", "content": {"history_visibility": setting}}],
    )


def tell(alice, room) -> dict:
    """Sends a message with a body; returns body to event id."""
    said = {}

    def say(body):
        said[body] = alice.send(room, body)

    say.said = said
    return say


def seen_by_messages(reader, room, direction):
    events, params = [], {"limit": 3}
    while True:
        page = reader.messages(room, dir=direction, **params)
        events += page["chunk"]
        if "end" not in page:
            return {event["content"]["body"] for event in events if event["type"] == "m.room.message"}
        params["from_"] = page["end"]


def seen_by_event(reader, room, said):
    answers = {
        body: reader.request("GET", path("rooms", room, "event", event_id)).status_code
        for body, event_id in said.items()
    }
    assert set(answers.values()) <= {200, 404}
    return {body for body, status in answers.items() if status == 200}


def seen_by_old_event(reader, said):
    answers = {body: reader.request("GET", path("events", id)).status_code for body, id in said.items()}
    return {body for body, status in answers.items() if status == 200}


def seen_by_context(reader, room, said, visible):
    for body, event_id in said.items():
        response = reader.request("GET", path("rooms", room, "context", event_id), params={"limit": 100})
        assert response.status_code == (200 if body in visible else 404), (body, response.text)
        if response.status_code == 200:
            around = response.json()
            events = around["events_before"] + [around["event"]] + around["events_after"]
            yield {event["content"]["body"] for event in events if event["type"] == "m.room.message"}


def seen_by_sync(reader, room, since=None):
    filter = {"room": {"include_leave": True, "timeline": {"limit": 100}}}
    rooms = reader.sync(since, filter=filter)["rooms"]
    section = rooms["join"].get(room) or rooms["leave"].get(room) or {"timeline": {"events": []}}
    events = section["timeline"]["events"]
    return {event["content"]["body"] for event in events if event["type"] == "m.room.message"}


def check_every_path(reader, room, said, visible, in_timeline=None):
    in_timeline = visible if in_timeline is None else in_timeline
    assert seen_by_messages(reader, room, "b") == visible
    assert seen_by_messages(reader, room, "f") == visible
    assert seen_by_event(reader, room, said) == visible
    assert seen_by_old_event(reader, said) == visible
    for around in seen_by_context(reader, room, said, visible):
        assert around == visible
    assert seen_by_sync(reader, room) == in_timeline


@pytest.mark.parametrize("setting", SETTINGS)
def test_members_see_what_their_membership_allows(node, setting):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, setting)
    since = bob.sync()["next_batch"]
    say = tell(alice, room)
    say("before")
    alice.invite(room, bob)
    say("invited")
    bob.join(room)
    say("joined")
    bob.leave(room)
    say("left")
    # A sync shows nothing of a room that was left after the leave.
    check_every_path(bob, room, say.said, SEEN["left"][setting], SEEN["left"][setting] - {"left"})
    assert seen_by_sync(bob, room, since) == SEEN["left"][setting] - {"left"}
    bob.join(room)
    say("again")
    check_every_path(bob, room, say.said, SEEN["rejoined"][setting])


@pytest.mark.parametrize("setting", SETTINGS)
def test_banned_users_keep_what_they_saw(node, setting):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, setting)
    say = tell(alice, room)
    say("before")
    alice.invite(room, bob)
    say("invited")
    bob.join(room)
    say("joined")
    alice.post(path("rooms", room, "ban"), {"user_id": bob.user_id})
    say("left")
    check_every_path(bob, room, say.said, SEEN["left"][setting], SEEN["left"][setting] - {"left"})
    # Banned after leaving: the leave is what counts.
    alice.post(path("rooms", room, "unban"), {"user_id": bob.user_id})
    alice.post(path("rooms", room, "ban"), {"user_id": bob.user_id})
    assert seen_by_event(bob, room, say.said) == SEEN["left"][setting]
    assert seen_by_messages(bob, room, "b") == SEEN["left"][setting]


@pytest.mark.parametrize("setting", SETTINGS)
def test_strangers_read_only_what_is_world_readable(node, setting):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, setting)
    event_id = alice.send(room, "for whom?")
    paths = [
        path("rooms", room, "messages") + "?dir=b",
        path("rooms", room, "state"),
        path("rooms", room, "state", "m.room.create"),
        path("rooms", room, "members"),
        path("rooms", room, "initialSync"),
        "/events?room_id=" + room,
    ]
    hidden = [
        path("rooms", room, "event", event_id),
        path("rooms", room, "context", event_id),
        path("events", event_id),
    ]
    open_to_all = setting == "world_readable"
    for where in paths:
        bob.call(
            "GET", where, status=200 if open_to_all else 403, errcode=None if open_to_all else "M_FORBIDDEN"
        )
    for where in hidden:
        bob.call(
            "GET", where, status=200 if open_to_all else 404, errcode=None if open_to_all else "M_NOT_FOUND"
        )
    bob.get(path("rooms", room, "joined_members"), status=403, errcode="M_FORBIDDEN")


@pytest.mark.parametrize("setting", ["shared", "invited", "joined"])
def test_the_invited_and_knocking_read_nothing_by_page(node, setting):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, setting)
    alice.invite(room, bob)
    for what in ("messages?dir=b", "state", "members", "initialSync"):
        bob.get(path("rooms", room) + "/" + what, status=403, errcode="M_FORBIDDEN")
    bob.leave(room)
    bob.get(path("rooms", room, "state"), status=403, errcode="M_FORBIDDEN")


def test_changes_of_visibility_are_seen_from_either_side(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, "joined")
    hidden = alice.send(room, "hidden")
    opens = alice.send_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    shown = alice.send(room, "shown")
    closes = alice.send_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    hidden_again = alice.send(room, "hidden again")
    for event_id, status in [(hidden, 404), (opens, 200), (shown, 200), (closes, 200), (hidden_again, 404)]:
        bob.call("GET", path("rooms", room, "event", event_id), status=status)
    # The room's setting at the time counts, not the one of now.
    bob.join(room)
    for event_id, status in [(hidden, 404), (shown, 200), (hidden_again, 404)]:
        bob.call("GET", path("rooms", room, "event", event_id), status=status)


@pytest.mark.parametrize("setting", SETTINGS)
def test_users_see_how_they_came_and_went(node, setting):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, setting)
    bob.join(room)
    bob.leave(room)
    own = [event for event in bob.history(room) if event.get("state_key") == bob.user_id]
    assert [event["content"]["membership"] for event in own] == ["join", "leave"]
    assert [event["unsigned"]["membership"] for event in own] == ["join", "leave"]


def test_membership_of_the_reader_at_each_event(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, "shared")
    say = tell(alice, room)
    say("before")
    alice.invite(room, bob)
    say("invited")
    bob.join(room)
    say("joined")
    told = {
        event["content"]["body"]: event["unsigned"]["membership"]
        for event in bob.history(room)
        if event["type"] == "m.room.message"
    }
    assert told == {"before": "leave", "invited": "invite", "joined": "join"}


def test_prev_content_needs_the_right_to_see_it(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, "joined")
    change = alice.send_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    unsigned = bob.event(room, change)["unsigned"]
    assert "prev_content" not in unsigned and "replaces_state" in unsigned
    shown = alice.event(room, change)["unsigned"]["prev_content"]
    assert shown == {"history_visibility": "joined"}
    # A member may read the state, and so what was in it, also from before they joined.
    room = make_room(alice, "joined")
    first = alice.send_state(room, "m.room.topic", {"topic": "before"})
    bob.join(room)
    second = alice.send_state(room, "m.room.topic", {"topic": "after"})
    for reader in (alice, bob):
        unsigned = reader.event(room, second)["unsigned"]
        assert (unsigned["prev_content"], unsigned["replaces_state"]) == ({"topic": "before"}, first)


def test_those_who_left_see_the_state_of_then(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, "shared")
    alice.send_state(room, "m.room.topic", {"topic": "then"})
    bob.join(room)
    bob.leave(room)
    alice.send_state(room, "m.room.topic", {"topic": "now"})
    alice.send_state(room, "m.room.name", {"name": "now"})
    carol = node.register("carol")
    carol.join(room)
    assert bob.state(room, "m.room.topic")["topic"] == "then"
    bob.get(path("rooms", room, "state", "m.room.name"), status=404, errcode="M_NOT_FOUND")
    state = {(event["type"], event["state_key"]): event for event in bob.get(path("rooms", room, "state"))}
    assert state["m.room.topic", ""]["content"]["topic"] == "then"
    assert ("m.room.name", "") not in state
    assert state["m.room.member", bob.user_id]["content"]["membership"] == "leave"
    members = bob.get(path("rooms", room, "members"))["chunk"]
    assert {event["state_key"] for event in members} == {alice.user_id, bob.user_id}
    initial = bob.get(path("rooms", room, "initialSync"))
    assert initial["membership"] == "leave"
    assert {event["state_key"] for event in initial["state"] if event["type"] == "m.room.topic"} == {""}


def test_the_forgotten_is_out_of_reach(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, "shared")
    bob.join(room)
    event_id = alice.send(room, "while bob was there")
    bob.leave(room)
    bob.event(room, event_id)
    bob.post(path("rooms", room, "forget"))
    bob.get(path("rooms", room, "messages"), params={"dir": "b"}, status=403, errcode="M_FORBIDDEN")
    bob.event(room, event_id, status=404, errcode="M_NOT_FOUND")


def test_unknown_rooms_and_events(node):
    alice = node.register("alice")
    room = alice.create_room()
    other = alice.create_room()
    event_id = alice.send(room)
    alice.event(other, event_id, status=404, errcode="M_NOT_FOUND")
    alice.event(room, "$nothing", status=404, errcode="M_NOT_FOUND")
    alice.event("!nowhere:test.example", event_id, status=404, errcode="M_NOT_FOUND")
    for what in ("messages?dir=b", "state", "members", "joined_members", "state/m.room.create"):
        alice.get(path("rooms", "!nowhere:test.example") + "/" + what, status=403, errcode="M_FORBIDDEN")


def test_the_invited_see_an_event_without_the_state_around_it(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = make_room(alice, "invited")
    alice.invite(room, bob)
    event_id = alice.send(room, "for the invited")
    where = path("rooms", room, "context", event_id)
    bob.get(path("rooms", room, "state"), status=403)
    context = bob.get(where)
    assert context["event"]["event_id"] == event_id
    assert context["state"] == []
    bob.join(room)
    assert {event["type"] for event in bob.get(where)["state"]} > {"m.room.create", "m.room.member"}


def test_the_reason_of_a_redaction_needs_the_right_to_see_it(node):
    alice, bob, carol = (node.register(name) for name in ("alice", "bob", "carol"))
    room = make_room(alice, "shared")
    topic = alice.send_state(room, "m.room.topic", {"topic": "redacted later"})
    bob.join(room)
    carol.join(room)
    message = alice.send(room, "redacted later too")
    alice.post(path("rooms", room, "kick"), {"user_id": bob.user_id})
    for event_id in (message, topic):
        alice.redact(room, event_id, reason="bob must not know")
    for reader, sees in ((bob, False), (carol, True), (alice, True)):
        events = [reader.event(room, message), reader.event(room, topic)]
        pages = reader.history(room)
        events += [event for event in pages if event["event_id"] in (message, topic)]
        context = reader.get(path("rooms", room, "context", message))
        events.append(context["event"])
        events += [event for event in context["state"] if event["event_id"] == topic]
        filter = {"room": {"include_leave": True, "timeline": {"limit": 1}}}
        rooms = reader.sync(filter=filter)["rooms"]
        section = rooms["join" if sees else "leave"][room]
        events += [event for event in section["state"]["events"] if event["event_id"] == topic]
        state = reader.get(path("rooms", room, "state"))
        events += [event for event in state if event["event_id"] == topic]
        assert len(events) >= 7
        assert {"redacted_because" in event["unsigned"] for event in events} == {sees}
