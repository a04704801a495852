"""Users of other servers come into rooms of this one, knock, and leave."""

import contextlib
import copy
import itertools
import json
import time
from urllib.parse import quote

import pytest

from harness.client import bodies, path, timeline
from harness.cluster import SERVER_NAME
from harness.peer import Peer, event_id_of, redact
from harness.verify import verify
from harness.waiting import long_poll

V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
VERSIONS = ["11", "12"]
NUMBERS = itertools.count(1)
ALL = "&".join(f"ver={version}" for version in range(1, 13))


@pytest.fixture
def one(federated):
    return peer(federated)


@pytest.fixture
def two(federated):
    return peer(federated)


def peer(node, name=None):
    peer = Peer(name or f"guest{next(NUMBERS)}.example")
    peer.publish(node.database)
    return peer


def encode(*parts):
    return "/".join(quote(part, safe="") for part in parts)


def make(node, peer, action, room, user, query=f"?{ALL}", **options):
    return peer.get(node, f"{V1}/make_{action}/{encode(room, user)}{query}", **options)


def signed(peer, template, **changes):
    event = copy.deepcopy(template) | changes
    event["origin_server_ts"] = int(time.time() * 1000)
    peer.sign(event)
    return event


PATHS = {"join": f"{V2}/send_join", "leave": f"{V2}/send_leave", "knock": f"{V1}/send_knock"}


def send(node, peer, action, room, event, event_id=None, query="", **options):
    where = f"{PATHS[action]}/{encode(room, event_id or event_id_of(event))}{query}"
    return peer.call(node, "PUT", where, event, **options)


def enter(node, peer, room, user, action="join", **options):
    event = signed(peer, make(node, peer, action, room, user)["event"])
    return event, send(node, peer, action, room, event, **options)


def membership(database, room, user):
    statement = "select membership from matrix.members where room_id = %s and user_id = %s"
    rows = database.query(statement, [room, user])
    return rows[0][0] if rows else None


def stored(database, room):
    """The events of a room by their ids."""
    rows = database.query("select event_id, json from matrix.events where room_id = %s", [room])
    return {event_id: json.loads(text) for event_id, text in rows}


def state_ids(database, room):
    return {
        event_id for (event_id,) in database.query("select event_id from matrix.current_state(%s)", [room])
    }


def auth_chain(events, event_ids):
    open, chain = list(event_ids), set()
    while open:
        for event_id in events[open.pop()]["auth_events"]:
            if event_id not in chain:
                chain.add(event_id)
                open.append(event_id)
    # Since room version 12 events do not cite it.
    return chain | {event_id for event_id, event in events.items() if event["type"] == "m.room.create"}


def ids(pdus):
    found = [event_id_of(pdu) for pdu in pdus]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_join(federated, one, version):
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(preset="public_chat", room_version=version, name="Hall")
    alice.next()
    before = state_ids(federated.database, room)
    answer = make(federated, one, "join", room, bob)
    assert answer["room_version"] == version
    template = answer["event"]
    assert template["content"] == {"membership": "join"} and template["type"] == "m.room.member"
    assert template["sender"] == template["state_key"] == bob and template["room_id"] == room
    assert not {"hashes", "signatures", "event_id", "unsigned"} & template.keys()
    event = signed(one, template)
    with long_poll(alice, alice.next, timeout=20000) as waiting:
        begun = time.monotonic()
        answer = send(federated, one, "join", room, event)
        assert [event["state_key"] for event in timeline(waiting.result(), room)] == [bob]
        assert time.monotonic() - begun < 10
    assert answer["origin"] == SERVER_NAME and answer["event"] == event and answer["members_omitted"] is False
    assert ids(answer["state"]) == before
    events = stored(federated.database, room)
    assert ids(answer["auth_chain"]) == auth_chain(events, before | {event_id_of(event)})
    assert membership(federated.database, room, bob) == "join"
    # Once more, as when the answer was lost.
    again = send(federated, one, "join", room, event)
    assert ids(again["state"]) == before
    one.get(federated, f"{V1}/state_ids/{encode(room)}?event_id={encode(event_id_of(event))}")
    assert verify(federated.database, room) == []


def test_the_first_version_of_the_endpoints(federated, one):
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(preset="public_chat")
    event = signed(one, make(federated, one, "join", room, bob)["event"])
    answer = one.call(federated, "PUT", f"{V1}/send_join/{encode(room, event_id_of(event))}", event)
    assert answer[0] == 200 and ids(answer[1]["state"])
    event = signed(one, make(federated, one, "leave", room, bob, "")["event"])
    assert one.call(federated, "PUT", f"{V1}/send_leave/{encode(room, event_id_of(event))}", event) == [
        200,
        {},
    ]
    event = signed(one, event)
    one.call(
        federated,
        "PUT",
        f"{V1}/send_leave/{encode(room, '$other')}",
        event,
        status=400,
        errcode="M_INVALID_PARAM",
    )


