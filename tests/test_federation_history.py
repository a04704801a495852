"""History from before our server came into a room, or that it missed: asked of other servers as users page
back."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import Started
from harness.client import bodies, path, timeline
from harness.peer import public_room
from harness.verify import verify
from harness.waiting import eventually


@pytest.fixture(scope="module")
def home(shared_cluster, authority):
    """Two nodes on one database, which deal with servers on the loopback interface."""
    database = shared_cluster.create_database()
    settings = {
        "MATRIARCH_FEDERATION__ENABLED": "true",
        "MATRIARCH_FEDERATION__CA_FILE": str(authority.file),
        "MATRIARCH_FEDERATION__ALLOW_PRIVATE_ADDRESSES": "true",
        "MATRIARCH_FEDERATION__REQUEST_TIMEOUT": "6",
    }
    with Started() as started:
        yield [started(database, f"home{number}", **settings) for number in range(2)]
    database.drop()


class Late:
    """A room of another server, with messages in it before a user of ours joins."""

    def __init__(self, home, servers, messages=250, visibility=None, **options):
        self.home, self.node, self.servers = home, home[0], servers
        self.server, self.database = servers[0], home[0].database
        self.creator = self.server.user("creator")
        self.room = public_room(self.creator, servers, **options)
        for server in servers:
            server.learn(self.room)
        if visibility:
            self.room.send(self.creator, "m.room.history_visibility", {"history_visibility": visibility}, "")
        for server in servers[1:]:
            self.room.join(server.user("member"))
        self.say(messages)
        self.alice = home[0].register("alice")

    @property
    def room_id(self):
        return self.room.room_id

    def say(self, count, sender=None):
        start = len(self.room.pdus)
        for number in range(count):
            self.room.message(sender or self.creator, f"message {start + number}")

    def join(self):
        self.alice.join(self.room_id, params={"via": self.server.name})
        return self

    def expected(self) -> list[str]:
        return [pdu.event_id for pdu in self.room.pdus]

    def gaps(self):
        statement = (
            "select event_id, attempts, last_error from matrix.history_gaps where room_id = %s "
            "and not filling and next_try_at is not null"
        )
        return self.database.query(statement, [self.room_id], user="matriarch_readonly")

    def sound(self):
        assert verify(self.database, self.room_id) == []


def page_all(client, room, dir="b", limit=30, from_=None, seconds=60) -> list[dict]:
    """Pages on until there is no more."""
    events, deadline = [], time.monotonic() + seconds
    while True:
        assert time.monotonic() < deadline, f"no end after {len(events)} events"
        page = client.messages(room, dir=dir, limit=limit, **({"from_": from_} if from_ else {}))
        events += page["chunk"]
        if "end" not in page:
            return events
        from_ = page["end"]


def ids(events) -> list[str]:
    return [event["event_id"] for event in events]


# Paging back


@pytest.mark.parametrize("version", ["11", "12"])
def test_history_from_before_the_join(home, remote_servers, version):
    late = Late(home, remote_servers(), version=version).join()
    events = page_all(late.alice, late.room_id)
    assert ids(events)[::-1] == late.expected()
    assert len(late.server.asked_for("backfill")) == 3
    late.sound()
    # It is here now.
    assert ids(page_all(late.alice.at(home[1]), late.room_id, limit=1000))[::-1] == late.expected()
    assert ids(page_all(late.alice, late.room_id, "f")) == late.expected()
    assert len(late.server.asked_for("backfill")) == 3
    assert late.gaps() == []


def test_from_the_beginning_forward(home, remote_servers):
    late = Late(home, remote_servers()).join()
    assert ids(page_all(late.alice, late.room_id, "f")) == late.expected()


def test_a_sync_says_that_there_is_more(home, remote_servers):
    late = Late(home, remote_servers(), messages=40)
    since = late.alice.sync()["next_batch"]
    late.join()
    for answer in (late.alice.sync(since), late.alice.sync()):
        section = answer["rooms"]["join"][late.room_id]["timeline"]
        assert section["limited"] and len(section["events"]) == 1
        page = late.alice.messages(late.room_id, from_=section["prev_batch"], limit=10)
        assert ids(page["chunk"]) == late.expected()[-2:-12:-1]


def test_what_is_backfilled_is_not_new(home, remote_servers):
    late = Late(home, remote_servers(), messages=120).join()
    late.alice.next()
    state = late.alice.get(path("rooms", late.room_id, "state"))
    unread = late.alice.sync()["rooms"]["join"][late.room_id]["unread_notifications"]
    page_all(late.alice, late.room_id)
    answer = late.alice.next()
    assert late.room_id not in answer.get("rooms", {}).get("join", {})
    late.alice.send(late.room_id, "mine")
    assert bodies(timeline(late.alice.next(), late.room_id)) == ["mine"]
    assert late.alice.sync()["rooms"]["join"][late.room_id]["unread_notifications"] == unread
    key = lambda event: (event["type"], event["state_key"])
    after = late.alice.get(path("rooms", late.room_id, "state"))
    assert sorted(ids(after)) == sorted(ids(state)) and sorted(map(key, after)) == sorted(map(key, state))
    late.sound()


def test_mentions_in_history_are_no_highlights(home, remote_servers):
    late = Late(home, remote_servers(), messages=20)
    for _ in range(3):
        content = {"msgtype": "m.text", "body": "you", "m.mentions": {"user_ids": [late.alice.user_id]}}
        late.room.send(late.creator, "m.room.message", content)
    late.join()
    late.alice.next()
    page_all(late.alice, late.room_id)
    counts = late.alice.sync()["rooms"]["join"][late.room_id]["unread_notifications"]
    assert counts == {"highlight_count": 0, "notification_count": 0}


def test_branches(home, remote_servers):
    """History that forked, in answers that cut branches off."""
    late = Late(home, remote_servers(), messages=10)
    for _ in range(3):
        base, heads = late.room.head, []
        for branch in range(4):
            head = base
            for number in range(5 + branch):
                head = [
                    late.room.make(late.creator, "m.room.message", {"body": f"{branch} {number}"}, prev=head)
                ]
            heads += head
        late.room.head = heads
        late.room.message(late.creator, "merge")
    late.server.backfill_limit = 13
    late.join()
    events = page_all(late.alice, late.room_id, limit=7)
    assert len(events) == len(set(ids(events))) and set(ids(events)) == set(late.expected())
    # What is cited comes before.
    place = {event_id: number for number, event_id in enumerate(ids(events)[::-1])}
    for pdu in late.room.pdus:
        assert all(place[prev] < place[pdu.event_id] for prev in pdu.json["prev_events"])
    late.sound()


def test_state_changes_in_history(home, remote_servers):
    """Names that users had, power levels that changed: auth events that are not in the room's state now."""
    late = Late(home, remote_servers(2), messages=5)
    member = late.servers[1].user("member")
    for number in range(6):
        name = {"membership": "join", "displayname": f"name {number}"}
        late.room.send(member, "m.room.member", name, member)
        late.room.send(late.creator, "m.room.topic", {"topic": str(number)}, "")
        levels = {"users": {member: 10 + number}}
        late.room.send(late.creator, "m.room.power_levels", levels, "")
        late.say(3, member)
    for server in late.servers:
        server.backfill_limit = 8
    late.join()
    events = page_all(late.alice, late.room_id, limit=9)
    assert ids(events)[::-1] == late.expected()
    statement = "select content from matrix.state_at(%s) where type = 'm.room.topic'"
    (pdu,) = [pdu for pdu in late.room.pdus if pdu.json["content"].get("topic") == "4"]
    assert late.database.query(statement, [pdu.event_id]) == [({"topic": "3"},)]
    assert late.alice.state(late.room_id, "m.room.topic") == {"topic": "5"}
    late.sound()


