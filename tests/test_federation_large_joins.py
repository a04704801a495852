"""Rooms whose state is long: it comes in one answer, is read as it comes, and is taken in in parts."""

import contextlib
import json
import threading
import time

import pytest

from harness.client import path
from harness.large_room import LargeRoom
from harness.peer import Peer, RemoteRoom, public_room
from harness.remote_server import RemoteServer
from harness.server import Server
from harness.verify import verify
from harness.waiting import eventually

MEMBERS = 1500


@pytest.fixture
def remote(authority):
    server = RemoteServer(authority)
    yield server
    server.close()


@pytest.fixture(scope="module")
def server(servers) -> Server:
    return servers[0]


def joined(server: Server, room_id: str) -> int | None:
    rows = server.database.query("select joined_members from matriarch.rooms where room_id = %s", [room_id])
    return rows[0][0] if rows else None


def nothing_is_staged(server: Server):
    staged = """
        select (select count(*) from matrix.state_downloads),
            (select count(*) from matriarch.state_download_events)"""
    assert server.database.query(staged) == [(0, 0)]


def test_a_room_with_many_members(server, remote):
    room = LargeRoom(remote, MEMBERS)
    room.serve()
    user = server.register("joiner")
    assert user.join(room.room_id, params={"via": remote.name}) == {"room_id": room.room_id}
    assert joined(server, room.room_id) == MEMBERS + 1
    members = user.get(path("rooms", room.room_id, "joined_members"))["joined"]
    assert members[f"@member7:{remote.name}"]["display_name"] == "Member 7"
    assert user.send(room.room_id, "hello")
    nothing_is_staged(server)
    assert verify(server.database, room.room_id) == []
    assert len(remote.asked_for("event")) == len(remote.asked_for("event_auth")) == 0


@pytest.mark.parametrize("version", ["11", "12"])
def test_events_that_others_cite_may_come_last(server, remote, version):
    remote_user = remote.user("creator")
    room = public_room(remote_user, [remote], version=version)
    for number in range(5):
        room.send(remote_user, "m.room.topic", {"topic": str(number)}, "")
        room.send(remote_user, "m.room.power_levels", levels(room) | {"events": {"org.example": number}}, "")
    for number in range(20):
        room.join(remote.user(f"member{number}"))
    remote.learn(room)

    def reversed_answer(handler, parts, query, event):
        status, answer = remote.answer_send_join(parts, query, event)
        state = list(reversed(answer["state"]))
        return status, {
            "state": state + state[:3],
            "auth_chain": list(reversed(answer["auth_chain"])),
            "event": event,
        }

    remote.hooks["send_join"] = reversed_answer
    user = server.register("joiner")
    user.join(room.room_id, params={"via": remote.name})
    assert joined(server, room.room_id) == 22
    assert user.state(room.room_id, "m.room.topic") == {"topic": "4"}
    assert verify(server.database, room.room_id) == []


def levels(room: RemoteRoom) -> dict:
    return next(pdu.json["content"] for pdu in room.pdus if pdu.json["type"] == "m.room.power_levels")


