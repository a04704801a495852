"""GET /sync: sections, timelines, state, and what wakes a long poll."""

import time

import pytest

from harness.client import bodies, path, timeline
from harness.waiting import long_poll


@pytest.fixture
def alice(node):
    return node.register("alice")


@pytest.fixture
def bob(node):
    return node.register("bob")


LAZY = {"room": {"state": {"lazy_load_members": True}}}
# The stable names are those of a release that the server does not claim.
STATE_AFTER = {"org.matrix.msc4222.use_state_after": "true"}
AFTER = "org.matrix.msc4222.state_after"


def joined(answer: dict, room: str) -> dict:
    """A joined room's section."""
    return answer["rooms"]["join"][room]


def state_of(section: dict, name: str = "state") -> dict:
    """(type, state key) to content."""
    return {(event["type"], event["state_key"]): event["content"] for event in section[name]["events"]}


def test_initial_sync_has_whole_state_and_timeline(alice):
    room = alice.create_room(name="Elephants", preset="public_chat")
    sent = [alice.send(room, f"message {n}") for n in range(3)]
    answer = alice.sync(filter={"room": {"timeline": {"limit": 2}}})
    section = joined(answer, room)
    assert [event["event_id"] for event in section["timeline"]["events"]] == sent[1:]
    assert section["timeline"]["limited"] is True
    state = state_of(section)
    assert state["m.room.name", ""] == {"name": "Elephants"}
    assert state["m.room.member", alice.user_id]["membership"] == "join"
    assert ("m.room.create", "") in state
    assert section["summary"]["m.joined_member_count"] == 1
    assert section["summary"]["m.invited_member_count"] == 0


def test_state_is_that_before_the_timeline(alice):
    room = alice.create_room()
    answer = alice.sync(filter={"room": {"timeline": {"limit": 1000}}})
    section = joined(answer, room)
    assert section["state"]["events"] == []
    assert section["timeline"]["limited"] is False
    assert section["timeline"]["events"][0]["type"] == "m.room.create"


def test_state_after_is_that_behind_the_timeline(alice):
    room = alice.create_room()
    answer = alice.sync(**STATE_AFTER, filter={"room": {"timeline": {"limit": 1000}}})
    section = joined(answer, room)
    assert "state" not in section
    assert ("m.room.create", "") in state_of(section, AFTER)
    alice.send(room)
    alice.send_state(room, "m.room.topic", {"topic": "ivory"})
    answer = alice.sync(answer["next_batch"], **STATE_AFTER)
    assert state_of(joined(answer, room), AFTER) == {("m.room.topic", ""): {"topic": "ivory"}}


def test_state_after_has_its_stable_name_once_the_release_is_claimed(node, alice):
    """Some clients ask for it by that name and do not look for it: they take encrypted rooms for plain."""
    room = alice.create_room()
    claimed = "v1.16" in alice.get("/_matrix/client/versions")["versions"]
    agent = "Trixnity of the tests"
    for _ in range(2):
        headers = {"User-Agent": agent}
        answer = alice.get("/sync", params={"use_state_after": "true"}, headers=headers)
        assert ("state_after" in joined(answer, room)) is claimed
        assert ("state" in joined(answer, room)) is not claimed
    assert node.log.read_text().count(agent) == (0 if claimed else 1)
    section = joined(alice.sync(**STATE_AFTER), room)
    assert "state" not in section and "state_after" not in section
    assert ("m.room.create", "") in state_of(section, AFTER)


def test_incremental_sync_brings_only_what_is_new(alice, bob):
    room = alice.create_room(preset="public_chat")
    other = alice.create_room()
    bob.join(room)
    since = alice.sync()["next_batch"]
    event_id = bob.send(room, "news")
    answer = alice.sync(since)
    assert list(answer["rooms"]["join"]) == [room]
    assert other not in answer["rooms"]["join"]
    section = joined(answer, room)
    assert [event["event_id"] for event in section["timeline"]["events"]] == [event_id]
    assert section["timeline"]["limited"] is False
    assert section["state"]["events"] == []
    assert alice.sync(since)["rooms"]["join"][room]["timeline"]["events"][0]["event_id"] == event_id
    assert alice.sync(answer["next_batch"])["rooms"]["join"] == {}


