"""Room upgrades. Client-Server API, "Room Upgrades"."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import path, timeline
from harness.peer import public_room
from harness.remote_server import adopt


def upgrade(client, room: str, version: str, **body) -> str:
    return client.post(path("rooms", room, "upgrade"), {"new_version": version, **body})["replacement_room"]


def types(client, room) -> set:
    return {(event["type"], event["state_key"]) for event in client.get(path("rooms", room, "state"))}


def absent(client, room, type):
    client.state(room, type, status=404, errcode="M_NOT_FOUND")


@pytest.mark.parametrize(
    ("old", "new"), [("1", "2"), ("9", "10"), ("10", "11"), ("11", "12"), ("12", "12"), ("12", "11")]
)
def test_a_room_is_replaced(shared_database, node, old, new):
    alice, bob, carol = (node.register(name) for name in ("alice", "bob", "carol"))
    state = {
        "m.room.history_visibility": {"history_visibility": "invited"},
        "m.room.guest_access": {"guest_access": "forbidden"},
        "m.room.avatar": {"url": "mxc://test.example/a"},
        "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
        "m.room.server_acl": {"allow": ["*"], "deny": ["bad.example"]},
    }
    room = alice.create_room(
        preset="public_chat", name="Name", topic="Topic", room_version=old,
        creation_content={"type": "org.example.kind", "m.federate": False},
        initial_state=[{"type": type, "content": content} for type, content in state.items()],
    )  # fmt: skip
    for member in (bob, carol):
        member.join(room)
    alice.send_state(room, "org.example.own", {"a": 1})
    levels = alice.state(room, "m.room.power_levels")
    levels["users"][bob.user_id] = 60
    alice.send_state(room, "m.room.power_levels", levels)
    alice.post(path("rooms", room, "ban"), {"user_id": carol.user_id, "reason": "no"})
    bob.next()

    replacement = upgrade(alice, room, new)
    create = alice.state(replacement, "m.room.create")
    assert (create["room_version"], create["type"], create["m.federate"]) == (new, "org.example.kind", False)
    assert create["predecessor"]["room_id"] == room
    tombstone = alice.get(path("rooms", room, "state", "m.room.tombstone"), params={"format": "event"})
    assert tombstone["content"]["replacement_room"] == replacement
    assert create["predecessor"].get("event_id") == (None if new == "12" else tombstone["event_id"])
    for type in (*state, "m.room.name", "m.room.topic", "m.room.join_rules"):
        assert alice.state(replacement, type) == alice.state(room, type)
    absent(alice, replacement, "org.example.own")
    assert alice.state(replacement, "m.room.member", carol.user_id) == {"membership": "ban", "reason": "no"}
    members = {key for type, key in types(alice, replacement) if type == "m.room.member"}
    assert members == {alice.user_id, carol.user_id}

    found = alice.state(replacement, "m.room.power_levels")
    assert found["users"][bob.user_id] == 60
    assert (alice.user_id in found["users"]) == (new != "12")
    assert found["ban"] == levels["ban"]
    # Bob sees where to go, and nobody but moderators talks here any more.
    assert "m.room.tombstone" in [event["type"] for event in timeline(bob.next(), room)]
    grave = alice.state(room, "m.room.power_levels")
    assert (grave["events_default"], grave["invite"]) == (50, 50)
    bob.join(replacement)
    bob.send(replacement, "here we are")
    for one in (room, replacement):
        assert shared_database.query("select * from matrix.verify_room(%s)", [one]) == []


def test_who_may(node):
    alice, bob, eve = (node.register(name) for name in ("alice", "bob", "eve"))
    room = alice.create_room(preset="public_chat", room_version="11")
    bob.join(room)
    for other in (bob, eve):
        other.post(path("rooms", room, "upgrade"), {"new_version": "12"}, status=403, errcode="M_FORBIDDEN")
    alice.post(
        path("rooms", room, "upgrade"),
        {"new_version": "none"},
        status=400,
        errcode="M_UNSUPPORTED_ROOM_VERSION",
    )
    alice.post(path("rooms", room, "upgrade"), {}, status=400, errcode="M_MISSING_PARAM")
    alice.post(
        path("rooms", "!none:test.example", "upgrade"),
        {"new_version": "12"},
        status=404,
        errcode="M_NOT_FOUND",
    )
    body = {"new_version": "12", "additional_creators": ["nobody"]}
    alice.post(path("rooms", room, "upgrade"), body, status=400, errcode="M_BAD_JSON")
    absent(alice, room, "m.room.tombstone")
    # Who may send the tombstone, and little else, copies all the same.
    levels = alice.state(room, "m.room.power_levels")
    levels["users"] |= {alice.user_id: 100, bob.user_id: 20}
    levels["events"]["m.room.tombstone"] = 20
    alice.send_state(room, "m.room.power_levels", levels)
    replacement = upgrade(bob, room, "11")
    assert bob.state(replacement, "m.room.power_levels")["users"] == {alice.user_id: 100, bob.user_id: 20}
    # What he may not do in the old room stays undone.
    assert bob.state(room, "m.room.power_levels") == levels


def test_creators(node):
    alice, bob, carol = (node.register(name) for name in ("alice", "bob", "carol"))
    room = alice.create_room(preset="public_chat", room_version="11", power_level_content_override={"users": {
        alice.user_id: 100, bob.user_id: 100, carol.user_id: 50,
    }})  # fmt: skip
    newer = upgrade(alice, room, "12", additional_creators=[bob.user_id, bob.user_id])
    create = alice.state(newer, "m.room.create")
    assert create["additional_creators"] == [bob.user_id]
    levels = alice.state(newer, "m.room.power_levels")
    assert levels["users"] == {carol.user_id: 50}
    assert levels["events"]["m.room.tombstone"] == 150
    # They are not taken over.
    newest = upgrade(alice, newer, "12")
    assert "additional_creators" not in alice.state(newest, "m.room.create")
    # A version that has none ignores them, and gives levels to those who were creators.
    older = upgrade(alice, newer, "11", additional_creators=[carol.user_id])
    assert alice.state(older, "m.room.power_levels")["users"] == {
        alice.user_id: 100,
        bob.user_id: 100,
        carol.user_id: 50,
    }


def test_aliases_and_the_directory(node):
    alice, bob = node.register("alice"), node.register("bob")
    name = alice.user_id.split(":")[0][1:]
    room = alice.create_room(
        preset="public_chat", room_version="11", visibility="public", room_alias_name=name
    )
    alias, other = f"#{name}:test.example", f"#{name}-too:test.example"
    alice.put(path("directory", "room", other), {"room_id": room})
    alice.send_state(room, "m.room.canonical_alias", {"alias": alias, "alt_aliases": [other]})
    replacement = upgrade(alice, room, "12")
    for one in (alias, other):
        assert bob.get(path("directory", "room", one))["room_id"] == replacement
    assert alice.state(replacement, "m.room.canonical_alias") == {"alias": alias, "alt_aliases": [other]}
    assert alice.state(room, "m.room.canonical_alias") == {}
    assert alice.get(path("directory", "list", "room", room)) == {"visibility": "private"}
    assert alice.get(path("directory", "list", "room", replacement)) == {"visibility": "public"}


def test_the_same_upgrade_twice_makes_one_room(nodes):
    alice, bob = nodes[0].register("alice"), nodes[0].register("bob")
    name = alice.user_id.split(":")[0][1:]
    room = alice.create_room(
        preset="public_chat", room_version="11", visibility="public", room_alias_name=name,
        power_level_content_override={"users": {alice.user_id: 100, bob.user_id: 100}},
    )  # fmt: skip
    bob.join(room)
    alias = f"#{name}:test.example"

    def leads_to(replacement):
        assert alice.state(room, "m.room.tombstone")["replacement_room"] == replacement
        assert bob.get(path("directory", "room", alias))["room_id"] == replacement
        assert alice.get(path("directory", "list", "room", replacement)) == {"visibility": "public"}

    with ThreadPoolExecutor() as pool:
        made = set(pool.map(lambda n: upgrade(alice.at(nodes[n % 2]), room, "12"), range(4)))
    (first,) = made
    leads_to(first)
    assert upgrade(alice, room, "12") == first
    # Another version, another user, and much later are other upgrades. The aliases follow the tombstone.
    later = f"#{name}-later:test.example"
    alice.put(path("directory", "room", later), {"room_id": first})
    second = upgrade(alice, room, "11")
    leads_to(second)
    assert bob.get(path("directory", "room", later))["room_id"] == first
    third = upgrade(bob, room, "11")
    leads_to(third)
    long_ago = """
        update matriarch.events set json = jsonb_set(json::jsonb, '{origin_server_ts}', '1000')::text
        where type = 'm.room.tombstone' and room_nid =
            (select room_nid from matriarch.rooms where room_id = %s)"""
    nodes[0].database.query(long_ago, [room])
    nodes[0].database.query(
        "update matriarch.rooms set state_rewrites = state_rewrites + 1 where room_id = %s", [room]
    )
    fourth = upgrade(bob, room, "11")
    leads_to(fourth)
    assert len({first, second, third, fourth}) == 4


def test_a_list_that_denies_this_server_is_not_copied(shared_database, node):
    alice = node.register("alice")
    room = alice.create_room(room_version="11")
    acl = alice.send_state(room, "m.room.server_acl", {"allow": ["*"]})
    shared_database.query(
        'update matriarch.events set json = replace(json, \'"allow":["*"]\', \'"deny":["*"]\') '
        "where event_id = %s",
        [acl],
    )
    shared_database.query(
        "update matriarch.rooms set state_rewrites = state_rewrites + 1 where room_id = %s", [room]
    )
    assert alice.state(room, "m.room.server_acl") == {"deny": ["*"]}
    absent(alice, upgrade(alice, room, "12"), "m.room.server_acl")


@pytest.mark.parametrize("consents", [True, False])
def test_names_follow_an_upgrade_by_another_server(shared, consents):
    alice, room = shared.alice, shared.room
    levels = dict(room.head[0].state["m.room.power_levels", ""].json["content"])
    levels["users"] = {**levels.get("users", {}), shared.bob: 150}
    # The room's creator makes Bob its equal.
    alice.send_state(shared.room_id, "m.room.power_levels", levels)
    room = adopt(shared.database, shared.room_id, [shared.server])
    name = alice.user_id.split(":")[0][1:]
    domain = alice.user_id.split(":", 1)[1]
    aliases = [f"#{name}-{n}:{domain}" for n in range(2)]
    for alias in aliases:
        alice.put(path("directory", "room", alias), {"room_id": shared.room_id})
    alice.put(path("directory", "list", "room", shared.room_id), {"visibility": "public"})
    replacement = public_room(shared.bob, [shared.server], predecessor={"room_id": shared.room_id})
    shared.server.learn(replacement)
    named = replacement.room_id if consents else "!another:example.org"
    tombstone = room.send(shared.bob, "m.room.tombstone", {"body": "moved", "replacement_room": named}, "")
    shared.send([tombstone])
    shared.wait([tombstone])
    alice.join(replacement.room_id, params={"via": shared.server.name})
    now, before = replacement.room_id, shared.room_id
    if not consents:
        now, before = before, now
    for alias in aliases:
        assert alice.get(path("directory", "room", alias))["room_id"] == now
    assert alice.get(path("directory", "list", "room", now)) == {"visibility": "public"}
    assert alice.get(path("directory", "list", "room", before)) == {"visibility": "private"}


def test_a_space(node):
    alice = node.register("alice")
    space = alice.create_room(creation_content={"type": "m.space"}, room_version="11")
    alice.send_state(space, "m.space.child", {"via": ["test.example"]}, "!child:test.example")
    replacement = upgrade(alice, space, "12")
    assert alice.state(replacement, "m.space.child", "!child:test.example") == {"via": ["test.example"]}


def test_what_is_personal_follows(node):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat", room_version="11")
    bob.join(room)
    for user in (alice, bob):
        user.put(path("user", user.user_id, "rooms", room, "tags", "m.favourite"), {"order": 0.25})
    direct = {alice.user_id: [room], "@else:test.example": ["!else:test.example"]}
    bob.put(path("user", bob.user_id, "account_data", "m.direct"), direct)
    replacement = upgrade(alice, room, "12")
    bob.next()
    bob.join(replacement)
    answer = bob.next()
    for user in (alice, bob):
        tags = user.get(path("user", user.user_id, "rooms", replacement, "tags"))
        assert tags == {"tags": {"m.favourite": {"order": 0.25}}}
    direct[alice.user_id].append(replacement)
    assert bob.get(path("user", bob.user_id, "account_data", "m.direct")) == direct
    assert {"type": "m.direct", "content": direct} in answer["account_data"]["events"]
    tags = {"type": "m.tag", "content": {"tags": {"m.favourite": {"order": 0.25}}}}
    assert tags in answer["rooms"]["join"][replacement]["account_data"]["events"]


def test_nothing_personal_follows_to_a_room_that_only_claims_to_replace_another(node):
    alice, bob, eve = (node.register(name) for name in ("alice", "bob", "eve"))
    room = alice.create_room(invite=[bob.user_id], is_direct=True)
    bob.join(room)
    direct = {alice.user_id: [room]}
    where = path("user", bob.user_id, "account_data", "m.direct")
    bob.put(where, direct)
    bob.put(path("user", bob.user_id, "rooms", room, "tags", "m.favourite"), {})
    claim = {"predecessor": {"room_id": room, "event_id": "$x"}}
    trap = eve.create_room(invite=[bob.user_id], creation_content=claim)
    bob.join(trap)
    assert bob.get(where) == direct
    assert bob.get(path("user", bob.user_id, "rooms", trap, "tags")) == {"tags": {}}