def test_what_is_none_of_the_room_s_events_is_left_out(server, remote):
    creator = remote.user("creator")
    room, other = public_room(creator, [remote]), public_room(creator, [remote])
    away = Peer("127.0.0.1:1")
    room.peers[away.name] = away
    bob, eve, far = (room.join(user) for user in (remote.user("bob"), remote.user("eve"), away.user("far")))
    stranger = other.join(remote.user("stranger"))
    remote.learn(room)

    def bad_answer(handler, parts, query, event):
        status, answer = remote.answer_send_join(parts, query, event)
        for pdu in answer["state"]:
            if pdu == eve.json:
                pdu["signatures"][remote.name] = {"ed25519:peer": "A" * 86}
        answer["state"] += [
            stranger.json,
            5,
            None,
            [],
            {},
            {"type": "m.room.member"},
            "x" * 1000,
            {"deep": [[[]]]},
        ]
        answer["more"] = [{"of": "this"}]
        return status, answer

    remote.hooks["send_join"] = bad_answer
    user = server.register("joiner")
    user.join(room.room_id, params={"via": remote.name})
    members = user.get(path("rooms", room.room_id, "joined_members"))["joined"]
    assert set(members) == {creator, remote.user("bob"), user.user_id}
    assert bob.json["sender"] in members and far.json["sender"] not in members
    nothing_is_staged(server)
    assert verify(server.database, room.room_id) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"state": [',
        b'{"state": [{}',
        b'{"state": {}, "auth_chain": []}',
        b'{"state": [], "auth_chain": [] ] }',
        b'{"state": ["' + b"x" * 2_000_000 + b'"]}',
        b'{"state": [' + b'{"a": ' * 100_000 + b"1" + b"}" * 100_000 + b"]}",
        b'{"state": [], "auth_chain": []}',
        b"\xff\xfe{",
    ],
    ids=range(11),
)
def test_answers_that_are_bad(server, remote, body):
    room = public_room(remote.user("creator"), [remote])
    remote.learn(room)

    def answer(handler, parts, query, event):
        remote.write(handler, 200, body)
        return "answered"

    remote.hooks["send_join"] = answer
    user = server.register("joiner")
    user.join(room.room_id, params={"via": remote.name}, status=502, errcode="M_UNKNOWN")
    assert joined(server, room.room_id) in (None, 0)
    assert room.room_id not in user.sync().get("rooms", {}).get("join", {})
    nothing_is_staged(server)
    # Later it answers as it should.
    remote.hooks.clear()
    user.join(room.room_id, params={"via": remote.name})
    assert joined(server, room.room_id) == 2
    assert verify(server.database, room.room_id) == []


def begin_join(server: Server, room: LargeRoom, remote: RemoteServer):
    """A join that nobody waits for."""
    user = server.register("joiner")

    def join():
        with contextlib.suppress(Exception):
            user.join(room.room_id, params={"via": remote.name})

    thread = threading.Thread(target=join)
    thread.start()
    return user, thread


AGED = "update matriarch.state_downloads set began_at = began_at - interval '3 hours'"
FORGET = "select matriarch.prune_state_downloads()"


def test_a_node_dies_while_the_state_comes(start_servers, remote):
    (server,) = start_servers(1)
    room = LargeRoom(remote, MEMBERS)
    room.serve()
    serve = remote.hooks["send_join"]
    hang = threading.Event()

    def half(handler, parts, query, event):
        handler.send_response(200)
        handler.send_header("Content-Length", "100000000")
        handler.end_headers()
        handler.wfile.write(b'{"state": [' + b",".join(list(room.events.values())[:1000]) + b",")
        hang.wait(60)
        handler.close_connection = True
        return "answered"

    remote.hooks["send_join"] = half
    user, thread = begin_join(server, room, remote)
    eventually(
        lambda: server.database.query("select count(*) from matriarch.state_download_events") == [(1000,)],
        seconds=60,
    )
    assert server.database.query("select room_id, events from matrix.state_downloads") == [
        (room.room_id, 1000)
    ]
    server.node.kill()
    thread.join()
    hang.set()
    assert joined(server, room.room_id) is None
    server.node.start()
    remote.hooks["send_join"] = serve
    user.join(room.room_id, params={"via": remote.name})
    assert joined(server, room.room_id) == MEMBERS + 1
    # What the dead node left is forgotten in time.
    assert server.database.query("select count(*) from matriarch.state_download_events") == [(1000,)]
    assert server.database.query(FORGET) == [(0,)]
    server.database.query(AGED)
    assert server.database.query(FORGET) == [(0,)]
    nothing_is_staged(server)
    assert verify(server.database, room.room_id) == []


