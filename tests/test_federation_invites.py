"""Users of this server are invited to rooms of others."""

import base64
import copy
import functools
import hashlib
import itertools
import json
import threading
from urllib.parse import quote

import pytest
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from harness.client import expect, new_txn_id, path
from harness.cluster import SERVER_NAME
from harness.peer import KEY_ID, Peer, event_id_of, public_room, receive, signed_form, verdicts
from harness.waiting import eventually, metric

V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
NUMBERS = itertools.count(1)


@pytest.fixture
def one(federated):
    peer = Peer(f"host{next(NUMBERS)}.example")
    peer.publish(federated.database)
    return peer


def encode(*parts):
    return "/".join(quote(part, safe="") for part in parts)


def invite(room, sender, user):
    """The event, and the state that goes with it."""
    event = room.make(sender, "m.room.member", {"membership": "invite"}, user)
    return event, [pdu.json for pdu in event.state_before.values() if pdu.json["type"] != "m.room.member"]


def put(node, peer, room, event, version=None, state=None, event_id=None, **options):
    body = {"event": event, "room_version": version or room.version}
    if state is not None:
        body["invite_room_state"] = state
    where = f"{V2}/invite/{encode(room.room_id, event_id or event_id_of(event))}"
    return peer.call(node, "PUT", where, body, **options)


def stripped(event):
    return {key: event[key] for key in ("type", "state_key", "sender", "content")}


@pytest.mark.parametrize("version", ["11", "12"])
def test_an_invite(federated, one, version):
    alice, bob = one.user("alice"), federated.register("bob")
    room = public_room(alice, [one], version)
    room.send(alice, "m.room.name", {"name": "Far away"}, "")
    event, state = invite(room, alice, bob.user_id)
    assert bob.next()["rooms"].get("invite", {}) == {}
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(bob.next(timeout=20000)))
    thread.start()
    answer = put(federated, one, room, event.json, state=state)
    thread.join()
    assert set(answer["event"]["signatures"]) == {one.name, SERVER_NAME}
    assert {**answer["event"], "signatures": 0} == {**event.json, "signatures": 0}
    shown = waiting[0]["rooms"]["invite"][room.room_id]["invite_state"]["events"]
    assert {pdu["type"]: pdu for pdu in shown} == {pdu["type"]: stripped(pdu) for pdu in [*state, event.json]}
    assert {"name": "Far away"} in [pdu["content"] for pdu in shown]
    # To another device it is news as well, and to this one it is none.
    assert room.room_id in bob.another_device().sync()["rooms"]["invite"]
    assert room.room_id not in bob.next()["rooms"].get("invite", {})
    filtered = bob.sync(filter={"room": {"not_rooms": [room.room_id]}})
    assert room.room_id not in filtered["rooms"].get("invite", {})
    # The room is not known for that.
    bob.get(path("rooms", room.room_id, "state"), status=403)
    # The same once more is no error.
    put(federated, one, room, event.json, state=state)


def test_the_signature_is_good(federated, one):
    """As the server that invites checks it: by what is published."""
    alice, bob = one.user("alice"), federated.register("bob")
    room = public_room(alice, [one])
    event, state = invite(room, alice, bob.user_id)
    event.json["unsigned"] = {"age": 5}
    answer = put(federated, one, room, event.json, state=state)["event"]
    assert answer["unsigned"] == {"age": 5}
    keys = expect(federated.client().request("GET", "/_matrix/key/v2/server"), 200)["verify_keys"]
    [(key_id, signature)] = answer["signatures"][SERVER_NAME].items()
    public = base64.b64decode(keys[key_id]["key"] + "==")
    point = ECC.import_key(bytes.fromhex("302a300506032b6570032100") + public)
    eddsa.new(point, "rfc8032").verify(signed_form(answer), base64.b64decode(signature + "=="))


