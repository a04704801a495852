"""What other servers send: events with all that they need, and EDUs, from servers that keep to the rules and
others."""

import threading
import time
from urllib.parse import quote

import httpx
import pytest

from harness.client import path, timeline
from harness.peer import KEPT, KEY_ID, Pdu
from harness.remote_server import adopt
from harness.shared_room import Shared
from harness.verify import verify
from harness.waiting import eventually

# Transactions


def test_events_come_into_their_room(shared):
    messages = [shared.room.message(shared.bob, f"message {number}") for number in range(50)]
    answer = shared.send(messages)
    assert answer == {"pdus": {pdu.event_id: {} for pdu in messages}}
    shared.wait(messages)
    seen = []
    shared.alice.sync_until(
        lambda answer: (
            seen.extend(
                event["content"].get("body")
                for event in answer.get("rooms", {})
                .get("join", {})
                .get(shared.room_id, {})
                .get("timeline", {})
                .get("events", [])
            )
            or "message 49" in seen
        )
    )
    shared.settled()


def shown(shared) -> set[str]:
    """The ids of the events of the room that Alice gets, if all her endpoints that read it agree."""
    alice, room = shared.alice, shared.room_id
    by_pages = {event["event_id"] for event in alice.history(room)}
    section = alice.sync(filter={"room": {"timeline": {"limit": 100}}})["rooms"]["join"][room]
    assert {event["event_id"] for event in section["timeline"]["events"]} == by_pages
    old = alice.get(path("rooms", room, "initialSync"), params={"limit": 100})["messages"]["chunk"]
    assert {event["event_id"] for event in old} == by_pages
    join = alice.get(path("rooms", room, "context", shared.join.event_id), params={"limit": 100})
    around = {event["event_id"] for event in join["events_before"] + join["events_after"]}
    assert around == by_pages - {shared.join.event_id}
    return by_pages


