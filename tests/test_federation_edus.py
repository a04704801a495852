"""What other servers send beside events: typing, receipts, messages to devices, changes of devices."""

import json
import threading

import pytest

from harness.client import timeline
from harness.waiting import eventually


def ephemeral(shared, answer) -> dict:
    joined = answer.get("rooms", {}).get("join", {}).get(shared.room_id, {})
    return {event["type"]: event["content"] for event in joined.get("ephemeral", {}).get("events", [])}


def typing(shared, user=None, room_id=None, typing=True):
    return "m.typing", {"room_id": room_id or shared.room_id, "user_id": user or shared.bob, "typing": typing}


def receipt(shared, event_id, user=None, ts=1000, **data):
    content = {"event_ids": [event_id], "data": {"ts": ts, **data}}
    return "m.receipt", {shared.room_id: {"m.read": {user or shared.bob: content}}}


# Typing


def test_typing(shared):
    shared.send([], [typing(shared)])
    assert ephemeral(shared, shared.alice.next())["m.typing"] == {"user_ids": [shared.bob]}
    shared.send([], [typing(shared)])
    assert ephemeral(shared, shared.alice.next()) == {}
    shared.send([], [typing(shared, typing=True), typing(shared, typing=False)])
    assert ephemeral(shared, shared.alice.next())["m.typing"] == {"user_ids": []}


def test_who_leaves_types_no_longer(shared):
    shared.send([], [typing(shared)])
    assert ephemeral(shared, shared.alice.next())["m.typing"] == {"user_ids": [shared.bob]}
    leave = shared.room.send(shared.bob, "m.room.member", {"membership": "leave"}, shared.bob)
    shared.send([leave])
    answer = shared.alice.sync_until(lambda answer: timeline(answer, shared.room_id))
    assert [event["event_id"] for event in timeline(answer, shared.room_id)] == [leave.event_id]
    assert ephemeral(shared, answer)["m.typing"] == {"user_ids": []}


def test_who_may_not_type(shared):
    shared.send([], [
        typing(shared, user=shared.alice.user_id),
        typing(shared, user=shared.server.user("nobody")),
        typing(shared, user="bob"),
        typing(shared, room_id="!unknown:example.org"),
    ])  # fmt: skip
    assert ephemeral(shared, shared.alice.next()) == {}


# Receipts


def test_receipts(shared):
    first, second = (shared.alice.send(shared.room_id, text) for text in ("one", "two"))
    shared.alice.next()
    shared.send([], [receipt(shared, second, ts=5)])
    content = ephemeral(shared, shared.alice.next())["m.receipt"]
    assert content == {second: {"m.read": {shared.bob: {"ts": 5}}}}
    # A receipt moves forward only.
    shared.send([], [receipt(shared, first)])
    assert ephemeral(shared, shared.alice.next()) == {}


def test_receipts_that_come_before_their_events(shared):
    first, second = (shared.room.message(shared.bob, text) for text in ("one", "two"))
    shared.alice.next()
    shared.send([], [receipt(shared, first.event_id, ts=5), receipt(shared, second.event_id, ts=6)])
    assert ephemeral(shared, shared.alice.next()) == {}
    shared.send([first])
    shared.wait([first])
    # The newest counts: that for the first event it has replaced.
    assert ephemeral(shared, shared.alice.next()) == {}
    shared.send([second])
    shared.wait([second])
    assert ephemeral(shared, shared.alice.next())["m.receipt"] == {
        second.event_id: {"m.read": {shared.bob: {"ts": 6}}}
    }
    assert shared.database.query("select from matriarch.held_receipts") == []
    # In one transaction with its event.
    third = shared.room.message(shared.bob, "three")
    shared.send([third], [receipt(shared, third.event_id, ts=7)])
    shared.wait([third])
    shared.alice.sync_until(lambda answer: third.event_id in ephemeral(shared, answer).get("m.receipt", {}))
    # What waits is bounded, and for those in the room.
    nobody = shared.server.user("nobody")
    shared.send(
        [],
        [
            receipt(shared, "$later", user=nobody),
            *(receipt(shared, "$later", thread_id=f"${n}") for n in range(99)),
        ],
    )
    assert shared.database.query("select count(*) from matriarch.held_receipts") == [(99,)]


