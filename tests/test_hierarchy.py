"""Spaces: the rooms in them, here and across servers; summaries of rooms."""

import time

import pytest

from conftest import Started
from harness.client import Client, path
from harness.peer import public_room
from harness.recording import RecordingServer
from harness.remote_server import RemoteServer
from harness.waiting import eventually

V1 = "/_matrix/client/v1"
VIA = {"via": ["test.example"]}


def hierarchy(client, room, status=200, errcode=None, **params) -> dict:
    params = {key: str(value).lower() if isinstance(value, bool) else value for key, value in params.items()}
    if "from_" in params:
        params["from"] = params.pop("from_")
    return client.get(
        f"{V1}{path('rooms', room, 'hierarchy')}", params=params, status=status, errcode=errcode
    )


def rooms_of(client, room, **params) -> list[str]:
    return [each["room_id"] for each in hierarchy(client, room, **params)["rooms"]]


def summary(client, room, status=200, errcode=None, **params) -> dict:
    return client.get(f"{V1}{path('room_summary', room)}", params=params, status=status, errcode=errcode)


def space(client, **options) -> str:
    options = {"preset": "public_chat", **options}
    return client.create_room(creation_content={"type": "m.space"}, **options)


def add(client, parent, child, **content):
    client.send_state(parent, "m.space.child", {**VIA, **content}, child)


def tree(client):
    """A space of rooms and spaces: [root, a, sub, b, c, d], in the order of the walk."""
    root, sub = space(client, name="Root"), space(client, name="Sub")
    a, b, c, d = (client.create_room(preset="public_chat", name=name) for name in "abcd")
    add(client, root, d)
    add(client, root, sub, order="b")
    add(client, root, a, order="a")
    add(client, sub, b, order="1", suggested=True)
    add(client, sub, c, order="2")
    return [root, a, sub, b, c, d]


# The walk


def test_depth_first_in_the_order_of_the_space(node):
    alice, bob = node.register("alice"), node.register("bob")
    rooms = tree(alice)
    for client in (alice, bob):
        assert rooms_of(client, rooms[0]) == rooms
    root, a, sub, b, c, d = rooms
    assert rooms_of(bob, root, max_depth=0) == [root]
    assert rooms_of(bob, root, max_depth=1) == [root, a, sub, d]
    assert rooms_of(bob, sub) == [sub, b, c]
    assert rooms_of(bob, a) == [a]


def test_what_is_told_of_a_room(node):
    alice = node.register("alice")
    root, a, sub, *_ = tree(alice)
    encryption = {"algorithm": "m.megolm.v1.aes-sha2"}
    alice.send_state(a, "m.room.encryption", encryption)
    alice.send_state(a, "m.room.topic", {"topic": "Of a"})
    alice.send_state(a, "m.room.guest_access", {"guest_access": "can_join"})
    whole, of_a = hierarchy(alice, root)["rooms"][:2]
    assert of_a == {
        "room_id": a, "name": "a", "topic": "Of a", "num_joined_members": 1, "world_readable": False,
        "guest_can_join": True, "join_rule": "public", "encryption": "m.megolm.v1.aes-sha2",
        "room_version": alice.state(a, "m.room.create")["room_version"], "children_state": [],
    }  # fmt: skip
    assert whole["room_type"] == "m.space"
    first = whole["children_state"][0]
    assert isinstance(first.pop("origin_server_ts"), int)
    assert first == {
        "type": "m.space.child", "state_key": a, "sender": alice.user_id, "content": {**VIA, "order": "a"},
    }  # fmt: skip
    assert [event["state_key"] for event in whole["children_state"]][:2] == [a, sub]


def test_children_that_are_none(node):
    alice = node.register("alice")
    root, child = space(alice), alice.create_room(preset="public_chat")
    for content in ({}, {"via": []}, {"via": "test.example"}, {"via": [1]}):
        alice.send_state(root, "m.space.child", content, child)
        assert rooms_of(alice, root) == [root]
    alice.send_state(root, "m.space.child", VIA, "nonsense")
    alice.send_state(root, "m.space.child", VIA, "!unknown:nowhere.example")
    add(alice, root, child)
    assert rooms_of(alice, root) == [root, child]
    # Rooms that are no spaces have no children.
    other = alice.create_room(preset="public_chat")
    add(alice, child, other)
    assert rooms_of(alice, root) == [root, child]