# What redaction keeps of contents before room version 11, where it differs.
KEPT_BEFORE_11 = {
    "m.room.create": ["creator"],
    "m.room.power_levels": [key for key in KEPT["m.room.power_levels"] if key != "invite"],
    "m.room.redaction": [],
}


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_clients_get_a_redaction_when_it_takes_effect(home, remote_servers, version, monkeypatch):
    if version == "10":
        for event_type, kept in KEPT_BEFORE_11.items():
            monkeypatch.setitem(KEPT, event_type, kept)
    server, neighbor = remote_servers(2)
    shared = Shared(home, server, room_version=version)
    room, alice = shared.room, shared.alice
    room.peers[neighbor.name] = neighbor
    carol = neighbor.user("carol")
    join = room.join(carol)
    own, of_alice = room.message(shared.bob), alice.send(shared.room_id, "stays")

    def redaction(sender, target, **extra) -> Pdu:
        content = {"redacts": target} if version != "10" else {}
        event, state = room.template(sender, "m.room.redaction", content)
        if version == "10":
            event["redacts"] = target
        event |= extra
        room.peer_of(sender).sign(event)
        pdu = Pdu(event, state)
        room.head = [pdu]
        return pdu

    mention = {"m.mentions": {"user_ids": [alice.user_id]}}
    without = [
        redaction(carol, own.event_id),
        redaction(shared.bob, of_alice),
        redaction(carol, of_alice),
        redaction(shared.bob, "$of another room"),
        redaction(shared.bob, "$" + "".join(map(chr, range(48, 0x3000)))),
        # What the room version does not read, clients might.
        redaction(shared.bob, None, **({"content": {"redacts": of_alice, **mention}} if version == "10"
                                       else {"redacts": of_alice, "content": mention})),
    ]  # fmt: skip
    missing = room.make(shared.bob, "m.room.message", {"msgtype": "m.text", "body": "gone"}, prev=[join])
    early = redaction(shared.bob, missing.event_id)
    hidden = {pdu.event_id for pdu in [*without, early]}
    shared.send([join, own])
    shared.wait([join, own])
    before = shown(shared)
    unread = alice.sync()["rooms"]["join"][shared.room_id]["unread_notifications"]
    alice.next()
    server.hooks["get_missing_events"] = lambda *_: (200, {"events": []})
    shared.send([*without, early])
    shared.wait([*without, early])
    assert shown(shared) == before
    assert alice.sync()["rooms"]["join"][shared.room_id]["unread_notifications"] == unread
    assert alice.event(shared.room_id, of_alice)["content"]["body"] == "stays"
    for pdu in [*without, early]:
        alice.event(shared.room_id, pdu.event_id, status=404, errcode="M_NOT_FOUND")
        receipt = path("rooms", shared.room_id, "receipt", "m.read", pdu.event_id)
        alice.post(receipt, status=404, errcode="M_NOT_FOUND")
    # Other servers judge for themselves.
    where = f"/_matrix/federation/v1/event/{quote(without[0].event_id, safe='')}"
    assert server.get(shared.node, where)["pdus"] == [without[0].json]

    # The target of one is received: both are shown, the redaction as new.
    after = room.message(shared.bob, "after it")
    shared.send([after])
    shared.wait([after])
    alice.next()
    shared.send([missing])
    answer = alice.sync_until(lambda answer: timeline(answer, shared.room_id))
    target, redaction_ = timeline(answer, shared.room_id)
    assert (target["event_id"], redaction_["event_id"]) == (missing.event_id, early.event_id)
    assert target["content"] == {} and redaction_["redacts"] == missing.event_id
    assert target["unsigned"]["redacted_because"]["event_id"] == early.event_id
    # Where the event names two targets, clients get the one that the room version reads.
    extra = {"content": {"redacts": of_alice}} if version == "10" else {"redacts": of_alice}
    double = redaction(shared.bob, own.event_id, **extra)
    shared.send([double])
    answer = alice.sync_until(lambda answer: timeline(answer, shared.room_id))
    (event,) = timeline(answer, shared.room_id)
    assert event["redacts"] == event["content"]["redacts"] == own.event_id
    assert shown(shared) == before | {after.event_id, missing.event_id, early.event_id, double.event_id}
    assert alice.event(shared.room_id, of_alice)["content"]["body"] == "stays"
    shared.settled()
    assert hidden & shown(shared) == {early.event_id}
    assert verify(shared.database, shared.room_id) == []


def test_a_sleeping_sync_wakes(shared):
    shared.alice.next()
    timer = threading.Timer(0.5, lambda: shared.send([shared.room.message(shared.bob, "wake up")]))
    timer.start()
    started = time.monotonic()
    answer = shared.alice.next(timeout=20000)
    assert answer["rooms"]["join"][shared.room_id]["timeline"]["events"][-1]["content"]["body"] == "wake up"
    assert time.monotonic() - started < 5


def test_limits_of_a_transaction(shared):
    message = shared.room.message(shared.bob)
    typing = ("m.typing", {"room_id": shared.room_id, "user_id": shared.bob, "typing": True})
    shared.send([message.json] * 51, status=400, errcode="M_BAD_JSON")
    shared.send([], [typing] * 101, status=400, errcode="M_BAD_JSON")
    shared.send([message.json] * 50, [typing] * 100)
    shared.wait([message])


def test_a_repeated_transaction_does_nothing(shared, home):
    device = shared.alice.device_id
    edu = ("m.direct_to_device", {
        "sender": shared.bob, "type": "org.example", "message_id": "first",
        "messages": {shared.alice.user_id: {device: {"n": 1}}},
    })  # fmt: skip
    message = shared.room.message(shared.bob)
    bad = {**message.json, "room_id": "!elsewhere:example.org"}
    first = shared.send([message, bad], [edu], txn_id="same")
    assert len(first["pdus"]) == 2
    for node in home:
        assert shared.server.transaction(node, [], [], txn_id="same") == first
    shared.wait([message])
    events = shared.alice.next()["to_device"]["events"]
    assert [event["content"] for event in events] == [{"n": 1}]
    # The id means something to the pair of servers only.
    assert shared.server.transaction(home[0], [], [], txn_id="other") == {"pdus": {}}