def test_receipts_in_threads(shared):
    root = shared.alice.send(shared.room_id, "root")
    relation = {"rel_type": "m.thread", "event_id": root}
    reply = shared.alice.send(
        shared.room_id, {"msgtype": "m.text", "body": "reply", "m.relates_to": relation}
    )
    shared.alice.next()
    shared.send([], [receipt(shared, reply, thread_id=root), receipt(shared, root, thread_id="main")])
    content = ephemeral(shared, shared.alice.next())["m.receipt"]
    assert content[reply]["m.read"][shared.bob]["thread_id"] == root
    assert content[root]["m.read"][shared.bob]["thread_id"] == "main"


def test_receipts_that_have_no_effect(shared):
    event_id = shared.alice.send(shared.room_id, "one")
    shared.alice.next()
    other = shared.alice.create_room()
    shared.send([], [
        receipt(shared, event_id, user=shared.alice.user_id),
        receipt(shared, event_id, user=shared.server.user("nobody")),
        receipt(shared, "$unknown"),
        ("m.receipt", {other: {"m.read": {shared.bob: {"event_ids": [event_id], "data": {"ts": 1}}}}}),
        ("m.receipt",
         {shared.room_id: {"m.read.private": {shared.bob: {"event_ids": [event_id], "data": {"ts": 1}}}}}),
    ])  # fmt: skip
    assert ephemeral(shared, shared.alice.next()) == {}


# Messages to devices


def to_device(shared, messages, message_id, sender=None, type="org.example"):
    content = {"sender": sender or shared.bob, "type": type, "message_id": message_id, "messages": messages}
    return "m.direct_to_device", content


def received(client) -> list:
    return [event["content"]["n"] for event in client.next().get("to_device", {}).get("events", [])]


def test_messages_to_devices(shared):
    alice = shared.alice
    phone = alice.another_device()
    phone.next()
    user = alice.user_id
    shared.send([], [
        to_device(shared, {user: {alice.device_id: {"n": 1}, phone.device_id: {"n": 2}}}, "one"),
        to_device(shared, {user: {"*": {"n": 3}, phone.device_id: {"n": 4}}}, "two"),
        to_device(shared, {user: {alice.device_id: {"n": 0}}}, "one"),
        to_device(shared, {user: {"UNKNOWN": {"n": 0}}, "@nobody:test.example": {"*": {"n": 0}}}, "three"),
        to_device(shared, {user: {alice.device_id: {"n": 5}}}, "four"),
    ])  # fmt: skip
    event = alice.sync()["to_device"]["events"][0]
    assert (event["sender"], event["type"]) == (shared.bob, "org.example")
    assert received(alice) == [1, 3, 5]
    assert received(phone) == [2, 4]
    # The same in another transaction, as when an answer was lost.
    shared.send([], [to_device(shared, {user: {alice.device_id: {"n": 1}}}, "one")])
    assert received(alice) == []


def test_messages_in_other_names(shared, remote_servers):
    user, device = shared.alice.user_id, shared.alice.device_id
    (other,) = remote_servers()
    shared.send([], [
        to_device(shared, {user: {device: {"n": 0}}}, "forged", sender=shared.alice.user_id),
        to_device(shared, {user: {device: {"n": 0}}}, "forged 2", sender=other.user("bob")),
        to_device(shared, {user: {device: {"n": 0, "long": "x" * 70_000}}}, "long"),
        to_device(shared, {user: {device: "text"}}, "text"),
        to_device(shared, {user: {device: {"n": 1}}}, "same"),
    ])  # fmt: skip
    # Ids are those of the server that sends.
    other.transaction(
        shared.node, [], [to_device(shared, {user: {device: {"n": 2}}}, "same", sender=other.user("bob"))]
    )
    assert received(shared.alice) == [1, 2]


# Devices


def update(shared, stream_id, prev_id, device="PHONE", keys=True, **content):
    if keys:
        content["keys"] = keys_of(shared, device) if keys is True else keys
    content = {
        "user_id": shared.bob,
        "device_id": device,
        "stream_id": stream_id,
        "prev_id": prev_id,
        **content,
    }
    return "m.device_list_update", content


def keys_of(shared, device, curve="c"):
    return {
        "user_id": shared.bob, "device_id": device, "algorithms": [], "signatures": {},
        "keys": {f"curve25519:{device}": curve, f"ed25519:{device}": "e"},
    }  # fmt: skip


def known(shared) -> dict:
    statement = """
        select device_id, keys from matriarch.device_keys join matriarch.users using (user_nid)
        where user_id = %s"""
    return {device: json.loads(keys) for device, keys in shared.database.query(statement, [shared.bob])}


