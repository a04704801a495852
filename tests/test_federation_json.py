"""JSON that breaks the rules of canonical JSON, from other servers and from clients: nothing of it may stop
what comes with it or after it."""

import base64
import re

import pytest
from Crypto.Signature import eddsa

from harness.client import new_txn_id, path
from harness.peer import canonical, event_id_of, exact, written
from harness.shared_room import Shared
from harness.waiting import eventually

# As servers in Python write them, and as others do.
PYTHON = ["1.5", "0.1", "1.0", "-0.0", "1e-05", "1e-07", "1e+16", "1e+300", "10000000000.0"]
PYTHON += ["9007199254740993", "-9007199254740993", "18446744073709551615", str(2**70)]
OTHERS = ["1E5", "1e10", "1.50", "-0", "1e-5", "100000000000000000000.00", "0.1000"]
NUMBERS = [*PYTHON, *OTHERS]


def nested(levels: int):
    value = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def to_device(shared, content, message_id=None) -> tuple[str, dict]:
    messages = {shared.alice.user_id: {shared.alice.device_id: content}}
    return "m.direct_to_device", {
        "sender": shared.bob, "type": "org.example", "message_id": message_id or new_txn_id(),
        "messages": messages,
    }  # fmt: skip


def stored(database, event_id: str) -> str:
    ((text,),) = database.query("select json from matriarch.events where event_id = %s", [event_id])
    return text


# In


def test_numbers_stay_as_they_stand_in_old_rooms(home, remote_servers):
    shared = Shared(home, remote_servers()[0], room_version="5")
    pdus = [shared.room.message(shared.bob, exact(number)) for number in NUMBERS]
    assert shared.send(pdus) == {"pdus": {pdu.event_id: {} for pdu in pdus}}
    shared.wait(pdus)
    for number, pdu in zip(NUMBERS, pdus, strict=True):
        # With its content, so the content hash was right.
        assert re.search(f'"body":{re.escape(number)}[,}}]', stored(shared.database, pdu.event_id)), number
    shared.settled()
    shared.alice.redact(shared.room_id, pdus[0].event_id)
    assert "body" not in stored(shared.database, pdus[0].event_id)
    assert shared.database.query("select * from matrix.verify_room(%s)", [shared.room_id]) == []


def test_a_pdu_with_a_forbidden_number_fails_alone(shared):
    bad = [shared.room.message(shared.bob, exact(number)) for number in NUMBERS]
    shared.room.head = [shared.join]
    good = shared.room.message(shared.bob, "good")
    answer = shared.send([*bad[:8], good, *bad[8:]], [to_device(shared, {"n": exact("1.5")})])["pdus"]
    assert answer.pop(good.event_id) == {}
    assert answer.keys() == {pdu.event_id for pdu in bad}
    assert all("canonical JSON" in result["error"] for result in answer.values())
    shared.wait([good])
    (event,) = shared.alice.next()["to_device"]["events"]
    assert event["content"] == {"n": 1.5}


def test_edus_with_any_numbers_and_nesting_have_their_effect_or_none(shared):
    edus = [to_device(shared, {"n": exact(number)}) for number in NUMBERS]
    edus.append(to_device(shared, {"n": exact("1e999"), "ok": True}))
    edus.append(to_device(shared, {"n": nested(300), "ok": True}))
    edus.append(("m.typing", {"room_id": shared.room_id, "user_id": nested(200), "typing": exact("1.5")}))
    edus.append(("m.presence", {"push": exact("-0")}))
    edus.append(to_device(shared, {"last": True}))
    message = shared.room.message(shared.bob)
    assert shared.send([message], edus) == {"pdus": {message.event_id: {}}}
    shared.wait([message])
    events = []
    shared.alice.sync_until(
        lambda answer: events.extend(answer.get("to_device", {}).get("events", [])) or len(events) >= 19
    )
    contents = [event["content"] for event in events]
    numbers = [float(content["n"]) for content in contents[: len(NUMBERS)]]
    assert numbers == [float(number) for number in NUMBERS]
    assert contents[-1] == {"last": True}


def test_a_body_of_which_only_the_bytes_are_signed_is_taken(shared, home):
    # Neither form says what the numbers are worth: both are the sender's own.
    message = shared.room.message(shared.bob)
    body = {"pdus": [message.json], "edus": [], "z": exact("1E5"), "a": "é"}
    uri = f"/_matrix/federation/v1/send/{new_txn_id()}"
    shared.server.call(home[0], "PUT", uri, body)
    shared.wait([message])