def test_what_is_refused_at_once(shared):
    message = shared.room.message(shared.bob)
    elsewhere = adopt(shared.database, shared.room_id, [shared.server])
    elsewhere.room_id = "!unknown:example.org"
    other = elsewhere.message(shared.bob, prev=shared.room.head)
    nothing = {"type": "m.room.message"}
    answer = shared.send([other, nothing, "text", 7, message])
    assert answer["pdus"][message.event_id] == {}
    assert "not in the room" in answer["pdus"][other.event_id]["error"]
    shared.wait([message])
    shared.alice.send_state(shared.room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["LOCALHOST"]})
    denied = shared.room.message(shared.bob)
    read = {"event_ids": [message.event_id], "data": {"ts": 1}}
    answer = shared.send([denied], [
        ("m.typing", {"room_id": shared.room_id, "user_id": shared.bob, "typing": True}),
        ("m.receipt", {shared.room_id: {"m.read": {shared.bob: read}}}),
    ])  # fmt: skip
    assert "access control" in answer["pdus"][denied.event_id]["error"]
    joined = shared.alice.next()["rooms"]["join"][shared.room_id]
    assert not joined.get("ephemeral", {}).get("events")
    assert shared.status(denied.event_id) is None


def test_rooms_that_this_server_left(shared):
    shared.alice.leave(shared.room_id)
    message = shared.room.message(shared.bob)
    assert "not in the room" in shared.send([message])["pdus"][message.event_id]["error"]


def test_unsigned_requests(shared, home):
    response = httpx.put(f"{home[0].url}/_matrix/federation/v1/send/1", json={"pdus": []})
    assert response.status_code == 401


# What events need


def test_missing_events_are_fetched(shared):
    messages = [shared.room.message(shared.bob, f"{number}") for number in range(15)]
    shared.send(messages[-1:])
    shared.wait(messages)
    assert len(shared.server.asked_for("get_missing_events")) == 1
    asked = shared.server.asked_for("get_missing_events")[0][3]
    assert asked["latest_events"] == [messages[-1].event_id]
    assert shared.server.asked_for("state_ids") == []
    order = shared.alice.history(shared.room_id, 100)
    shown = [event["content"]["body"] for event in order if event["type"] == "m.room.message"]
    assert sorted(shown) == sorted(str(number) for number in range(15))


def test_a_long_gap_is_passed_over_by_a_state(shared):
    messages = [shared.room.message(shared.bob, f"{number}") for number in range(450)]
    topic = shared.room.send(shared.bob, "m.room.topic", {"topic": "unallowed"}, "")
    last = shared.room.message(shared.bob, "last", state=messages[-1].state)
    shared.send([last])
    shared.wait([last])
    assert len(shared.server.asked_for("get_missing_events")) == 20
    assert len(shared.server.asked_for("state_ids")) == 1
    assert shared.status(messages[0].event_id) is None
    assert shared.status(topic.event_id) == "rejected"


def test_a_gap_that_is_passed_over_ends_at_an_auth_event(shared):
    """What is too far behind to be fetched as history may be needed as state, and to allow an event."""
    names = [
        shared.room.send(
            shared.bob, "m.room.member", {"membership": "join", "displayname": str(number)}, shared.bob
        )
        for number in range(450)
    ]
    last = shared.room.message(shared.bob, "last")
    shared.send([last])
    shared.wait([last, names[-1]], seconds=90)
    assert shared.status(names[30].event_id) == "outlier"
    assert len(shared.server.asked_for("get_missing_events")) == 20