def test_the_first_version_of_the_endpoint(federated, one):
    """Rooms of version 1 and 2 are not what the tests' servers make: what is signed is of version 11, and
    refused."""
    alice, bob = one.user("alice"), federated.register("bob")
    room = public_room(alice, [one], "11")
    event, _ = invite(room, alice, bob.user_id)
    where = f"{V1}/invite/{encode(room.room_id, event.event_id)}"
    one.call(federated, "PUT", where, event.json, status=400, errcode="M_INVALID_PARAM")
    one.call(federated, "PUT", where, {}, status=400, errcode="M_INVALID_PARAM")


def test_those_who_are_not_there(federated, one):
    alice = one.user("alice")
    room = public_room(alice, [one])
    for user in (f"@nobody:{SERVER_NAME}", f"@:{SERVER_NAME}"):
        event, state = invite(room, alice, user)
        assert set(put(federated, one, room, event.json, state=state)["event"]["signatures"]) == {
            one.name,
            SERVER_NAME,
        }


def test_ignored_users(federated, one):
    alice, bob = one.user("alice"), federated.register("bob")
    bob.put(path("user", bob.user_id, "account_data", "m.ignored_user_list"), {"ignored_users": {alice: {}}})
    room = public_room(alice, [one])
    event, state = invite(room, alice, bob.user_id)
    put(federated, one, room, event.json, state=state)
    assert room.room_id not in bob.sync()["rooms"].get("invite", {})


def test_what_is_no_invite(federated, one):
    alice, bob = one.user("alice"), federated.register("bob")
    other = Peer(f"host{next(NUMBERS)}.example")
    other.publish(federated.database)
    room = public_room(alice, [one, other])
    event, state = invite(room, alice, bob.user_id)

    def refused(event, status=400, errcode="M_INVALID_PARAM", **options):
        put(
            federated,
            options.pop("peer", one),
            room,
            event,
            state=options.pop("state", state),
            status=status,
            errcode=errcode,
            **options,
        )

    def changed(peer=one, **changes):
        event_json = copy.deepcopy(event.json) | changes
        del event_json["signatures"]
        peer.sign(event_json)
        return event_json

    refused(changed(content={"membership": "join"}))
    refused(changed(content={"membership": "ban"}))
    refused(changed(type="m.room.message"))
    refused(changed(state_key=one.user("carol")))
    refused(changed(state_key=f"bob:{SERVER_NAME}"))
    refused(changed(room_id="!other:example.org"))
    refused(changed(other, sender=other.user("eve")))
    refused(changed(), peer=other)
    refused(changed(), event_id="$other")
    refused(changed(other))
    forged = changed()
    forged["content"]["displayname"] = "smuggled"
    refused(forged)
    refused(event.json, version="99", errcode="M_INCOMPATIBLE_ROOM_VERSION")
    assert room.room_id not in bob.sync()["rooms"].get("invite", {})


def test_state_that_is_not_the_rooms(federated, one):
    alice, bob = one.user("alice"), federated.register("bob")
    room, other = public_room(alice, [one]), public_room(alice, [one])
    event, state = invite(room, alice, bob.user_id)
    create = room.create.json

    def refused(state):
        put(federated, one, room, event.json, state=state, status=400, errcode="M_INVALID_PARAM")

    refused([*state, other.create.json])
    refused([other.create.json])
    refused([*map(stripped, state), other.create.json])
    refused([{**create, "content": {**create["content"], "extra": 1}}])
    refused([create, {**state[-1], "signatures": {one.name: {"ed25519:peer": "x" * 86}}}])
    refused([create] * 101)
    put(federated, one, room, event.json, state={"a": create}, status=400, errcode="M_BAD_JSON")
    # Before version 12 stripped state will do, and what is none is left out.
    room = public_room(alice, [one], "11")
    event, state = invite(room, alice, bob.user_id)
    given = [
        stripped(room.create.json),
        {"type": "m.room.name"},
        7,
        None,
        {**stripped(room.create.json), "content": []},
    ]
    put(federated, one, room, event.json, state=given)
    shown = bob.sync()["rooms"]["invite"][room.room_id]["invite_state"]["events"]
    assert [pdu["type"] for pdu in shown] == ["m.room.create", "m.room.member"]


