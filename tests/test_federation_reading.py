"""What other servers read of rooms: events, states, authorization chains, history."""

import itertools
from urllib.parse import quote

import pytest

from harness.client import expect
from harness.peer import Peer, event_id_of, public_room, receive, redact, verdicts
from harness.remote_server import adopt

V1 = "/_matrix/federation/v1"
NUMBERS = itertools.count(1)


@pytest.fixture
def one(federated):
    return peer(federated)


@pytest.fixture
def two(federated):
    return peer(federated)


def peer(node, name=None):
    peer = Peer(name or f"peer{next(NUMBERS)}.example")
    peer.publish(node.database)
    return peer


def encode(*parts):
    return "/".join(quote(part, safe="") for part in parts)


def take(node, room, pdus=None, **options):
    reports = receive(node.database, room, room.pdus if pdus is None else pdus, **options)
    assert set(verdicts(reports)) == {"accepted"}, reports


def ids(pdus):
    return {event_id_of(pdu) for pdu in pdus}


def event_ids(pdus):
    return {pdu.event_id for pdu in pdus}


def auth_chain(room, pdus):
    """Written from the definition."""
    by_id = {pdu.event_id: pdu for pdu in room.pdus}
    open, chain = list(pdus), set()
    while open:
        for event_id in open.pop().json["auth_events"]:
            if event_id not in chain:
                chain.add(event_id)
                open.append(by_id[event_id])
    # Since room version 12 events do not cite it.
    return chain | {room.create.event_id}


@pytest.mark.parametrize("version", ["11", "12"])
def test_single_events(federated, one, two, version):
    room = public_room(one.user("alice"), [one, two], version)
    room.join(two.user("bob"))
    message = room.message(one.user("alice"))
    take(federated, room)
    for asker in (one, two):
        answer = asker.get(federated, f"{V1}/event/{encode(message.event_id)}")
        assert answer["pdus"] == [message.json]
        assert answer["origin"] == "test.example" and isinstance(answer["origin_server_ts"], int)
    stranger = peer(federated)
    stranger.get(federated, f"{V1}/event/{encode(message.event_id)}", status=403, errcode="M_FORBIDDEN")
    one.get(federated, f"{V1}/event/{encode('$unknown')}", status=404, errcode="M_NOT_FOUND")


def test_requests_must_be_signed(federated, one):
    room = public_room(one.user("alice"), [one])
    take(federated, room)
    path = f"/_matrix/federation/v1/event/{encode(room.create.event_id)}"
    expect(federated.client().request("GET", path), 401, "M_UNAUTHORIZED")
    expect(one.request(federated, "GET", path, destination="other.example"), 401, "M_UNAUTHORIZED")
    imposter = Peer("imposter.example")
    imposter.name = one.name
    imposter.get(federated, path, status=401, errcode="M_UNAUTHORIZED")


@pytest.mark.parametrize("version", ["11", "12"])
def test_the_state_before_an_event(federated, one, two, version):
    room = public_room(one.user("alice"), [one, two], version)
    joined = room.join(two.user("bob"))
    topic = room.send(one.user("alice"), "m.room.topic", {"topic": "new"}, "")
    message = room.message(two.user("bob"))
    take(federated, room)
    for event in (joined, topic, message):
        query = f"{encode(room.room_id)}?event_id={encode(event.event_id)}"
        state = list(event.state_before.values())
        chain = auth_chain(room, state)
        answer = two.get(federated, f"{V1}/state_ids/{query}")
        assert sorted(answer["pdu_ids"]) == sorted(event_ids(state))
        assert sorted(answer["auth_chain_ids"]) == sorted(chain)
        answer = two.get(federated, f"{V1}/state/{query}")
        assert ids(answer["pdus"]) == event_ids(state) and len(answer["pdus"]) == len(state)
        assert ids(answer["auth_chain"]) == chain and len(answer["auth_chain"]) == len(chain)
        answer = two.get(federated, f"{V1}/event_auth/{encode(room.room_id, event.event_id)}")
        assert ids(answer["auth_chain"]) == auth_chain(room, [event])


def test_big_states(federated, one):
    room = public_room(one.user("alice"), [one])
    for number in range(1100):
        room.send(one.user("alice"), "test.many", {"number": number}, str(number))
    last = room.message(one.user("alice"))
    take(federated, room)
    query = f"{encode(room.room_id)}?event_id={encode(last.event_id)}"
    assert ids(one.get(federated, f"{V1}/state/{query}")["pdus"]) == event_ids(last.state_before.values())