def test_a_missed_join_is_fetched_as_auth_event(shared):
    carol = shared.server.user("carol")
    join = shared.room.join(carol)
    shared.server.hooks["get_missing_events"] = lambda *_: (200, {"events": []})
    message = shared.room.message(carol, "hello")
    shared.send([message])
    shared.wait([join, message])
    assert len(shared.server.asked_for("event_auth")) == 1


def test_what_a_server_that_is_gone_said_is_had_of_another(shared, remote_servers):
    """Neither that server nor the one that cites it gives it."""
    gone, other = remote_servers(2)
    for server in (gone, other):
        shared.room.peers[server.name] = server
        server.learn(shared.room)
    joins = [shared.room.join(gone.user("dave")), shared.room.join(other.user("carol"))]
    shared.send(joins)
    shared.wait(joins)
    gone.close()
    said = shared.room.message(gone.user("dave"), "my last words")
    message = shared.room.message(shared.bob, "did you hear that?")
    shared.server.hooks["get_missing_events"] = lambda *_: (200, {"events": []})
    shared.server.hooks["event"] = lambda *_: (404, {"errcode": "M_NOT_FOUND", "error": "Not here."})
    shared.send([message])
    shared.wait([said, message])
    assert shared.server.asked_for("state_ids") == []


def test_auth_events_that_come_one_by_one(shared):
    """Of two auth events the one is there before the other, which needs another yet."""
    room, server = shared.room, shared.server
    carol, dave = server.user("carol"), server.user("dave")
    shared.alice.send_state(shared.room_id, "m.room.power_levels", {"users": {dave: 50}})
    shared.room = room = adopt(shared.database, shared.room_id, [server])
    server.learn(room)
    joins = [room.join(carol), room.join(dave)]
    kept = room.send(dave, "m.room.power_levels", {"users": {dave: 50, carol: 10}}, "")
    server.hooks["event_auth"] = lambda *_: (404, {"errcode": "M_NOT_FOUND", "error": "Not here."})
    server.hooks["get_missing_events"] = lambda *_: (200, {"events": []})
    message = room.message(carol, "hello")
    shared.send([message])
    shared.wait([*joins, kept, message])


def test_keys_of_several_servers(shared, remote_servers):
    others = remote_servers(4)
    for other in others:
        shared.room.peers[other.name] = other
    dead = others.pop()
    dead.close()
    joins = [shared.room.join(other.user("user")) for other in others]
    # By `bob`'s server, which has seen them join.
    assert set(shared.send(joins)["pdus"]) == {join.event_id for join in joins}
    shared.wait(joins)
    lost = shared.room.join(dead.user("user"))
    shared.send([lost])
    eventually(shared.error)
    assert dead.name in shared.error()


def test_a_server_that_is_away_is_asked_again(shared):
    message = shared.room.message(shared.bob, "between")
    last = shared.room.message(shared.bob, "last")
    shared.server.hooks["get_missing_events"] = lambda *_: (503, {"errcode": "M_UNKNOWN", "error": "later"})
    shared.server.hooks["event"] = lambda *_: (503, {"errcode": "M_UNKNOWN", "error": "later"})
    shared.send([last])
    eventually(shared.error)
    assert "503" in shared.error()
    shared.server.hooks.clear()
    # What comes meanwhile does not wait for it.
    shared.database.query("update matriarch.inbound_pdus set next_try_at = now()")
    shared.database.query("update matriarch.inbound_queues set next_try_at = now()")
    shared.wait([message, last])
    shared.settled()


def later(*_):
    return 503, {"errcode": "M_UNKNOWN", "error": "later"}


def lost_for_an_hour(shared, pdu):
    """Sends an event whose previous events cannot be had, and lets it wait for long."""
    for endpoint in ("get_missing_events", "event", "state_ids", "state"):
        shared.server.hooks[endpoint] = later
    shared.send([pdu])
    eventually(shared.error)
    shared.database.query("update matriarch.inbound_pdus set next_try_at = now() + interval '1 hour'")
    shared.database.query("update matriarch.inbound_queues set next_try_at = now() + interval '1 hour'")


