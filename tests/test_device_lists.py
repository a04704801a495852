"""Whose devices changed: `device_lists` of sync and `GET /keys/changes` (Client-Server API, "Tracking the
device list for a user"), against the definition: users who share a room at the end and whose keys changed or
who shared none at the start; and users who shared one at the start and none at the end."""

import random
import time

import pytest

from harness.client import Client, path
from harness.crypto import CrossSigning, Device
from harness.waiting import long_poll

SIGN = "/keys/signatures/upload"
UPLOAD = "/keys/device_signing/upload"


def lists(answer: dict) -> tuple[set, set]:
    found = answer.get("device_lists", {})
    changed, left = found.get("changed", []), found.get("left", [])
    assert len(set(changed)) == len(changed) and len(set(left)) == len(left)
    return set(changed), set(left)


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


def test_an_initial_sync_has_no_device_lists(alice, room):
    assert "device_lists" not in alice.sync()


def test_a_change_is_told_who_shares_a_room_and_the_user(node, alice, bob, room):
    stranger = node.register("stranger")
    clients = (alice, bob, stranger)
    for client in clients:
        client.next()
    Device(bob).publish()
    assert [lists(client.next()) for client in clients] == [
        ({bob.user_id}, set()),
        ({bob.user_id}, set()),
        (set(), set()),
    ]
    assert [lists(client.next()) for client in clients] == [(set(), set())] * 3


def test_what_is_uploaded_again_is_no_change(alice, bob, room):
    keys = Device(bob).publish()
    signing = CrossSigning(bob.user_id).upload()
    bob.post(UPLOAD, signing)
    alice.next()
    bob.post("/keys/upload", {"device_keys": keys, "one_time_keys": Device(bob).one_time_keys(1)})
    bob.post(UPLOAD, signing)
    assert lists(alice.next()) == (set(), set())


def test_a_deleted_device_is_a_change_if_it_had_keys(alice, bob, room):
    with_keys, without = bob.another_device(), bob.another_device()
    Device(with_keys).publish()
    alice.next()
    without.post("/logout")
    assert lists(alice.next()) == (set(), set())
    with_keys.post("/logout")
    assert lists(alice.next()) == ({bob.user_id}, set())


def test_signatures_are_changes_for_those_who_see_them(alice, bob, room):
    mine, theirs = CrossSigning(alice.user_id), CrossSigning(bob.user_id)
    published = Device(alice).publish()
    alice.post(UPLOAD, mine.upload())
    bob.post(UPLOAD, theirs.upload())
    for client in (alice, bob):
        client.next()
    alice.post(SIGN, {alice.user_id: {alice.device_id: mine.self_signing.sign(published, alice.user_id)}})
    for client in (alice, bob):
        assert lists(client.next()) == ({alice.user_id}, set())
    alice.post(
        SIGN, {bob.user_id: {theirs.master.name: mine.user_signing.sign(theirs.master_key(), alice.user_id)}}
    )
    assert lists(alice.next()) == ({bob.user_id}, set())
    assert lists(bob.next()) == (set(), set())


def test_coming_to_share_a_room_and_ceasing_to(alice, bob):
    for client in (alice, bob):
        client.next()
    room = alice.create_room(preset="public_chat")
    alice.invite(room, bob)
    assert lists(alice.next()) == lists(bob.next()) == (set(), set())
    bob.join(room)
    assert lists(alice.next()) == ({bob.user_id}, set())
    assert lists(bob.next()) == ({alice.user_id}, set())
    second = bob.create_room(preset="public_chat")
    alice.join(second)
    bob.leave(room)
    # They share another room.
    assert lists(alice.next()) == lists(bob.next()) == (set(), set())
    alice.post(path("rooms", second, "leave"))
    assert lists(alice.next()) == (set(), {bob.user_id})
    assert lists(bob.next()) == (set(), {alice.user_id})


def test_who_was_away_when_keys_changed_learns_it_on_coming_back(alice, bob, room):
    bob.leave(room)
    alice.next()
    Device(bob).publish()
    assert lists(alice.next()) == (set(), set())
    bob.join(room)
    assert lists(alice.next()) == ({bob.user_id}, set())
    # All of it between two syncs.
    bob.leave(room)
    Device(bob).publish()
    bob.join(room)
    assert lists(alice.next()) == ({bob.user_id}, set())
    bob.leave(room)
    bob.join(room)
    assert lists(alice.next()) == (set(), set())


def test_a_waiting_sync_is_woken_at_the_other_node(nodes, alice, bob, room):
    there = alice.at(nodes[1])
    there.next()
    with long_poll(there, there.next, timeout=20_000) as waiting:
        begin = time.monotonic()
        Device(bob).publish()
        assert lists(waiting.result()) == ({bob.user_id}, set())
        assert time.monotonic() - begin < 10


def test_a_filter_of_rooms_keeps_no_device_list_back(alice, bob):
    alice.next()
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    assert lists(alice.next(filter={"room": {"not_rooms": [room]}})) == ({bob.user_id}, set())


def test_ends_of_key_changes_are_tokens(alice):
    token = alice.sync()["next_batch"]
    for params in ({"from": "nonsense", "to": token}, {"from": token, "to": "nonsense"}):
        alice.get("/keys/changes", params=params, status=400, errcode="M_INVALID_PARAM")
    for params in ({"from": token}, {"to": token}):
        alice.get("/keys/changes", params=params, status=400, errcode="M_MISSING_PARAM")


