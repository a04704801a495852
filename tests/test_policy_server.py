"""Rooms that use a policy server."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import new_txn_id, path, timeline
from harness.policy_server import POLICY_KEY_ID, PolicyServer
from harness.recording import RecordingServer
from harness.remote_server import adopt
from harness.waiting import eventually, eventually_passes

FORBIDDEN = 400, {"errcode": "M_FORBIDDEN", "error": "This looks like spam"}


@pytest.fixture(scope="module")
def server(servers):
    return servers[0]


@pytest.fixture
def policy(server, authority):
    policy = PolicyServer(authority)
    policy.publish(server.database)
    yield policy
    policy.close()


def policy_room(server, policy, alice, **options) -> str:
    room = alice.create_room(preset="public_chat", **options)
    policy.set_membership(server.database, room, policy.user("bot"))
    alice.send_state(room, "m.room.policy", policy.content)
    assert policy.asked_to_sign == []
    return room


def stored(server, event_id):
    rows = server.database.query(
        "select status, status_reason, json::json from matrix.events where event_id = %s", [event_id]
    )
    return rows[0] if rows else (None, None, None)


def send_raw(alice, room, body, txn_id=None, **options):
    where = path("rooms", room, "send", "m.room.message", txn_id or new_txn_id())
    return alice.put(where, {"msgtype": "m.text", "body": body}, **options)


def test_events_are_signed_before_they_are_sent(server, policy):
    alice = server.register("alice")
    room = policy_room(server, policy, alice)
    alice.next()
    txn_id = new_txn_id()
    event_id = send_raw(alice, room, "hello", txn_id)["event_id"]
    status, _, event = stored(server, event_id)
    assert status == "accepted" and set(event["signatures"]) == {server.name, policy.name}
    assert event["signatures"][policy.name] == policy.recommendation(event)[policy.name]
    (asked,) = policy.asked_to_sign
    assert {**asked, "signatures": 0} == {**event, "signatures": 0} and set(asked["signatures"]) == {
        server.name
    }
    # The client knows it by its transaction id, and may repeat the request.
    (shown,) = timeline(alice.next(), room)
    assert shown["event_id"] == event_id and shown["unsigned"]["transaction_id"] == txn_id
    assert send_raw(alice, room, "hello", txn_id)["event_id"] == event_id
    assert len(policy.asked_to_sign) == 1
    # So it goes to other servers.
    eventually(lambda: any(pdu["content"].get("body") == "hello" for pdu in policy.pdus))
    (sent,) = [pdu for pdu in policy.pdus if pdu["content"].get("body") == "hello"]
    assert sent["signatures"] == event["signatures"]
    assert server.database.query("select * from matrix.verify_room(%s)", [room]) == []


def test_what_the_policy_server_refuses(server, policy):
    alice = server.register("alice")
    room = policy_room(server, policy, alice)
    policy.refusal = lambda event: FORBIDDEN if "spam" in str(event["content"]) else None
    answer = send_raw(alice, room, "spam", status=400, errcode="M_FORBIDDEN")
    assert answer["error"] == "This looks like spam"
    alice.put(
        path("rooms", room, "state", "m.room.name", ""), {"name": "spam"}, status=400, errcode="M_FORBIDDEN"
    )
    assert send_raw(alice, room, "ham")
    assert "spam" not in str(alice.history(room))
    assert server.database.query("select * from matrix.verify_room(%s)", [room]) == []


def test_all_kinds_of_events(server, policy):
    alice, bob = server.register("alice"), server.register("bob")
    room = policy_room(server, policy, alice)
    kinds = lambda: [(asked["type"], asked["content"].get("membership")) for asked in policy.asked_to_sign]
    assert bob.join(room) == {"room_id": room}
    assert bob.leave(room) == {}
    assert alice.invite(room, bob) == {}
    assert alice.post(path("rooms", room, "kick"), {"user_id": bob.user_id}) == {}
    assert kinds() == [("m.room.member", membership) for membership in ("join", "leave", "invite", "leave")]
    event_id = alice.send(room, "hello")
    alice.send_state(room, "m.room.topic", {"topic": "t"})
    alice.redact(room, event_id)
    alice.send_state(room, "m.room.policy", policy.content, "not empty")
    assert [kind for kind, _ in kinds()[4:]] == [
        "m.room.message",
        "m.room.topic",
        "m.room.redaction",
        "m.room.policy",
    ]
    # That which names it is not its affair.
    alice.send_state(room, "m.room.policy", {})
    alice.send(room, "hello")
    assert len(kinds()) == 8


def policed(client, room, policy, type, state_key="", content=None):
    """The current state event, once it has this content and the policy server's signature."""

    def is_there():
        event = client.get(path("rooms", room, "state", type, state_key), params={"format": "event"})
        return event if content is None or event["content"] == content else None

    event = eventually(is_there)
    assert any(
        asked["type"] == type and asked["content"] == event["content"] for asked in policy.asked_to_sign
    )
    return event