def test_unknown_states(federated, one):
    room = public_room(one.user("alice"), [one])
    lost = room.message(one.user("alice"))
    outlier = room.message(one.user("alice"))
    take(federated, room, [pdu for pdu in room.pdus if pdu not in (lost, outlier)])
    receive(federated.database, room, [outlier], kind="outlier")
    other = public_room(one.user("alice"), [one])
    take(federated, other)
    for event_id in (lost.event_id, outlier.event_id, other.create.event_id, "$x", "", "x" * 2000):
        for endpoint in ("state", "state_ids"):
            path = f"{V1}/{endpoint}/{encode(room.room_id)}?event_id={encode(event_id)}"
            one.get(federated, path, status=404, errcode="M_NOT_FOUND")
    for endpoint in ("state", "state_ids"):
        one.get(federated, f"{V1}/{endpoint}/{encode(room.room_id)}", status=400, errcode="M_MISSING_PARAM")
    one.get(
        federated,
        f"{V1}/event_auth/{encode(room.room_id, other.create.event_id)}",
        status=404,
        errcode="M_NOT_FOUND",
    )


def test_backfill(federated, one, two):
    alice = one.user("alice")
    room = public_room(alice, [one, two])
    begin = room.message(alice)
    left = room.make(alice, "m.room.message", {"body": "left"}, prev=[begin])
    right = room.make(alice, "m.room.message", {"body": "right"}, prev=[begin])
    end = room.message(alice, prev=[left, right])
    take(federated, room)

    def backfill(limit, *events, **options):
        query = "&".join(f"v={encode(event.event_id)}" for event in events)
        answer = one.get(federated, f"{V1}/backfill/{encode(room.room_id)}?{query}&limit={limit}", **options)
        return [event_id_of(pdu) for pdu in answer["pdus"]]

    assert backfill(1, end) == [end.event_id]
    assert backfill(0, end) == [] and backfill(-5, end) == []
    found = backfill(4, end)
    assert found[0] == end.event_id and found[3] == begin.event_id
    assert set(found[1:3]) == {left.event_id, right.event_id}
    assert set(backfill(2, left, right)) == {left.event_id, right.event_id}
    assert set(backfill(10**9, end)) == event_ids(room.pdus)
    path = f"{V1}/backfill/{encode(room.room_id)}"
    one.get(federated, f"{path}?v={encode(end.event_id)}", status=400, errcode="M_MISSING_PARAM")
    one.get(federated, f"{path}?limit=1", status=400, errcode="M_MISSING_PARAM")
    one.get(federated, f"{path}?v={encode(end.event_id)}&limit=x", status=400, errcode="M_INVALID_PARAM")
    one.get(federated, f"{path}?v={encode(end.event_id)}&limit=99999999999999999999", status=400)
    assert one.get(federated, f"{path}?v=%24x&limit=1")["pdus"] == []


def test_missing_events(federated, one, two):
    alice = one.user("alice")
    room = public_room(alice, [one, two])
    known = room.message(alice)
    left = room.make(alice, "m.room.message", {"body": "left"}, prev=[known])
    right = room.make(alice, "m.room.message", {"body": "right"}, prev=[known])
    merge = room.message(alice, prev=[left, right])
    latest = room.message(alice)
    take(federated, room)

    def missing(earliest, latest, **body):
        body = {
            "earliest_events": [e.event_id for e in earliest],
            "latest_events": [e.event_id for e in latest],
            **body,
        }
        answer = one.call(federated, "POST", f"{V1}/get_missing_events/{encode(room.room_id)}", body)
        return [event_id_of(pdu) for pdu in answer["events"]]

    found = missing([known], [latest])
    assert len(found) == 3 and set(found) == event_ids([left, right, merge]) and found[2] == merge.event_id
    assert missing([known], [latest], limit=1) == [merge.event_id]
    assert missing([known], [latest], limit=0) == []
    assert missing([left, right], [latest]) == [merge.event_id]
    assert missing([], [latest], min_depth=merge.json["depth"]) == [merge.event_id]
    assert missing([], [left, latest], min_depth=right.json["depth"]) == [right.event_id, merge.event_id]
    assert set(missing([], [latest], limit=10**6, min_depth=-7)) == event_ids(room.pdus) - {latest.event_id}
    assert missing([], []) == []