def test_a_join_without_the_members(federated, one, two):
    alice = federated.register("alice")
    room = alice.create_room(preset="public_chat", name="Hall")
    for number in range(8):
        enter(federated, two, room, two.user(f"user{number}"))
    event, answer = enter(federated, one, room, one.user("bob"), query="?omit_members=true")
    assert answer["members_omitted"] is True
    assert sorted(answer["servers_in_room"]) == sorted([SERVER_NAME, two.name])
    assert "m.room.member" not in {pdu["type"] for pdu in answer["state"]}
    state, chain = ids(answer["state"]), ids(answer["auth_chain"])
    assert not state & chain
    assert auth_chain(stored(federated.database, room), state | {event_id_of(event)}) <= state | chain
    # A room without a name is known by its first members.
    room = alice.create_room(preset="public_chat")
    for number in range(8):
        enter(federated, two, room, two.user(f"user{number}"))
    _, answer = enter(federated, one, room, one.user("bob"), query="?omit_members=true")
    members = [pdu["state_key"] for pdu in answer["state"] if pdu["type"] == "m.room.member"]
    assert sorted(members) == sorted([alice.user_id, *(two.user(f"user{number}") for number in range(4))])
    make(federated, one, "join", room, one.user("eve"))
    event = signed(one, make(federated, one, "join", room, one.user("eve"))["event"])
    send(
        federated,
        one,
        "join",
        room,
        event,
        query="?omit_members=perhaps",
        status=400,
        errcode="M_INVALID_PARAM",
    )


def test_members_of_other_servers_write_and_leave(federated, one):
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(preset="public_chat")
    enter(federated, one, room, bob)
    alice.next()
    _, answer = enter(federated, one, room, bob, "leave")
    assert answer == {}
    assert membership(federated.database, room, bob) == "leave"
    assert [event["content"]["membership"] for event in timeline(alice.next(), room)] == ["leave"]
    make(federated, one, "leave", room, bob, "", status=403, errcode="M_FORBIDDEN")
    make(federated, one, "leave", room, one.user("never"), "", status=403, errcode="M_FORBIDDEN")
    alice.post(path("rooms", room, "ban"), {"user_id": bob})
    make(federated, one, "join", room, bob, status=403, errcode="M_FORBIDDEN")


def test_private_rooms(federated, one):
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(preset="private_chat")
    make(federated, one, "join", room, bob, status=403, errcode="M_FORBIDDEN")
    make(federated, one, "knock", room, bob, status=403, errcode="M_FORBIDDEN")


def test_room_versions(federated, one):
    alice, bob = federated.register("alice"), one.user("bob")
    for version in ("1", "6", "10", "12"):
        room = alice.create_room(preset="public_chat", room_version=version)
        for query in ("?ver=9", "?ver=0&ver=x", "?ver="):
            answer = make(
                federated, one, "join", room, bob, query, status=400, errcode="M_INCOMPATIBLE_ROOM_VERSION"
            )
            assert answer["room_version"] == version
            make(federated, one, "knock", room, bob, query, status=400, errcode="M_INCOMPATIBLE_ROOM_VERSION")
        if version == "1":
            assert "event_id" not in make(federated, one, "join", room, bob, "")["event"]
        else:
            make(federated, one, "join", room, bob, "", status=400, errcode="M_INCOMPATIBLE_ROOM_VERSION")
        make(federated, one, "knock", room, bob, "", status=400, errcode="M_MISSING_PARAM")
        assert make(federated, one, "join", room, bob, f"?ver=1&ver={version}")["room_version"] == version


def test_whose_users_may_come(federated, one, two):
    alice = federated.register("alice")
    room = alice.create_room(preset="public_chat")
    for user in (
        two.user("bob"),
        alice.user_id,
        "bob",
        "@bob",
        f"@:x:{one.name}",
        "@" + "x" * 300 + f":{one.name}",
    ):
        for action in ("join", "knock", "leave"):
            make(federated, one, action, room, user, status=403, errcode="M_FORBIDDEN")
    for unknown in ("!unknown:test.example", "!", "x"):
        for action in ("join", "knock", "leave"):
            make(federated, one, action, unknown, one.user("bob"), status=404, errcode="M_NOT_FOUND")