def state_of(shared):
    statement = """
        select stream_id, stale_since is not null from matriarch.remote_device_lists
        join matriarch.users using (user_nid) where user_id = %s"""
    return shared.database.query(statement, [shared.bob])


def serve(shared, stream_id, *devices, **content):
    shared.server.devices[shared.bob] = {
        "user_id": shared.bob, "stream_id": stream_id,
        "devices": [{"device_id": device, "keys": keys_of(shared, device)} for device in devices], **content,
    }  # fmt: skip


@pytest.fixture
def tracked(shared):
    """The same, with the devices of the other server's user known."""
    serve(shared, 10, "LAPTOP")
    shared.send([], [update(shared, 5, [])])
    eventually(lambda: state_of(shared) == [(10, False)])
    assert set(known(shared)) == {"LAPTOP"}
    shared.alice.next()
    return shared


def changed(shared) -> list:
    return shared.alice.next().get("device_lists", {}).get("changed", [])


def test_updates_follow_one_another(tracked):
    tracked.send([], [
        update(tracked, 11, [10], device_display_name="Bob's phone"),
        update(tracked, 12, [11], device="LAPTOP", keys=keys_of(tracked, "LAPTOP", curve="d")),
    ])  # fmt: skip
    assert changed(tracked) == [tracked.bob]
    devices = known(tracked)
    assert devices["PHONE"]["unsigned"] == {"device_display_name": "Bob's phone"}
    assert devices["LAPTOP"]["keys"]["curve25519:LAPTOP"] == "d"
    assert state_of(tracked) == [(12, False)]
    tracked.send([], [update(tracked, 13, [12], deleted=True)])
    assert set(known(tracked)) == {"LAPTOP"}
    # An update that came before.
    tracked.send([], [update(tracked, 13, [12])])
    assert set(known(tracked)) == {"LAPTOP"}
    assert len(tracked.server.asked_for("devices")) == 1


def test_a_sleeping_sync_learns_of_updates(tracked):
    threading.Timer(0.5, lambda: tracked.send([], [update(tracked, 11, [10])])).start()
    answer = tracked.alice.next(timeout=20000)
    assert answer["device_lists"]["changed"] == [tracked.bob]


def test_a_gap_has_the_whole_list_fetched(tracked):
    serve(tracked, 20, "NEW", "LAPTOP")
    # The list comes after the sync: one sync would tell of both.
    heard = threading.Event()
    tracked.server.hooks["devices"] = lambda *_: heard.wait(20) and None
    tracked.database.query("update matriarch.remote_device_lists set next_try_at = now()")
    tracked.send([], [update(tracked, 20, [19], device="NEW")])
    assert changed(tracked) == [tracked.bob]
    heard.set()
    eventually(lambda: state_of(tracked) == [(20, False)])
    assert set(known(tracked)) == {"NEW", "LAPTOP"}
    assert changed(tracked) == [tracked.bob]
    tracked.send([], [update(tracked, 21, [20], device="NEW", deleted=True)])
    assert set(known(tracked)) == {"LAPTOP"}


def test_a_list_stays_stale_until_it_is_fetched(tracked):
    tracked.server.hooks["devices"] = lambda *_: (503, {"errcode": "M_UNKNOWN", "error": "later"})
    tracked.database.query("update matriarch.remote_device_lists set next_try_at = now()")
    tracked.send([], [update(tracked, 30, [29])])
    statement = (
        "select last_error from matriarch.remote_device_lists join matriarch.users using (user_nid) "
        "where user_id = %s"
    )
    eventually(lambda: tracked.database.query(statement, [tracked.bob])[0][0])
    # It follows what is known, and something is missing all the same.
    tracked.send([], [update(tracked, 31, [10])])
    assert state_of(tracked) == [(10, True)]
    assert set(known(tracked)) == {"LAPTOP"}
    tracked.server.hooks.clear()
    serve(tracked, 31, "PHONE")
    tracked.database.query("update matriarch.remote_device_lists set next_try_at = now(), attempts = 0")
    eventually(lambda: state_of(tracked) == [(31, False)])
    assert set(known(tracked)) == {"PHONE"}


