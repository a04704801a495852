"""Room aliases (Client-Server API, "Room aliases")."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from harness.client import path


def new_alias(prefix="alias"):
    return f"#{prefix}-{secrets.token_hex(4)}:test.example"


def directory(alias):
    return path("directory", "room", alias)


def aliases(user, room, **options):
    return user.get(path("rooms", room, "aliases"), **options)


def test_an_alias_is_made_found_listed_and_deleted(node):
    alice, nobody = node.register("alice"), node.client()
    room, alias = alice.create_room(), new_alias("été ⭐")
    assert aliases(alice, room) == {"aliases": []}
    nobody.get(directory(alias), status=404, errcode="M_NOT_FOUND")
    assert alice.put(directory(alias), {"room_id": room}) == {}
    assert nobody.get(directory(alias)) == {"room_id": room, "servers": ["test.example"]}
    assert aliases(alice, room) == {"aliases": [alias]}
    assert alice.delete(directory(alias)) == {}
    nobody.get(directory(alias), status=404, errcode="M_NOT_FOUND")
    alice.delete(directory(alias), status=404, errcode="M_NOT_FOUND")


def test_an_alias_is_taken_once(node):
    alice, bob = node.register("alice"), node.register("bob")
    alias, room = new_alias(), alice.create_room()
    alice.put(directory(alias), {"room_id": room})
    alice.put(directory(alias), {"room_id": room}, status=409, errcode="M_UNKNOWN")
    bob.put(directory(alias), {"room_id": bob.create_room()}, status=409, errcode="M_UNKNOWN")
    assert alice.get(directory(alias))["room_id"] == room


def test_of_many_who_want_an_alias_one_gets_it(nodes):
    users = [nodes[n % 2].register("user") for n in range(6)]
    rooms = [user.create_room() for user in users]
    alias = new_alias()
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(
                lambda n: users[n].request("PUT", directory(alias), {"room_id": rooms[n]}).status_code,
                range(6),
            )
        )
    assert sorted(answers) == [200] + [409] * 5
    assert users[0].get(directory(alias))["room_id"] == rooms[answers.index(200)]


@pytest.mark.parametrize(
    "alias", ["#", "#:test.example", "#a", "alias:test.example", "!a:test.example", "#a:not a name"]
)
def test_malformed_aliases_are_refused(node, alias):
    alice = node.register("alice")
    room = alice.create_room()
    alice.get(directory(alias), status=400, errcode="M_INVALID_PARAM")
    alice.put(directory(alias), {"room_id": room}, status=400, errcode="M_INVALID_PARAM")
    alice.delete(directory(alias), status=400, errcode="M_INVALID_PARAM")


def test_bad_aliases_are_refused(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room()
    alice.put(
        directory("#" + "x" * 260 + ":test.example"), {"room_id": room}, status=400, errcode="M_INVALID_PARAM"
    )
    alice.put(directory("#a:elsewhere.example"), {"room_id": room}, status=400, errcode="M_INVALID_PARAM")
    alice.get(directory("#a:elsewhere.example"), status=404, errcode="M_NOT_FOUND")
    alice.put(directory(new_alias()), {}, status=400, errcode="M_MISSING_PARAM")
    alice.put(directory(new_alias()), {"room_id": 1}, status=400, errcode="M_BAD_JSON")
    alice.put(directory(new_alias()), {"room_id": "no room"}, status=400, errcode="M_INVALID_PARAM")
    alice.put(directory(new_alias()), {"room_id": "!nowhere:test.example"}, status=404, errcode="M_NOT_FOUND")
    bob.put(directory(new_alias()), {"room_id": room}, status=403, errcode="M_FORBIDDEN")


def test_an_alias_joins(node):
    alice, bob = node.register("alice"), node.register("bob")
    room, alias = alice.create_room(preset="public_chat"), new_alias()
    alice.put(directory(alias), {"room_id": room})
    assert bob.join(alias)["room_id"] == room


def test_an_alias_is_deleted_by_its_creator_and_by_who_has_the_power(node):
    alice, bob, carol = (node.register(name) for name in ("alice", "bob", "carol"))
    room = alice.create_room(preset="public_chat")
    for user in (bob, carol):
        user.join(room)
    by_bob, also_by_bob = new_alias(), new_alias()
    bob.put(directory(by_bob), {"room_id": room})
    bob.put(directory(also_by_bob), {"room_id": room})
    carol.delete(directory(by_bob), status=403, errcode="M_FORBIDDEN")
    assert set(aliases(carol, room)["aliases"]) == {by_bob, also_by_bob}
    bob.delete(directory(by_bob))
    alice.delete(directory(also_by_bob))
    assert aliases(alice, room) == {"aliases": []}


def test_a_deleted_alias_leaves_the_canonical_alias_event(nodes):
    alice = nodes[0].register("alice")
    room = alice.create_room()
    first, second, third = new_alias(), new_alias(), new_alias()
    for alias in (first, second, third):
        alice.put(directory(alias), {"room_id": room})
    alice.send_state(room, "m.room.canonical_alias", {"alias": first, "alt_aliases": [second, third]})
    alice.at(nodes[1]).delete(directory(second))
    assert alice.state(room, "m.room.canonical_alias") == {"alias": first, "alt_aliases": [third]}
    alice.delete(directory(first))
    assert alice.state(room, "m.room.canonical_alias") == {"alt_aliases": [third]}


def test_without_the_power_for_the_event_the_alias_is_deleted_all_the_same(node):
    alice, bob = node.register("alice"), node.register("bob")
    room, alias = alice.create_room(preset="public_chat"), new_alias()
    bob.join(room)
    bob.put(directory(alias), {"room_id": room})
    alice.send_state(room, "m.room.canonical_alias", {"alias": alias})
    bob.delete(directory(alias))
    alice.get(directory(alias), status=404)
    assert alice.state(room, "m.room.canonical_alias") == {"alias": alias}


def test_aliases_are_listed_for_members_and_of_world_readable_rooms(node):
    alice, bob = node.register("alice"), node.register("bob")
    room, alias = alice.create_room(preset="public_chat"), new_alias()
    alice.put(directory(alias), {"room_id": room})
    aliases(bob, room, status=403, errcode="M_FORBIDDEN")
    aliases(bob, "!nowhere:test.example", status=403, errcode="M_FORBIDDEN")
    alice.send_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert aliases(bob, room) == {"aliases": [alias]}
    unstable = f"/_matrix/client/unstable/org.matrix.msc2432/rooms/{quote(room, safe='')}/aliases"
    assert bob.get(unstable) == {"aliases": [alias]}