def test_changes_of_profiles(server, policy):
    alice, bob = server.register("alice"), server.register("bob")
    rooms = [policy_room(server, policy, alice) for _ in range(3)] + [alice.create_room(preset="public_chat")]
    alice.put(path("profile", alice.user_id, "displayname"), {"displayname": "Alice"})
    for room in rooms:
        assert alice.state(room, "m.room.member", alice.user_id)["displayname"] == "Alice"
    assert sorted(asked["room_id"] for asked in policy.asked_to_sign) == sorted(rooms[:3])
    # Where it is refused, the room keeps what it has.
    policy.refusal = lambda event: FORBIDDEN if event["content"].get("displayname") == "Spam" else None
    alice.put(path("profile", alice.user_id, "displayname"), {"displayname": "Spam"})
    assert bob.get(path("profile", alice.user_id)) == {"displayname": "Spam"}
    names = [alice.state(room, "m.room.member", alice.user_id)["displayname"] for room in rooms]
    assert names == ["Alice", "Alice", "Alice", "Spam"]
    for room in rooms:
        assert server.database.query("select * from matrix.verify_room(%s)", [room]) == []


def wait(event: threading.Event):
    """For `refusal`: signs once the event is set."""
    assert event.wait(10)


def test_changes_of_a_profile_at_once(server, policy):
    alice = server.register("alice")
    room = policy_room(server, policy, alice)
    # The first is signed last.
    over = threading.Event()
    policy.refusal = lambda event: None if "avatar_url" in event["content"] else wait(over)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(
            alice.put, path("profile", alice.user_id, "displayname"), {"displayname": "Alice"}
        )
        eventually(lambda: policy.asked_to_sign)
        alice.put(path("profile", alice.user_id, "avatar_url"), {"avatar_url": "mxc://test.example/a"})
        over.set()
        first.result()
    assert len(policy.asked_to_sign) == 2
    content = alice.state(room, "m.room.member", alice.user_id)
    assert (content["displayname"], content["avatar_url"]) == ("Alice", "mxc://test.example/a")
    # As well the other way round.
    over.clear()
    begun = threading.Event()

    def refusal(event):
        if event["content"].get("displayname") == "Alicia":
            begun.set()
            wait(over)
        else:
            wait(begun)

    policy.refusal = refusal
    with ThreadPoolExecutor() as pool:
        first = pool.submit(
            alice.put, path("profile", alice.user_id, "avatar_url"), {"avatar_url": "mxc://test.example/b"}
        )
        first.add_done_callback(lambda _: over.set())
        eventually(lambda: len(policy.asked_to_sign) == 3)
        alice.put(path("profile", alice.user_id, "displayname"), {"displayname": "Alicia"})
        first.result()
    content = alice.state(room, "m.room.member", alice.user_id)
    assert content["displayname"] == "Alicia"
    assert server.database.query("select * from matrix.verify_room(%s)", [room]) == []


def test_a_member_who_left_meanwhile(server, policy):
    """A change of the profile that waits for its signature does not bring back who has left."""
    alice, bob = server.register("alice"), server.register("bob")
    room = policy_room(server, policy, alice)
    bob.join(room)

    def refusal(event):
        if event["content"].get("displayname"):
            assert bob.leave(room) == {}

    policy.refusal = refusal
    bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob"})
    # The request ends when its events were signed and tried.
    assert alice.state(room, "m.room.member", bob.user_id)["membership"] == "leave"