def test_state_that_proves_nothing(federated, one):
    """As servers send it that do not know MSC4311; shown as before room version 12."""
    alice = one.user("alice")
    counted = functools.partial(metric, federated.url, "matriarch_federation_unproven_invites_total")

    def shown(*kinds) -> tuple[set[str], float]:
        """What an invited user is shown, and how often it was noted that it proves nothing."""
        bob, before = federated.register("bob"), counted()
        room = public_room(alice, [one])
        room.send(alice, "m.room.name", {"name": "Hall"}, "")
        event, state = invite(room, alice, bob.user_id)
        given = None if kinds == (None,) else [kind(pdu) for pdu, kind in zip(state, kinds, strict=False)]
        put(federated, one, room, event.json, state=given)
        told = bob.sync()["rooms"]["invite"][room.room_id]["invite_state"]["events"]
        return {pdu["type"] for pdu in told if pdu["type"] != "m.room.member"}, counted() - before

    types = ["m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.name"]
    assert shown(dict, dict, dict, dict) == ({*types}, 0)
    assert shown(stripped, stripped, stripped, stripped) == ({*types}, 1)
    assert shown(dict, stripped, stripped, stripped) == ({*types}, 1)
    assert shown(stripped, dict, lambda _: 7) == ({*types[:2]}, 1)
    assert shown(lambda _: {}, dict, dict) == ({*types[1:3]}, 1)
    assert shown() == (set(), 1)
    assert shown(None) == (set(), 1)


def test_state_must_prove_the_room_where_that_is_set(database, start_nodes):
    settings = {
        "MATRIARCH_FEDERATION__ENABLED": "true",
        "MATRIARCH_FEDERATION__REQUIRE_SIGNED_INVITE_STATE": "true",
    }
    (node,) = start_nodes(database, **settings)
    one = Peer("strict.example")
    one.publish(database)
    alice, bob = one.user("alice"), node.register("bob")
    room = public_room(alice, [one])
    event, state = invite(room, alice, bob.user_id)
    create = room.create.json
    bad = [[], None, [*map(stripped, state)], [create, stripped(state[-1])], state[1:], [create, 7]]
    for given in bad:
        put(node, one, room, event.json, state=given, status=400, errcode="M_INVALID_PARAM")
    put(node, one, room, event.json, state=state)


def test_access_control_lists(federated, one):
    alice, bob = one.user("alice"), federated.register("bob")
    room = public_room(alice, [one])
    room.send(alice, "m.room.server_acl", {"allow": ["*"], "deny": [one.name.upper()]}, "")
    assert set(verdicts(receive(federated.database, room, room.pdus))) == {"accepted"}
    event, state = invite(room, alice, bob.user_id)
    put(federated, one, room, event.json, state=state, status=403, errcode="M_FORBIDDEN")


def test_an_invite_that_the_room_itself_tells_of(federated, one):
    """The room's state, once it comes, takes the place of what the invite told."""
    alice, bob = one.user("alice"), federated.register("bob")
    room = public_room(alice, [one])
    event, state = invite(room, alice, bob.user_id)
    put(federated, one, room, event.json, state=state)
    room.head = [event]
    joined = room.join(bob_of(federated, bob, room))
    assert verdicts(receive(federated.database, room, room.pdus))[-1] == "accepted", joined
    sync = bob.sync()
    assert room.room_id in sync["rooms"]["join"] and room.room_id not in sync["rooms"].get("invite", {})
    assert (
        federated.database.query(
            "select from matriarch.out_of_band_memberships where room_id = %s", [room.room_id]
        )
        == []
    )


def bob_of(node, bob, room):
    """Lets the room's maker sign for this server: the join is made elsewhere, as after a restore."""
    [(key_id, seed)] = node.database.query("select key_id, seed from matriarch.signing_keys")
    signer = Peer(SERVER_NAME)
    signer.key = ECC.construct(curve="Ed25519", seed=bytes(seed))

    def sign(event, plain=signer.sign):
        plain(event)
        signatures = event["signatures"][SERVER_NAME]
        signatures[key_id] = signatures.pop(KEY_ID)

    signer.sign = sign
    room.peers[SERVER_NAME] = signer
    return bob.user_id