def test_rooms_that_this_server_has_left(federated, one):
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(preset="public_chat")
    event = signed(one, make(federated, one, "join", room, bob)["event"])
    alice.leave(room)
    make(federated, one, "join", room, bob, status=404, errcode="M_NOT_FOUND")
    send(federated, one, "join", room, event, status=404, errcode="M_NOT_FOUND")


def test_access_control_lists(federated, one):
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(preset="public_chat")
    event = signed(one, make(federated, one, "join", room, bob)["event"])
    alice.send_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["GUEST*.example"]})
    for action in ("join", "knock", "leave"):
        make(federated, one, action, room, bob, status=403, errcode="M_FORBIDDEN")
        event["content"]["membership"] = action
        send(federated, one, action, room, signed(one, event), status=403, errcode="M_FORBIDDEN")


def test_events_that_are_not_what_they_should_be(federated, one, two):
    alice, bob = federated.register("alice"), one.user("bob")
    room, other = (alice.create_room(preset="public_chat") for _ in range(2))
    template = make(federated, one, "join", room, bob)["event"]

    def refused(event, status=400, errcode="M_INVALID_PARAM", peer=one, **options):
        send(federated, peer, "join", room, event, status=status, errcode=errcode, **options)

    refused(signed(one, template, type="m.room.message"))
    refused(signed(one, template, content={"membership": "leave"}))
    refused(signed(one, template, content={"membership": ["join"]}))
    refused(signed(one, template, content={}))
    refused(signed(one, template, state_key=one.user("eve")))
    refused(signed(one, template, sender=two.user("eve"), state_key=two.user("eve")))
    refused(signed(one, template, sender=alice.user_id, state_key=alice.user_id))
    refused(signed(one, template, room_id=other))
    refused(signed(one, template), event_id="$other")
    refused(signed(one, template), peer=two)
    unsigned = signed(one, template)
    del unsigned["signatures"]
    refused(unsigned)
    forged = signed(one, template)
    forged["signatures"] = signed(two, template)["signatures"]
    refused(forged)
    forged = signed(one, template)
    forged["depth"] += 1
    refused(forged)
    # Auth events that do not authorize it.
    refused(signed(one, template, auth_events=template["auth_events"][:1]), 403, "M_FORBIDDEN")
    # A wrong content hash: the event is taken redacted.
    event = signed(one, template)
    event["content"]["reason"] = "smuggled"
    send(federated, one, "join", room, event)
    assert stored(federated.database, room)[event_id_of(event)] == redact(event)
    assert verify(federated.database, room) == []


HOSTILE = [
    b"", b"{", b"[]", {}, {"type": 1}, {"content": None}, {"room_id": 7}, {"depth": -1}, {"depth": "1"},
    {"prev_events": {}},
    {"prev_events": ["$x"] * 21}, {"auth_events": ["$x"] * 11}, {"prev_events": [["$x", {}]]},
    {"signatures": []}, {"signatures": {"x": 1}},
    {"hashes": 1}, {"sender": "@bob"}, {"state_key": None}, {"state_key": "\0"}, {"origin_server_ts": 2**53},
    {"content": {"membership": "join", "displayname": "x" * 66000}},
    {"content": {"membership": "join", "displayname": {"a": "\0"}}},
    {"type": "m.room.member\0"}, {"prev_events": ["\0"]}, {"auth_events": ["\0"]},
]  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("action", PATHS)
def test_hostile_bodies(federated, one, action, change):
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(preset="public_chat")
    template = make(federated, one, "join", room, bob)["event"]
    template["content"] = {"membership": action}
    body = change
    if change and isinstance(change, dict):
        body = template | change
        with contextlib.suppress(AttributeError, TypeError, KeyError):
            body = signed(one, body)
    where = f"{PATHS[action]}/{encode(room, '$x')}"
    answer = one.request(federated, "PUT", where, body)
    assert answer.status_code in (400, 401, 403, 413) and answer.json()["errcode"].startswith("M_"), (
        answer.text
    )


def restrict(alice, room, *allowed, join_rule="restricted"):
    allow = [{"type": "m.room_membership", "room_id": other} for other in allowed]
    alice.send_state(room, "m.room.join_rules", {"join_rule": join_rule, "allow": allow})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("join_rule", ["restricted", "knock_restricted"])
