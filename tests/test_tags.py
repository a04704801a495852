"""Tags of rooms (Client-Server API, "Room Tagging")."""

from concurrent.futures import ThreadPoolExecutor

from harness.client import path


def tags(user, room, *tag):
    return path("user", user.user_id, "rooms", room, "tags", *tag)


def test_tags_are_set_replaced_and_deleted(node):
    alice = node.register("alice")
    room = alice.create_room()
    assert alice.get(tags(alice, room)) == {"tags": {}}
    alice.put(tags(alice, room, "m.favourite"), {"order": 0.25})
    alice.put(tags(alice, room, "u.Work / été"), {})
    alice.put(tags(alice, room, "m.favourite"), {"order": 1, "org.example.extra": "kept"})
    expected = {"m.favourite": {"order": 1, "org.example.extra": "kept"}, "u.Work / été": {}}
    assert alice.get(tags(alice, room)) == {"tags": expected}
    data = path("user", alice.user_id, "rooms", room, "account_data", "m.tag")
    assert alice.get(data) == {"tags": expected}
    alice.delete(tags(alice, room, "m.favourite"))
    alice.delete(tags(alice, room, "never there"))
    assert alice.get(tags(alice, room)) == {"tags": {"u.Work / été": {}}}


def test_bad_tags_are_refused(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room()
    alice.put(tags(alice, room, "x" * 256), {}, status=400, errcode="M_INVALID_PARAM")
    alice.put(tags(alice, room, "u.a"), {"order": 1.5}, status=400, errcode="M_INVALID_PARAM")
    alice.put(tags(alice, room, "u.a"), {"order": "first"}, status=400, errcode="M_BAD_JSON")
    alice.call("PUT", tags(alice, room, "u.a"), content=b'"no object"', status=400, errcode="M_BAD_JSON")
    for method in ("GET", "PUT", "DELETE"):
        where = tags(alice, room) if method == "GET" else tags(alice, room, "u.a")
        bob.call(method, where, {}, status=403, errcode="M_FORBIDDEN")
    assert alice.get(tags(alice, room)) == {"tags": {}}


def test_edits_at_once_lose_nothing(nodes):
    alice = nodes[0].register("alice")
    room = alice.create_room()
    clients = [alice.at(node) for node in nodes]
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda n: clients[n % 2].put(tags(alice, room, f"u.{n}"), {"order": n / 100}), range(40))
        )
        assert alice.get(tags(alice, room)) == {"tags": {f"u.{n}": {"order": n / 100} for n in range(40)}}
        list(pool.map(lambda n: clients[n % 2].delete(tags(alice, room, f"u.{n}")), range(0, 40, 2)))
    assert set(alice.get(tags(alice, room))["tags"]) == {f"u.{n}" for n in range(1, 40, 2)}


def test_tags_reach_the_other_node(nodes):
    alice = nodes[0].register("alice")
    room = alice.create_room()
    there = alice.at(nodes[1])
    there.next()
    alice.put(tags(alice, room, "m.lowpriority"), {"order": 0.5})

    def seen(answer):
        events = (
            answer.get("rooms", {}).get("join", {}).get(room, {}).get("account_data", {}).get("events", [])
        )
        return {"type": "m.tag", "content": {"tags": {"m.lowpriority": {"order": 0.5}}}} in events

    there.sync_until(seen)