HOSTILE = [
    b"", b"{", b"[]", b"null", b"\xff", b'{"a": 1, "a": 2}', {}, {"earliest_events": []},
    {"earliest_events": [], "latest_events": None}, {"earliest_events": "x", "latest_events": []},
    {"earliest_events": [1], "latest_events": []}, {"earliest_events": [], "latest_events": {}},
    {"earliest_events": [], "latest_events": [], "limit": "x"},
    {"earliest_events": [], "latest_events": [], "limit": -1},
    {"earliest_events": [], "latest_events": [], "limit": 1.5},
    {"earliest_events": [], "latest_events": [], "min_depth": 2**70},
    {"earliest_events": ["$x"] * 1001, "latest_events": []},
]  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_bad_questions_for_missing_events(federated, one, body):
    room = public_room(one.user("alice"), [one])
    take(federated, room)
    answer = one.request(federated, "POST", f"{V1}/get_missing_events/{encode(room.room_id)}", body)
    assert answer.status_code in (400, 401) and answer.json()["errcode"].startswith("M_"), answer.text


def test_ids_that_no_event_has(federated, one):
    room = public_room(one.user("alice"), [one])
    take(federated, room)
    body = {"earliest_events": ["\0"], "latest_events": ["\0", "$\ud7ff", "x" * 10000], "limit": 2**50}
    assert one.call(federated, "POST", f"{V1}/get_missing_events/{encode(room.room_id)}", body) == {
        "events": []
    }


@pytest.mark.parametrize("visibility", ["shared", "world_readable", "invited", "joined", "strange"])
def test_history_from_before_the_server_came(federated, one, two, visibility):
    alice, bob = one.user("alice"), two.user("bob")
    room = public_room(alice, [one, two])
    room.send(alice, "m.room.history_visibility", {"history_visibility": visibility}, "")
    before = room.message(alice, body="before")
    room.send(alice, "m.room.member", {"membership": "invite"}, bob)
    invited = room.message(alice, body="invited")
    joined = room.join(bob)
    after = room.message(alice, body="after")
    take(federated, room)
    sees = {"shared": {before, invited, after}, "world_readable": {before, invited, after},
            "strange": {before, invited, after},
            "invited": {invited, after}, "joined": {after}}[visibility]  # fmt: skip
    body = {"earliest_events": [], "latest_events": [after.event_id], "limit": 100}
    missing = two.call(federated, "POST", f"{V1}/get_missing_events/{encode(room.room_id)}", body)["events"]
    path = f"{V1}/backfill/{encode(room.room_id)}?v={encode(after.event_id)}&limit=100"
    backfilled = two.get(federated, path)["pdus"]
    for pdus, extra in ((missing, []), (backfilled, [after])):
        by_id = {event_id_of(pdu): pdu for pdu in pdus}
        for message in [before, invited, *extra]:
            expected = message.json if message in sees else redact(message.json)
            assert by_id[message.event_id] == expected
        # What made them members they see whole, and the state in any case by the other endpoints.
        assert by_id[joined.event_id] == joined.json
    for message in (before, invited, after):
        [pdu] = two.get(federated, f"{V1}/event/{encode(message.event_id)}")["pdus"]
        assert pdu == (message.json if message in sees else redact(message.json))
        # The server that was there sees all.
        assert one.get(federated, f"{V1}/event/{encode(message.event_id)}")["pdus"] == [message.json]


def test_servers_that_join_later_get_redacted_copies_of_what_the_erased_wrote(federated, one, two):
    user, friend = federated.register("erase"), federated.register("friend")
    room_id = friend.create_room(preset="public_chat")
    user.join(room_id)
    room = adopt(federated.database, room_id, [one, two])
    before = room.join(one.user("bob"))
    take(federated, room, [before])
    secret = user.send(room_id, "secret")
    by_another = friend.send(room_id, "by another")
    auth = {"type": "m.login.password", "user": user.user_id, "password": user.password}
    user.post("/account/deactivate", {"auth": auth, "erase": True})
    room = adopt(federated.database, room_id, [one, two])
    after = room.join(two.user("carol"))
    take(federated, room, [after])
    body = {"earliest_events": [], "latest_events": [after.event_id], "limit": 100}
    for server, content in ((one, {"body": "secret", "msgtype": "m.text"}), (two, {})):
        backfill = f"{V1}/backfill/{encode(room_id)}?v={encode(after.event_id)}&limit=100"
        missing = f"{V1}/get_missing_events/{encode(room_id)}"
        answers = [
            server.get(federated, backfill)["pdus"],
            server.call(federated, "POST", missing, body)["events"],
            server.get(federated, f"{V1}/event/{encode(secret)}")["pdus"],
        ]
        for pdus in answers:
            (pdu,) = [pdu for pdu in pdus if event_id_of(pdu) == secret]
            assert pdu["content"] == content
        (pdu,) = [pdu for pdu in answers[0] if event_id_of(pdu) == by_another]
        assert pdu["content"]["body"] == "by another"