# Who may see it


@pytest.mark.parametrize("visibility", ["joined", "invited", "shared", "world_readable"])
def test_history_visibility(home, remote_servers, visibility):
    late = Late(home, remote_servers(), messages=30, visibility=visibility).join()
    events = page_all(late.alice, late.room_id)
    hidden = visibility in ("joined", "invited")
    assert bodies(events) == ([] if hidden else bodies([pdu.json for pdu in late.room.pdus][::-1]))
    assert (late.server.asked_for("backfill") == []) == hidden


def test_visibility_that_was_different(home, remote_servers):
    late = Late(home, remote_servers(), messages=30)
    shared = bodies([pdu.json for pdu in late.room.pdus])
    late.room.send(late.creator, "m.room.history_visibility", {"history_visibility": "joined"}, "")
    late.say(30)
    late.join()
    assert bodies(page_all(late.alice, late.room_id))[::-1] == shared


def test_who_left_sees_what_was_before(home, remote_servers):
    late = Late(home, remote_servers(), messages=150).join()
    late.alice.leave(late.room_id)
    events = page_all(late.alice, late.room_id)
    assert set(late.expected()) <= set(ids(events))


# Holes


def miss(late, count=30) -> list[str]:
    """What the room's server does not tell of: it sends what comes after, and gives nothing between."""
    before = late.room.head[0]
    late.say(count)
    missed = [pdu.event_id for pdu in late.room.pdus[-count:]]
    after = late.room.message(late.creator, "after the hole")
    late.server.hooks["get_missing_events"] = lambda *_: (200, {"events": []})
    late.server.hooks["event"] = lambda handler, parts, query, body: (404, {}) if parts[0] in missed else None
    late.server.transaction(late.node, [after])
    statement = "select count(*) from matrix.events where event_id = %s and status = 'accepted'"
    eventually(lambda: late.database.query(statement, [after.event_id]), [(1,)])
    late.server.hooks.clear()
    assert before
    return missed