def test_updates_of_others(tracked, remote_servers):
    (other,) = remote_servers()
    other.transaction(tracked.node, [], [update(tracked, 11, [10])])
    assert state_of(tracked) == [(10, False)]
    local = {**update(tracked, 11, [10])[1], "user_id": tracked.alice.user_id}
    unknown = {**update(tracked, 11, [10])[1], "user_id": tracked.server.user("nobody")}
    tracked.send([], [("m.device_list_update", local), ("m.device_list_update", unknown)])
    statement = (
        "select count(*) from matriarch.remote_device_lists join matriarch.users using (user_nid) "
        "where user_id = any(%s)"
    )
    assert tracked.database.query(statement, [[tracked.alice.user_id, unknown["user_id"]]]) == [(0,)]


def test_cross_signing_keys(tracked):
    def key(usage, name):
        return {"user_id": tracked.bob, "usage": [usage], "keys": {f"ed25519:{name}": name}, "signatures": {}}

    content = {
        "user_id": tracked.bob,
        "master_key": key("master", "m"),
        "self_signing_key": key("self_signing", "s"),
    }
    tracked.send([], [("m.signing_key_update", content)])
    assert changed(tracked) == [tracked.bob]
    statement = """
        select usage, public_key from matriarch.cross_signing_keys join matriarch.users using (user_nid)
        where user_id = %s order by usage"""
    assert tracked.database.query(statement, [tracked.bob]) == [("master", "m"), ("self_signing", "s")]
    assert state_of(tracked) == [(10, False)]


def test_a_flood_of_updates(tracked):
    """Ten transactions full of gaps cost one fetch, or few."""
    serve(tracked, 5000, "LAST")
    before = len(tracked.server.asked_for("devices"))
    for round in range(10):
        edus = [update(tracked, 1000 + 100 * round + n, [7], device=f"D{n}") for n in range(100)]
        tracked.send([], edus)
    tracked.database.query("update matriarch.remote_device_lists set next_try_at = now()")
    eventually(lambda: state_of(tracked) == [(5000, False)])
    assert set(known(tracked)) == {"LAST"}
    assert len(tracked.server.asked_for("devices")) - before <= 3


def test_more_devices_than_anybody_has(tracked):
    for round in range(12):
        first = 11 + 100 * round
        tracked.send([], [update(tracked, n, [n - 1], device=f"D{n}") for n in range(first, first + 100)])
    assert len(known(tracked)) <= 1100


# What is no EDU


class KeyServer:
    """How the other server answers to queries for keys, and how often it was asked."""

    def __init__(self, shared):
        self.shared, self.asked, self.fails = shared, 0, False
        self.devices: dict[str, list[str]] = {}
        shared.server.hooks["user"] = self.answer

    def answer(self, _handler, parts, _query, body):
        assert parts == ["keys", "query"]
        self.asked += 1
        if self.fails:
            return 503, {"errcode": "M_UNKNOWN", "error": "later"}
        keys = {
            user: {
                device: keys_of(self.shared, device) | {"user_id": user}
                for device in self.devices.get(user, [])
                if not wanted or device in wanted
            }
            for user, wanted in body["device_keys"].items()
        }
        return 200, {"device_keys": keys}

    def query(self, user: str, *devices: str) -> tuple[set[str] | None, set[str]]:
        """What a client is told: the user's devices, and the servers that failed."""
        answer = self.shared.alice.post("/keys/query", {"device_keys": {user: list(devices)}})
        keys = answer["device_keys"].get(user)
        return None if keys is None else set(keys), set(answer["failures"])


def test_keys_are_given_from_the_lists_that_are_kept(shared):
    server, bob = KeyServer(shared), shared.bob
    server.devices[bob] = ["LAPTOP"]
    # One device is no list.
    assert server.query(bob, "LAPTOP") == ({"LAPTOP"}, set())
    assert server.query(bob) == ({"LAPTOP"}, set())
    assert server.asked == 2
    server.fails = True
    assert server.query(bob) == server.query(bob, "LAPTOP") == ({"LAPTOP"}, set())
    assert server.query(bob, "PHONE") == (set(), set())
    assert server.asked == 2
    # The first update may follow another one than the answer.
    heard = threading.Event()
    shared.server.hooks["devices"] = lambda *_: heard.wait(20) and None
    serve(shared, 11, "LAPTOP", "PHONE")
    shared.send([], [update(shared, 11, [10])])
    assert state_of(shared) == [(None, True)]
    # What is stored is better than nothing.
    assert server.query(bob) == ({"LAPTOP"}, set())
    assert server.asked == 3
    heard.set()
    eventually(lambda: state_of(shared) == [(11, False)])
    assert server.query(bob) == ({"LAPTOP", "PHONE"}, set())
    shared.send([], [update(shared, 12, [11], deleted=True)])
    assert server.query(bob) == ({"LAPTOP"}, set())
    assert server.asked == 3