def test_a_refused_invite(federated, one):
    alice, bob = one.user("alice"), federated.register("bob")
    room = public_room(alice, [one])
    event, state = invite(room, alice, bob.user_id)
    put(federated, one, room, event.json, state=state)
    bob.next()
    with federated.database.connect("matriarch_api") as connection:
        token = hashlib.sha256(bob.access_token.encode()).digest()
        leave = {**event.json, "content": {"membership": "leave"}, "sender": bob.user_id}
        for _ in range(2):
            [(status,)] = connection.execute(
                "select status from matriarch.leave_out_of_band(%s, %s, %s, %s)",
                [token, room.room_id, "$leave", json.dumps(leave)],
            ).fetchall()
            assert status == 200
        [(status,)] = connection.execute(
            "select status from matriarch.leave_out_of_band(%s, '!x', null, null)", [token]
        ).fetchall()
        assert status == 404
    left = bob.next()["rooms"]["leave"][room.room_id]
    assert [(event["event_id"], event["content"]) for event in left["timeline"]["events"]] == [
        ("$leave", {"membership": "leave"})
    ]
    first = bob.sync()["rooms"]
    assert room.room_id not in first.get("invite", {}) and room.room_id not in first.get("leave", {})
    archived = bob.sync(filter={"room": {"include_leave": True}})
    assert room.room_id in archived["rooms"]["leave"]


def test_a_refused_invite_is_forgotten(federated, one):
    alice, bob = one.user("alice"), federated.register("bob")
    room = public_room(alice, [one])
    event, state = invite(room, alice, bob.user_id)
    forget = path("rooms", room.room_id, "forget")
    bob.post(forget, status=404, errcode="M_NOT_FOUND")
    put(federated, one, room, event.json, state=state)
    other = bob.another_device()
    other.next(), bob.next()
    bob.post(forget, status=400, errcode="M_UNKNOWN")
    # Its server is not there, so nobody but this server knows of it.
    bob.leave(room.room_id)
    (leave,) = bob.next()["rooms"]["leave"][room.room_id]["timeline"]["events"]
    assert (leave["type"], leave["sender"], leave["state_key"]) == ("m.room.member", bob.user_id, bob.user_id)
    assert leave["content"] == {"membership": "leave"} and leave["event_id"].startswith("$")
    assert leave["origin_server_ts"] > 0
    for _ in range(2):
        assert bob.post(forget) == {}
    assert room.room_id in other.next()["rooms"]["leave"], "another device learns of the leave"
    assert room.room_id not in bob.sync(filter={"room": {"include_leave": True}})["rooms"].get("leave", {})
    archived = bob.get("/initialSync", params={"archived": "true"})["rooms"]
    assert room.room_id not in [info["room_id"] for info in archived]
    # A new invite is no part of the past.
    room.head = [event]
    again, state = invite(room, alice, bob.user_id)
    put(federated, one, room, again.json, state=state)
    assert room.room_id in bob.next()["rooms"]["invite"]
    bob.leave(room.room_id)
    assert room.room_id in bob.sync(filter={"room": {"include_leave": True}})["rooms"]["leave"]


HOSTILE = [
    b"", b"{", b"[]", {}, {"room_version": "12"}, {"event": {}}, {"event": {}, "room_version": 12},
    {"event": 7, "room_version": "12"},
    {"event": {}, "room_version": "\0"},
    {"event": {"type": "m.room.member", "content": {"membership": "invite"}}, "room_version": "12"},
    {"event": {"content": {"x": "\0"}, "state_key": "\0"}, "room_version": "1", "invite_room_state": "x"},
]  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_hostile_bodies(federated, one, body, version):
    where = f"/_matrix/federation/{version}/invite/{encode('!room:one.example', '$x')}"
    answer = one.request(federated, "PUT", where, body)
    assert answer.status_code in (400, 401) and answer.json()["errcode"].startswith("M_"), answer.text


# Taken back


def send(node, peer, *pdus) -> dict:
    body = {
        "origin": peer.name,
        "origin_server_ts": 0,
        "pdus": [pdu if isinstance(pdu, dict) else pdu.json for pdu in pdus],
        "edus": [],
    }
    return peer.call(node, "PUT", f"{V1}/send/{new_txn_id()}", body)["pdus"]


