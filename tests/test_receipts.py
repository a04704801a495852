"""Receipts: public, private and threaded."""

import random
from concurrent.futures import ThreadPoolExecutor

from harness.client import path


def receipt(room, event_id, receipt_type="m.read"):
    return path("rooms", room, "receipt", receipt_type, event_id)


def receipts(answer, room):
    """The receipts of a sync answer as {(event id, type, user id): thread id or None}."""
    events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", [])
    return {
        (event_id, receipt_type, user_id): data.get("thread_id")
        for event in events
        if event["type"] == "m.receipt"
        for event_id, types in event["content"].items()
        for receipt_type, users in types.items()
        for user_id, data in users.items()
    }


def room_of_two(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    return alice, bob, room


def threaded(user, room, root, **more):
    content = {
        "msgtype": "m.text",
        "body": "in thread",
        "m.relates_to": {"rel_type": "m.thread", "event_id": root},
    }
    return user.send(room, content | more)


def test_a_receipt_reaches_others_at_the_other_node(nodes):
    alice, bob, room = room_of_two(nodes[0])
    event_id = alice.send(room)
    alice = alice.at(nodes[1])
    alice.next()
    assert bob.post(receipt(room, event_id)) == {}
    key = (event_id, "m.read", bob.user_id)
    answer = alice.sync_until(lambda answer: key in receipts(answer, room))
    assert receipts(answer, room)[key] is None


def test_a_receipt_only_moves_forward(node):
    alice, bob, room = room_of_two(node)
    first, second, third = (alice.send(room, text) for text in "abc")
    bob.post(receipt(room, second))
    alice.next()
    bob.post(receipt(room, first))
    bob.post(receipt(room, second))
    bob.post(receipt(room, third))
    seen = {}
    alice.sync_until(
        lambda answer: (seen.update(receipts(answer, room)), (third, "m.read", bob.user_id) in seen)[1]
    )
    assert set(seen) == {(third, "m.read", bob.user_id)}
    assert set(receipts(alice.sync(), room)) == {(third, "m.read", bob.user_id)}


def test_of_receipts_at_once_the_furthest_stays(nodes):
    alice, bob, room = room_of_two(nodes[0])
    events = [alice.send(room) for _ in range(20)]
    clients = [bob.at(node) for node in nodes]
    jobs = random.sample(list(enumerate(events)), len(events))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: clients[job[0] % 2].post(receipt(room, job[1])), jobs))
    assert set(receipts(alice.sync(), room)) == {(events[-1], "m.read", bob.user_id)}


def test_a_private_receipt_is_seen_by_its_user_alone(nodes):
    alice, bob, room = room_of_two(nodes[0])
    event_id = alice.send(room)
    alice.next()
    bob_elsewhere = bob.at(nodes[1])
    bob_elsewhere.next()
    bob.post(receipt(room, event_id, "m.read.private"))
    key = (event_id, "m.read.private", bob.user_id)
    bob_elsewhere.sync_until(lambda answer: key in receipts(answer, room))
    assert receipts(alice.next(), room) == {}
    assert receipts(alice.sync(), room) == {}


def test_threads_have_receipts_of_their_own(node):
    alice, bob, room = room_of_two(node)
    root = alice.send(room, "root")
    reply = threaded(alice, room, root)
    later = alice.send(room, "main again")
    bob.post(receipt(room, reply), {"thread_id": root})
    bob.post(receipt(room, later), {"thread_id": "main"})
    bob.post(receipt(room, root))
    expected = {
        (reply, "m.read", bob.user_id): root,
        (later, "m.read", bob.user_id): "main",
        (root, "m.read", bob.user_id): None,
    }
    assert receipts(alice.sync(), room) == expected


def test_an_event_must_be_of_the_thread(node):
    alice, bob, room = room_of_two(node)
    root, other_root, plain = (alice.send(room, text) for text in ("root", "other root", "plain"))
    reply = threaded(alice, room, root)
    threaded(alice, room, other_root)
    key = {"rel_type": "m.annotation", "event_id": reply, "key": "+1"}
    reaction = alice.send(room, {"m.relates_to": key}, type="m.reaction")

    bob.post(receipt(room, reply), {"thread_id": root})
    bob.post(receipt(room, reaction), {"thread_id": root})
    bob.post(receipt(room, root), {"thread_id": "main"})
    bob.post(receipt(room, root), {"thread_id": root})
    bob.post(receipt(room, plain), {"thread_id": "main"})
    for event_id, thread_id in (
        (reply, "main"),
        (reaction, "main"),
        (reply, other_root),
        (plain, root),
        (plain, "$nothing"),
        (plain, ""),
        (plain, 1),
        (plain, None),
        (plain, ["main"]),
    ):
        bob.post(receipt(room, event_id), {"thread_id": thread_id}, status=400, errcode="M_INVALID_PARAM")
    where = receipt(room, plain, "m.fully_read")
    bob.post(where, {"thread_id": "main"}, status=400, errcode="M_INVALID_PARAM")


def test_bad_receipts_are_refused(node):
    alice, bob, room = room_of_two(node)
    event_id = alice.send(room)
    elsewhere = alice.send(alice.create_room())
    bob.post(receipt(room, event_id, "m.seen"), status=400, errcode="M_INVALID_PARAM")
    bob.post(receipt(room, "$nothing"), status=404, errcode="M_NOT_FOUND")
    bob.post(receipt(room, elsewhere), status=404, errcode="M_NOT_FOUND")
    node.register("stranger").post(receipt(room, event_id), status=403, errcode="M_FORBIDDEN")
    bob.call("POST", receipt(room, event_id), content=b"no json", status=400, errcode="M_NOT_JSON")
    bob.call("POST", receipt(room, event_id), content=b"[]", status=400, errcode="M_BAD_JSON")
    bob.call("POST", receipt(room, event_id), content=b"")


def test_a_receipt_is_one_statement(node):
    alice, bob, room = room_of_two(node)
    response = bob.request("POST", receipt(room, alice.send(room)), {})
    assert response.headers["x-matriarch-db-statements"] == "1"