def test_keys_of_those_who_share_no_room_are_asked_for_each_time(shared):
    server, stranger = KeyServer(shared), shared.server.user("stranger")
    server.devices[stranger] = ["TABLET"]
    assert server.query(stranger) == server.query(stranger) == ({"TABLET"}, set())
    assert server.asked == 2
    server.fails = True
    assert server.query(stranger) == ({"TABLET"}, {shared.server.name})
    assert server.query(shared.server.user("nobody")) == (None, {shared.server.name})
    statement = "select count(*) from matriarch.remote_device_lists where server_name = %s"
    assert shared.database.query(statement, [shared.server.name]) == [(0,)]


@pytest.mark.parametrize("who", ["the user", "this server"])
def test_keys_of_those_who_share_a_room_again_are_asked_for_anew(shared, who):
    """Nobody told of changes meanwhile."""
    server, bob = KeyServer(shared), shared.bob
    server.devices[bob] = ["LAPTOP"]
    assert server.query(bob) == server.query(bob) == ({"LAPTOP"}, set())
    assert server.asked == 1
    if who == "the user":
        leave = shared.room.send(bob, "m.room.member", {"membership": "leave"}, bob)
        back = shared.room.join(bob)
        shared.send([leave, back])
        shared.wait([leave, back])
    else:
        shared.alice.leave(shared.room_id)
        shared.server.answer_make_leave = None
        shared.alice.join(shared.room_id, params={"via": shared.server.name})
    server.devices[bob] = ["PHONE"]
    assert server.query(bob) == server.query(bob) == ({"PHONE"}, set())
    assert server.asked == 2


def test_a_list_that_changes_while_it_is_asked_for_is_stale(shared):
    server, bob = KeyServer(shared), shared.bob
    server.devices[bob] = ["LAPTOP"]
    assert server.query(bob) == ({"LAPTOP"}, set())
    statement = "update matriarch.remote_device_lists set whole_xid = '3' where server_name = %s"
    shared.database.query(statement, [shared.server.name])
    shared.server.hooks["devices"] = lambda *_: (503, {"errcode": "M_UNKNOWN", "error": "later"})

    def meanwhile(*asked):
        statement = "update matriarch.remote_device_lists set updates = updates + 1 where server_name = %s"
        shared.database.query(statement, [shared.server.name])
        return server.answer(*asked)

    shared.server.hooks["user"] = meanwhile
    assert server.query(bob) == ({"LAPTOP"}, set())
    assert state_of(shared) == [(None, True)]


def test_bad_edus_do_no_harm(shared):
    message = shared.room.message(shared.bob)
    bad = [
        (edu_type, content)
        for edu_type in ("m.typing", "m.receipt", "m.direct_to_device", "m.device_list_update",
                         "m.signing_key_update", "m.presence", "org.example", 7)
        for content in (
            {}, [], None, "text", {"user_id": 7, "room_id": {}},
            {"sender": [], "messages": [], "message_id": "x"},
            {shared.room_id: {"m.read": {shared.bob: {"event_ids": [], "data": {}}}}},
            {"user_id": shared.bob, "device_id": "a\0b", "stream_id": 2**53 - 1, "keys": {"a\0": "\0"}},
            {"user_id": shared.bob, "device_id": "x" * 10_000, "stream_id": -1, "prev_id": "none", "keys": 1},
            {"user_id": shared.bob, "device_id": "D", "stream_id": 1,
             "master_key": {"keys": {"a": "\0"}, "user_id": shared.bob}},
            {"room_id": "a\0b", "user_id": "@a\0b:" + shared.server.name, "typing": True},
            {"sender": shared.bob, "type": "t\0", "message_id": "\0", "messages": {"@\0": {"\0": {}}}},
        )
    ]  # fmt: skip
    for start in range(0, len(bad), 99):
        shared.send([message], [*bad[start : start + 99], typing(shared)])
    shared.wait([message])
    assert ephemeral(shared, shared.alice.next())["m.typing"] == {"user_ids": [shared.bob]}
    body = {"pdus": [], "edus": [1, "a", None, [], {}, {"edu_type": "m.typing"}]}
    shared.server.call(shared.node, "PUT", "/_matrix/federation/v1/send/bad", body)