def left(answer, room):
    """The events by which a user left, by a sync answer."""
    section = answer["rooms"].get("leave", {}).get(room.room_id)
    return section and [
        (event["event_id"], event["content"]["membership"]) for event in section["timeline"]["events"]
    ]


def invited_to(federated, peers, **options):
    """A room, and a user who is invited to it by the first of the servers."""
    alice, bob = peers[0].user("alice"), federated.register("bob")
    room = public_room(alice, peers, **options)
    event, state = invite(room, alice, bob.user_id)
    put(federated, peers[0], room, event.json, state=state)
    room.head = [event]
    assert room.room_id in bob.next()["rooms"]["invite"]
    return room, alice, bob


@pytest.mark.parametrize("version", ["11", "12"])
@pytest.mark.parametrize("membership", ["leave", "ban"])
def test_an_invite_is_taken_back(federated, one, version, membership):
    room, alice, bob = invited_to(federated, [one], version=version)
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(bob.next(timeout=20000)))
    thread.start()
    leave = room.send(alice, "m.room.member", {"membership": membership, "reason": "a mistake"}, bob.user_id)
    assert send(federated, one, leave) == {leave.event_id: {}}
    thread.join()
    assert left(waiting[0], room) == [(leave.event_id, membership)]
    event = waiting[0]["rooms"]["leave"][room.room_id]["timeline"]["events"][0]
    assert event["content"]["reason"] == "a mistake" and event["sender"] == alice
    assert room.room_id not in bob.sync()["rooms"].get("invite", {})
    # To be invited once more is possible.
    event, state = invite(room, alice, bob.user_id)
    put(federated, one, room, event.json, state=state)
    assert room.room_id in bob.next()["rooms"]["invite"]


def test_the_deprecated_event_stream(federated, one):
    alice, bob = one.user("alice"), federated.register("bob")
    end = bob.get("/initialSync")["end"]
    room = public_room(alice, [one])
    event, state = invite(room, alice, bob.user_id)
    put(federated, one, room, event.json, state=state)
    room.head = [event]
    expected = {
        "room_id": room.room_id,
        "sender": alice,
        "type": "m.room.member",
        "state_key": bob.user_id,
        "content": {"membership": "invite"},
    }
    answer = bob.get("/events", params={"from": end})
    assert answer["chunk"] == [expected]
    assert bob.get("/initialSync")["rooms"] == [
        {"room_id": room.room_id, "membership": "invite", "invite": expected}
    ]
    leave = room.send(alice, "m.room.member", {"membership": "leave"}, bob.user_id)
    send(federated, one, leave)
    (left,) = bob.get("/events", params={"from": answer["end"]})["chunk"]
    assert left["event_id"] == leave.event_id and left["room_id"] == room.room_id
    assert bob.get("/initialSync")["rooms"] == []
    (info,) = bob.get("/initialSync", params={"archived": "true"})["rooms"]
    assert info["membership"] == "leave" and info["messages"]["chunk"] == [left]


def test_who_does_not_take_invites_back(federated, one):
    other = Peer(f"host{next(NUMBERS)}.example")
    other.publish(federated.database)
    room, alice, bob = invited_to(federated, [one, other])
    eve = other.user("eve")
    room.join(eve)
    by_eve = room.make(eve, "m.room.member", {"membership": "leave"}, bob.user_id)
    by_alice = room.make(alice, "m.room.member", {"membership": "leave"}, bob.user_id)
    forged = copy.deepcopy(by_alice.json)
    forged["content"]["reason"] = "forged"
    message = room.make(alice, "m.room.message", {"body": "hello", "membership": "leave"})
    to_nobody = room.make(alice, "m.room.member", {"membership": "leave"}, f"@nobody:{SERVER_NAME}")
    for peer, pdu in (
        (other, by_eve),
        (other, by_alice),
        (one, by_eve),
        (one, forged),
        (one, message),
        (one, to_nobody),
    ):
        (result,) = send(federated, peer, pdu).values()
        assert "error" in result
    assert left(bob.next(), room) is None
    assert room.room_id in bob.sync()["rooms"]["invite"]