def test_an_event_that_is_sent_again_is_due(shared):
    missing = shared.room.message(shared.bob, "missing")
    waiting = shared.room.message(shared.bob, "waiting")
    lost_for_an_hour(shared, waiting)
    shared.server.hooks.clear()
    shared.send([waiting])
    shared.wait([missing, waiting])
    shared.settled()


def test_what_waits_for_an_event_is_due_when_it_comes(shared):
    missing = shared.room.message(shared.bob, "missing")
    waiting = shared.room.message(shared.bob, "waiting")
    lost_for_an_hour(shared, waiting)
    shared.send([missing])
    shared.wait([missing, waiting])
    shared.settled()


def renamed(shared, times: int) -> list:
    """Changes of a name, each of which has the one before it among its auth events."""

    def change(number):
        content = {"membership": "join", "displayname": f"Bob {number}"}
        return shared.room.send(shared.bob, "m.room.member", content, shared.bob)

    return [change(number) for number in range(times)]


def test_auth_events_come_with_the_gap_that_they_lie_in(shared):
    changes = renamed(shared, 100)
    shared.server.hooks["event_auth"] = shared.server.hooks["event"] = later
    shared.send(changes[-1:])
    shared.wait(changes, seconds=60)
    assert len(shared.server.asked_for("get_missing_events")) == 5
    assert shared.server.asked_for("event_auth") == []
    shared.settled()


def test_rounds_that_are_spent_on_failures_lose_no_event(shared):
    changes = renamed(shared, 60)
    shared.server.hooks["event_auth"] = shared.server.hooks["get_missing_events"] = later
    shared.send(changes[-1:])
    # One event in each round, and then there are no more rounds.
    eventually(lambda: "rounds" in (shared.error() or ""), seconds=60)
    shared.server.hooks.clear()
    shared.send(changes[-1:])
    shared.wait(changes, seconds=60)
    shared.settled()


# Hostile servers


def forged(pdu, **changes):
    return {**pdu.json, **changes}


def test_forged_events(shared, remote_servers):
    (other,) = remote_servers()
    shared.room.peers[other.name] = other
    mallory = other.user("mallory")
    join = shared.room.join(mallory)
    messages = [
        shared.room.message(shared.bob, f"{number}", prev=[join], state=join.state) for number in range(4)
    ]
    wrong_signature = forged(messages[0], signatures={shared.server.name: {KEY_ID: "A" * 86}})
    wrong_key = forged(messages[1], signatures={shared.server.name: {"ed25519:none": "A" * 86}})
    wrong_hash = forged(messages[2], content={"body": "never said"})
    other.transaction(shared.node, [join, wrong_signature, wrong_key, wrong_hash])
    shared.settled()
    assert shared.status(messages[0].event_id) is None
    assert shared.status(messages[1].event_id) is None
    content = "select content from matrix.events where event_id = %s"
    assert shared.database.query(content, [messages[2].event_id]) == [({},)]
    # The true form counts though a forged one came first.
    shared.send(messages[:2])
    shared.wait(messages[:2])


def test_events_of_other_rooms(shared, home):
    other = Shared(home, shared.server)
    stray = other.room.message(other.bob)
    shared.server.hooks["get_missing_events"] = lambda *_: (200, {"events": [stray.json]})
    shared.server.hooks["event"] = lambda *_: (200, {"pdus": [stray.json]})
    shared.room.message(shared.bob, "lost")
    last = shared.room.message(shared.bob, "last")
    shared.send([last])
    shared.wait([last])
    shared.settled()
    assert other.status(stray.event_id) is None


