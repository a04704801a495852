"""Sending, state, redactions, room creation and membership over HTTP: paths, bodies, statements."""

import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from harness.client import Client, expect, new_txn_id, path


@pytest.fixture
def alice(node) -> Client:
    return Client(node.url).register("alice")


@pytest.fixture
def bob(node) -> Client:
    return Client(node.url).register("bob")


def test_a_transaction_id_counts_once_at_every_node(nodes, alice):
    room = alice.create_room()
    elsewhere = alice.at(nodes[1])
    where = path("rooms", room, "send", "m.room.message", "same/id %?")
    ids = []
    senders = [
        threading.Thread(
            target=lambda client=client: ids.append(client.put(where, {"body": "once"})["event_id"])
        )
        for client in (alice, elsewhere) * 5
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(ids) == 10 and len(set(ids)) == 1
    other_device = alice.another_device()
    assert other_device.put(where, {"body": "once"})["event_id"] != ids[0]
    assert alice.put(path("rooms", room, "send", "org.example", "same/id %?"), {})["event_id"] != ids[0]


def test_concurrent_sends_all_arrive(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    ids = []
    senders = [threading.Thread(target=lambda: ids.append(alice.send(room))) for _ in range(20)]
    senders += [threading.Thread(target=lambda: ids.append(bob.send(room))) for _ in range(20)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(set(ids)) == 40


@pytest.mark.parametrize("version", ["v3", "r0"])
def test_state_paths(alice, version):
    room = alice.create_room()
    state = f"/_matrix/client/{version}" + path("rooms", room, "state")
    first = alice.put(f"{state}/org.example", {"a": 1})["event_id"]
    assert alice.put(f"{state}/org.example/", {"a": 1})["event_id"] == first
    assert alice.put(f"{state}/org.example/key", {"a": 1})["event_id"] != first
    slashed = alice.put(f"{state}/org.example/{quote('a/b', safe='')}", {"a": 1})["event_id"]
    assert slashed != first
    alice.call("PUT", f"{state}/org.example/a/b", {}, status=404, errcode="M_UNRECOGNIZED")
    alice.call("POST", f"{state}/org.example/key", {}, status=405, errcode="M_UNRECOGNIZED")


@pytest.mark.parametrize("version", ["v3", "r0"])
def test_sending_and_redacting_paths(alice, version):
    room = alice.create_room()
    base = f"/_matrix/client/{version}" + path("rooms", room)
    event_id = alice.put(f"{base}/send/m.room.message/1", {"body": "x"})["event_id"]
    redaction = alice.put(base + path("redact", event_id, "1"), {"reason": "x"})["event_id"]
    assert redaction != event_id
    assert alice.put(base + path("redact", event_id, "1"), {})["event_id"] == redaction
    alice.put(base + path("redact", "$unknown", "2"), {}, status=404, errcode="M_NOT_FOUND")


@pytest.mark.parametrize("version", ["v3", "r0"])
def test_membership_paths(alice, bob, version):
    base = f"/_matrix/client/{version}"
    room = alice.post(
        f"{base}/createRoom",
        {"preset": "public_chat", "room_alias_name": f"pub-{alice.user_id[1:]}".split(":")[0]},
    )["room_id"]
    alias = f"#{f'pub-{alice.user_id[1:]}'.split(':')[0]}:{alice.user_id.split(':')[1]}"
    of_room = base + path("rooms", room)
    assert bob.post(f"{base}/join/{quote(alias, safe='')}?server_name=a&server_name=b&via=c") == {
        "room_id": room
    }
    assert bob.call("POST", f"{of_room}/leave", content=b"") == {}
    assert bob.call("POST", f"{of_room}/join", content=b"") == {"room_id": room}
    target = {"user_id": bob.user_id, "reason": "because"}
    assert alice.post(f"{of_room}/kick", target) == {}
    assert alice.post(f"{of_room}/ban", target) == {}
    bob.post(f"{of_room}/join", status=403, errcode="M_FORBIDDEN")
    assert alice.post(f"{of_room}/unban", target) == {}
    assert alice.post(f"{of_room}/invite", target) == {}
    assert bob.post(f"{of_room}/leave") == {}
    assert bob.call("POST", f"{of_room}/forget", content=b"") == {}
    for knock in (f"{base}/knock", "/_matrix/client/unstable/xyz.amorgan.knock/knock"):
        bob.post(f"{knock}/{quote(room, safe='')}", status=403, errcode="M_FORBIDDEN")
    bob.post(f"{base}/join/nonsense", status=400, errcode="M_INVALID_PARAM")
    bob.post(f"{base}/join/{quote('!unknown:a', safe='')}", status=404, errcode="M_NOT_FOUND")


def test_tokens(node, alice):
    room = alice.create_room()
    where = path("rooms", room, "send", "m.room.message", "1")
    nobody = Client(node.url)
    requests = [
        ("PUT", where),
        ("PUT", path("rooms", room, "state", "m.room.topic")),
        ("PUT", path("rooms", room, "redact", "$x", "1")),
        ("POST", "/createRoom"),
        *[
            ("POST", path("rooms", room, action))
            for action in ["join", "leave", "invite", "kick", "ban", "unban", "forget"]
        ],
        ("POST", path("join", room)),
        ("POST", path("knock", room)),
    ]
    for method, where in requests:
        nobody.call(method, where, {}, status=401, errcode="M_MISSING_TOKEN")
        nobody.call(method, f"{where}?access_token=wrong", {}, status=401, errcode="M_UNKNOWN_TOKEN")
    by_query = nobody.put(f"{requests[0][1]}?access_token={alice.access_token}", {"body": "x"})
    assert by_query["event_id"].startswith("$")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"", "M_NOT_JSON"),
        (b"nonsense", "M_NOT_JSON"),
        (b"\xff", "M_NOT_JSON"),
        (b'{"a": "\xff"}', "M_NOT_JSON"),
        (b"[]", "M_BAD_JSON"),
        (b'{"a": 1, "a": 2}', "M_BAD_JSON"),
        (b'{"a": 1.5}', "M_BAD_JSON"),
        (b'{"a": 12345678901234567890}', "M_BAD_JSON"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "M_BAD_JSON"),
        (b'{"a": "\\ud800"}', "M_NOT_JSON"),
    ],
)
def test_bodies(alice, body, errcode):
    room = alice.create_room()
    where = path("rooms", room, "send", "m.room.message", "1")
    expect(alice.request("PUT", where, content=body), 400, errcode)
    expect(alice.request("PUT", path("rooms", room, "state", "org.example"), content=body), 400, errcode)
    alice.send(room)


