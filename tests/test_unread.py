"""Unread counts: of rooms and of threads."""

import pytest

from harness.client import path

THREADS = {"room": {"timeline": {"unread_thread_notifications": True}}}


@pytest.fixture
def alice(node):
    return node.register("alice")


@pytest.fixture
def bob(node):
    return node.register("bob")


@pytest.fixture
def room(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    return room


def counts(user, room, **params) -> tuple[int, int]:
    """Notifications and highlights by an initial sync."""
    return pair(user.sync(**params)["rooms"]["join"][room]["unread_notifications"])


def pair(found: dict) -> tuple[int, int]:
    return found["notification_count"], found["highlight_count"]


def threads(user, room) -> dict[str, tuple[int, int]]:
    section = user.sync(filter=THREADS)["rooms"]["join"][room]
    return {root: pair(found) for root, found in section.get("unread_thread_notifications", {}).items()}


def in_thread(root: str, body: str = "in a thread", **content) -> dict:
    relation = {"rel_type": "m.thread", "event_id": root}
    return {"msgtype": "m.text", "body": body, "m.relates_to": relation, **content}


def mention(*users, **more) -> dict:
    mentions = {"user_ids": [user.user_id for user in users], **more}
    return {"msgtype": "m.text", "body": "you!", "m.mentions": mentions}


def read(user, room, event_id, kind="m.read", **body):
    user.post(path("rooms", room, "receipt", kind, event_id), body)


def test_messages_of_others_count(alice, bob, room):
    assert counts(bob, room) == (0, 0)
    for n in range(3):
        alice.send(room, str(n))
    alice.send(room, {"msgtype": "m.notice", "body": "a bot speaks"})
    alice.send_state(room, "m.room.topic", {"topic": "no news"})
    alice.send(room, {"n": 1}, type="org.example.silent")
    assert counts(bob, room) == (3, 0)
    assert counts(alice, room) == (0, 0)


def test_what_was_said_before_joining_does_not_count(alice, bob):
    room = alice.create_room(preset="public_chat")
    alice.send(room, "before")
    bob.join(room)
    assert counts(bob, room) == (0, 0)
    alice.send(room, "after")
    assert counts(bob, room) == (1, 0)


@pytest.mark.parametrize("kind", ["m.read", "m.read.private"])
def test_receipts_clear_up_to_their_event(alice, bob, room, kind):
    sent = [alice.send(room, str(n)) for n in range(5)]
    since = bob.sync()["next_batch"]
    read(bob, room, sent[2], kind)
    assert counts(bob, room) == (2, 0)
    # Another device is told at once.
    assert pair(bob.sync(since)["rooms"]["join"][room]["unread_notifications"]) == (2, 0)
    read(bob, room, sent[4], kind)
    assert counts(bob, room) == (0, 0)


def test_of_two_receipts_the_later_counts(alice, bob, room):
    sent = [alice.send(room, str(n)) for n in range(5)]
    read(bob, room, sent[3], "m.read")
    read(bob, room, sent[1], "m.read.private")
    assert counts(bob, room) == (1, 0)
    read(bob, room, sent[4], "m.read.private")
    assert counts(bob, room) == (0, 0)


def test_speaking_clears(alice, bob, room):
    alice.send(room, "one")
    alice.send(room, "two")
    bob.send(room, "answer")
    assert counts(bob, room) == (0, 0)
    alice.send(room, "three")
    assert counts(bob, room) == (1, 0)
    assert counts(alice, room) == (0, 0)


def test_the_count_comes_with_the_event(alice, bob, room):
    since = bob.sync()["next_batch"]
    for n in range(1, 4):
        alice.send(room, str(n))
        answer = bob.sync(since)
        since = answer["next_batch"]
        assert pair(answer["rooms"]["join"][room]["unread_notifications"]) == (n, 0)


def test_highlights(alice, bob, room):
    alice.send(room, mention(bob))
    assert counts(bob, room) == (1, 1)
    alice.send(room, mention(alice))
    assert counts(bob, room) == (2, 1)
    alice.send(room, mention(room=True))
    assert counts(bob, room) == (3, 2)
    # Bob may not mention all, and nobody highlights for themselves.
    last = bob.send(room, mention(bob, room=True))
    assert counts(bob, room) == (0, 0)
    assert counts(alice, room) == (1, 0)
    read(alice, room, last)
    alice.send(room, {"m.mentions": {"user_ids": [bob.user_id]}}, type="org.example.silent")
    assert counts(bob, room) == (1, 1)
    alice.send(room, "plain")
    assert counts(bob, room) == (2, 1)


def test_tombstones_highlight(alice, bob, room):
    alice.send_state(room, "m.room.tombstone", {"body": "not the room's"}, state_key="elsewhere")
    assert counts(bob, room) == (0, 0)
    alice.send_state(room, "m.room.tombstone", {"body": "moved", "replacement_room": "!other:test.example"})
    assert counts(bob, room) == (1, 1)
    assert counts(alice, room) == (0, 0)


def test_threads_count_apart_if_asked(alice, bob, room):
    root = alice.send(room, "root")
    other = alice.send(room, "another root")
    for n in range(3):
        alice.send(room, in_thread(root, str(n)))
    alice.send(room, in_thread(other, **{"m.mentions": {"user_ids": [bob.user_id]}}))
    assert counts(bob, room) == (6, 1)
    assert counts(bob, room, filter=THREADS) == (2, 0)
    assert threads(bob, room) == {root: (3, 0), other: (1, 1)}
    assert counts(alice, room) == (0, 0)
    assert threads(alice, room) == {}


def test_threaded_receipts_clear_their_thread_only(alice, bob, room):
    root = alice.send(room, "root")
    said = [alice.send(room, in_thread(root, str(n))) for n in range(3)]
    read(bob, room, said[1], thread_id=root)
    assert threads(bob, room) == {root: (1, 0)}
    assert counts(bob, room, filter=THREADS) == (1, 0)
    read(bob, room, root, thread_id="main")
    assert counts(bob, room, filter=THREADS) == (0, 0)
    assert threads(bob, room) == {root: (1, 0)}
    assert counts(bob, room) == (1, 0)


def test_unthreaded_receipts_clear_all_up_to_them(alice, bob, room):
    root = alice.send(room, "root")
    said = [alice.send(room, in_thread(root, str(n))) for n in range(3)]
    alice.send(room, "main")
    read(bob, room, said[1])
    assert threads(bob, room) == {root: (1, 0)}
    assert counts(bob, room, filter=THREADS) == (1, 0)


def test_speaking_in_a_thread_clears_the_thread(alice, bob, room):
    root = alice.send(room, "root")
    alice.send(room, in_thread(root))
    bob.send(room, in_thread(root, "answer"))
    assert threads(bob, room) == {}
    assert counts(bob, room, filter=THREADS) == (1, 0)
    alice.send(room, in_thread(root))
    assert threads(bob, room) == {root: (1, 0)}


def test_redacted_mentions_highlight_no_longer(alice, bob, room):
    event_id = alice.send(room, mention(bob))
    assert counts(bob, room)[1] == 1
    alice.redact(room, event_id)
    assert counts(bob, room)[1] == 0


def ignore(user, *ignored):
    where = path("user", user.user_id, "account_data", "m.ignored_user_list")
    user.put(where, {"ignored_users": {each.user_id: {} for each in ignored}})


def test_what_is_redacted_counts_no_longer(alice, bob, room):
    sent = [alice.send(room, str(n)) for n in range(4)]
    sent += [alice.send(room, mention(bob)), alice.send(room, {**mention(bob), "msgtype": "m.notice"})]
    assert counts(bob, room) == (5, 1)
    alice.redact(room, sent[1])
    assert counts(bob, room) == (4, 1)
    # Once is enough.
    alice.redact(room, sent[1])
    assert counts(bob, room) == (4, 1)
    read(bob, room, sent[1])
    assert counts(bob, room) == (3, 1)
    read(bob, room, sent[2])
    for event_id in sent[3:]:
        alice.redact(room, event_id)
    assert counts(bob, room) == (0, 0)
    alice.send(room, "news")
    assert counts(bob, room) == (1, 0)
    root = alice.send(room, "root")
    reply = alice.send(room, in_thread(root))
    assert counts(bob, room) == (3, 0)
    alice.redact(room, reply)
    assert counts(bob, room) == (2, 0) and threads(bob, room) == {}


def test_ignored_users_do_not_count(alice, bob, room, node):
    carol = node.register("carol")
    carol.join(room)
    root = alice.send(room, "root")
    read(bob, room, root)
    for sender in (alice, carol):
        sender.send(room, "hello")
        sender.send(room, mention(bob))
        sender.send(room, {**mention(room=True), "msgtype": "m.notice"})
        sender.send(room, in_thread(root))
        sender.redact(room, sender.send(room, "taken back"))
    assert counts(bob, room, filter=THREADS) == (4, 2) and threads(bob, room) == {root: (2, 0)}
    ignore(bob, carol)
    assert counts(bob, room, filter=THREADS) == (2, 1) and threads(bob, room) == {root: (1, 0)}
    since = bob.sync()["next_batch"]
    carol.send(room, mention(bob))
    alice.send_state(room, "m.room.topic", {"topic": "news"})
    section = bob.sync(since)["rooms"]["join"][room]
    assert pair(section["unread_notifications"]) == (3, 1)
    ignore(bob, alice, carol)
    assert counts(bob, room, filter=THREADS) == (0, 0) and threads(bob, room) == {}
    ignore(bob)
    assert counts(bob, room, filter=THREADS) == (5, 3) and threads(bob, room) == {root: (2, 0)}


def test_threads_are_counted_apart_under_the_unstable_name_too(alice, bob, room):
    root = alice.send(room, "root")
    alice.send(room, in_thread(root))
    key = "org.matrix.msc3773.unread_thread_notifications"
    section = bob.sync(filter={"room": {"timeline": {key: True}}})["rooms"]["join"][room]
    assert pair(section[key][root]) == (1, 0)
    assert pair(section["unread_notifications"]) == (1, 0)
    assert "unread_thread_notifications" not in section