def test_deactivation(server, policy):
    alice, bob = server.register("alice"), server.register("bob")
    rooms = [policy_room(server, policy, alice) for _ in range(2)]
    for room in rooms:
        bob.join(room)
    # What one policy server refuses keeps nobody in other rooms, and ends the account all the same.
    policy.refusal = lambda event: FORBIDDEN if event["room_id"] == rooms[0] else None
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": bob.user_id},
        "password": bob.password,
    }
    bob.post("/account/deactivate", {"auth": auth})
    memberships = [alice.state(room, "m.room.member", bob.user_id)["membership"] for room in rooms]
    assert memberships == ["join", "leave"]
    bob.get("/account/whoami", status=401, errcode="M_UNKNOWN_TOKEN")


def test_aliases(server, policy):
    alice = server.register("alice")
    name = alice.user_id[1:].split(":")[0]
    room = policy_room(server, policy, alice, room_alias_name=name)
    alice.delete(path("directory", "room", f"#{name}:{server.name}"))
    policed(alice, room, policy, "m.room.canonical_alias", content={})


@pytest.mark.parametrize(("old", "new"), [("11", "11"), ("11", "12"), ("12", "12"), ("12", "11")])
def test_room_upgrades(server, policy, old, new):
    alice = server.register("alice")
    name = alice.user_id[1:].split(":")[0]
    room = policy_room(server, policy, alice, room_version=old, room_alias_name=name, visibility="public")
    upgrade = lambda **options: alice.post(path("rooms", room, "upgrade"), {"new_version": new}, **options)
    policy.refusal = lambda event: FORBIDDEN if event["type"] == "m.room.tombstone" else None
    upgrade(status=400, errcode="M_FORBIDDEN")
    alice.state(room, "m.room.tombstone", status=404, errcode="M_NOT_FOUND")
    assert len(alice.get("/joined_rooms")["joined_rooms"]) == 1
    assert alice.get(path("directory", "list", "room", room)) == {"visibility": "public"}
    policy.refusal = lambda event: None
    replacement = upgrade()["replacement_room"]
    tombstone = policed(alice, room, policy, "m.room.tombstone")
    assert tombstone["content"]["replacement_room"] == replacement
    create = alice.state(replacement, "m.room.create")
    assert create["predecessor"] == {"room_id": room} | (
        {"event_id": tombstone["event_id"]} if new == "11" else {}
    )
    assert alice.get(path("directory", "list", "room", replacement)) == {"visibility": "public"}
    policed(alice, room, policy, "m.room.canonical_alias", content={})
    eventually(lambda: alice.state(room, "m.room.power_levels")["events_default"] == 50)
    policed(alice, room, policy, "m.room.power_levels")
    for one in (room, replacement):
        assert server.database.query("select * from matrix.verify_room(%s)", [one]) == []


def test_rooms_that_use_none(server, policy):
    alice = server.register("alice")
    without_key = {"via": policy.name, "public_keys": {}}
    elsewhere = {**policy.content, "via": "nowhere.example"}
    for content in (
        {},
        without_key,
        elsewhere,
        {**policy.content, "via": 5},
        {**policy.content, "via": server.name},
    ):
        room = alice.create_room(preset="public_chat")
        policy.set_membership(server.database, room, policy.user("bot"))
        alice.send_state(room, "m.room.policy", content)
        alice.send(room, "hello")
    room = policy_room(server, policy, alice)
    policy.set_membership(server.database, room, policy.user("bot"), "leave")
    alice.send(room, "hello")
    assert policy.asked_to_sign == []


def test_a_policy_server_that_is_away(server, policy):
    alice = server.register("alice")
    room = policy_room(server, policy, alice)
    policy.refusal = lambda event: (503, {"errcode": "M_UNKNOWN", "error": "Later."})
    send_raw(alice, room, "one", status=502, errcode="M_UNKNOWN")
    assert len(policy.asked_to_sign) == 1
    # It is left alone for a while.
    policy.refusal = lambda event: None
    send_raw(alice, room, "two", status=502, errcode="M_UNKNOWN")
    assert len(policy.asked_to_sign) == 1
    eventually_passes(lambda: send_raw(alice, room, "three"))
    assert [
        event["content"].get("body") for event in alice.history(room) if event["type"] == "m.room.message"
    ] == ["three"]