def test_a_hole_in_the_middle(home, remote_servers):
    late = Late(home, remote_servers(), messages=5).join()
    late.alice.send(late.room_id, "read")
    late.room.head = [late.room.pdus[-1]]
    since = late.alice.next()["next_batch"]
    own = late.alice.messages(late.room_id, limit=1)["chunk"][0]["event_id"]
    missed = miss(late)
    section = late.alice.sync(since)["rooms"]["join"][late.room_id]["timeline"]
    assert section["limited"] and bodies(section["events"]) == ["after the hole"]
    counts = late.alice.sync()["rooms"]["join"][late.room_id]["unread_notifications"]
    page = late.alice.messages(late.room_id, from_=section["prev_batch"], limit=30)
    assert ids(page["chunk"])[::-1] == missed
    late.alice.next()
    # In its place from both ends, once.
    backward = ids(page_all(late.alice, late.room_id))
    assert sorted(backward) == sorted([*late.expected(), own])
    assert backward.index(missed[-1]) == 1
    assert ids(page_all(late.alice, late.room_id, "f", limit=7)) == backward[::-1]
    assert late.room_id not in late.alice.next().get("rooms", {}).get("join", {})
    assert late.alice.sync()["rooms"]["join"][late.room_id]["unread_notifications"] == counts
    late.sound()


def test_forward_over_a_hole(home, remote_servers):
    late = Late(home, remote_servers(), messages=5).join()
    start = late.alice.sync()["rooms"]["join"][late.room_id]["timeline"]["prev_batch"]
    missed = miss(late, 230)
    events = page_all(late.alice, late.room_id, "f", limit=50, from_=start)
    assert [event_id for event_id in ids(events) if event_id in missed] == missed
    assert bodies(events)[-1] == "after the hole"
    late.sound()


def test_receipts_in_a_hole(home, remote_servers):
    """Unread counts go on where the hole's neighbors have them."""
    late = Late(home, remote_servers(), messages=3).join()
    late.server.transaction(late.node, [late.room.message(late.creator, "notifies")])
    late.alice.sync_until(lambda answer: "notifies" in bodies(timeline(answer, late.room_id)))
    missed = miss(late, 10)
    page_all(late.alice, late.room_id)
    late.alice.post(path("rooms", late.room_id, "receipt", "m.read", missed[4]))
    counts = late.alice.sync()["rooms"]["join"][late.room_id]["unread_notifications"]
    assert counts["notification_count"] == 1


