"""Typing notifications."""

import time

from harness.client import path
from harness.waiting import eventually


def typing(user, room, of=None):
    return path("rooms", room, "typing", (of or user).user_id)


def typists(answer, room):
    """Who types by a sync answer; None if it does not say."""
    events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", [])
    return next((event["content"]["user_ids"] for event in events if event["type"] == "m.typing"), None)


def room_of_two(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    return alice, bob, room


def test_typing_begins_and_ends_at_the_other_node(nodes):
    alice, bob, room = room_of_two(nodes[0])
    bob = bob.at(nodes[1])
    bob.next()
    alice.put(typing(alice, room), {"typing": True, "timeout": 30000})
    assert typists(bob.sync_until(lambda answer: typists(answer, room)), room) == [alice.user_id]
    alice.put(typing(alice, room), {"typing": False})
    assert typists(bob.sync_until(lambda answer: typists(answer, room) is not None), room) == []


def test_typing_expires_by_itself(nodes):
    alice, bob, room = room_of_two(nodes[0])
    bob.next()
    alice.put(typing(alice, room), {"typing": True, "timeout": 500})
    bob.sync_until(lambda answer: typists(answer, room))
    started = time.monotonic()
    bob.sync_until(lambda answer: typists(answer, room) == [])
    assert time.monotonic() - started < 5


def test_repeating_it_wakes_nobody(node):
    alice, bob, room = room_of_two(node)
    bob.next()
    alice.put(typing(alice, room), {"typing": True, "timeout": 30000})
    bob.sync_until(lambda answer: typists(answer, room))
    alice.put(typing(alice, room), {"typing": True, "timeout": 30000})
    assert typists(bob.next(timeout=1500), room) is None


def test_two_who_type_are_told_together(node):
    alice, bob, room = room_of_two(node)
    bob.next()
    alice.put(typing(alice, room), {"typing": True, "timeout": 30000})
    bob.put(typing(bob, room), {"typing": True, "timeout": 30000})
    answer = bob.sync_until(lambda answer: len(typists(answer, room) or []) == 2)
    assert set(typists(answer, room)) == {alice.user_id, bob.user_id}


def test_only_members_type_and_only_for_themselves(node):
    alice, bob, room = room_of_two(node)
    stranger = node.register("stranger")
    stranger.put(typing(stranger, room), {"typing": True}, status=403, errcode="M_FORBIDDEN")
    alice.put(typing(alice, room, of=bob), {"typing": True}, status=403, errcode="M_FORBIDDEN")
    alice.put(typing(alice, "!nowhere:test.example"), {"typing": True}, status=403, errcode="M_FORBIDDEN")
    bob.leave(room)
    bob.put(typing(bob, room), {"typing": True}, status=403, errcode="M_FORBIDDEN")


def test_who_leaves_types_no_more(node):
    alice, bob, room = room_of_two(node)
    alice.next()
    bob.put(typing(bob, room), {"typing": True, "timeout": 60000})
    alice.sync_until(lambda answer: typists(answer, room))
    bob.leave(room)
    alice.sync_until(lambda answer: typists(answer, room) == [])


def test_bad_bodies_are_refused(node):
    alice, _, room = room_of_two(node)
    alice.put(typing(alice, room), {}, status=400, errcode="M_MISSING_PARAM")
    alice.put(typing(alice, room), {"typing": "yes"}, status=400, errcode="M_BAD_JSON")
    alice.put(typing(alice, room), {"typing": True, "timeout": "1"}, status=400, errcode="M_BAD_JSON")
    alice.put(typing(alice, room), {"typing": True, "timeout": -1}, status=400, errcode="M_INVALID_PARAM")
    alice.put(typing(alice, room), {"typing": True, "timeout": 2**62})


def test_old_rows_are_deleted(node, shared_database):
    alice, _, room = room_of_two(node)
    alice.put(typing(alice, room), {"typing": True, "timeout": 30000})
    alice.put(typing(alice, room), {"typing": False})
    own = "user_nid = (select user_nid from matriarch.users where user_id = %s)"
    update = (
        f"update matriarch.typing set expires_at = now() - interval '2 hours' where {own} returning typing"
    )
    assert shared_database.query(update, [alice.user_id]) == [(False,)]
    rows = f"select from matriarch.typing where {own}"
    eventually(lambda: shared_database.query(rows, [alice.user_id]), [])