def test_endless_missing_events(shared):
    """Each answer names more events that are missing, up to 20,000."""
    made = [0]

    def more(handler, parts, query, body):
        made[0] += 1
        assert made[0] < 20_000
        room = shared.room
        events = [
            room.make(
                shared.bob, "m.room.message", {"body": f"{made[0]}"}, prev=[fake], state=shared.join.state
            )
            for fake in [Unknown(made[0])]
        ]
        return 200, {"events": [pdu.json for pdu in events]}

    shared.server.hooks["get_missing_events"] = more
    shared.server.hooks["event"] = lambda *_: (404, {})
    shared.server.hooks["state_ids"] = lambda *_: (404, {})
    shared.server.hooks["state"] = lambda *_: (404, {})
    last = shared.room.make(
        shared.bob, "m.room.message", {"body": "last"}, prev=[Unknown(0)], state=shared.join.state
    )
    good = shared.room.make(shared.bob, "m.room.message", {"body": "good"}, prev=[shared.join])
    started = time.monotonic()
    shared.send([last])
    shared.send([good])
    shared.wait([good])
    shared.settled()
    assert time.monotonic() - started < 30
    assert made[0] <= 20
    assert shared.status(last.event_id) is None


class Unknown:
    """An event that nobody has."""

    def __init__(self, number):
        self.event_id = f"${number:043}"
        self.state = {}
        self.json = {"depth": 10}


def test_endless_auth_chain(shared):
    """Each auth event cites another one that is not known."""
    room, bob = shared.room, shared.bob
    made = {}

    def event(handler, parts, query, body):
        pdu = made.get(parts[0])
        return (200, {"pdus": [pdu.json]}) if pdu else (404, {})

    chain = [Unknown(1)]
    for number in range(300):
        auth = [shared.room.pdus[2], chain[-1]]
        pdu = room.make(
            bob, "org.example", {"n": number}, "", prev=[shared.join], state=shared.join.state, auth=auth
        )
        made[pdu.event_id] = pdu
        chain.append(pdu)
    shared.server.hooks["event"] = event
    shared.server.hooks["event_auth"] = lambda *_: (200, {"auth_chain": []})
    bad = room.make(
        bob,
        "m.room.message",
        {"body": "bad"},
        prev=[shared.join],
        auth=[*[*shared.join.state.values()][:1], chain[-1]],
    )
    shared.send([bad])
    shared.settled(60)
    assert shared.status(bad.event_id) is None
    assert all(shared.status(pdu.event_id) is None for pdu in made.values())
    assert len(shared.server.asked_for("event")) <= 50
    good = room.make(bob, "m.room.message", {"body": "good"}, prev=[shared.join])
    shared.send([good])
    shared.wait([good])


@pytest.mark.parametrize("how", ["endless", "slow", "not JSON", "an array", "a redirect"])
def test_bad_answers(shared, how):
    def answer(handler, *_):
        if how == "not JSON":
            shared.server.write(handler, 200, b"<html>")
        elif how == "an array":
            shared.server.write(handler, 200, b"[]")
        elif how == "a redirect":
            handler.send_response(302)
            handler.send_header("Location", "http://127.0.0.1:1/")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        else:
            handler.send_response(200)
            handler.end_headers()
            handler.close_connection = True
            try:
                for _ in range(100_000):
                    handler.wfile.write(b" " * 65536 if how == "endless" else b" ")
                    if how == "slow":
                        time.sleep(0.2)
            except OSError:
                pass
        return "answered"

    for endpoint in ("get_missing_events", "event", "state_ids", "state"):
        shared.server.hooks[endpoint] = answer
    shared.room.message(shared.bob, "missing")
    last = shared.room.message(shared.bob, "last")
    shared.send([last])
    # Others' events are not held up.
    other = shared.alice.send(shared.room_id, "meanwhile")
    assert shared.status(other) == "accepted"
    eventually(lambda: not shared.staged() or shared.error(), seconds=30)
    assert shared.status(last.event_id) is None