def test_redacted_and_refused_events(federated, one):
    alice = one.user("alice")
    room = public_room(alice, [one])
    message = room.message(alice)
    room.send(alice, "m.room.redaction", {"redacts": message.event_id})
    mallory = one.user("mallory")
    forged = room.make(mallory, "m.room.message", {"body": "let me in"}, auth=[])
    after = room.message(alice, prev=[*room.head, forged])
    reports = receive(federated.database, room, room.pdus)
    assert sorted(set(verdicts(reports))) == ["accepted", "rejected"]
    assert one.get(federated, f"{V1}/event/{encode(message.event_id)}")["pdus"] == [redact(message.json)]
    body = {"earliest_events": [], "latest_events": [after.event_id], "limit": 100}
    missing = one.call(federated, "POST", f"{V1}/get_missing_events/{encode(room.room_id)}", body)["events"]
    # Servers judge for themselves, and need the event to know what is before it.
    assert forged.event_id in ids(missing)


def test_the_event_closest_to_a_time(federated, one, two):
    alice = one.user("alice")
    room = public_room(alice, [one, two])
    room.send(alice, "m.room.history_visibility", {"history_visibility": "joined"}, "")
    start = 1_790_000_000_000
    hidden = room.message(alice, ts=start)
    room.join(two.user("bob"), ts=start + 5)
    first, second = room.message(alice, ts=start + 10), room.message(alice, ts=start + 10)
    last = room.message(alice, ts=start + 20)
    take(federated, room)

    def closest(asker, ts, dir, **options):
        path = f"{V1}/timestamp_to_event/{encode(room.room_id)}?ts={ts}&dir={dir}"
        return asker.get(federated, path, **options)

    def found(asker, ts, dir):
        answer = closest(asker, ts, dir)
        return answer["event_id"], answer["origin_server_ts"] - start

    assert found(one, start, "f") == (hidden.event_id, 0)
    assert found(one, start + 10, "f") == (first.event_id, 10)
    assert found(one, start + 10, "b") == found(one, start + 19, "b") == (second.event_id, 10)
    assert found(one, start + 11, "f") == found(one, 2**53, "b") == (last.event_id, 20)
    assert found(two, start + 4, "b")[0] != hidden.event_id
    closest(one, start + 21, "f", status=404, errcode="M_NOT_FOUND")
    closest(one, -(2**62), "b", status=404, errcode="M_NOT_FOUND")
    closest(one, start, "x", status=400, errcode="M_INVALID_PARAM")
    closest(one, "x", "f", status=400, errcode="M_INVALID_PARAM")
    closest(one, 2**70, "f", status=400, errcode="M_INVALID_PARAM")


def room_endpoints(room, event):
    room_id, event_id = encode(room.room_id), encode(event.event_id)
    yield "GET", f"{V1}/state/{room_id}?event_id={event_id}", None
    yield "GET", f"{V1}/state_ids/{room_id}?event_id={event_id}", None
    yield "GET", f"{V1}/event_auth/{room_id}/{event_id}", None
    yield "GET", f"{V1}/backfill/{room_id}?v={event_id}&limit=1", None
    yield "GET", f"{V1}/timestamp_to_event/{room_id}?ts=0&dir=f", None
    yield (
        "POST",
        f"{V1}/get_missing_events/{room_id}",
        {"earliest_events": [], "latest_events": [event.event_id]},
    )