def test_a_node_dies_while_the_state_is_taken_in(start_servers, remote):
    (server,) = start_servers(1)
    room = LargeRoom(remote, MEMBERS)
    room.serve()
    with server.database.connect(autocommit=False) as connection:
        # The first part is taken in, and then no further.
        connection.execute("lock table matriarch.event_auth_edges in share mode")
        user, thread = begin_join(server, room, remote)
        eventually(server.database.has_lock_waiter, seconds=60)
        server.node.kill()
        thread.join()
        connection.rollback()
    eventually(lambda: not server.database.has_lock_waiter(), seconds=60)
    # Events without a state, in a room that nobody sees.
    assert joined(server, room.room_id) in (None, 0)
    server.node.start()
    assert room.room_id not in user.sync().get("rooms", {}).get("join", {})
    user.get(path("rooms", room.room_id, "state"), status=403)
    user.join(room.room_id, params={"via": remote.name})
    assert joined(server, room.room_id) == MEMBERS + 1
    assert verify(server.database, room.room_id) == []


def test_what_is_left_of_an_unfinished_join_is_deleted(start_servers, remote):
    (server,) = start_servers(1)
    room, kept = LargeRoom(remote, 600), LargeRoom(remote, 10, "other")
    kept.serve()
    user = server.register("joiner")
    user.join(kept.room_id, params={"via": remote.name})
    Peer.publish(remote, server.database)
    texts = [text.decode() for text in room.events.values()]
    with server.database.connect("matriarch_api") as connection:
        statement = "select status from matriarch.receive_pdus(%s, '11', 'outlier', %s, null, null)"
        assert connection.execute(statement, [room.room_id, texts]).fetchone() == (200,)
    arrive = "insert into matriarch.state_downloads (room_id) values (%s)"
    server.database.query(arrive, [room.room_id])
    assert server.database.query(FORGET) == [(0,)]
    server.database.query(AGED)
    # A join that is under way still keeps the room.
    server.database.query(arrive, [room.room_id])
    assert server.database.query(FORGET) == [(0,)]
    assert joined(server, room.room_id) == 0
    server.database.query(AGED)
    assert server.database.query(FORGET, user="matriarch_api") == [(1,)]
    assert joined(server, room.room_id) is None and joined(server, kept.room_id) == 11
    left = """
        select (select count(*) from matriarch.events e where not exists (select from matriarch.rooms r
        where r.room_nid = e.room_nid)),
            (select count(*) from matriarch.event_auth_edges a where not exists (select
            from matriarch.events e where e.event_nid = a.event_nid))"""
    assert server.database.query(left) == [(0, 0)]
    room.serve()
    user.join(room.room_id, params={"via": remote.name})
    assert joined(server, room.room_id) == 601
    for each in (room, kept):
        assert verify(server.database, each.room_id) == []


def test_the_memory_of_a_node_does_not_grow_with_the_answer(server, remote):
    room = LargeRoom(remote, 10)
    filler = json.dumps({"x": "x" * 60_000}).encode()
    room.serve()
    serve = remote.hooks["send_join"]

    def long(handler, parts, query, event):
        # 120 MB of what is no event, before and among those that are.
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()

        def write(data):
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

        write(b'{"auth_chain": [')
        for _ in range(2000):
            write(filler + b",")
        write(
            b'{}], "state": ['
            + b",".join(room.events.values())
            + b'], "event": '
            + json.dumps(event).encode()
            + b"}"
        )
        write(b"")
        return "answered"

    assert serve
    remote.hooks["send_join"] = long
    user = server.register("joiner")
    process = server.node.process.pid
    with open(f"/proc/{process}/clear_refs", "w") as file:
        file.write("5")
    before = memory(process, "VmRSS")
    user.join(room.room_id, params={"via": remote.name})
    assert joined(server, room.room_id) == 11
    assert memory(process, "VmHWM") - before < 30_000