def test_holes_in_holes(home, remote_servers):
    late = Late(home, remote_servers(), messages=3).join()
    late.server.backfill_limit = 3
    missed = miss(late, 40)
    events = ids(page_all(late.alice, late.room_id, limit=4))
    assert [event_id for event_id in events[::-1] if event_id in missed] == missed
    assert len(events) == len(set(events))
    late.sound()


# Single events


def test_an_event_that_forks_off_before_the_join(home, remote_servers):
    """The state event that it follows is known, though not as a part of the timeline."""
    late = Late(home, remote_servers(), messages=5)
    late.join()
    creator = late.creator
    rules = next(pdu for pdu in late.room.pdus if pdu.json["type"] == "m.room.join_rules")
    fork = late.room.make(creator, "m.room.message", {"body": "fork"}, prev=[rules])
    name = late.room.make(
        creator, "m.room.member", {"membership": "join", "displayname": "me"}, creator, prev=[rules]
    )
    late.server.transaction(late.node, [fork, name])
    statement = "select status from matrix.events where event_id = any(%s)"
    eventually(
        lambda: late.database.query(statement, [[fork.event_id, name.event_id]]) == [("accepted",)] * 2
    )
    rows = late.database.query(
        "select event_id from matrix.state_at(%s) where type = 'm.room.join_rules'", [fork.event_id]
    )
    assert rows == [(rules.event_id,)]
    late.sound()


def test_an_event_in_a_hole(home, remote_servers):
    late = Late(home, remote_servers(), messages=300).join()
    target = late.room.pdus[100]
    assert late.alice.event(late.room_id, target.event_id)["content"] == target.json["content"]
    context = late.alice.get(path("rooms", late.room_id, "context", target.event_id), params={"limit": 20})
    assert context["event"]["event_id"] == target.event_id
    back = page_all(late.alice, late.room_id, from_=context["start"], limit=40)
    assert ids(back)[::-1] == late.expected()[:100]
    late.sound()
    # From the other end the rest comes, and nothing twice.
    assert ids(page_all(late.alice, late.room_id, limit=40))[::-1] == late.expected()
    late.sound()


@pytest.mark.parametrize("order", ["itself", "what comes after it"])
def test_an_event_that_was_asked_for_before_it_came(home, remote_servers, order):
    """It is new all the same: in the sync, the current state, and the place where others go on."""
    late = Late(home, remote_servers(), messages=20).join()
    alice, room = late.alice, late.room
    late.server.learn(room)
    alice.next()
    before = room.message(late.creator, "before it")
    topic = room.send(late.creator, "m.room.topic", {"topic": "new"}, "")
    late.server.learn(room)
    assert alice.event(late.room_id, topic.event_id)["content"] == {"topic": "new"}
    alice.messages(late.room_id, limit=50)
    assert topic.event_id not in ids(timeline(alice.next(), late.room_id))
    newest = [before, topic] if order == "itself" else [room.message(late.creator, "after it")]
    late.server.learn(room)
    late.server.transaction(late.node, newest)
    wanted = [before.event_id, topic.event_id, *([] if order == "itself" else [newest[0].event_id])]
    found = []
    while len(found) < len(wanted):
        found += ids(timeline(alice.sync_until(lambda answer: timeline(answer, late.room_id)), late.room_id))
    assert found == wanted
    assert alice.state(late.room_id, "m.room.topic") == {"topic": "new"}
    statement = "select cardinality(forward_extremities) from matriarch.rooms where room_id = %s"
    assert late.database.query(statement, [late.room_id]) == [(1,)]
    assert len(late.database.query("select from matriarch.events_without_successor")) == 0
    late.sound()


def test_events_that_nobody_has(home, remote_servers):
    late = Late(home, remote_servers(), messages=3).join()
    late.alice.event(late.room_id, "$nowhere", status=404, errcode="M_NOT_FOUND")
    stranger = late.node.register()
    asked = len(late.server.asked)
    stranger.event(late.room_id, late.room.pdus[-3].event_id, status=404, errcode="M_NOT_FOUND")
    assert len(late.server.asked) == asked


# Events by time


