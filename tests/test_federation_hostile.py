"""Servers that send what they should not, beside what `test_federation_transactions.py` has of it: the others
do not notice."""

import contextlib
import json
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from harness.peer import KEY_ID
from harness.waiting import eventually
from test_federation_transactions import Unknown

MEBIBYTE = 1024 * 1024
# Generous: tests share their machine, and run unoptimized programs.
MAX_LATENCY_S = 5
MAX_NODE_GROWTH = 300 * MEBIBYTE
MAX_BACKEND = 300 * MEBIBYTE


def own_memory(pid: int) -> int:
    """Bytes that are a process's own."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    return 0


def backends(cluster) -> list[int]:
    return [
        int(pid)
        for pid in Path(f"/proc/{cluster.postmaster.pid}/task/{cluster.postmaster.pid}/children")
        .read_text()
        .split()
    ]


def limits(home) -> dict[str, float]:
    """How often limits were reached at any node."""
    found: dict[str, float] = {}
    for node in home:
        for line in httpx.get(f"{node.url}/metrics").text.splitlines():
            if line.startswith(("matriarch_federation_limits_total{", "matriarch_limits_total{")):
                name = line.split('"')[1]
                found[name] = found.get(name, 0) + float(line.split()[-1])
    return found


@pytest.fixture
def unaffected(shared, home):
    """While the test runs, a local user sends and syncs without delay, and memory stays bounded."""
    # In the same room, too: what it shows must stay readable.
    alice = home[1].register("witness")
    alice.join(shared.room_id)
    room = alice.create_room()
    alice.next()
    stop, slowest, biggest, failures = threading.Event(), [0.0], [0], []
    before = {node: own_memory(node.process.pid) for node in home}
    grown = dict.fromkeys(home, 0)

    def live():
        while not stop.is_set():
            started = time.monotonic()
            try:
                alice.send(room, "hello")
                alice.next()
            except Exception as error:  # noqa: BLE001
                failures.append(error)
                return
            slowest[0] = max(slowest[0], time.monotonic() - started)
            biggest[0] = max([biggest[0], *map(own_memory, backends(shared.database.cluster))])
            for node in home:
                grown[node] = max(grown[node], own_memory(node.process.pid) - before[node])
            stop.wait(0.05)

    thread = threading.Thread(target=live)
    thread.start()
    yield
    # What was acknowledged is worked off still.
    shared.settled(60)
    stop.set()
    thread.join()
    errors = [
        line for node in home for line in node.log.read_text().splitlines() if '"level":"ERROR"' in line
    ]
    assert failures == [], "\n".join(errors)
    assert slowest[0] < MAX_LATENCY_S, slowest
    assert max(grown.values()) < MAX_NODE_GROWTH, grown
    assert biggest[0] < MAX_BACKEND, biggest
    print(
        f"slowest {slowest[0]:.2f} s, nodes grew by {max(grown.values()) >> 20} MiB, biggest "
        f"backend {biggest[0] >> 20} MiB"
    )


@pytest.fixture
def after(shared):
    """In the end the room takes events in as before."""
    yield
    message = shared.room.make(shared.bob, "m.room.message", {"body": "still here"}, prev=[shared.join])
    shared.send([message])
    shared.wait([message])


pytestmark = pytest.mark.usefixtures("unaffected", "after")


def test_times_of_future_and_past(shared):
    times = [1, 2, 2**53 - 1, -1, -(2**53) + 1]
    events = [
        shared.room.make(shared.bob, "m.room.message", {"body": str(ts)}, prev=[shared.join], ts=ts)
        for ts in times
    ]
    depth = shared.room.make(
        shared.bob, "m.room.message", {"body": "deep"}, prev=[shared.join], depth=2**53 - 1
    )
    shared.send([*events, depth])
    shared.settled()
    shared.wait([*events[:2], depth])
    # No key is good for as long as that.
    assert shared.status(events[2].event_id) is None
    # The greatest depth there is does not keep anybody from writing.
    mine = shared.alice.send(shared.room_id, "after the end of time")
    assert shared.status(mine) == "accepted"
    assert shared.alice.event(shared.room_id, mine)["content"]["body"] == "after the end of time"


def test_cycles(home, remote_servers):
    """In the first room versions ids are what the sender says, so that events can come before themselves."""
    (server,) = remote_servers()
    alice = home[0].register("alice")
    room = alice.create_room(preset="public_chat", room_version="1")
    database = home[0].database
    rows = database.query(
        "select type, json from matriarch.events e join matriarch.rooms r using (room_nid) "
        "where r.room_id = %s",
        [room],
    )
    known = {kind: json.loads(text) for kind, text in rows}

    def cite(*ids):
        return [[event_id, {"sha256": "A" * 43}] for event_id in ids]

    def make(name, kind, content, prev, auth, **more):
        event = {
            "event_id": f"${name}:{server.name}", "room_id": room, "type": kind, "sender": server.user("bob"),
            "content": content, "prev_events": cite(*prev), "auth_events": cite(*auth), "depth": 20,
            "origin": server.name, "origin_server_ts": int(time.time() * 1000), **more,
        }  # fmt: skip
        # What is signed and hashed is as in later versions, but for `origin`.
        hashed_only, event["origin"] = event.pop("origin"), server.name
        assert hashed_only == server.name
        del event["origin"]
        server.sign(event)
        return event

    auth = [known[kind]["event_id"] for kind in ("m.room.create", "m.room.power_levels", "m.room.join_rules")]
    newest = max(known.values(), key=lambda event: event["depth"])["event_id"]
    join = make("join", "m.room.member", {"membership": "join"}, [newest], auth, state_key=server.user("bob"))
    server.transaction(home[0], [join])
    status = "select status from matrix.events where event_id = %s"
    eventually(lambda: database.query(status, [join["event_id"]]) == [("accepted",)])
    allowed = [*auth[:2], join["event_id"]]
    cycle = [
        make("one", "m.room.message", {"body": "1"}, [f"$two:{server.name}"], allowed),
        make("two", "m.room.message", {"body": "2"}, [f"$one:{server.name}"], allowed),
        make("self", "m.room.message", {"body": "3"}, [f"$self:{server.name}"], allowed),
        make("auth", "m.room.message", {"body": "4"}, [join["event_id"]], [*allowed, f"$auth:{server.name}"]),
        make(
            "auth1",
            "m.room.topic",
            {"topic": "5"},
            [join["event_id"]],
            [*allowed, f"$auth2:{server.name}"],
            state_key="",
        ),
        make(
            "auth2",
            "m.room.topic",
            {"topic": "6"},
            [join["event_id"]],
            [*allowed, f"$auth1:{server.name}"],
            state_key="",
        ),
    ]
    by_id = {event["event_id"]: event for event in cycle}
    server.hooks["event"] = lambda handler, parts, *_: (
        (200, {"pdus": [by_id[parts[0]]]}) if parts[0] in by_id else (404, {})
    )
    server.hooks["get_missing_events"] = lambda *_: (200, {"events": cycle})
    server.hooks["event_auth"] = lambda *_: (200, {"auth_chain": cycle})
    server.hooks["state_ids"] = lambda *_: (200, {"pdu_ids": list(by_id), "auth_chain_ids": list(by_id)})
    server.hooks["state"] = lambda *_: (200, {"pdus": cycle, "auth_chain": cycle})
    server.transaction(home[0], cycle)
    waiting = "select count(*) from matriarch.inbound_pdus where origin = %s"
    eventually(lambda: database.query(waiting, [server.name]) == [(0,)], seconds=60)
    good = make("good", "m.room.message", {"body": "good"}, [join["event_id"]], allowed)
    server.transaction(home[0], [good])
    eventually(lambda: database.query(status, [good["event_id"]]) == [("accepted",)])
    assert database.query("select * from matrix.verify_room(%s)", [room]) == []


def test_a_gap_without_end_names_its_limit(shared, home):
    made = [0]

    def more(*_):
        made[0] += 1
        events = [
            shared.room.make(
                shared.bob,
                "m.room.message",
                {"body": "x"},
                prev=[Unknown(made[0] * 100 + n)],
                state=shared.join.state,
            )
            for n in range(50)
        ]
        return 200, {"events": [pdu.json for pdu in events]}

    shared.server.hooks["get_missing_events"] = more
    shared.server.hooks["event"] = lambda *_: (404, {})
    before = limits(home)
    last = shared.room.make(
        shared.bob, "m.room.message", {"body": "last"}, prev=[Unknown(0)], state=shared.join.state
    )
    shared.send([last])
    shared.settled(90)
    reached = {name for name, count in limits(home).items() if count > before.get(name, 0)}
    assert reached & {"gap", "states", "rounds", "events"}, reached
    logs = "".join(node.log.read_text() for node in home)
    assert all(f'"limit":"{name}"' in logs for name in reached)
    shared.server.hooks.clear()


def mutations(shared):
    """PDUs that are wrong in one way each."""
    good = shared.room.make(shared.bob, "m.room.message", {"body": "x"}, prev=[shared.join]).json
    deep: dict = {}
    for _ in range(400):
        deep = {"a": deep}
    long_id = "$" + "a" * 255
    for content in (
        {"body": "a\0b"}, {"\0": "a"}, {"body": 1.5}, {"body": 1e300}, {"body": 2**60}, {"body": -(2**60)},
        {"body": "x" * 70_000},
        deep, {"body": "\ud800"}, [], None, "text", 7,
    ):  # fmt: skip
        yield {"content": content}
    for key in ("type", "state_key", "sender", "room_id", "origin_server_ts", "depth", "prev_events",
                "auth_events", "hashes",
                "signatures", "unsigned", "redacts", "origin", "event_id"):  # fmt: skip
        for value in (
            None,
            7,
            -1,
            1.5,
            2**60,
            "",
            "\0",
            "x" * 256,
            "é" * 128,
            "@a\0b:c",
            [],
            [[]],
            [None],
            ["\0"],
            {},
            {"a": {"b": 1}},
            True,
        ):
            yield {key: value}
        yield {key: "absent"} if key in good else {key: [1]}
    for ids in (
        [long_id],
        ["$" + "a" * 254],
        [""] * 20,
        ["$a\0"],
        [shared.join.event_id] * 20,
        [shared.join.event_id] * 21,
        ["$ü"],
    ):
        yield {"prev_events": ids}
        yield {"auth_events": ids}
    for sender in (
        f"@bob:{'x' * 250}",
        "@bob:ü.example",
        "@bob:xn--nxasmq6b",
        "@bob:[::1",
        "@bob:localhost:99999999",
        "@:",
        "@",
        "bob",
    ):
        yield {"sender": sender}
    for signatures in ({"ü": {"ed25519:1": "a"}}, {shared.server.name: {"ed25519:\0": "a"}},
                       {shared.server.name: {KEY_ID: "\0"}},
                       {shared.server.name: {f"ed25519:{n}": "A" * 86 for n in range(2000)}},
                       {f"{n}.example": {"ed25519:1": "A" * 86} for n in range(500)}):  # fmt: skip
        yield {"signatures": signatures}


def test_malformed_events(shared):
    good = shared.room.make(shared.bob, "m.room.message", {"body": "x"}, prev=[shared.join]).json
    pdus = []
    for change in mutations(shared):
        pdu = {**good, **change}
        if "absent" in change.values():
            pdu = {key: value for key, value in good.items() if key not in change}
        pdus.append(pdu)
        # As forged, and signed as it is, where that can be done.
        with contextlib.suppress(Exception):
            signed = {key: value for key, value in pdu.items() if key not in ("hashes", "signatures")}
            shared.server.sign(signed)
            pdus.append(signed)
    for start in range(0, len(pdus), 25):
        for pdu in pdus[start : start + 25]:
            with contextlib.suppress(UnicodeEncodeError):
                response = shared.server.request(
                    shared.node,
                    "PUT",
                    f"/_matrix/federation/v1/send/m{start}-{id(pdu)}",
                    {"pdus": [pdu], "edus": []},
                )
                assert response.status_code in (200, 400, 401), (response.text, pdu)
    shared.settled(60)
    assert shared.database.query("select * from matrix.verify_room(%s)", [shared.room_id]) == []


def test_bodies_that_are_no_json(shared):
    nested = b'{"pdus":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    twice = b'{"pdus":[],"pdus":[],"edus":[]}'
    for body in (b"", b"{", b"\xff\xfe", b'{"pdus":["\xff"]}', nested, b'{"a":' * 50_000, twice,
                 b'{"pdus":1e999}', b"[]", b"null",
                 b'{"pdus":[NaN]}', b'{"pdus":[],"\\u0000":1}', b'{"pdus":[],"edus":{}}',
                 b'{"pdus":[1e400]}'):  # fmt: skip
        response = shared.server.request(shared.node, "PUT", "/_matrix/federation/v1/send/odd", body)
        assert response.status_code in (400, 401), (response.text, body[:50])


@pytest.mark.parametrize("ids", ["x" * 600, "%00", "%FF", "a%2Fb", "%F0%9F%90%98"])
def test_transaction_ids(shared, ids):
    response = shared.server.request(shared.node, "PUT", f"/_matrix/federation/v1/send/{ids}", {"pdus": []})
    assert response.status_code in (200, 400), response.text


def test_floods_of_edus(shared):
    bob, room, alice = shared.bob, shared.room_id, shared.alice
    typing = [
        ("m.typing", {"room_id": room, "user_id": shared.server.user(f"user{n}"), "typing": True})
        for n in range(100)
    ]
    read = {"event_ids": [shared.join.event_id], "data": {"ts": 1}}
    receipts = {room: {"m.read": {shared.server.user(f"user{n}"): read for n in range(50_000)}}}
    rooms = {f"!room{n}:example.org": {"m.read": {bob: read}} for n in range(40_000)}
    # Each of these objects costs more memory than what it says.
    shared.send([], [("org.example", {"x": [{"": 0}] * 1_200_000})], status=413, errcode="M_TOO_LARGE")
    message = shared.room.message(bob)
    assert shared.send([message], [("org.example", {"x": [{"": 0}] * 500_000})])["pdus"]
    shared.wait([message])
    nobody = {f"@user{n}:test.example": {"*": {}} for n in range(60_000)}
    devices = {alice.user_id: {f"DEVICE{n}": {} for n in range(100_000)}}

    def message(messages, message_id):
        return (
            "m.direct_to_device",
            {"sender": bob, "type": "org.example", "message_id": message_id, "messages": messages},
        )

    for _ in range(5):
        shared.send([], typing)
    for edu in (
        ("m.receipt", receipts),
        ("m.receipt", rooms),
        message(nobody, "nobody"),
        message(devices, "devices"),
    ):
        shared.send([], [edu])
    many = [message({alice.user_id: {alice.device_id: {"body": "x" * 1000}}}, f"m{n}") for n in range(100)]
    for start in range(5):
        shared.send(
            [],
            [(kind, {**content, "message_id": f"{start} {content['message_id']}"}) for kind, content in many],
        )
    shared.send([], [("m.direct_to_device", {**many[0][1], "message_id": "y" * 10_000})] * 100)
    assert shared.alice.next()["to_device"]["events"]


def test_floods_of_device_lists(shared):
    def update(user, stream_id, **more):
        content = {
            "user_id": user,
            "device_id": "D",
            "stream_id": stream_id,
            "prev_id": [stream_id - 2],
            **more,
        }
        return ("m.device_list_update", content)

    shared.server.hooks["devices"] = lambda *_: (200, {
        "user_id": shared.bob, "stream_id": 1,
        "devices": [{"device_id": f"D{n}", "keys": {"x": "y" * 200}} for n in range(20_000)],
    })  # fmt: skip
    for number in range(10):
        shared.send([], [update(shared.bob, 1000 * number + n) for n in range(100)])
        shared.send([], [update(shared.server.user(f"user{n}"), n) for n in range(100)])
        shared.send(
            [], [update(shared.bob, n, keys={"k": "x" * 60_000}, prev_id=list(range(500))) for n in range(20)]
        )
    count = "select count(*) from matriarch.remote_device_lists where server_name = %s"
    assert shared.database.query(count, [shared.server.name])[0][0] <= 1
    # The list is fetched again now and then, not for each update.
    eventually(lambda: len(shared.server.asked_for("devices")) >= 1)
    assert len(shared.server.asked_for("devices")) < 60


def connect(node) -> socket.socket:
    address = urlsplit(node.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


@pytest.mark.parametrize("how", ["endless", "slow"])
def test_bodies_without_end(shared, home, how):
    # A server that does not sign its request is nobody known, whose bodies are short.
    limit = {"endless": "body_of_unknown", "slow": "body_time"}[how]
    before = limits(home).get(limit, 0)
    with connect(shared.node) as connection:
        connection.sendall(
            b"PUT /_matrix/federation/v1/send/1 HTTP/1.1\r\nHost: localhost\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n" if how == "endless" else b"1\r\n \r\n"
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for _ in range(100_000):
                connection.sendall(chunk)
                if how == "slow":
                    time.sleep(0.1)
                assert time.monotonic() - started < 30
    eventually(lambda: limits(home).get(limit, 0) > before)
    assert f'"limit":"{limit}"' in "".join(node.log.read_text() for node in home)


def test_heads_without_end(shared):
    """Many connections that begin to ask, and never do."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(shared.node)) for _ in range(200)]
        for number, connection in enumerate(connections):
            connection.sendall(
                b"PUT /_matrix/federation/v1/send/1 HTTP/1.1\r\nHost: localhost\r\n"
                + b"X: y\r\n" * (number % 3)
            )
        head = connections[0]
        with contextlib.suppress(OSError):
            for _ in range(10_000):
                head.sendall(b"X-Long: " + b"y" * 1000 + b"\r\n")
        message = shared.room.make(shared.bob, "m.room.message", {"body": "x"}, prev=[shared.join])
        shared.send([message])
        shared.wait([message])


def test_names_of_servers(shared):
    for name in (
        "ü.example",
        "xn--nxasmq6b.example",
        "a" * 300 + ".example",
        'x\\"y',
        "127.0.0.1:1",
        "[::1]:1",
        "localhost:0",
        "%00",
        "a b",
    ):
        header = f'X-Matrix origin="{name}",destination="test.example",key="ed25519:1",sig="{"A" * 86}"'
        response = httpx.put(
            f"{shared.node.url}/_matrix/federation/v1/send/1",
            json={"pdus": []},
            headers=[(b"Authorization", header.encode())],
            timeout=60,
        )
        assert response.status_code in (401, 403), (name, response.text)