def test_suggested_only(node):
    alice = node.register("alice")
    _root, _a, sub, b, _c, _d = tree(alice)
    assert rooms_of(alice, sub, suggested_only=True) == [sub, b]
    (of_sub, _) = hierarchy(alice, sub, suggested_only=True)["rooms"]
    assert [event["state_key"] for event in of_sub["children_state"]] == [b]


def test_circles(node):
    alice = node.register("alice")
    one, two = space(alice), space(alice)
    add(alice, one, two)
    add(alice, two, one)
    add(alice, one, one)
    assert rooms_of(alice, one) == [one, two]


def test_pages(node, nodes):
    alice = node.register("alice")
    rooms = tree(alice)
    seen, token = [], None
    while True:
        params = {"from_": token} if token else {}
        page = hierarchy(alice.at(nodes[len(seen) % 2]), rooms[0], limit=2, **params)
        assert len(page["rooms"]) <= 2
        seen += [each["room_id"] for each in page["rooms"]]
        if "next_batch" not in page:
            break
        token = page["next_batch"]
    assert seen == rooms
    # A room that comes in between shifts nothing.
    page = hierarchy(alice, rooms[0], limit=3)
    new = alice.create_room(preset="public_chat")
    add(alice, rooms[0], new, order="0")
    assert rooms_of(alice, rooms[0], from_=page["next_batch"]) == rooms[3:]
    for params in ({"max_depth": 1}, {"suggested_only": True}):
        hierarchy(alice, rooms[0], 400, "M_INVALID_PARAM", from_=token, **params)
    for bad in ("nonsense", "h~", "h~x~!a:b", "~1~a", "h~-1~a"):
        hierarchy(alice, rooms[0], 400, "M_INVALID_PARAM", from_=bad)
    for params in (
        {"limit": 0},
        {"limit": -1},
        {"max_depth": -1},
        {"limit": "x"},
        {"suggested_only": "maybe"},
    ):
        hierarchy(alice, rooms[0], 400, "M_INVALID_PARAM", **params)