def test_a_slow_server_holds_up_nobody(shared, remote_servers, home):
    (slow,) = remote_servers()
    shared.room.peers[slow.name] = slow
    eve = slow.user("eve")
    join = shared.room.join(eve)
    shared.send([join])
    shared.wait([join])
    slow.learn(shared.room)
    slow.hooks = {
        name: lambda *_: time.sleep(2.5) for name in ("get_missing_events", "event", "state_ids", "state")
    }
    for number in range(6):
        late = shared.room.make(
            eve, "m.room.message", {"body": "x"}, prev=[Unknown(number)], state=join.state
        )
        slow.transaction(home[number % 2], [late])
    message = shared.room.make(shared.bob, "m.room.message", {"body": "fast"}, prev=[join])
    started = time.monotonic()
    shared.send([message])
    shared.wait([message])
    assert time.monotonic() - started < 2
    slow.hooks = {}


def test_a_poisoned_queue(shared):
    """What cannot be tried without an error is given up, and does not keep others' waiting."""
    messages = [shared.room.message(shared.bob, f"{number}", prev=[shared.join]) for number in range(3)]
    statement = (
        "insert into matriarch.inbound_queues (room_nid, origin, leased_until) select room_nid, %s, "
        "now() - interval '1 second' from matriarch.rooms where room_id = %s"
    )
    shared.database.query(statement, [shared.server.name, shared.room_id])
    shared.send(messages)
    shared.wait(messages)
    shared.settled()


def test_an_event_that_makes_the_database_fail(shared):
    """It is tried alone, and given up in the end; those beside it come in."""
    shared.database.query("""
        create or replace function matriarch.poison() returns trigger language plpgsql as $$
        begin
            if new.type = 'org.example.poison' then raise exception 'poison'; end if;
            return new;
        end $$""")
    shared.database.query("drop trigger if exists poison on matriarch.events")
    shared.database.query(
        "create trigger poison before insert on matriarch.events for each row execute function "
        "matriarch.poison()"
    )
    before = shared.room.message(shared.bob, "before", prev=[shared.join])
    poison = shared.room.make(shared.bob, "org.example.poison", {}, prev=[shared.join])
    after = shared.room.message(shared.bob, "after", prev=[shared.join])
    shared.send([before, poison, after])
    shared.wait([before, after])
    eventually(shared.error)
    assert shared.staged()[0][0] == 1
    shared.database.query("update matriarch.inbound_pdus set attempts = 5, next_try_at = now()")
    shared.database.query("update matriarch.inbound_queues set next_try_at = now()")
    shared.settled()
    assert shared.status(poison.event_id) is None
    shared.database.query("drop trigger poison on matriarch.events")


def test_20000_previous_events(shared):
    fakes = [Unknown(number) for number in range(1200)]
    wide = shared.room.make(
        shared.bob, "m.room.message", {"body": "wide"}, prev=fakes, state=shared.join.state
    )
    error = shared.send([wide])["pdus"][wide.event_id]["error"]
    assert "prev_events" in error
    long = [Unknown(number).event_id for number in range(20_000)]
    shared.send([{**wide.json, "prev_events": long}])
    shared.settled()
    assert shared.server.asked_for("get_missing_events") == []