def test_restricted_rooms(federated, one, two, version, join_rule):
    alice, bob, eve = federated.register("alice"), one.user("bob"), two.user("eve")
    space = alice.create_room(preset="public_chat")
    room = alice.create_room(room_version=version)
    restrict(alice, room, space, join_rule=join_rule)
    enter(federated, one, space, bob)
    template = make(federated, one, "join", room, bob)["event"]
    assert template["content"] == {"membership": "join", "join_authorised_via_users_server": alice.user_id}
    make(federated, two, "join", room, eve, status=403, errcode="M_FORBIDDEN")
    # Nor by an event that copies the authorization.
    copied = signed(two, template, sender=eve, state_key=eve)
    send(federated, two, "join", room, copied, status=403, errcode="M_FORBIDDEN")
    event = signed(one, template)
    answer = send(federated, one, "join", room, event)
    assert set(answer["event"]["signatures"]) == {one.name, SERVER_NAME}
    assert {**answer["event"], "signatures": None} == {**event, "signatures": None}
    assert event_id_of(answer["event"]) == event_id_of(event)
    assert stored(federated.database, room)[event_id_of(event)] == answer["event"]
    assert membership(federated.database, room, bob) == "join"
    assert verify(federated.database, room) == []


def test_restricted_rooms_of_which_this_server_cannot_tell(federated, one, two):
    alice, bob = federated.register("alice"), one.user("bob")
    space, left = alice.create_room(preset="public_chat"), alice.create_room(preset="public_chat")
    alice.leave(left)
    room = alice.create_room()
    for unknown in ("!unknown:one.example", left):
        restrict(alice, room, space, unknown)
        make(federated, one, "join", room, bob, status=400, errcode="M_UNABLE_TO_AUTHORISE_JOIN")
    restrict(alice, room, space)
    make(federated, one, "join", room, bob, status=403, errcode="M_FORBIDDEN")
    restrict(alice, room)
    make(federated, one, "join", room, bob, status=403, errcode="M_FORBIDDEN")
    # Nobody of this server who is in the room may invite.
    restrict(alice, room, space)
    carol = federated.register("carol")
    carol.join(space)
    carol.join(room)
    levels = alice.state(room, "m.room.power_levels")
    alice.send_state(room, "m.room.power_levels", {**levels, "invite": 50})
    enter(federated, one, space, bob)
    event = signed(one, make(federated, one, "join", room, bob)["event"])
    alice.leave(room)
    make(federated, one, "join", room, bob, status=400, errcode="M_UNABLE_TO_GRANT_JOIN")
    send(federated, one, "join", room, event, status=400, errcode="M_UNABLE_TO_GRANT_JOIN")


@pytest.mark.parametrize("version", VERSIONS)
def test_knocks(federated, one, version):
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(room_version=version, name="Hall", topic="Talk")
    alice.send_state(room, "m.room.join_rules", {"join_rule": "knock"})
    alice.next()
    _event, answer = enter(federated, one, room, bob, "knock")
    shown = {pdu["type"]: pdu for pdu in answer["knock_room_state"]}
    assert {"m.room.create", "m.room.name", "m.room.topic", "m.room.join_rules"} <= set(shown)
    assert shown["m.room.name"]["content"] == {"name": "Hall"} and shown["m.room.create"]["signatures"]
    assert [event["content"] for event in timeline(alice.next(), room)] == [{"membership": "knock"}]
    assert membership(federated.database, room, bob) == "knock"
    # A knock does not let in.
    make(federated, one, "join", room, bob, status=403, errcode="M_FORBIDDEN")
    enter(federated, one, room, bob, "leave")
    assert membership(federated.database, room, bob) == "leave"


def test_a_join_from_before_others(federated, one, two):
    """What a template cites is known, whatever came after it; what nobody knows is not."""
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(preset="public_chat")
    event = signed(one, make(federated, one, "join", room, bob)["event"])
    enter(federated, two, room, two.user("carol"))
    alice.send(room, "meanwhile")
    send(federated, one, "join", room, event)
    alice.send(room, "after")
    assert "after" in bodies(alice.history(room))
    assert verify(federated.database, room) == []


def test_a_join_after_unknown_events(federated, one):
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(preset="public_chat")
    template = make(federated, one, "join", room, bob)["event"]
    event = signed(one, template, prev_events=["$" + "x" * 43])
    # The server of the test gives nothing.
    send(federated, one, "join", room, event, status=400, errcode="M_INVALID_PARAM")
    assert membership(federated.database, room, bob) is None


def test_one_statement_a_step(federated, one):
    alice, bob = federated.register("alice"), one.user("bob")
    room = alice.create_room(preset="public_chat")
    answer = one.request(federated, "GET", f"{V1}/make_join/{encode(room, bob)}?{ALL}")
    event = signed(one, answer.json()["event"])
    sent = one.request(federated, "PUT", f"{V2}/send_join/{encode(room, event_id_of(event))}", event)
    for response in (answer, sent):
        # One for the key of the server that asks.
        assert response.status_code == 200 and response.headers["x-matriarch-db-statements"] == "2", (
            response.text
        )