def test_a_moderator_of_another_server_takes_it_back(federated, one):
    """Their server is known to be in the room by the state that came with the invite."""
    other = Peer(f"host{next(NUMBERS)}.example")
    other.publish(federated.database)
    alice, carol, bob = one.user("alice"), other.user("carol"), federated.register("bob")
    room = public_room(alice, [one, other], "11", users={other.user("carol"): 100})
    room.join(carol)
    room.send(carol, "m.room.name", {"name": "Carol's"}, "")
    event, state = invite(room, alice, bob.user_id)
    put(federated, one, room, event.json, state=state)
    bob.next()
    leave = room.send(carol, "m.room.member", {"membership": "leave"}, bob.user_id)
    assert send(federated, other, leave) == {leave.event_id: {}}
    assert left(bob.next(), room) == [(leave.event_id, "leave")]


@pytest.mark.parametrize("shown", ["creator", "power levels"])
def test_a_moderator_whom_the_invite_shows(federated, one, shown):
    other = Peer(f"host{next(NUMBERS)}.example")
    other.publish(federated.database)
    alice, carol, eve, bob = (
        one.user("alice"),
        other.user("carol"),
        other.user("eve"),
        federated.register("bob"),
    )
    if shown == "creator":
        room = public_room(alice, [one, other], additional_creators=[carol])
    else:
        room = public_room(alice, [one, other], "11", users={carol: 50, eve: 49})
    room.send(alice, "m.room.name", {"name": "Alice's"}, "")
    event, state = invite(room, alice, bob.user_id)
    room.join(carol)
    room.join(eve)
    put(federated, one, room, event.json, state=state)
    bob.next()
    view = (
        "select user_id, membership, sender, room_version, name from matrix.out_of_band_members "
        "where room_id = %s"
    )
    outside = lambda: federated.database.query(view, [room.room_id], user="matriarch_readonly")
    assert outside() == [(bob.user_id, "invite", alice, room.version, "Alice's")]
    by_eve = room.make(eve, "m.room.member", {"membership": "leave"}, bob.user_id)
    assert "error" in send(federated, other, by_eve)[by_eve.event_id]
    leave = room.make(carol, "m.room.member", {"membership": "leave"}, bob.user_id)
    assert send(federated, other, leave) == {leave.event_id: {}}
    assert left(bob.next(), room) == [(leave.event_id, "leave")]
    assert outside() == [(bob.user_id, "leave", carol, room.version, None)]


@pytest.mark.parametrize("action", ["kick", "ban"])
def test_invites_that_are_taken_back_are_told_to_the_server(servers, action):
    one, two = servers
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="private_chat")
    alice.send(room, "not for those outside")
    alice.invite(room, bob)
    bob.sync_until(lambda answer: room in answer["rooms"].get("invite", {}))
    alice.post(path("rooms", room, action), {"user_id": bob.user_id, "reason": "a mistake"})
    alice.send(room, "nor this")
    answer = bob.sync_until(lambda answer: room in answer["rooms"].get("leave", {}))
    (event,) = answer["rooms"]["leave"][room]["timeline"]["events"]
    assert event["sender"] == alice.user_id and event["content"]["reason"] == "a mistake"
    # The server gets nothing else of the room, and what it was to be sent is over.
    assert two.database.query("select from matriarch.rooms where room_id = %s", [room]) == []
    statement = (
        "select from matriarch.destination_rooms join matriarch.rooms using (room_nid) where room_id = %s"
    )
    eventually(lambda: one.database.query(statement, [room]) == [])
    assert one.database.query("select * from matrix.verify_room(%s)", [room]) == []


def test_knocks_that_are_refused_are_told_to_the_server(servers):
    one, two = servers
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(
        preset="private_chat",
        initial_state=[{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}],
    )
    bob.post(path("knock", room), params={"via": one.name})
    assert room in bob.next()["rooms"]["knock"]
    alice.post(path("rooms", room, "kick"), {"user_id": bob.user_id})
    bob.sync_until(lambda answer: room in answer["rooms"].get("leave", {}))
