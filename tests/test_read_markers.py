"""The fully read marker, and receipts set with it."""

from harness.client import path
from test_receipts import receipt, receipts, room_of_two


def markers(room):
    return path("rooms", room, "read_markers")


def fully_read(user, room, **options):
    return user.get(path("user", user.user_id, "rooms", room, "account_data", "m.fully_read"), **options)


def test_the_marker_is_room_account_data(nodes):
    alice, bob, room = room_of_two(nodes[0])
    fully_read(bob, room, status=404, errcode="M_NOT_FOUND")
    event_id = alice.send(room)
    there = bob.at(nodes[1])
    there.next()
    assert bob.post(markers(room), {"m.fully_read": event_id}) == {}
    assert fully_read(bob, room) == {"event_id": event_id}

    def seen(answer):
        joined = answer.get("rooms", {}).get("join", {}).get(room, {})
        return {"type": "m.fully_read", "content": {"event_id": event_id}} in joined["account_data"]["events"]

    there.sync_until(lambda answer: room in answer.get("rooms", {}).get("join", {}) and seen(answer))


def test_the_marker_only_moves_forward(node):
    alice, bob, room = room_of_two(node)
    first, second = alice.send(room, "a"), alice.send(room, "b")
    bob.post(markers(room), {"m.fully_read": second})
    bob.post(markers(room), {"m.fully_read": first})
    assert fully_read(bob, room) == {"event_id": second}
    third = alice.send(room, "c")
    bob.post(receipt(room, third, "m.fully_read"))
    assert fully_read(bob, room) == {"event_id": third}


def test_markers_and_receipts_are_set_together(node):
    alice, bob, room = room_of_two(node)
    first, second, third = (alice.send(room, text) for text in "abc")
    body = {"m.fully_read": first, "m.read": second, "m.read.private": third}
    response = bob.request("POST", markers(room), body)
    assert response.status_code == 200 and response.headers["x-matriarch-db-statements"] == "1"
    assert fully_read(bob, room) == {"event_id": first}
    own = receipts(bob.sync(), room)
    assert set(own) == {(second, "m.read", bob.user_id), (third, "m.read.private", bob.user_id)}
    assert set(receipts(alice.sync(), room)) == {(second, "m.read", bob.user_id)}


def test_all_or_nothing(node):
    alice, bob, room = room_of_two(node)
    event_id = alice.send(room)
    bob.post(
        markers(room), {"m.fully_read": event_id, "m.read": "$nothing"}, status=404, errcode="M_NOT_FOUND"
    )
    fully_read(bob, room, status=404)


def test_bad_markers_are_refused(node):
    alice, bob, room = room_of_two(node)
    event_id = alice.send(room)
    assert bob.post(markers(room), {}) == {}
    bob.post(markers(room), {"m.fully_read": 1}, status=400, errcode="M_BAD_JSON")
    bob.call("POST", markers(room), content=b"", status=400, errcode="M_NOT_JSON")
    stranger = node.register("stranger")
    stranger.post(markers(room), {"m.read": event_id}, status=403, errcode="M_FORBIDDEN")