def test_who_is_shown_which_room(node):
    alice, bob = node.register("alice"), node.register("bob")
    root = space(alice)

    def room(rule=None, **options):
        new = alice.create_room(preset="private_chat", **options)
        if rule:
            alice.send_state(new, "m.room.join_rules", rule)
        add(alice, root, new)
        return new

    secret, invited, banned = room(), room(), room({"join_rule": "public"})
    alice.invite(invited, bob)
    alice.post(path("rooms", banned, "ban"), {"user_id": bob.user_id})
    knock = room({"join_rule": "knock"})
    of_space = {"allow": [{"type": "m.room_membership", "room_id": root}]}
    restricted = room({"join_rule": "restricted", **of_space})
    both = room({"join_rule": "knock_restricted", **of_space}, room_version="10")
    readable = room()
    alice.send_state(readable, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert rooms_of(alice, root) == [root, secret, invited, banned, knock, restricted, both, readable]
    assert rooms_of(bob, root) == [root, invited, knock, both, readable]
    bob.join(root)
    assert rooms_of(bob, root) == [root, invited, knock, restricted, both, readable]
    shown = hierarchy(bob, restricted)["rooms"][0]
    assert (shown["join_rule"], shown["allowed_room_ids"]) == ("restricted", [root])
    for hidden in (secret, banned, "!unknown:nowhere.example"):
        hierarchy(bob, hidden, 403, "M_FORBIDDEN")


def test_many_rooms(node):
    alice = node.register("alice")
    root = space(alice)
    child = alice.create_room(preset="public_chat")
    for number in range(60):
        alice.send_state(
            root, "m.space.child", {**VIA, "order": f"{number:03}"}, f"!room{number}:nowhere.example"
        )
    add(alice, root, child)
    assert rooms_of(alice, root) == [root, child]


# Summaries of rooms


def test_room_summary(node):
    alice, bob = node.register("alice"), node.register("bob")
    name = alice.user_id.split(":")[0][1:]
    room = alice.create_room(preset="public_chat", name="Open", room_alias_name=name)
    secret = alice.create_room(preset="private_chat")
    shown = summary(bob, room)
    assert (shown["name"], shown["membership"], shown["num_joined_members"]) == ("Open", "leave", 1)
    assert "children_state" not in shown
    assert summary(alice, f"#{name}:test.example")["membership"] == "join"
    assert summary(bob, f"#{name}:test.example")["room_id"] == room
    for hidden in (secret, "!unknown:nowhere.example", "#unknown:test.example"):
        summary(bob, hidden, 404, "M_NOT_FOUND")
    alice.invite(secret, bob)
    assert summary(bob, secret)["membership"] == "invite"
    nobody = Client(node.url)
    assert summary(nobody, room)["name"] == "Open" and "membership" not in summary(nobody, room)
    summary(nobody, secret, 404, "M_NOT_FOUND")
    Client(node.url, "nonsense").get(
        f"{V1}{path('room_summary', room)}", status=401, errcode="M_UNKNOWN_TOKEN"
    )


# For other servers


@pytest.fixture(scope="module")
def home(shared_cluster, authority):
    database = shared_cluster.create_database()
    settings = {
        "MATRIARCH_FEDERATION__ENABLED": "true",
        "MATRIARCH_FEDERATION__CA_FILE": str(authority.file),
        "MATRIARCH_FEDERATION__ALLOW_PRIVATE_ADDRESSES": "true",
        "MATRIARCH_FEDERATION__REQUEST_TIMEOUT": "3",
    }
    with Started() as started:
        yield started(database, "home", **settings)
    database.drop()


@pytest.fixture
def remote(authority):
    servers = []

    def make(kind=RemoteServer):
        servers.append(kind(authority))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def asked(server, node, room, **options):
    return server.get(node, "/_matrix/federation/v1" + path("hierarchy", room), **options)


def test_what_other_servers_are_told(home, remote):
    server = remote(RecordingServer)
    alice, bob = home.register("alice"), server.user("bob")
    root = space(alice)
    rooms = {
        name: alice.create_room(preset="private_chat", name=name)
        for name in ("secret", "public", "knock", "restricted", "acl", "invited")
    }
    for room in rooms.values():
        add(alice, root, room)
    sub = space(alice)
    add(alice, root, sub, suggested=True)
    add(alice, sub, rooms["public"])
    add(alice, root, "!unknown:nowhere.example")
    for name in ("public", "acl"):
        alice.send_state(rooms[name], "m.room.join_rules", {"join_rule": "public"})
    alice.send_state(rooms["acl"], "m.room.server_acl", {"allow": ["*"], "deny": ["localhost*", server.name]})
    alice.send_state(rooms["knock"], "m.room.join_rules", {"join_rule": "knock"})
    allow = [{"type": "m.room_membership", "room_id": root}]
    alice.send_state(rooms["restricted"], "m.room.join_rules", {"join_rule": "restricted", "allow": allow})

    def told():
        answer = asked(server, home, root)
        assert answer["room"]["room_id"] == root and len(answer["room"]["children_state"]) == 8
        return {each.get("name") or "sub" for each in answer["children"]}, set(
            answer["inaccessible_children"]
        )

    inside = {rooms[name] for name in ("secret", "restricted", "invited")}
    # The name of the server has a port, which access control lists leave out of account.
    assert told() == ({"public", "knock", "sub"}, {*inside, rooms["acl"]})
    server.set_membership(home.database, root, bob)
    assert told() == (
        {"public", "knock", "sub", "restricted"},
        {rooms["secret"], rooms["invited"], rooms["acl"]},
    )
    suggested = server.get(home, "/_matrix/federation/v1" + path("hierarchy", root) + "?suggested_only=true")
    assert [each["room_id"] for each in suggested["children"]] == [sub]
    assert suggested["inaccessible_children"] == []
    for hidden in (rooms["secret"], rooms["acl"], "!unknown:nowhere.example"):
        asked(server, home, hidden, status=404, errcode="M_NOT_FOUND")
    assert asked(server, home, rooms["public"])["children"] == []


# Of other servers


def test_a_space_across_servers(servers):
    one, two = servers
    alice, bob = one.register("alice"), two.register("bob")
    root, sub = space(alice), space(alice)
    a, b = (alice.create_room(preset="public_chat", name=name) for name in "ab")
    own, secret = bob.create_room(preset="public_chat", name="own"), alice.create_room(preset="private_chat")
    via = {"via": [one.name]}
    for order, child in enumerate((a, sub, secret)):
        add(alice, root, child, **via, order=str(order))
    add(alice, root, own, via=[two.name], order="9")
    add(alice, sub, b, **via)
    bob.join(root, params={"via": one.name})
    assert rooms_of(bob, root) == [root, a, sub, b, own]
    # Both ways: alice's server asks bob's of his room.
    assert rooms_of(alice, root) == [root, a, sub, b, secret, own]
    # Not even the space is known here.
    carol = two.register("carol")
    assert summary(carol, a, via=one.name)["name"] == "a"
    summary(carol, secret, 404, "M_NOT_FOUND", via=one.name)
    alias = f"#{a[1:9].replace('_', '-').lower()}:{one.name}"
    alice.put(path("directory", "room", alias), {"room_id": a})
    assert summary(carol, alias)["room_id"] == a


def remote_space(server, home, children, **answer):
    """A space of ours with one room that only the other server knows: a space with these children."""
    alice = home.register("alice")
    root, name = space(alice), f"!far{time.time_ns()}:{server.name}"
    add(alice, root, name, via=[server.name])
    state = [
        {"type": "m.space.child", "state_key": child, "sender": server.user("x"),
         "content": {"via": [server.name]},
         "origin_server_ts": number}
        for number, child in enumerate(children)
    ]  # fmt: skip
    chunk = {"room_id": name, "num_joined_members": 3, "world_readable": False, "guest_can_join": False,
             "join_rule": "public", "room_type": "m.space", "children_state": state}  # fmt: skip
    known = [{**chunk, "room_id": child, "room_type": None, "children_state": []} for child in children]
    server.hooks["hierarchy"] = lambda handler, parts, *_: (
        (200, {"room": chunk, "children": known, "inaccessible_children": [], **answer})
        if parts[0] == name
        else None
    )
    return alice, root, name


def test_answers_are_kept(home, remote):
    server = remote()
    alice, root, far = remote_space(server, home, ["!x:far.example", "!y:far.example"])
    for _ in range(3):
        assert rooms_of(alice, root) == [root, far, "!x:far.example", "!y:far.example"]
    assert len(server.asked_for("hierarchy")) == 1
    # That a server fails is kept too.
    down = remote()
    down.hooks["hierarchy"] = lambda *_: (503, {"errcode": "M_UNKNOWN", "error": "later"})
    root = space(alice)
    add(alice, root, "!gone:far.example", via=[down.name])
    for _ in range(3):
        assert rooms_of(alice, root) == [root]
    assert len(down.asked_for("hierarchy")) == 1


def test_a_refusal_is_soon_forgotten(home, remote):
    """The room may have been made known to this server meanwhile."""
    server = remote()
    alice, root, far = remote_space(server, home, [])
    answer = server.hooks["hierarchy"]
    server.hooks["hierarchy"] = lambda *_: None
    assert rooms_of(alice, root) == [root]
    server.hooks["hierarchy"] = answer
    eventually(lambda: rooms_of(alice, root) == [root, far])


def test_what_others_say_is_judged(home, remote):
    server = remote()
    secret = home.register().create_room(preset="private_chat")
    alice, root, far = remote_space(server, home, ["!x:far.example", "!private:far.example", secret])
    answer = server.hooks["hierarchy"]

    def changed(*args):
        status, body = answer(*args) or (404, {})
        if status == 200:
            x, private, stolen = body["children"]
            stray = {**x, "room_id": "!stray:far.example"}
            private = {**private, "join_rule": "invite"}
            body = {**body, "children": [{**x, "extra": 1, "name": ["no"]}, private, stolen, stray]}
        return status, body

    server.hooks["hierarchy"] = changed
    found = hierarchy(alice, root)["rooms"]
    assert [each["room_id"] for each in found] == [root, far, "!x:far.example"]
    assert "extra" not in found[2] and "name" not in found[2]


@pytest.mark.parametrize(
    "answer",
    [{}, {"room": 1}, {"room": {"room_id": "!other:far.example"}}, {"children": 1, "room": []}, 5, "hang"],
)
def test_garbage(home, remote, answer):
    server = remote()
    alice, root, _ = remote_space(server, home, [])
    server.hooks["hierarchy"] = lambda *_: time.sleep(10) if answer == "hang" else (200, answer)
    started = time.monotonic()
    assert rooms_of(alice, root) == [root]
    assert time.monotonic() - started < 8


def test_what_is_known_here_counts(home, remote):
    """A room that our user joined is told of from here, whatever others say."""
    server = remote()
    room = public_room(server.user("creator"), [server])
    server.learn(room)
    alice = home.register("alice")
    alice.join(room.room_id, params={"via": server.name})
    assert summary(alice, room.room_id)["num_joined_members"] == 2
    assert server.asked_for("hierarchy") == []