def closest(client, room, ts, dir="f", **options):
    where = f"/_matrix/client/v1{path('rooms', room, 'timestamp_to_event')}"
    return client.get(where, params={"ts": ts, "dir": dir}, **options)


def test_the_event_closest_to_a_time(home, remote_servers):
    late = Late(home, remote_servers(), messages=300).join()
    pdus = late.room.pdus
    time_of = lambda pdu: pdu.json["origin_server_ts"]
    wanted = [
        (100, time_of(pdus[100]), "f"),
        (150, time_of(pdus[150]) + 3, "b"),
        (201, time_of(pdus[200]) + 1, "f"),
        (0, 5, "f"),
    ]
    for number, ts, dir in wanted:
        answer = {"event_id": pdus[number].event_id, "origin_server_ts": time_of(pdus[number])}
        for client in (late.alice, late.alice.at(home[1])):
            assert closest(client, late.room_id, ts, dir) == answer
    closest(late.alice, late.room_id, 5, "b", status=404, errcode="M_NOT_FOUND")
    closest(late.alice, late.room_id, 2**52, "f", status=404, errcode="M_NOT_FOUND")
    # From there clients go on, to both sides.
    context = late.alice.get(path("rooms", late.room_id, "context", pdus[150].event_id), params={"limit": 2})
    back = ids(page_all(late.alice, late.room_id, from_=context["start"], limit=50))
    assert back[::-1] == late.expected()[:150]
    assert ids(page_all(late.alice, late.room_id, limit=100))[::-1] == late.expected()
    late.sound()
    asked = len(late.server.asked)
    assert closest(late.alice, late.room_id, time_of(pdus[77]))["event_id"] == pdus[77].event_id
    assert len(late.server.asked) == asked


@pytest.mark.parametrize(
    "answer", [(404, {}), (200, {}), (200, {"event_id": "$x", "origin_server_ts": 7}), "hang"]
)
def test_nobody_knows_the_closest_event(home, remote_servers, answer):
    late = Late(home, remote_servers(), messages=5).join()
    late.server.hooks["timestamp_to_event"] = lambda *_: time.sleep(10) if answer == "hang" else answer
    join = late.room.pdus[-1]
    started = time.monotonic()
    assert closest(late.alice, late.room_id, 5)["event_id"] == join.event_id
    assert time.monotonic() - started < 7
    late.sound()


# Servers that do not help


def test_another_server_is_asked(home, remote_servers):
    late = Late(home, remote_servers(2), messages=20)
    late.server.hooks["backfill"] = lambda *_: (500, {})
    late.join()
    assert ids(page_all(late.alice, late.room_id))[::-1] == late.expected()
    assert len(late.servers[1].asked_for("backfill")) == 1


def test_a_server_that_hangs(home, remote_servers):
    late = Late(home, remote_servers(2), messages=20)
    late.server.hooks["backfill"] = lambda *_: time.sleep(20)
    late.join()
    started = time.monotonic()
    assert ids(page_all(late.alice, late.room_id))[::-1] == late.expected()
    assert time.monotonic() - started < 5


def test_nobody_waits_for_long(home, remote_servers):
    late = Late(home, remote_servers(), messages=20).join()
    late.server.hooks["backfill"] = lambda *_: time.sleep(20)
    started = time.monotonic()
    page = late.alice.messages(late.room_id, limit=10)
    assert 4 < time.monotonic() - started < 6
    assert ids(page["chunk"]) == late.expected()[-1:] and "end" in page
    # In the end it is found that nobody helps.
    assert page_all(late.alice, late.room_id, from_=page["end"]) == []
    assert time.monotonic() - started < 12
    ((event_id, attempts, error),) = late.gaps()
    assert (event_id, attempts) == (late.expected()[-1], 1) and late.server.name in error
    # Until it is tried again nobody is asked.
    asked = len(late.server.asked_for("backfill"))
    assert ids(page_all(late.alice, late.room_id)) == late.expected()[-1:]
    assert len(late.server.asked_for("backfill")) == asked
    late.server.hooks.clear()
    late.database.query("update matriarch.history_gaps set next_try_at = now()")
    assert ids(page_all(late.alice, late.room_id))[::-1] == late.expected()
    assert late.gaps() == []