class Model:
    """What happened, step by step: after each one, who is in which room and how often whose keys had changed,
    for whom."""

    def __init__(self, clients: list[Client], rooms: list[str]):
        self.users = [client.user_id for client in clients]
        self.members = {room: set() for room in rooms}
        # By who sees the change, and whose it is.
        self.changes = {(viewer, user): 0 for viewer in self.users for user in self.users}
        self.history = []

    def record(self) -> int:
        self.history.append(
            ({room: set(members) for room, members in self.members.items()}, dict(self.changes))
        )
        return len(self.history) - 1

    def note_change(self, user: str, viewers: list[str] | None = None):
        for viewer in viewers or self.users:
            self.changes[viewer, user] += 1

    def shares(self, user: str, step: int) -> set:
        rooms = self.history[step][0].values()
        return {other for members in rooms if user in members for other in members} - {user}

    def expected(self, user: str, start: int, end: int) -> tuple[set, set]:
        before, after = self.shares(user, start), self.shares(user, end)
        changes = lambda step, other: self.history[step][1][user, other]
        changed = {other for other in after | {user} if changes(start, other) != changes(end, other)}
        # Who signed another user's master key sees that wherever they are.
        signed = {
            other for other in self.users if self.signed(user, other, start) != self.signed(user, other, end)
        }
        changed |= signed
        return changed | (after - before), before - after - changed

    def signed(self, viewer: str, user: str, step: int) -> int:
        """Changes that nobody else sees."""
        return self.history[step][1][viewer, user] - min(
            self.history[step][1][other, user] for other in self.users
        )


@pytest.mark.parametrize("seed", range(6))
def test_random_lives_against_the_definition(nodes, seed):
    chance = random.Random(seed)
    clients = [chance.choice(nodes).register(f"life{number}") for number in range(5)]
    settings = {"preset": "public_chat", "power_level_content_override": {"invite": 0}}
    rooms = [clients[0].create_room(**settings) for _ in range(3)]
    model = Model(clients, rooms)
    for room in rooms:
        model.members[room].add(clients[0].user_id)
    signing = [CrossSigning(client.user_id) for client in clients]
    for client, keys in zip(clients, signing, strict=True):
        client.post(UPLOAD, keys.upload())
        model.note_change(client.user_id)
    tokens = {client.user_id: [] for client in clients}

    def look(client: Client):
        step = model.record()
        known = tokens[client.user_id]
        since = (
            chance.choice(known)[1] if known and chance.random() < 0.5 else known[-1][1] if known else None
        )
        answer = client.sync(since)
        if since is not None:
            start = next(step for step, token in known if token == since)
            assert lists(answer) == model.expected(client.user_id, start, step)
        known.append((step, answer["next_batch"]))

    for client in clients:
        look(client)
    for _ in range(80):
        number = chance.randrange(len(clients))
        client, room = clients[number], chance.choice(rooms)
        members = model.members[room]
        match chance.choice(
            ["join", "join", "leave", "leave", "keys", "logout", "invite", "sign", "look", "look", "profile"]
        ):
            case "join":
                client.join(room)
                members.add(client.user_id)
            case "leave" if client.user_id in members and len(members) > 1:
                client.leave(room)
                members.remove(client.user_id)
            case "keys":
                Device(client).publish()
                model.note_change(client.user_id)
            case "logout":
                other = client.another_device()
                Device(other).publish()
                other.post("/logout")
                model.note_change(client.user_id)
            case "invite" if client.user_id in members:
                outside = [other for other in clients if other.user_id not in members]
                if outside:
                    client.invite(room, chance.choice(outside))
            case "sign":
                other = chance.choice([other for other in range(len(clients)) if other != number])
                master = signing[other].master_key()
                signed = signing[number].user_signing.sign(master, client.user_id)
                where = {signing[other].user_id: {signing[other].master.name: signed}}
                before = client.post("/keys/query", {"device_keys": {signing[other].user_id: []}})
                client.post(SIGN, where)
                if client.user_id not in before["master_keys"][signing[other].user_id].get("signatures", {}):
                    model.note_change(signing[other].user_id, [client.user_id])
            case "profile":
                client.put(
                    path("profile", client.user_id, "displayname"), {"displayname": f"n{chance.random()}"}
                )
            case "look":
                look(client)
    for client in clients:
        look(client)
        known = tokens[client.user_id]
        for _ in range(12):
            (start, from_token), (end, to_token) = sorted(chance.choices(known, k=2))
            answer = client.get("/keys/changes", params={"from": from_token, "to": to_token})
            assert lists({"device_lists": answer}) == model.expected(client.user_id, start, end)


def test_pruning_keeps_each_users_newest_change(node, shared_database, alice, bob, room):
    alice.next()
    nid = "(select user_nid from matriarch.users where user_id = %s)"
    for _ in range(3):
        Device(bob).publish()
    with shared_database.connect() as connection:
        connection.execute(
            (
                f"update matriarch.device_list_changes set created_at = now() - interval '100 days' "
                f"where user_nid = {nid}"
            ),
            [bob.user_id],
        )
        connection.execute("set role matriarch_api")
        connection.execute("select matriarch.prune_keys()")
    assert shared_database.query(
        f"select count(*) from matriarch.device_list_changes where user_nid = {nid}", [bob.user_id]
    ) == [(1,)]
    assert lists(alice.next()) == ({bob.user_id}, set())