def test_nesting_is_judged_event_by_event(shared):
    deep = shared.room.make(shared.bob, "m.room.message", {"a": nested(124)})
    too_deep = shared.room.make(shared.bob, "m.room.message", {"a": nested(300)})
    good = shared.room.message(shared.bob, "good")
    answer = shared.send([too_deep, deep, good])["pdus"]
    assert answer == {deep.event_id: {}, good.event_id: {}}
    shared.wait([deep, good])
    assert shared.status(too_deep.event_id) is None
    # Who reads the room meets it everywhere.
    assert shared.alice.get(path("rooms", shared.room_id, "event", deep.event_id))["content"]
    assert shared.alice.get(path("rooms", shared.room_id, "messages"), params={"dir": "b"})["chunk"]
    assert shared.alice.get(path("rooms", shared.room_id, "context", deep.event_id))["event"]
    assert shared.server.get(shared.node, f"/_matrix/federation/v1/event/{deep.event_id}")["pdus"]


def test_events_with_many_objects_are_taken_however_many_come_together(shared):
    pdus = [shared.room.make(shared.bob, "org.example", {"x": [{"": 0}] * 8_800}) for _ in range(30)]
    assert shared.send(pdus) == {"pdus": {pdu.event_id: {} for pdu in pdus}}
    shared.wait(pdus, seconds=60)


@pytest.mark.parametrize("endpoint", ["v2/send_join", "v1/send_knock", "v2/send_leave", "v2/invite"])
def test_a_forbidden_number_in_a_membership_is_bad_json(shared, endpoint):
    carol = shared.server.user("carol")
    membership = endpoint.rpartition("_")[2] if "_" in endpoint else "invite"
    target = shared.alice.user_id if membership == "invite" else carol
    sender = shared.bob if membership == "invite" else carol
    content = {"membership": membership, "n": exact("1.5")}
    event = shared.room.make(sender, "m.room.member", content, target)
    uri = f"/_matrix/federation/{endpoint}/{shared.room_id}/{event.event_id}"
    body = event.json
    if membership == "invite":
        body = {"event": body, "room_version": shared.room.version, "invite_room_state": []}
    shared.server.call(shared.node, "PUT", uri, body, status=400, errcode="M_BAD_JSON")


# Answers of other servers


def test_a_bad_event_in_an_answer_spoils_no_other(shared):
    bad = shared.room.message(shared.bob, exact("1.5"))
    shared.room.head = [shared.join]
    missing = [shared.room.message(shared.bob, f"{number}") for number in range(3)]
    last = shared.room.message(shared.bob, "last")
    deep = {"type": "m.room.message", "content": nested(300)}

    def answer(handler, parts, query, body):
        events = [deep, bad.json, exact("1e999"), *(pdu.json for pdu in missing), None, "text"]
        return 200, {"events": events, "pdus": events, "more": nested(300)}

    shared.server.hooks["get_missing_events"] = answer
    shared.send([last])
    shared.wait([*missing, last])
    shared.settled()


def test_a_bad_device_in_an_answer_spoils_no_other(shared):
    device = {"user_id": shared.bob, "algorithms": [], "keys": {}, "signatures": {}}

    def answer(handler, parts, query, body):
        devices = {
            "GOOD": {**device, "device_id": "GOOD"},
            "DEEP": {**device, "device_id": "DEEP", "x": nested(300)},
            "BIG": {**device, "device_id": "BIG", "x": exact("1e999")},
            "HALF": exact("1.5"),
        }
        return 200, {"device_keys": {shared.bob: devices}, "master_keys": {shared.bob: nested(300)}}

    shared.server.hooks["user"] = answer
    found = shared.alice.post("/keys/query", {"device_keys": {shared.bob: []}})
    assert found["failures"] == {} and "GOOD" in found["device_keys"][shared.bob]


# Out


class Checking:
    """Checks the signatures of requests as servers do that parse a body and write it again."""

    def __init__(self, server, remote):
        self.remote, self.wrong = remote, []
        answer = remote.request(server.node, "GET", "/_matrix/key/v2/server", destination=server.name)
        keys = answer.json()["verify_keys"]
        self.keys = {
            key_id: eddsa.import_public_key(base64.b64decode(key["key"] + "=="))
            for key_id, key in keys.items()
        }  # fmt: skip
        self.server = server
        remote.hooks["send"] = self.check

    def check(self, handler, parts, query, body):
        named = dict(re.findall(r'(\w+)="([^"]*)"', handler.headers["Authorization"]))
        signed = {
            "content": body, "destination": self.remote.name, "method": "PUT", "origin": self.server.name,
            "uri": handler.path,
        }  # fmt: skip
        try:
            verifier = eddsa.new(self.keys[named["key"]], "rfc8032")
            verifier.verify(canonical(signed), base64.b64decode(named["sig"] + "=="))
        except ValueError:
            self.wrong.append(body)
            return 401, {"errcode": "M_UNAUTHORIZED", "error": "The signature is wrong"}
        return None