def test_answers_that_are_no_signatures(server, policy):
    alice = server.register("alice")
    room = policy_room(server, policy, alice)
    wrong = {policy.name: {POLICY_KEY_ID: "A" * 86}}
    for answer, status in (
        ({}, 502),
        ({policy.name: {}}, 502),
        ({policy.name: {POLICY_KEY_ID: 5}}, 502),
        (wrong, 403),
    ):
        policy.refusal = lambda event, answer=answer: (200, answer)
        send_raw(alice, room, "hello", status=status)
    assert "hello" not in str(alice.history(room))


def deliver(server, sender, pdu):
    body = {"origin": sender.name, "origin_server_ts": 0, "pdus": [pdu.json], "edus": []}
    answer = sender.request(
        server.node, "PUT", f"/_matrix/federation/v1/send/{new_txn_id()}", body, destination=server.name
    )
    assert answer.json() == {"pdus": {pdu.event_id: {}}}


def test_events_of_other_servers(server, policy, authority):
    other = RecordingServer(authority)
    other.publish(server.database)
    alice, carol = server.register("alice"), other.user("carol")
    room_id = alice.create_room(preset="public_chat")
    policy.set_membership(server.database, room_id, policy.user("bot"))
    other.set_membership(server.database, room_id, carol)
    alice.send_state(room_id, "m.room.policy", policy.content)
    room = adopt(server.database, room_id, [other, policy])
    other.learn(room)
    policy.refusal = lambda event: FORBIDDEN if "spam" in str(event["content"]) else None

    signed = room.message(carol, "signed before")
    policy.recommend(signed.json)
    deliver(server, other, signed)
    eventually(lambda: stored(server, signed.event_id)[0] == "accepted")
    assert policy.asked_to_sign == []
    # For want of a signature the policy server is asked.
    unsigned = room.message(carol, "signed since")
    deliver(server, other, unsigned)
    eventually(lambda: stored(server, unsigned.event_id)[0] == "accepted")
    assert (
        stored(server, unsigned.event_id)[2]["signatures"][policy.name]
        == policy.recommendation(unsigned.json)[policy.name]
    )
    assert len(policy.asked_to_sign) == 1
    # So for a wrong one.
    wrong = room.message(carol, "wrongly signed")
    wrong.json["signatures"][policy.name] = {POLICY_KEY_ID: "A" * 86}
    deliver(server, other, wrong)
    eventually(lambda: stored(server, wrong.event_id)[0] == "accepted")
    refused = room.message(carol, "spam")
    deliver(server, other, refused)
    eventually(lambda: stored(server, refused.event_id)[0] == "soft-failed")
    assert policy.name in stored(server, refused.event_id)[1] and len(policy.asked_to_sign) == 3
    # What follows it is judged by itself.
    after = room.message(policy.user("bot"), "after it")
    deliver(server, policy, after)
    eventually(lambda: stored(server, after.event_id)[0] == "accepted")
    bodies = [
        event["content"].get("body") for event in alice.history(room_id) if event["type"] == "m.room.message"
    ]
    assert bodies == ["signed before", "signed since", "wrongly signed", "after it"]
    other.close()


def test_two_servers(servers, policy):
    one, two = servers
    policy.publish(two.database)
    alice, bob = one.register("alice"), two.register("bob")
    room = policy_room(one, policy, alice)
    bob.join(room, params={"via": one.name})
    eventually(lambda: state_of(bob, room) is not None)
    asked = len(policy.asked_to_sign)
    event_id = bob.send(room, "hello")
    eventually(lambda: stored(one, event_id)[0] == "accepted")
    assert len(policy.asked_to_sign) == asked + 1
    # An invite is signed by all three.
    carol = two.register("carol")
    alice.invite(room, carol)
    carol.sync_until(lambda answer: room in answer["rooms"].get("invite", {}))
    statement = (
        "select json::json from matrix.events where room_id = %s and type = 'm.room.member' "
        "and state_key = %s"
    )
    ((invite,),) = one.database.query(statement, [room, carol.user_id])
    assert set(invite["signatures"]) == {one.name, two.name, policy.name}


def state_of(client, room):
    events = client.get(path("rooms", room, "state"))
    return next((event for event in events if event["type"] == "m.room.policy"), None)