def test_only_servers_in_the_room_are_answered(federated, one, two):
    alice, bob = one.user("alice"), two.user("bob")
    room = public_room(alice, [one, two])
    joined = room.join(bob)
    take(federated, room)
    for method, path, body in room_endpoints(room, joined):
        two.call(federated, method, path, body)
        peer(federated).call(federated, method, path, body, status=403, errcode="M_FORBIDDEN")
        # A name that ends like that of a server in the room.
        peer(federated, f"not{two.name}").call(
            federated, method, path, body, status=403, errcode="M_FORBIDDEN"
        )
        unknown = path.replace(encode(room.room_id), encode("!unknown:one.example"))
        two.call(federated, method, unknown, body, status=404, errcode="M_NOT_FOUND")
    between = room.message(alice)
    left = room.send(bob, "m.room.member", {"membership": "leave"}, bob)
    after = room.message(alice)
    take(federated, room, [between, left, after])
    for pdu, status in ((joined, 403), (between, 200), (left, 200), (after, 403)):
        event = ("GET", f"{V1}/event/{encode(pdu.event_id)}", None)
        for method, path, body in [event, *room_endpoints(room, pdu)]:
            # What it needs to take in the event by which it left; it has no part in what the room is now.
            is_of_now = "/backfill/" in path or "/timestamp_to_event/" in path
            errcode = None if status == 200 and not is_of_now else "M_FORBIDDEN"
            two.call(federated, method, path, body, status=403 if is_of_now else status, errcode=errcode)
            peer(federated).call(federated, method, path, body, status=403, errcode="M_FORBIDDEN")
    body = {"earliest_events": [], "latest_events": [left.event_id, after.event_id]}
    two.call(
        federated,
        "POST",
        f"{V1}/get_missing_events/{encode(room.room_id)}",
        body,
        status=403,
        errcode="M_FORBIDDEN",
    )


def test_access_control_lists(federated, one):
    alice = one.user("alice")
    port, address = peer(federated, "Ported.example:8448"), peer(federated, "192.0.2.1")
    room = public_room(alice, [one, port, address])
    room.join(port.user("bob"))
    joined = room.join(address.user("carol"))
    take(federated, room)
    for acl, denied in [
        ({"allow": ["*"]}, []),
        ({"allow": ["*"], "deny": ["ported.EXAMPLE"]}, [port]),
        ({"allow": ["*"], "allow_ip_literals": False}, [address]),
        ({"allow": ["*.example"]}, [address]),
        ({"allow": [one.name, 7]}, [port, address]),
        ({"allow": "*"}, [one, port, address]),
    ]:
        take(federated, room, [room.send(alice, "m.room.server_acl", acl, "")])
        for asker in (one, port, address):
            event = f"{V1}/event/{encode(joined.event_id)}"
            for method, path, body in [("GET", event, None), *room_endpoints(room, joined)]:
                status, errcode = (403, "M_FORBIDDEN") if asker in denied else (200, None)
                asker.call(federated, method, path, body, status=status, errcode=errcode)


def test_the_directory_hides_rooms_that_a_server_can_never_join(federated, one, two):
    alice = federated.register("alice")
    public = {"preset": "public_chat", "visibility": "public"}
    shown = alice.create_room(**public)
    local = alice.create_room(**public, creation_content={"m.federate": False})
    denied = alice.create_room(**public)
    alice.send_state(denied, "m.room.server_acl", {"allow": ["*"], "deny": [one.name]})

    def listed(peer, **body) -> set[str]:
        rooms, since = set(), {}
        while True:
            request = {**body, **since}
            page = peer.call(federated, "POST", "/_matrix/federation/v1/publicRooms", request)
            rooms |= {entry["room_id"] for entry in page["chunk"]}
            if "next_batch" not in page:
                return rooms & {shown, local, denied}
            since = {"since": page["next_batch"]}

    for body in ({}, {"limit": 1}, {"filter": {"room_types": [None]}}):
        assert listed(one, **body) == {shown}
        assert listed(two, **body) == {shown, denied}
    page = one.get(federated, "/_matrix/federation/v1/publicRooms?limit=500")
    assert not {entry["room_id"] for entry in page["chunk"]} & {local, denied}
    rooms = {entry["room_id"] for entry in alice.post("/publicRooms", {})["chunk"]}
    assert {shown, local, denied} <= rooms


def test_one_statement_a_request(federated, one):
    room = public_room(one.user("alice"), [one])
    take(federated, room)
    event = f"{V1}/event/{encode(room.create.event_id)}"
    for method, path, body in [("GET", event, None), *room_endpoints(room, room.pdus[-1])]:
        answer = one.request(federated, method, path, body)
        expect(answer, 200)
        # One for the key of the server that asks.
        assert answer.headers["x-matriarch-db-statements"] == "2", path