def test_nul_in_paths(alice):
    room = alice.create_room()
    for where in (
        path("rooms", room, "send", "a\0b", "1"),
        path("rooms", room, "send", "m.room.message", "a\0b"),
        path("rooms", room, "state", "org.example", "a\0b"),
        path("rooms", "!a\0b", "send", "m.room.message", "1"),
    ):
        alice.put(where, status=400, errcode="M_INVALID_PARAM")


@pytest.mark.parametrize("name", ["org.matrix.msc4140.delay", "org.matrix.msc4140.parent_delay_id", "delay"])
def test_what_is_to_be_sent_later_is_not_sent_now(alice, name):
    """It may say that the user leaves a call unless she is heard of."""
    room = alice.create_room()
    before = alice.history(room)
    for where in (
        path("rooms", room, "send", "m.room.message", "txn-later"),
        path("rooms", room, "redact", before[-1]["event_id"], "txn-later"),
        path("rooms", room, "state", "org.example", "key"),
        path("rooms", room, "state", "org.example"),
    ):
        alice.put(where, {"a": 1}, params={name: "600000"}, status=403, errcode="M_FORBIDDEN")
    assert [event["event_id"] for event in alice.history(room)] == [event["event_id"] for event in before]


def test_the_endpoint_for_all_events_redacts(alice):
    room = alice.create_room(room_version="11")
    event_id = alice.send(room, "to be redacted")
    alice.send(room, {"redacts": event_id}, type="m.room.redaction")
    assert alice.event(room, event_id)["content"] == {}


def annotation(event_id, key="👍"):
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": key}}


def test_a_reaction_counts_once(nodes, alice, bob):
    """Bridges react again after a restart, with other transaction ids."""
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    target = alice.send(room)
    txn_id = "the first"
    reaction = alice.send(room, annotation(target), type="m.reaction", txn_id=txn_id)
    assert alice.send(room, annotation(target), type="m.reaction", txn_id=txn_id) == reaction

    def refused(content, type="m.reaction"):
        where = path("rooms", room, "send", type, new_txn_id())
        alice.at(nodes[1]).put(where, content, status=400, errcode="M_DUPLICATE_ANNOTATION")

    refused(annotation(target))
    refused({**annotation(target), "body": "again"})
    # Others' reactions, other keys, types and targets are others.
    bob.send(room, annotation(target), type="m.reaction")
    alice.send(room, annotation(target, "👎"), type="m.reaction")
    alice.send(room, annotation(target), type="org.example.reaction")
    alice.send(room, annotation(alice.send(room)), type="m.reaction")
    # One that was taken back can be given again, once.
    alice.redact(room, reaction)
    alice.send(room, annotation(target), type="m.reaction")
    refused(annotation(target))
    for malformed in ({"key": 1}, {"event_id": 5}, {"key": None}):
        content = {"m.relates_to": {**annotation(target)["m.relates_to"], **malformed}}
        for _ in range(2):
            alice.send(room, content, type="m.reaction")


def test_reactions_sent_at_one_moment_count_once(nodes, alice):
    room = alice.create_room()
    target = alice.send(room)
    with ThreadPoolExecutor(6) as pool:
        where = [path("rooms", room, "send", "m.reaction", new_txn_id()) for _ in range(6)]
        clients = [alice.at(nodes[number % 2]) for number in range(6)]
        answers = list(
            pool.map(lambda client, to: client.request("PUT", to, annotation(target)), clients, where)
        )
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 5


def test_one_statement_a_request(node, alice, bob):
    def statements(client, method, where, json):
        response = client.request(method, where, json)
        expect(response, 200)
        return int(response.headers["x-matriarch-db-statements"]), response.json()

    count, created = statements(
        alice, "POST", "/createRoom", {"preset": "public_chat", "name": "x", "invite": [bob.user_id]}
    )
    room = created["room_id"]
    assert count == 1
    assert statements(bob, "POST", path("join", room), {})[0] == 1
    assert statements(bob, "PUT", path("rooms", room, "send", "m.room.message", "1"), {"body": "x"})[0] == 1
    assert statements(alice, "PUT", path("rooms", room, "state", "m.room.topic"), {"topic": "x"})[0] == 1
    assert statements(bob, "POST", path("rooms", room, "leave"), {})[0] == 1
