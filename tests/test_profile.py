"""Profiles (Client-Server API, "Profiles"), and how they show in rooms."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import path, timeline
from harness.waiting import eventually


def field(user, key):
    return path("profile", user.user_id, key)


def put(user, key, value, **options):
    return user.put(field(user, key), {key: value}, **options)


def test_fields_are_set_read_and_deleted_by_anybody_who_asks(node):
    alice, nobody = node.register("alice"), node.client()
    values = {
        "displayname": "Alice ✨",
        "avatar_url": "mxc://test.example/abc",
        "m.tz": "Europe/London",
        "org.example.field-1": {"any": ["json", 1, None, True]},
        "org.example.null": None,
    }
    for key, value in values.items():
        assert put(alice, key, value) == {}
        assert nobody.get(field(alice, key)) == {key: value}
    profile = nobody.get(path("profile", alice.user_id))
    assert {key: profile[key] for key in values} == values
    for key in values:
        assert alice.delete(field(alice, key)) == {}
        nobody.get(field(alice, key), status=404, errcode="M_NOT_FOUND")
        alice.delete(field(alice, key))
    assert nobody.get(path("profile", alice.user_id)) == {}


def test_an_empty_name_or_avatar_is_none(node):
    alice = node.register("alice")
    for key in ("displayname", "avatar_url"):
        put(alice, key, "mxc://test.example/a")
        put(alice, key, "")
        alice.get(field(alice, key), status=404, errcode="M_NOT_FOUND")


def test_profiles_of_others_cannot_be_changed(node):
    alice, bob = node.register("alice"), node.register("bob")
    bob.put(field(alice, "displayname"), {"displayname": "x"}, status=403, errcode="M_FORBIDDEN")
    bob.delete(field(alice, "displayname"), status=403, errcode="M_FORBIDDEN")
    node.client().put(
        field(alice, "displayname"), {"displayname": "x"}, status=401, errcode="M_MISSING_TOKEN"
    )


def test_unknown_users_are_not_found(node):
    nobody = node.client()
    for user_id in ("@nobody:test.example", "@alice:elsewhere.example"):
        nobody.get(path("profile", user_id), status=404, errcode="M_NOT_FOUND")
        nobody.get(path("profile", user_id, "displayname"), status=404, errcode="M_NOT_FOUND")
    nobody.get(path("profile", "no user id"), status=400, errcode="M_INVALID_PARAM")


@pytest.mark.parametrize("key", ["Upper.case", "1digit", ".dot", "org.example/slash", "org.exämple"])
def test_keys_follow_the_grammar(node, key):
    alice = node.register("alice")
    put(alice, key, "x", status=400, errcode="M_INVALID_PARAM")
    alice.delete(field(alice, key), status=400, errcode="M_INVALID_PARAM")


def test_bad_fields_are_refused(node):
    alice = node.register("alice")
    put(alice, "a" * 256, "x", status=400, errcode="M_KEY_TOO_LARGE")
    put(alice, "a" * 255, "x")
    alice.put(field(alice, "displayname"), {"name": "x"}, status=400, errcode="M_MISSING_PARAM")
    for value in (1, None, {}, ["x"]):
        put(alice, "displayname", value, status=400, errcode="M_BAD_JSON")
    put(alice, "displayname", "x" * 257, status=400, errcode="M_INVALID_PARAM")
    put(alice, "displayname", "a\u0000b", status=400, errcode="M_INVALID_PARAM")
    put(alice, "avatar_url", "https://example.com/a.png", status=400, errcode="M_INVALID_PARAM")
    alice.call("PUT", field(alice, "displayname"), content=b"{", status=400, errcode="M_NOT_JSON")


def test_the_whole_profile_is_under_64_kib(node):
    alice = node.register("alice")
    put(alice, "org.example.big", "x" * 65_000)
    put(alice, "org.example.more", "x" * 1000, status=400, errcode="M_PROFILE_TOO_LARGE")
    put(alice, "org.example.big", "small")
    put(alice, "org.example.more", "x" * 1000)


def test_a_change_shows_in_every_joined_room(nodes):
    alice, bob = nodes[0].register("alice"), nodes[1].register("bob")
    rooms = [alice.create_room(preset="public_chat") for _ in range(3)]
    left, invited = alice.create_room(), bob.create_room(invite=[alice.user_id])
    alice.leave(left)
    for room in rooms:
        bob.join(room)
    bob.next()
    response = alice.request("PUT", field(alice, "displayname"), {"displayname": "Alice"})
    assert response.headers["x-matriarch-db-statements"] == "1"
    put(alice, "avatar_url", "mxc://test.example/new")
    expected = {"membership": "join", "displayname": "Alice", "avatar_url": "mxc://test.example/new"}
    for room in rooms:
        assert bob.state(room, "m.room.member", alice.user_id) == expected
    assert bob.state(invited, "m.room.member", alice.user_id)["membership"] == "invite"

    shown = set()

    def seen(answer):
        for room in rooms:
            if any(event["content"] == expected for event in timeline(answer, room)):
                shown.add(room)
        return shown == set(rooms)

    bob.sync_until(seen)
    alice.delete(field(alice, "avatar_url"))
    assert bob.state(rooms[0], "m.room.member", alice.user_id) == {
        "membership": "join",
        "displayname": "Alice",
    }


def test_a_change_of_a_user_in_many_rooms_locks_few_at_a_time(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    rooms = [alice.create_room() for _ in range(45)]
    with database.connect(autocommit=False) as holder:
        # Somebody else holds one of the last rooms: the change does not wait for it.
        holder.execute("select from matriarch.rooms where room_id = %s for update", [rooms[-1]])
        began = time.monotonic()
        put(alice, "displayname", "Alice")
        assert time.monotonic() - began < 10
        assert alice.get(field(alice, "displayname")) == {"displayname": "Alice"}
        # It has the rooms before it, and other requests do not wait for these.
        shown = {room: alice.state(room, "m.room.member", alice.user_id).get("displayname") for room in rooms}
        assert [shown[room] for room in rooms[:40]] == ["Alice"] * 40
        assert shown[rooms[-1]] != "Alice"
        for room in rooms[:40]:
            alice.send(room, "meanwhile")
        # Another change in the meantime.
        put(alice, "displayname", "Alicia")
    pending = "select count(*) from matriarch.unshown_profiles"
    eventually(lambda: database.query(pending), [(0,)])
    for room in rooms:
        assert alice.state(room, "m.room.member", alice.user_id)["displayname"] == "Alicia"


def test_other_fields_do_not_show_in_rooms(node):
    alice = node.register("alice")
    room = alice.create_room()
    before = alice.history(room)
    put(alice, "m.tz", "Europe/Berlin")
    put(alice, "org.example.field", 1)
    assert [event["event_id"] for event in alice.history(room)] == [event["event_id"] for event in before]


def test_a_new_member_brings_its_profile(node):
    alice, bob = node.register("alice"), node.register("bob")
    put(bob, "displayname", "Bob")
    put(bob, "avatar_url", "mxc://test.example/bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    expected = {"membership": "join", "displayname": "Bob", "avatar_url": "mxc://test.example/bob"}
    assert alice.state(room, "m.room.member", bob.user_id) == expected


def test_changes_at_once_end_in_agreement(nodes):
    """Name and avatar changed together, from both nodes, by two users of the same rooms: no deadlock, and
    each room shows each profile as it is in the end."""
    alice, bob = nodes[0].register("alice"), nodes[0].register("bob")
    rooms = [alice.create_room(preset="public_chat") for _ in range(4)]
    for room in rooms:
        bob.join(room)
    clients = [user.at(node) for user in (alice, bob) for node in nodes]
    jobs = [
        (client, key, value)
        for n in range(5)
        for client in clients
        for key, value in (("displayname", f"name {n}"), ("avatar_url", f"mxc://test.example/{n}"))
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: put(*job), jobs))
    for user in (alice, bob):
        profile = alice.get(path("profile", user.user_id))
        for room in rooms:
            assert alice.state(room, "m.room.member", user.user_id) == {"membership": "join", **profile}


def test_a_join_during_a_change_shows_the_new_profile(nodes):
    alice, bob = nodes[0].register("alice"), nodes[1].register("bob")
    rooms = [alice.create_room(preset="public_chat") for _ in range(20)]
    there = bob.at(nodes[0])
    with ThreadPoolExecutor(4) as pool:
        joins = [pool.submit(there.join, room) for room in rooms]
        changes = [pool.submit(put, bob, "displayname", f"Bob {n}") for n in range(10)]
        for job in joins + changes:
            job.result()
    profile = bob.get(path("profile", bob.user_id))
    for room in rooms:
        assert alice.state(room, "m.room.member", bob.user_id) == {"membership": "join", **profile}