def memory(process: int, field: str) -> int:
    """Kilobytes."""
    with open(f"/proc/{process}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field + ":"))


def test_between_two_of_our_servers(servers):
    one, two = servers
    alice = one.register("alice")
    room = alice.create_room(preset="public_chat")
    for number in range(600):
        alice.send_state(room, "org.example.number", {"number": number}, str(number))
    bob = two.register("bob")
    bob.join(room, params={"via": one.name})
    assert len(bob.get(path("rooms", room, "state"))) == len(alice.get(path("rooms", room, "state")))
    assert bob.state(room, "org.example.number", "599") == {"number": 599}
    nothing_is_staged(two)
    assert verify(two.database, room) == []


def test_a_long_state_behind_a_gap(server, remote):
    room = LargeRoom(remote, MEMBERS)
    room.serve()
    user = server.register("joiner")
    user.join(room.room_id, params={"via": remote.name})
    # The server was away: of 600 new members, and what comes after them, it hears by one message only.
    for number in range(MEMBERS, MEMBERS + 600):
        member = f"@member{number}:{remote.name}"
        room.add(member, "m.room.member", member, {"membership": "join"}, room.rules)
    known = dict(room.events)
    state_events = b",".join(known.values())
    sender = f"@member{MEMBERS + 599}:{remote.name}"
    member_event = room.newest[0]
    auth = [*room.rules[:2], member_event]
    # Nobody gives this one.
    room.add(sender, "m.room.message", None, {"body": "lost"}, auth)
    message = room.add(sender, "m.room.message", None, {"body": "hi"}, auth)

    def get_missing_events(handler, parts, query, body):
        return 200, {"events": []}

    def state_ids(handler, parts, query, body):
        return 200, {"pdu_ids": list(known), "auth_chain_ids": []}

    def state(handler, parts, query, body):
        remote.write(handler, 200, b'{"pdus": [' + state_events + b'], "auth_chain": []}')
        return "answered"

    def event_auth(handler, parts, query, body):
        return 200, {"auth_chain": [json.loads(known[member_event])]}

    remote.hooks |= {f.__name__: f for f in (get_missing_events, event_auth, state_ids, state)}
    body = {
        "origin": remote.name,
        "origin_server_ts": 0,
        "pdus": [json.loads(room.events[message])],
        "edus": [],
    }
    answer = remote.request(
        server.node, "PUT", "/_matrix/federation/v1/send/1", body, destination=server.name
    )
    assert answer.json() == {"pdus": {message: {}}}
    user.sync_until(lambda answer: any(
        event["type"] == "m.room.message"
        for event in answer.get("rooms", {}).get("join", {}).get(room.room_id, {}).get("timeline",
                                                                                       {}).get("events", [])
    ))  # fmt: skip
    assert len(remote.asked_for("state")) == 1
    assert joined(server, room.room_id) == MEMBERS + 601
    nothing_is_staged(server)
    assert verify(server.database, room.room_id) == []


def test_two_users_join_at_the_same_time(start_servers, remote):
    (server,) = start_servers(1, nodes=2)
    room = LargeRoom(remote, MEMBERS)
    room.serve()
    users = [node.register("joiner") for node in server.nodes]
    failures = []

    def join(user):
        try:
            user.join(room.room_id, params={"via": remote.name})
        except AssertionError as error:
            failures.append(error)

    threads = [threading.Thread(target=join, args=[user]) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert joined(server, room.room_id) == MEMBERS + 2
    for user in users:
        members = user.get(path("rooms", room.room_id, "joined_members"))["joined"]
        assert {each.user_id for each in users} < set(members)
    nothing_is_staged(server)
    assert verify(server.database, room.room_id) == []


def test_what_the_answer_lacks_is_asked_for(server, remote):
    creator = remote.user("creator")
    room = public_room(creator, [remote])
    early = [room.join(remote.user(f"early{number}")) for number in range(3)]
    # What authorized those has no place in the state any more.
    room.send(creator, "m.room.power_levels", levels(room) | {"events": {"org.example": 1}}, "")
    room.join(remote.user("late"))
    remote.learn(room)

    def without_chain(handler, parts, query, event):
        status, answer = remote.answer_send_join(parts, query, event)
        return status, answer | {"auth_chain": []}

    remote.hooks["send_join"] = without_chain
    user = server.register("joiner")
    user.join(room.room_id, params={"via": remote.name})
    members = user.get(path("rooms", room.room_id, "joined_members"))["joined"]
    assert {pdu.json["sender"] for pdu in early} < set(members) and len(members) == 6
    assert remote.asked_for("event_auth") or remote.asked_for("event")
    assert verify(server.database, room.room_id) == []


def test_events_wait_for_a_join_under_way(server, remote):
    """However long it takes; a transaction, for ten seconds."""
    creator = remote.user("creator")
    room = public_room(creator, [remote])
    remote.learn(room)
    comes = threading.Event()
    remote.hooks["send_join"] = lambda *_: comes.wait(60) and None
    _user, thread = begin_join(server, room, remote)
    eventually(lambda: remote.asked_for("send_join"), seconds=60)
    statement = (
        "update matriarch.joins_in_progress set until = now() - interval '1 second' where room_id = %s"
    )
    server.database.query(statement, [room.room_id])
    renewed = (
        "select until > now() + interval '30 seconds' from matriarch.joins_in_progress where room_id = %s"
    )
    eventually(lambda: server.database.query(renewed, [room.room_id]) == [(True,)], seconds=60)

    def send(pdu):
        body = {"origin": remote.name, "origin_server_ts": 0, "pdus": [pdu.json], "edus": []}
        where = f"/_matrix/federation/v1/send/{pdu.event_id[1:]}"
        return remote.request(server.node, "PUT", where, body, destination=server.name)

    message = room.make(creator, "m.room.message", {"body": "welcome"}, prev=room.head)
    answer = send(message)
    assert (answer.status_code, answer.json()["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert (
        'matriarch_federation_limits_total{limit="join_time"} 1'
        in server.node.client().http.get("/metrics").text
    )
    assert '"limit":"join_time"' in server.node.log.read_text()
    threading.Timer(1, comes.set).start()
    assert send(message).json() == {"pdus": {message.event_id: {}}}
    thread.join()
    status = "select status from matrix.events where event_id = %s"
    eventually(lambda: server.database.query(status, [message.event_id]) == [("accepted",)], seconds=60)
    assert server.database.query("select count(*) from matriarch.joins_in_progress") == [(0,)]
    assert verify(server.database, room.room_id) == []


def test_answers_that_come_slowly_keep_nobody_waiting(server, remote):
    slow, quick = LargeRoom(remote, 10, "slow"), LargeRoom(remote, 10, "quick")
    hang = threading.Event()

    def drip(handler, parts, query, event):
        handler.send_response(200)
        handler.send_header("Content-Length", "100000000")
        handler.end_headers()
        handler.wfile.write(b'{"state": [')
        hang.wait(60)
        handler.close_connection = True
        return "answered"

    slow.serve()
    remote.hooks["send_join"] = drip
    waiting = [begin_join(server, slow, remote)[1] for _ in range(8)]
    eventually(lambda: len(remote.asked_for("send_join")) == 8, seconds=60)
    quick.serve()
    user = server.register("joiner")
    begun = time.monotonic()
    user.join(quick.room_id, params={"via": remote.name})
    assert time.monotonic() - begun < 10
    hang.set()
    for thread in waiting:
        thread.join()
    assert joined(server, slow.room_id) is None


def test_a_state_without_end(server, remote):
    room = LargeRoom(remote, 10)
    room.serve()
    template = json.loads(room.events[room.newest[0]])

    def endless(handler, parts, query, event):
        handler.send_response(200)
        handler.send_header("Content-Length", "10000000000")
        handler.end_headers()
        handler.wfile.write(b'{"state": [')
        for number in range(10**9):
            auth_events = [f"${number:033}{place:010}" for place in range(10)]
            handler.wfile.write(json.dumps({**template, "auth_events": auth_events}).encode() + b",")
        return "answered"

    remote.hooks["send_join"] = endless
    user = server.register("joiner")
    user.join(room.room_id, params={"via": remote.name}, status=502, errcode="M_UNKNOWN")
    assert (
        'matriarch_federation_limits_total{limit="state_events"} 1'
        in server.node.client().http.get("/metrics").text
    )
    assert '"limit":"state_events"' in server.node.log.read_text()
    nothing_is_staged(server)
    assert joined(server, room.room_id) is None