@pytest.fixture(scope="module")
def server(servers):
    return servers[0]


@pytest.fixture
def checking(server, remote):
    return Checking(server, remote)


def of_type(remote, edu_type) -> list[dict]:
    return [edu["content"] for edu in remote.edus if edu["edu_type"] == edu_type]


def send_to_device(alice, user_id: str, content, status=200, errcode=None):
    body = written({"messages": {user_id: {"D": content}}})
    return alice.call(
        "PUT", path("sendToDevice", "org.example", new_txn_id()), content=body, status=status,
        errcode=errcode,
    )  # fmt: skip


def test_numbers_of_clients_reach_other_servers(server, remote, checking):
    alice, bob = server.register("alice"), remote.user("bob")
    remote.set_membership(server.database, alice.create_room(preset="public_chat"), bob)
    for number in NUMBERS:
        send_to_device(alice, bob, {"n": exact(number)})
    eventually(lambda: len(of_type(remote, "m.direct_to_device")) == len(NUMBERS))
    contents = [edu["messages"][bob]["D"]["n"] for edu in of_type(remote, "m.direct_to_device")]
    assert [float(content) for content in contents] == [float(number) for number in NUMBERS]
    assert checking.wrong == []


def test_numbers_of_clients_reach_other_servers_in_old_rooms(server, remote, checking):
    alice = server.register("alice")
    room = alice.create_room(preset="public_chat", room_version="5")
    remote.set_membership(server.database, room, remote.user("bob"))
    uri = path("rooms", room, "send", "m.room.message", new_txn_id())
    # Synapse does not take this one, and would wait for it for ever.
    alice.call("PUT", uri, content=b'{"body": 18446744073709551615}', status=400, errcode="M_BAD_JSON")
    sent = []
    for number in NUMBERS:
        if number == "18446744073709551615":
            continue
        uri = path("rooms", room, "send", "m.room.message", new_txn_id())
        sent.append(alice.call("PUT", uri, content=written({"body": exact(number)}))["event_id"])
    eventually(lambda: len(remote.pdus) == len(sent))
    assert [event_id_of(pdu) for pdu in remote.pdus] == sent
    assert checking.wrong == []
    # The content hash is right for who parses and writes again.
    for pdu in remote.pdus:
        signed = {**pdu, "signatures": {}}
        remote.sign(signed)
        assert signed["hashes"] == pdu["hashes"]
    assert server.database.query("select * from matrix.verify_room(%s)", [room]) == []


def test_depths_that_canonical_json_does_not_have_hold_nothing_up(server, remote, checking):
    alice = server.register("alice")
    for depth in (2**53 - 1, 2**63 - 1):
        room = alice.create_room(preset="public_chat", room_version="5")
        remote.set_membership(server.database, room, remote.user("bob"))
        server.database.query("update matriarch.rooms set depth = %s where room_id = %s", [depth, room])
        event_id = alice.send(room, "deep")
        eventually(lambda event_id=event_id: event_id in [event_id_of(pdu) for pdu in remote.pdus])
    assert checking.wrong == []


def test_keys_that_cannot_be_signed_are_refused(server):
    alice = server.register("alice")
    device = {
        "user_id": alice.user_id, "device_id": alice.device_id, "algorithms": [],
        "keys": {}, "signatures": {},
    }  # fmt: skip
    key = {"key": "a", "signatures": {alice.user_id: {"ed25519:D": "s"}}}
    for number in (1.5, -0.0, 2**53):
        for body in (
            {"device_keys": {**device, "x": number}},
            {"one_time_keys": {"signed_curve25519:A": {**key, "x": [number]}}},
            {"fallback_keys": {"signed_curve25519:A": {**key, "x": {"y": number}}}},
        ):
            alice.post("/keys/upload", body, status=400, errcode="M_BAD_JSON")
        master = {"user_id": alice.user_id, "usage": ["master"], "keys": {"ed25519:a": "a"}, "x": number}
        alice.post("/keys/device_signing/upload", {"master_key": master}, status=400, errcode="M_BAD_JSON")
    alice.post("/keys/upload", {"device_keys": {**device, "x": 2**53 - 1}})