def test_events_in_a_sync_have_no_room_id_but_an_age(alice):
    room = alice.create_room()
    alice.send(room)
    event = timeline(alice.sync(), room)[-1]
    assert "room_id" not in event
    assert 0 <= event["unsigned"]["age"] < 60_000
    for key in ("auth_events", "prev_events", "hashes", "signatures", "depth"):
        assert key not in event


def test_a_gap_brings_a_limited_timeline_and_the_state_that_changed_in_it(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    first = alice.sync()
    alice.send_state(room, "m.room.topic", {"topic": "in the gap"})
    sent = [alice.send(room, f"message {n}") for n in range(15)]
    alice.send_state(room, "m.room.name", {"name": "in the timeline"})
    answer = alice.sync(first["next_batch"])
    section = joined(answer, room)
    assert section["timeline"]["limited"] is True
    assert len(section["timeline"]["events"]) == 10
    assert state_of(section) == {("m.room.topic", ""): {"topic": "in the gap"}}
    # What is missing can be paged to, and only that.
    page = alice.messages(room, from_=section["timeline"]["prev_batch"], to=first["next_batch"], limit=100)
    assert [event["event_id"] for event in page["chunk"]][:-1] == sent[:6][::-1]
    assert page["chunk"][-1]["type"] == "m.room.topic"
    assert "end" not in page
    after = alice.sync(first["next_batch"], **STATE_AFTER)
    assert state_of(joined(after, room), AFTER) == {
        ("m.room.topic", ""): {"topic": "in the gap"},
        ("m.room.name", ""): {"name": "in the timeline"},
    }


def test_full_state_with_a_token(alice):
    room = alice.create_room(name="Elephants")
    since = alice.sync()["next_batch"]
    started = time.monotonic()
    section = joined(alice.sync(since, timeout=30000, full_state="true"), room)
    assert time.monotonic() - started < 10
    assert section["timeline"]["events"] == []
    assert state_of(section)["m.room.name", ""] == {"name": "Elephants"}


def test_joining_sends_the_whole_room(alice, bob):
    room = alice.create_room(preset="public_chat", name="Elephants")
    for n in range(12):
        alice.send(room, f"before {n}")
    since = bob.sync()["next_batch"]
    bob.join(room)
    section = joined(bob.sync(since), room)
    state = state_of(section)
    assert ("m.room.create", "") in state and ("m.room.name", "") in state
    assert section["timeline"]["limited"] is True
    assert section["timeline"]["events"][-1]["state_key"] == bob.user_id
    assert section["summary"]["m.joined_member_count"] == 2


def test_invite_section(alice, bob):
    since = bob.sync()["next_batch"]
    room = alice.create_room(name="Elephants", topic="ivory")
    alice.invite(room, bob)
    for answer in (bob.sync(since), bob.sync()):
        events = answer["rooms"]["invite"][room]["invite_state"]["events"]
        for event in events:
            assert set(event) == {"type", "state_key", "sender", "content"}
        state = {(event["type"], event["state_key"]): event["content"] for event in events}
        assert state["m.room.name", ""] == {"name": "Elephants"}
        assert state["m.room.topic", ""]["topic"] == "ivory"
        assert state["m.room.member", bob.user_id]["membership"] == "invite"
        # The name and picture of the inviter, which is all that tells of a direct chat.
        assert state["m.room.member", alice.user_id] == alice.state(room, "m.room.member", alice.user_id)
        for event_type in ("m.room.create", "m.room.join_rules"):
            assert (event_type, "") in state
        assert room not in answer["rooms"]["join"]
    assert bob.sync(answer["next_batch"])["rooms"]["invite"] == {}


def test_a_knock_shows_no_members(alice, bob):
    room = alice.create_room(initial_state=[{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}])
    bob.post(path("knock", room))
    events = bob.sync()["rooms"]["knock"][room]["knock_state"]["events"]
    assert [event["state_key"] for event in events if event["type"] == "m.room.member"] == [bob.user_id]


@pytest.mark.parametrize("params", [{}, STATE_AFTER, {"filter": LAZY}])
def test_an_accepted_invite_tells_who_sent_it(alice, bob, params):
    """By this clients know that the room is a direct chat. An older device's token is before the invite, a
    new one's is none."""
    room = alice.create_room(preset="trusted_private_chat", is_direct=True, invite=[bob.user_id])
    since = bob.sync()["next_batch"]
    bob.join(room)
    # So many events that the join is not in the timeline.
    for number in range(12):
        alice.send(room, str(number))
    for answer in (bob.sync(since, **params), bob.sync(**params)):
        section = joined(answer, room)
        events = section.get("state", section.get(AFTER))["events"]
        (own,) = [event for event in events if event.get("state_key") == bob.user_id]
        assert own["unsigned"]["prev_content"]["is_direct"] is True
        assert own["unsigned"]["prev_sender"] == alice.user_id


def test_changes_before_the_timeline_tell_what_they_replaced(alice, bob):
    room = alice.create_room(preset="public_chat", topic="one")
    bob.join(room)
    since = bob.sync()["next_batch"]
    alice.send_state(room, "m.room.topic", {"topic": "two"})
    for number in range(12):
        alice.send(room, str(number))
    for params, name in (({}, "state"), (STATE_AFTER, AFTER)):
        section = joined(bob.sync(since, **params), room)
        (topic,) = section[name]["events"]
        assert topic["unsigned"]["prev_content"]["topic"] == "one"
        assert topic["unsigned"]["prev_sender"] == alice.user_id


def test_rejected_invite_goes_to_leave(alice, bob):
    room = alice.create_room()
    alice.invite(room, bob)
    since = bob.sync()["next_batch"]
    bob.leave(room)
    section = bob.sync(since)["rooms"]["leave"][room]
    assert section["timeline"]["events"][-1]["content"]["membership"] == "leave"
    assert section["state"]["events"] == []


def test_knock_section(alice, bob):
    room = alice.create_room(initial_state=[{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}])
    since = bob.sync()["next_batch"]
    bob.post(path("knock", room))
    events = bob.sync(since)["rooms"]["knock"][room]["knock_state"]["events"]
    assert "m.room.create" in [event["type"] for event in events]
    assert events[-1]["content"]["membership"] == "knock"


def test_leave_section_ends_with_the_leave(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since = bob.sync()["next_batch"]
    alice.send(room, "before")
    bob.leave(room)
    alice.send(room, "after")
    alice.send_state(room, "m.room.topic", {"topic": "after"})
    answer = bob.sync(since)
    assert room not in answer["rooms"]["join"]
    events = answer["rooms"]["leave"][room]["timeline"]["events"]
    assert bodies(events) == ["before"]
    assert events[-1]["content"]["membership"] == "leave"
    assert bob.sync(answer["next_batch"])["rooms"]["leave"] == {}
    assert bob.sync()["rooms"]["leave"] == {}
    left = bob.sync(filter={"room": {"include_leave": True}})["rooms"]["leave"][room]
    assert bodies(left["timeline"]["events"]) == ["before"]
    whole = bob.sync(filter={"room": {"include_leave": True, "timeline": {"limit": 1}}})["rooms"]["leave"][
        room
    ]
    assert ("m.room.create", "") in state_of(whole)
    assert ("m.room.topic", "") not in state_of(whole)


@pytest.mark.parametrize("how", ["kick", "ban"])
def test_kicks_and_bans_go_to_leave(alice, bob, how):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since = bob.sync()["next_batch"]
    alice.post(path("rooms", room, how), {"user_id": bob.user_id, "reason": "tusks"})
    event = bob.sync(since)["rooms"]["leave"][room]["timeline"]["events"][-1]
    assert event["content"]["membership"] == {"kick": "leave", "ban": "ban"}[how]
    assert event["content"]["reason"] == "tusks"


def test_a_ban_after_leaving_tells_only_of_itself(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    bob.leave(room)
    since = bob.sync()["next_batch"]
    alice.send_state(room, "m.room.topic", {"topic": "after"})
    alice.post(path("rooms", room, "ban"), {"user_id": bob.user_id})
    for params in ({}, STATE_AFTER):
        section = bob.sync(since, **params)["rooms"]["leave"][room]
        assert [event["content"]["membership"] for event in section["timeline"]["events"]] == ["ban"]
        assert section[AFTER if params else "state"]["events"] == []
    whole = bob.sync(filter={"room": {"include_leave": True, "timeline": {"limit": 1}}})["rooms"]["leave"][
        room
    ]
    assert ("m.room.topic", "") not in state_of(whole)


def test_leaving_and_rejoining_between_two_syncs(alice, bob):
    room = alice.create_room(
        preset="public_chat",
        initial_state=[{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}],
    )
    bob.join(room)
    since = bob.sync()["next_batch"]
    bob.leave(room)
    alice.send(room, "not for bob")
    alice.send_state(room, "m.room.topic", {"topic": "changed meanwhile"})
    bob.join(room)
    alice.send(room, "for bob")
    section = joined(bob.sync(since), room)
    assert bodies(section["timeline"]["events"]) == ["for bob"]
    seen = state_of(section)
    for event in section["timeline"]["events"]:
        if "state_key" in event:
            seen[event["type"], event["state_key"]] = event["content"]
    assert seen["m.room.topic", ""] == {"topic": "changed meanwhile"}


def test_joining_and_leaving_between_two_syncs(alice, bob):
    room = alice.create_room(preset="public_chat")
    since = bob.sync()["next_batch"]
    bob.join(room)
    alice.send(room, "while bob was there")
    bob.leave(room)
    section = bob.sync(since)["rooms"]["leave"][room]
    assert "while bob was there" in bodies(section["timeline"]["events"])


def test_forgotten_rooms_are_gone(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    bob.leave(room)
    bob.post(path("rooms", room, "forget"))
    assert bob.sync(filter={"room": {"include_leave": True}})["rooms"]["leave"] == {}
    alice.invite(room, bob)
    assert room in bob.sync()["rooms"]["invite"]


def test_other_devices_hear_that_a_forgotten_room_was_left(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    invited = alice.create_room(invite=[bob.user_id])
    since = bob.sync()["next_batch"]
    alice.send(room, "forgotten")
    alice.send_state(room, "m.room.topic", {"topic": "forgotten"})
    for left in (room, invited):
        bob.leave(left)
        bob.post(path("rooms", left, "forget"))
    for params in ({}, STATE_AFTER):
        answer = bob.sync(since, **params)
        assert set(answer["rooms"]["leave"]) == {room, invited}
        for section in answer["rooms"]["leave"].values():
            assert [event["content"] for event in section["timeline"]["events"]] == [{"membership": "leave"}]
            assert section[AFTER if params else "state"]["events"] == []
    since = answer["next_batch"]
    assert bob.sync(since)["rooms"]["leave"] == {}
    # What goes on in a forgotten room is no news.
    alice.send(room, "unheard")
    alice.post(path("rooms", room, "ban"), {"user_id": bob.user_id})
    assert bob.sync(since)["rooms"]["leave"] == {}


def test_account_data_global_and_of_rooms(alice):
    room = alice.create_room()
    since = alice.sync()["next_batch"]
    own = path("user", alice.user_id)
    alice.put(own + "/account_data/org.example.one", {"n": 1})
    alice.put(own + path("rooms", room, "account_data", "org.example.two"), {"n": 2})
    answer = alice.sync(since)
    assert answer["account_data"]["events"] == [{"type": "org.example.one", "content": {"n": 1}}]
    assert joined(answer, room)["account_data"]["events"] == [
        {"type": "org.example.two", "content": {"n": 2}}
    ]
    assert joined(answer, room)["timeline"]["events"] == []
    whole = alice.sync()
    assert {"type": "org.example.one", "content": {"n": 1}} in whole["account_data"]["events"]
    assert "m.push_rules" in [event["type"] for event in whole["account_data"]["events"]]
    assert joined(whole, room)["account_data"]["events"] == [{"type": "org.example.two", "content": {"n": 2}}]
    again = alice.sync(answer["next_batch"])
    assert again["account_data"]["events"] == [] and again["rooms"]["join"] == {}


def test_account_data_of_a_room_kept_before_joining(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.put(path("user", bob.user_id, "rooms", room, "account_data", "org.example.early"), {"early": True})
    since = bob.sync()["next_batch"]
    bob.join(room)
    assert joined(bob.sync(since), room)["account_data"]["events"][0]["content"] == {"early": True}


def test_receipts(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    event_id = alice.send(room)
    since, sinceb = alice.sync()["next_batch"], bob.sync()["next_batch"]
    bob.post(path("rooms", room, "receipt", "m.read.private", event_id), {"thread_id": "main"})
    assert alice.sync(since)["rooms"]["join"] == {}
    own = joined(bob.sync(sinceb), room)["ephemeral"]["events"]
    assert own[0]["content"][event_id]["m.read.private"][bob.user_id]["thread_id"] == "main"
    bob.post(path("rooms", room, "receipt", "m.read", event_id))
    for answer in (alice.sync(since), alice.sync()):
        (receipts,) = joined(answer, room)["ephemeral"]["events"]
        assert receipts["type"] == "m.receipt"
        assert set(receipts["content"]) == {event_id}
        assert set(receipts["content"][event_id]) == {"m.read"}
        receipt = receipts["content"][event_id]["m.read"][bob.user_id]
        assert isinstance(receipt["ts"], int) and "thread_id" not in receipt


def test_typing(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since = alice.sync()["next_batch"]
    where = path("rooms", room, "typing", bob.user_id)
    bob.put(where, {"typing": True, "timeout": 30000})
    answer = alice.sync(since)
    assert joined(answer, room)["ephemeral"]["events"] == [
        {"type": "m.typing", "content": {"user_ids": [bob.user_id]}}
    ]
    assert alice.sync(answer["next_batch"])["rooms"]["join"] == {}
    bob.put(where, {"typing": False})
    answer = alice.sync(answer["next_batch"])
    assert joined(answer, room)["ephemeral"]["events"] == [{"type": "m.typing", "content": {"user_ids": []}}]
    assert joined(alice.sync(), room)["ephemeral"]["events"] == []


def test_summary_names_heroes_only_where_there_is_no_name(alice, bob, node):
    room = alice.create_room(preset="public_chat")
    since = alice.sync()["next_batch"]
    others = [bob] + [node.register("herd") for _ in range(6)]
    for user in others:
        user.join(room)
    summary = joined(alice.sync(since), room)["summary"]
    assert summary["m.joined_member_count"] == 8
    assert summary["m.heroes"] == [user.user_id for user in others[:5]]
    assert joined(bob.sync(), room)["summary"]["m.heroes"][0] == alice.user_id
    since = alice.sync()["next_batch"]
    bob.send(room)
    assert joined(alice.sync(since), room)["summary"] == {}
    alice.send_state(room, "m.room.name", {"name": "Herd"})
    assert "m.heroes" not in joined(alice.sync(), room)["summary"]


def test_heroes_come_when_the_name_goes(alice, bob):
    room = alice.create_room(name="Elephants", invite=[bob.user_id])
    since = alice.sync()["next_batch"]
    alice.send_state(room, "m.room.name", {"name": ""})
    assert joined(alice.sync(since), room)["summary"]["m.heroes"] == [bob.user_id]


def test_heroes_are_those_who_left_when_nobody_else_is_there(alice, bob):
    room = alice.create_room(preset="private_chat", invite=[bob.user_id])
    assert joined(alice.sync(), room)["summary"]["m.heroes"] == [bob.user_id]
    assert joined(alice.sync(), room)["summary"]["m.invited_member_count"] == 1
    bob.leave(room)
    assert joined(alice.sync(), room)["summary"]["m.heroes"] == [bob.user_id]


def test_unsigned_of_timeline_events(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since, sinceb = alice.sync()["next_batch"], bob.sync()["next_batch"]
    event_id = alice.send(room, txn_id="my-txn")
    first = alice.send_state(room, "m.room.topic", {"topic": "one"})
    alice.send_state(room, "m.room.topic", {"topic": "two"})
    message, topic1, topic2 = timeline(alice.sync(since), room)
    assert message["event_id"] == event_id
    assert message["unsigned"]["transaction_id"] == "my-txn"
    assert message["unsigned"]["membership"] == "join"
    assert "prev_content" not in topic1["unsigned"] and "replaces_state" not in topic1["unsigned"]
    assert topic2["unsigned"]["prev_content"] == {"topic": "one"}
    assert topic2["unsigned"]["prev_sender"] == alice.user_id
    assert topic2["unsigned"]["replaces_state"] == first
    assert "transaction_id" not in timeline(bob.sync(sinceb), room)[0]["unsigned"]
    assert "transaction_id" not in timeline(alice.another_device().sync(), room)[-3]["unsigned"]


@pytest.mark.parametrize("version", ["1", "6", "10", "11", "12"])
def test_redacted_events_in_every_format(alice, version):
    room = alice.create_room(room_version=version)
    event_id = alice.send(room, "to be redacted")
    since = alice.sync()["next_batch"]
    redaction_id = alice.redact(room, event_id, reason="tusks")
    (redaction,) = timeline(alice.sync(since), room)
    assert redaction["event_id"] == redaction_id
    assert redaction["redacts"] == redaction["content"]["redacts"] == event_id
    redacted = alice.event(room, event_id)
    assert redacted["content"] == {}
    assert redacted["unsigned"]["redacted_because"]["event_id"] == redaction_id
    assert redacted["unsigned"]["redacted_because"]["content"]["reason"] == "tusks"
    create = alice.get(path("rooms", room, "state"))[0]
    assert create["type"] == "m.room.create" and create["room_id"] == room


def ignore(user, *ignored):
    where = path("user", user.user_id, "account_data", "m.ignored_user_list")
    user.put(where, {"ignored_users": {each.user_id: {} for each in ignored}})


def test_ignored_users_say_nothing_but_state(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    ignore(alice, bob)
    since = alice.sync()["next_batch"]
    end = alice.get("/initialSync")["end"]
    mine, theirs = alice.send(room, "mine"), bob.send(room, "hello?")
    bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob"})
    other = bob.create_room(invite=[alice.user_id])
    answer = alice.sync(since)
    assert [event["type"] for event in timeline(answer, room)] == ["m.room.message", "m.room.member"]
    assert other not in answer["rooms"]["invite"]

    def by_pages(**params):
        return [event["event_id"] for event in alice.messages(room, limit=100, **params)["chunk"]]

    context = alice.get(path("rooms", room, "context", mine), params={"limit": 100})
    preview = alice.get(path("rooms", room, "initialSync"), params={"limit": 100})["messages"]["chunk"]
    of_room = alice.get("/events", params={"from": end, "room_id": room, "timeout": 0})["chunk"]
    of_all = alice.get("/events", params={"from": end, "timeout": 0})["chunk"]
    for got in (
        by_pages(),
        by_pages(dir="f"),
        [event["event_id"] for event in context["events_before"] + [context["event"]]],
        [event["event_id"] for event in preview],
    ):
        assert theirs not in got and mine in got
    for chunk in (of_room, of_all, context["events_after"]):
        assert theirs not in [event.get("event_id") for event in chunk]
        assert "m.room.member" in [event["type"] for event in chunk]
    alice.event(room, theirs, status=404, errcode="M_NOT_FOUND")
    alice.get(path("rooms", room, "context", theirs), status=404, errcode="M_NOT_FOUND")
    ignore(alice)
    assert theirs in by_pages() and alice.event(room, theirs)


def test_users_cannot_ignore_themselves(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    ignore(alice, alice, bob)
    since = alice.sync()["next_batch"]
    mine = alice.send(room, "do I hear myself?")
    bob.send(room, "no")
    assert [event["event_id"] for event in timeline(alice.sync(since), room)] == [mine]
    assert alice.event(room, mine)


def test_empty_sections_that_clients_expect(alice):
    answer = alice.sync()
    assert answer["presence"] == answer["to_device"] == {"events": []}
    assert "device_lists" not in answer, "only incremental syncs have it"
    assert alice.sync(answer["next_batch"])["device_lists"] == {"changed": [], "left": []}
    assert answer["device_one_time_keys_count"] == {"signed_curve25519": 0}
    assert answer["device_unused_fallback_key_types"] == []


def test_bad_tokens_and_filters(alice):
    generation, xmin, *_ = alice.sync()["next_batch"].split("_")
    snapshots = [
        "x",
        "1",
        "-1_2",
        "1_2_3_2",
        "5_1_1",
        "01_2",
        f"{int(xmin) + 10**6}_0",
        "9" * 40 + "_1",
        "1_" + "9" * 19,
    ]
    snapshots += [
        "1_1_" + "_".join("0" for _ in range(50)),
        "1_1 ",
        "١_1",
        "1_2_0_0",
        "1_1~",
        "1_1~x",
        "1_1~01",
    ]
    bad = [f"{generation}_{snapshot}" for snapshot in snapshots]
    alice.sync(f"{generation}_1_1")
    bad += [
        "s",
        "s_",
        "s1",
        "s1_1",
        "s_1_1",
        "1_2",
        "t5",
        generation,
        f"{generation}{generation}_1_1",
        "s\u0000_1_1",
        "s0123456789ab_1_1",
    ]
    for since in bad:
        alice.get("/sync", params={"since": since}, status=400, errcode="M_INVALID_PARAM")
    alice.get("/sync", params={"filter": "12345678"}, status=400, errcode="M_INVALID_PARAM")
    for bad in ("{", '{"room": 5}', '{"room": {"timeline": {"limit": -1}}}', '{"event_format": "xml"}'):
        alice.get("/sync", params={"filter": bad}, status=400)
    alice.get("/sync", params={"timeout": "soon"}, status=400, errcode="M_INVALID_PARAM")


def test_old_tokens_give_the_same_again(alice):
    room = alice.create_room()
    tokens, sent = [], []
    for n in range(5):
        tokens.append(alice.sync()["next_batch"])
        sent.append(alice.send(room, str(n)))
    for n, token in enumerate(tokens):
        assert [event["event_id"] for event in timeline(alice.sync(token), room)] == sent[n:]


def test_long_poll_wakes_at_the_other_node(nodes):
    alice = nodes[0].register("alice")
    bob = nodes[1].register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since = bob.sync()["next_batch"]
    for wake, seen in [
        (
            lambda: alice.send(room, "wake up"),
            lambda answer: bodies(timeline(answer, room)) == ["wake up"],
        ),
        (
            lambda: alice.put(path("rooms", room, "typing", alice.user_id), {"typing": True}),
            lambda answer: joined(answer, room)["ephemeral"]["events"],
        ),
        (lambda: alice.create_room(invite=[bob.user_id]), lambda answer: answer["rooms"]["invite"]),
        (
            lambda: bob.at(nodes[0]).put(path("user", bob.user_id, "account_data", "a"), {"b": 1}),
            lambda answer: answer["account_data"]["events"],
        ),
    ]:
        with long_poll(bob, bob.sync, since, 20000) as waiting:
            started = time.monotonic()
            wake()
            answer = waiting.result()
            assert time.monotonic() - started < 3
        assert seen(answer)
        since = answer["next_batch"]


def test_timeout_with_nothing_new(alice):
    alice.create_room()
    since = alice.sync()["next_batch"]
    started = time.monotonic()
    answer = alice.sync(since, timeout=700)
    assert 0.6 < time.monotonic() - started < 5
    assert answer["rooms"]["join"] == {}
    assert "next_batch" in answer


def test_one_statement_when_there_is_news(alice):
    room = alice.create_room()
    since = alice.sync()["next_batch"]
    alice.send(room)
    response = alice.request("GET", "/sync", params={"since": since, "timeout": 10000})
    assert response.headers["x-matriarch-db-statements"] == "1"