def test_too_much_is_staged(shared):
    """A server whose events cannot be taken in fast enough is told to wait."""
    statement = """
        with queue as (
            insert into matriarch.inbound_queues (room_nid, origin, next_try_at)
            select room_nid, %s, now() + interval '1 hour' from matriarch.rooms where room_id = %s
            returning room_nid, origin
        )
        insert into matriarch.inbound_pdus (room_nid, origin, event_id, next_try_at, json)
        select room_nid, origin, '$' || n, now() + interval '1 hour', '{}'
        from queue, generate_series(1, 10000) n"""
    shared.database.query(statement, [shared.server.name, shared.room_id])
    message = shared.room.message(shared.bob)
    answer = shared.send([message], status=429, errcode="M_LIMIT_EXCEEDED")
    assert answer["retry_after_ms"] > 0
    assert (
        'matriarch_federation_limits_total{limit="staged"} 1' in httpx.get(f"{shared.node.url}/metrics").text
    )
    assert '"limit":"staged"' in shared.node.log.read_text()
    # EDUs go on.
    shared.send([], [("m.typing", {"room_id": shared.room_id, "user_id": shared.bob, "typing": True})])
    shared.database.query("delete from matriarch.inbound_queues where origin = %s", [shared.server.name])
    # The same transaction, later.
    shared.server.txn_ids -= 2
    assert shared.send([message]) == {"pdus": {message.event_id: {}}}
    shared.wait([message])


def test_what_another_node_staged_is_taken_up(shared):
    eventually(lambda: shared.database.query("select from matriarch.inbound_queues") == [])
    message = shared.room.message(shared.bob)
    shared.stage(shared.server.name, [message], seconds=1)
    shared.wait([message])
    shared.settled()


def test_a_body_that_is_too_long(shared):
    pdus = [{"type": "x" * 300_000}] * 50
    shared.send(pdus, status=413, errcode="M_TOO_LARGE")


def test_events_that_came_beside_are_not_fetched(shared, remote_servers, home):
    """An event cites one that another server sent, and that has not been taken in yet."""
    carol, origin = shared.neighbor(remote_servers)
    first = shared.room.message(carol, "first")
    second = shared.room.message(shared.bob, "second")
    shared.stage(origin, [first], seconds=5)
    shared.send([second])
    shared.wait([second], seconds=4)
    assert shared.status(first.event_id) == "accepted"
    assert shared.server.asked_for("get_missing_events") == []


def test_many_events_that_came_beside(shared, remote_servers):
    """An event comes after a long line of events that wait to be taken in."""
    carol, origin = shared.neighbor(remote_servers)
    line = [shared.room.message(carol, str(number)) for number in range(60)]
    last = shared.room.message(shared.bob, "last")
    shared.stage(origin, line, seconds=60)
    shared.send([last])
    shared.wait([*line, last])
    assert shared.server.asked_for("get_missing_events") == []


@pytest.mark.parametrize("how", ["no ids", "many events"])
def test_a_state_that_is_fetched_whole(shared, how):
    shared.server.hooks["get_missing_events"] = lambda *_: (200, {"events": []})
    state = dict(shared.join.state)
    if how == "no ids":
        shared.server.hooks["state_ids"] = lambda *_: (404, {"errcode": "M_UNRECOGNIZED", "error": "What?"})
    else:
        for number in range(120):
            user = shared.server.user(f"user{number}")
            state["m.room.member", user] = shared.room.make(
                user,
                "m.room.member",
                {"membership": "join"},
                user,
                prev=[shared.join],
                state=shared.join.state,
            )
    last = shared.room.make(shared.bob, "m.room.message", {"body": "last"}, prev=[Unknown(1)], state=state)
    shared.send([last])
    shared.wait([last])
    assert len(shared.server.asked_for("state")) == 1
    statement = "select count(*) from matrix.state_at(%s) where type = 'm.room.member'"
    assert shared.database.query(statement, [last.event_id]) == [
        (len([key for key in state if key[0] == "m.room.member"]),)
    ]


def test_a_state_with_events_that_nobody_has(shared):
    shared.server.hooks["get_missing_events"] = lambda *_: (200, {"events": []})
    shared.server.hooks["state_ids"] = lambda *_: (
        200,
        {"pdu_ids": [pdu.event_id for pdu in shared.join.state.values()] + ["$nothing"], "auth_chain_ids": []}
    )  # fmt: skip
    last = shared.room.make(
        shared.bob, "m.room.message", {"body": "last"}, prev=[Unknown(1)], state=shared.join.state
    )
    shared.send([last])
    shared.wait([last])