def garbage(late):
    other = public_room(late.creator, late.servers)
    forged = [{**pdu.json, "content": {"body": "forged"}, "signatures": {}} for pdu in late.room.pdus[-20:]]
    return {
        "nothing": {"pdus": []},
        "no list": {"pdus": {"a": 1}},
        "no events": {"pdus": [1, "a", None, {}, {"type": "m.room.message"}]},
        "another room": {"pdus": [pdu.json for pdu in other.pdus]},
        "forged": {"pdus": forged},
        "not what was asked for": {"pdus": [pdu.json for pdu in late.room.pdus[:5]]},
    }


@pytest.mark.parametrize(
    "kind", ["nothing", "no list", "no events", "another room", "forged", "not what was asked for"]
)
def test_garbage(home, remote_servers, kind):
    late = Late(home, remote_servers(), messages=10).join()
    answer = garbage(late)[kind]
    late.server.hooks["backfill"] = lambda *_: (200, answer)
    assert ids(page_all(late.alice, late.room_id)) == late.expected()[-1:]
    assert len(late.gaps()) == 1
    late.sound()


def test_states_that_cannot_be_had(home, remote_servers):
    late = Late(home, remote_servers(), messages=150)
    late.server.hooks["state_ids"] = late.server.hooks["state"] = lambda *_: (404, {})
    late.join()
    assert ids(page_all(late.alice, late.room_id)) == late.expected()[-1:]
    late.server.hooks.clear()
    late.database.query("update matriarch.history_gaps set next_try_at = now()")
    assert ids(page_all(late.alice, late.room_id))[::-1] == late.expected()
    late.sound()


# Many readers


def test_many_readers_ask_once(home, remote_servers):
    late = Late(home, remote_servers(), messages=80).join()
    backfill = late.server.answer_backfill
    late.server.answer_backfill = lambda *args: (time.sleep(0.5), backfill(*args))[1]
    readers = [late.alice.at(home[number % 2]) for number in range(10)]
    start = threading.Barrier(10)

    def read(client):
        start.wait()
        return ids(client.messages(late.room_id, limit=20)["chunk"])

    with ThreadPoolExecutor(10) as pool:
        pages = list(pool.map(read, readers))
    assert pages == [late.expected()[:-21:-1]] * 10
    assert len(late.server.asked_for("backfill")) == 1
    late.sound()


# Our own servers


def test_two_servers(servers):
    one, two = servers
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="public_chat")
    sent = [alice.send(room, f"message {number}") for number in range(300)]
    bob.join(room, params={"via": one.name})
    of_bob, of_alice = (page_all(client, room, limit=25)[::-1] for client in (bob, alice))
    assert ids(of_bob) == ids(of_alice)
    assert of_bob[0]["type"] == "m.room.create"
    assert [event_id for event_id in ids(of_bob) if event_id in set(sent)] == sent
    for server in servers:
        assert verify(server.database, room) == []


def test_a_server_that_was_down(start_servers):
    """What it missed is there when its users page back."""
    one, two = start_servers(2)
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room, params={"via": one.name})
    alice.send(room, "before")
    bob.sync_until(lambda answer: "before" in bodies(timeline(answer, room)))
    two.node.stop()
    for number in range(60):
        alice.send(room, f"message {number}")
    two.node.start()
    alice.send(room, "after")
    bob.sync_until(lambda answer: "after" in bodies(timeline(answer, room)))
    of_bob, of_alice = (page_all(client, room, limit=25)[::-1] for client in (bob, alice))
    assert ids(of_bob) == ids(of_alice)
    assert verify(two.database, room) == []


def test_json_of_backfilled_events_is_as_signed(home, remote_servers):
    late = Late(home, remote_servers(), messages=3).join()
    page_all(late.alice, late.room_id)
    stored = dict(
        late.database.query("select event_id, json from matrix.events where room_id = %s", [late.room_id])
    )
    for pdu in late.room.pdus:
        assert json.loads(stored[pdu.event_id]) == pdu.json
