"""Messages to devices: each comes in order, until a sync token acknowledges it, and then never again."""

import hashlib
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness.client import Client, new_txn_id, path
from harness.waiting import eventually, eventually_passes, long_poll

TYPE = "org.example.kind"
SEND = "select status, body from matriarch.send_to_device(%s, %s, %s, %s)"
SYNC = "select status, body, changed, acknowledged_by from matriarch.sync(array[%s], array[%s])"
ACKNOWLEDGE = "select matriarch.acknowledge_to_device(array[%s::bigint], array[%s])"


def to(
    sender: Client,
    receiver: Client | str,
    content,
    device: str | None = None,
    type: str = TYPE,
    txn_id: str | None = None,
) -> dict:
    """Sends one message, to a device or to all (`*`)."""
    user, device = (
        (receiver, device) if isinstance(receiver, str) else (receiver.user_id, device or receiver.device_id)
    )
    content = content if isinstance(content, dict) else {"n": content}
    return send(sender, {user: {device: content}}, type, txn_id)


def send(sender: Client, messages: dict, type: str = TYPE, txn_id: str | None = None) -> dict:
    return sender.put(path("sendToDevice", type, txn_id or new_txn_id()), {"messages": messages})


def numbers(answer: dict) -> list:
    """What the messages of a sync answer say."""
    return [event["content"]["n"] for event in answer["to_device"]["events"]]


def follow(client: Client) -> list:
    """All that comes until nothing more does."""
    got = []
    while new := numbers(client.next()):
        got += new
    return got


def stored(database, device_id: str | None = None) -> int:
    statement = (
        "select count(*) from matriarch.to_device_messages join matriarch.devices using (device_nid) "
        "where device_id = coalesce(%s, device_id)"
    )
    return database.query(statement, [device_id])[0][0]


def is_gone(database, client: Client):
    """What is acknowledged is deleted, soon after the answer."""
    eventually_passes(lambda: equal(stored(database, client.device_id), 0))


def equal(left, right):
    assert left == right


@pytest.fixture
def pair(node):
    return node.register("alice"), node.register("bob")


class TestDelivery:
    def test_a_message_comes_as_it_was_sent(self, pair):
        alice, bob = pair
        since = bob.sync()["next_batch"]
        content = {"fraction": 0.5, "nul": "\u0000", "big": 2**60, "text": "☃", "nested": {"a": [None, True]}}
        assert to(alice, bob, content) == {}
        answer = bob.sync(since)
        assert answer["to_device"] == {
            "events": [{"sender": alice.user_id, "type": TYPE, "content": content}]
        }

    def test_one_sender_s_messages_come_in_order_and_until_acknowledged(self, nodes, shared_database):
        alice, bob = nodes[0].register("alice"), nodes[1].register("bob")
        since = bob.sync()["next_batch"]
        for n in range(5):
            to(alice.at(nodes[n % 2]), bob, n)
        first = bob.sync(since)
        assert numbers(first) == [0, 1, 2, 3, 4]
        # Asked again, at another node too, it answers the same again, and what is new.
        assert numbers(bob.sync(since)) == [0, 1, 2, 3, 4]
        to(alice, bob, 5)
        assert numbers(bob.at(nodes[0]).sync(since)) == [0, 1, 2, 3, 4, 5]
        assert stored(shared_database, bob.device_id) == 6
        # The first answer's token acknowledges what came with it.
        second = bob.sync(first["next_batch"])
        assert numbers(second) == [5]
        eventually_passes(lambda: equal(stored(shared_database, bob.device_id), 1))
        assert numbers(bob.sync(second["next_batch"])) == []
        is_gone(shared_database, bob)
        # What is acknowledged is gone for older tokens as well.
        assert numbers(bob.sync(since)) == []

    def test_a_sync_without_a_token_acknowledges_nothing(self, pair, shared_database):
        alice, bob = pair
        to(alice, bob, 1)
        for _ in range(3):
            answer = bob.sync()
            assert numbers(answer) == [1]
        assert stored(shared_database, bob.device_id) == 1
        assert numbers(bob.sync(answer["next_batch"])) == []
        is_gone(shared_database, bob)

    def test_a_token_without_messages_acknowledges_none_that_come_later(self, pair):
        alice, bob = pair
        tokens = [bob.sync()["next_batch"]]
        for _ in range(3):
            tokens.append(bob.sync(tokens[-1])["next_batch"])
        to(alice, bob, 1)
        for token in tokens:
            assert numbers(bob.sync(token)) == [1]

    def test_a_long_poll_is_woken_at_another_node(self, nodes):
        alice, bob = nodes[0].register("alice"), nodes[1].register("bob")
        since = bob.sync()["next_batch"]
        for n in range(3):
            with long_poll(bob, bob.sync, since, timeout=20_000) as poll:
                to(alice, bob, n)
                answer = poll.result(timeout=5)
            assert numbers(answer) == [n]
            since = answer["next_batch"]

    def test_a_long_poll_that_found_nothing_acknowledges_nothing(self, pair, shared_database):
        """It asks the database several times, each time from a token that the client never gets."""
        alice, bob = pair
        carol, dave = bob.another_device(), bob.another_device()
        room = bob.create_room()
        since = bob.sync()["next_batch"]
        seen = dave.sync()["next_batch"]
        quiet = {"room": {"rooms": []}, "account_data": {"types": []}}
        with ThreadPoolExecutor() as pool:
            poll = pool.submit(lambda: bob.sync(since, timeout=20_000, filter=quiet))
            for n in range(3):
                # News for the user that the filter leaves out, and messages for the other device.
                bob.at(pair[0]).send(room, str(n))
                to(alice, carol, n)
                # The same news wakes another device of the user.
                seen = dave.sync(seen, timeout=20_000)["next_batch"]
            assert not poll.done()
            to(alice, bob, "mine")
            answer = poll.result(timeout=5)
        assert numbers(answer) == ["mine"]
        # The answer got lost: the client asks again.
        assert numbers(bob.sync(since, filter=quiet)) == ["mine"]
        assert numbers(carol.sync()) == [0, 1, 2]
        assert stored(shared_database, bob.device_id) == 1

    def test_tokens_of_the_old_event_stream_acknowledge_nothing(self, pair):
        alice, bob = pair
        to(alice, bob, 1)
        start = bob.get("/initialSync")["end"]
        end = bob.get("/events", params={"from": start, "timeout": 0})["end"]
        fresh = bob.get("/events", params={"timeout": 0})["end"]
        for token in (start, end, fresh):
            assert numbers(bob.sync(token)) == [1]

    def test_messages_go_with_their_device(self, node, shared_database):
        alice, bob = node.register("alice"), node.register("bob")
        twin = bob.another_device()
        for device in (bob, twin):
            to(alice, device, 1)
        twin.post("/logout")
        assert stored(shared_database, twin.device_id) == 0
        assert numbers(bob.sync()) == [1]
        # Logged in again under its name, it is a new device.
        again = Client(node.url).login(bob.user_id, bob.password, device_id=twin.device_id)
        assert numbers(again.sync()) == []

    def test_messages_stay_when_the_device_logs_in_again(self, pair, node):
        alice, bob = pair
        to(alice, bob, 1)
        again = Client(node.url).login(bob.user_id, bob.password, device_id=bob.device_id)
        assert numbers(again.sync()) == [1]


class TestAddressing:
    def test_all_devices_and_devices_by_name(self, nodes):
        alice, bob = nodes[0].register("alice"), nodes[0].register("bob")
        bobs = [bob, bob.another_device(), bob.another_device(nodes[1].url)]
        alices = alice.another_device()
        send(
            alice,
            {
                bob.user_id: {"*": {"n": "all"}, bobs[1].device_id: {"n": "one"}, "NOSUCH": {"n": "none"}},
                alice.user_id: {alices.device_id: {"n": "mine"}},
                "@nobody:test.example": {"*": {"n": "none"}, "X": {"n": "none"}},
                "@somebody:elsewhere.example": {"*": {"n": "none"}},
                "no user": {"*": {"n": "none"}},
                "": {"": {"n": "none"}},
                "@a\u0000b:test.example": {"*": {"n": "none"}},
            },
        )
        assert [numbers(device.sync()) for device in (*bobs, alice, alices)] == [
            ["all"],
            ["one"],
            ["all"],
            [],
            ["mine"],
        ]
        # A device of the future is none of all.
        assert numbers(bob.another_device().sync()) == []

    def test_no_messages_are_fine(self, pair):
        alice, bob = pair
        assert send(alice, {}) == {}
        assert send(alice, {bob.user_id: {}}) == {}

    def test_bad_requests(self, pair, shared_database):
        alice, bob = pair
        where = path("sendToDevice", TYPE, "bad")
        for body in (
            {"messages": []},
            {"messages": {bob.user_id: 1}},
            {"messages": {bob.user_id: {bob.device_id: "text"}}},
        ):
            alice.call("PUT", where, body, status=400, errcode="M_BAD_JSON")
        for body in ({}, {"messages": None}):
            alice.call("PUT", where, body, status=400, errcode="M_MISSING_PARAM")
        alice.call(
            "PUT",
            path("sendToDevice", "t" * 256, "bad"),
            {"messages": {}},
            status=400,
            errcode="M_INVALID_PARAM",
        )
        alice.call(
            "PUT",
            path("sendToDevice", TYPE, "t" * 513),
            {"messages": {}},
            status=400,
            errcode="M_INVALID_PARAM",
        )
        # One bad message, and none is sent. The transaction id is not spent.
        mixed = {"messages": {alice.user_id: {"*": {"n": 0}}, bob.user_id: {"*": {"n": 0}, "D": 1}}}
        alice.call("PUT", where, mixed, status=400, errcode="M_BAD_JSON")
        assert numbers(bob.sync()) == numbers(alice.sync()) == []
        to(alice, bob, 1, txn_id="bad")
        assert numbers(bob.sync()) == [1]

    def test_size_limit(self, pair):
        alice, bob = pair
        frame = len(
            json.dumps({"content": {"n": ""}, "sender": alice.user_id, "type": TYPE}, separators=(",", ":"))
        )
        content = {"n": "x" * (65_536 - frame)}
        # Compact, as it is sized.
        body = {"messages": {bob.user_id: {"*": content}}}
        where = path("sendToDevice", TYPE, new_txn_id())
        alice.call("PUT", where, content=json.dumps(body, separators=(",", ":")))
        content["n"] += "x"
        where = path("sendToDevice", TYPE, new_txn_id())
        alice.call(
            "PUT", where, content=json.dumps(body, separators=(",", ":")), status=413, errcode="M_TOO_LARGE"
        )
        assert [len(text) for text in numbers(bob.sync())] == [65_536 - frame]

    def test_a_request_of_many_devices_is_one_statement(self, node, shared_database):
        alice, bob = node.register("alice"), node.register("bob")
        shared_database.query(
            "insert into matriarch.devices (user_nid, device_id) select user_nid, 'D' || n"
            " from matriarch.users, generate_series(1, 2000) n where user_id = %s",
            [bob.user_id],
        )
        since = bob.sync()["next_batch"]
        messages = {bob.user_id: {f"D{n}": {"n": n} for n in range(1, 3001)}, alice.user_id: {"*": {"n": 0}}}
        response = alice.request("PUT", path("sendToDevice", TYPE, new_txn_id()), {"messages": messages})
        # The other one asks whose body it is that has so many objects.
        assert response.status_code == 200 and response.headers["x-matriarch-db-statements"] == "2"
        rows = shared_database.query(
            "select device_id, message::json #>> '{content,n}' from matriarch.to_device_messages"
            " join matriarch.devices using (device_nid) where device_id ~ '^D[0-9]+$'"
        )
        assert sorted(rows) == sorted((f"D{n}", str(n)) for n in range(1, 2001))
        assert numbers(bob.sync(since)) == []


class TestBatches:
    def test_250_messages_are_three_answers(self, nodes, shared_database):
        alice, bob = nodes[0].register("alice"), nodes[0].register("bob")
        tokens = [bob.sync()["next_batch"]]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: to(alice.at(nodes[n % 2]), bob, n), range(250)))
        got = []
        for size in (100, 100, 50, 0):
            started = time.monotonic()
            # While there is more, nobody waits.
            answer = bob.at(nodes[len(tokens) % 2]).sync(tokens[-1], timeout=0 if size == 0 else 20_000)
            assert time.monotonic() - started < 5
            new = numbers(answer)
            assert len(new) == size
            # The same again.
            assert numbers(bob.sync(tokens[-1])) == new
            got += new
            tokens.append(answer["next_batch"])
        assert sorted(got) == list(range(250))
        assert ["~" in token for token in tokens] == [False, True, True, False, False]
        is_gone(shared_database, bob)

    def test_a_token_in_the_midst_acknowledges_just_its_part(self, pair, shared_database):
        alice, bob = pair
        for n in range(130):
            to(alice, bob, n)
        first = bob.sync()
        assert numbers(first) == list(range(100))
        second = bob.sync(first["next_batch"])
        assert numbers(second) == list(range(100, 130))
        eventually_passes(lambda: equal(stored(shared_database, bob.device_id), 30))
        to(alice, bob, 130)
        assert numbers(bob.sync(first["next_batch"])) == list(range(100, 131))
        assert numbers(bob.sync(second["next_batch"])) == [130]

    def test_every_endpoint_that_takes_a_token_takes_one_from_the_midst(self, pair):
        alice, bob = pair
        room = bob.create_room()
        for n in range(101):
            to(alice, bob, n)
        token = bob.sync()["next_batch"]
        assert "~" in token
        for where, name in [("messages", "from"), ("messages", "to"), ("members", "at")]:
            bob.get(path("rooms", room, where), params={"dir": "b", name: token})
        for params in ({"from": token}, {"from": token, "room_id": room}):
            bob.get("/events", params={**params, "timeout": 0})
        for bad in ("~", "~x", "~-1", "~1~1", "~01", "~99999999999999999999"):
            bob.get(
                "/sync", params={"since": token.split("~")[0] + bad}, status=400, errcode="M_INVALID_PARAM"
            )

    def test_100_000_messages_cost_a_sync_no_more_than_100(self, database, start_nodes):
        (node,) = start_nodes(database)
        bob, carol = node.register("bob"), node.register("carol")
        queue = """
            insert into matriarch.to_device_messages (device_nid, message)
            select device_nid, json_build_object('sender', '@a:b', 'type', 'x', 'content',
            json_build_object('n', n))::text
            from matriarch.devices, generate_series(0, %s) n where device_id = %s order by n"""
        database.query(queue, [99_999, bob.device_id])
        database.query(queue, [100, carol.device_id])
        with database.connect() as connection:
            for request in ({}, {"since": bob.sync()["next_batch"]}):
                # Once to plan and to read what catalogs say, once to count.
                costs = [blocks(connection, hash_of(device), request) for device in (bob, carol) * 2]
                assert costs[2] < costs[3] * 1.5 + 50, costs
        for n in range(0, 5000, 100):
            assert numbers(bob.next()) == list(range(n, n + 100))
        # Whatever a deletion leaves behind, the next sync names again.
        eventually_passes(lambda: (bob.sync(bob.since), equal(stored(database, bob.device_id), 95_000)))


def test_long_messages_come_in_several_answers(pair):
    alice, bob = pair
    bob.next()
    for number in range(40):
        to(alice, bob, {"n": number, "long": "x" * 60_000})
    answers = []
    while new := numbers(bob.next()):
        answers.append(new)
    assert [number for numbers in answers for number in numbers] == list(range(40))
    assert 3 <= len(answers) <= 4


def hash_of(client: Client) -> bytes:
    return hashlib.sha256(client.access_token.encode()).digest()


def blocks(connection, hash: bytes, request: dict) -> int:
    """The pages that a sync touches."""
    plan = connection.execute(
        "explain (analyze, buffers, format json) select * from matriarch.sync(array[%s], array[%s])",
        [hash, json.dumps(request)],
    ).fetchone()[0][0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


class TestTransactions:
    def test_a_repeated_request_does_nothing(self, nodes):
        alice, bob = nodes[0].register("alice"), nodes[0].register("bob")
        for node in (*nodes, *nodes):
            assert to(alice.at(node), bob, 1, txn_id="once") == {}
        # What tells requests apart: the device, the type, and the id.
        to(alice.another_device(), bob, 2, txn_id="once")
        to(alice, bob, 3, type="org.example.other", txn_id="once")
        to(alice, bob, 4, txn_id="twice")
        assert numbers(bob.sync()) == [1, 2, 3, 4]

    def test_it_does_nothing_after_delivery_and_restart(self, database, start_nodes):
        (node,) = start_nodes(database)
        alice, bob = node.register("alice"), node.register("bob")
        to(alice, bob, 1, txn_id="once")
        assert follow(bob) == [1]
        node.kill()
        node.start()
        to(alice, bob, 1, txn_id="once")
        assert follow(bob) == []

    def test_the_same_request_at_both_nodes_at_once(self, nodes):
        alice, bob = nodes[0].register("alice"), nodes[0].register("bob")
        twins = [alice.at(node) for node in nodes for _ in range(4)]
        with ThreadPoolExecutor(len(twins)) as pool:
            for n in range(10):
                list(pool.map(lambda twin, n=n: to(twin, bob, n, txn_id=f"once {n}"), twins))
        assert numbers(bob.sync()) == list(range(10))

    def test_a_duplicate_waits_for_the_first(self, database, start_nodes):
        (node,) = start_nodes(database)
        alice, bob = node.register("alice"), node.register("bob")
        body = json.dumps({"messages": {bob.user_id: {"*": {"n": 1}}}})
        for txn_id, commit in (("committed", True), ("rolled back", False)):
            with database.connect("matriarch_api", autocommit=False) as first, ThreadPoolExecutor() as pool:
                first.execute(SEND, [hash_of(alice), TYPE, txn_id, body])
                second = pool.submit(to, alice, bob, 1, txn_id=txn_id)
                eventually(database.has_lock_waiter)
                assert not second.done()
                first.commit() if commit else first.rollback()
                assert second.result(timeout=5) == {}
            assert follow(bob) == [1]

    def test_they_are_forgotten_after_a_week(self, node, shared_database):
        alice = node.register("alice")
        for txn_id in ("new", "old"):
            send(alice, {}, txn_id=txn_id)
        shared_database.query(
            "update matriarch.to_device_transactions set created_at = now() - interval '8 days' "
            "where txn_id = 'old'"
        )
        from harness import process

        shared_database.query(
            (process.ROOT / "server/src/database/housekeeping.sql").read_text(), user="matriarch_api"
        )
        rows = shared_database.query(
            "select txn_id from matriarch.to_device_transactions "
            "join matriarch.devices using (device_nid) where device_id = %s",
            [alice.device_id],
        )
        assert rows == [("new",)]


@pytest.fixture
def world(database, start_nodes):
    """Devices that write, and one that reads."""
    (node,) = start_nodes(database)
    return database, [node.register(f"writer{n}") for n in range(6)], node.register("reader")


def sync_by_sql(connection, device: Client, since: str | None) -> tuple[dict, int | None]:
    status, body, changed, acknowledged_by = connection.execute(
        SYNC, [hash_of(device), json.dumps({"since": since})]
    ).fetchone()
    assert status == 200, body
    answer = json.loads(body)
    assert changed or not answer["to_device"]["events"]
    return answer, acknowledged_by


class TestConcurrency:
    def test_each_committed_message_comes_once_whatever_the_order_of_commits(self, world):
        database, writers, reader = world
        sent: dict[int, list] = {}
        done = threading.Event()

        def write(seed: int):
            chance, mine = random.Random(seed), []
            with database.connect("matriarch_api", autocommit=False) as connection:
                for n in range(80):
                    body = json.dumps({"messages": {reader.user_id: {reader.device_id: {"n": [seed, n]}}}})
                    status, text = connection.execute(
                        SEND, [hash_of(writers[seed]), TYPE, f"{seed}.{n}", body]
                    ).fetchone()
                    assert status == 200, text
                    # Others commit before or after, with lower ids or higher ones.
                    time.sleep(chance.choice([0, 0, 0.001, 0.01, 0.03]))
                    if chance.random() < 0.1:
                        connection.rollback()
                        continue
                    connection.commit()
                    mine.append([seed, n])
            sent[seed] = mine

        def read() -> list:
            """Follows by tokens. What it got is deleted at once or later."""
            chance, got, since = random.Random("reader"), [], None
            with database.connect("matriarch_api") as connection:
                while True:
                    last = done.is_set()
                    answer, device_nid = sync_by_sql(connection, reader, since)
                    new = numbers(answer)
                    if chance.random() < 0.3:
                        again = numbers(sync_by_sql(connection, reader, since)[0])
                        assert len(again) == 100 or set(map(tuple, new)) <= set(map(tuple, again))
                    got += new
                    if device_nid is not None and chance.random() < 0.7:
                        connection.execute(ACKNOWLEDGE, [device_nid, since])
                    since = answer["next_batch"]
                    if last and not new:
                        return got
                    # Sometimes long enough for more than fits.
                    time.sleep(chance.choice([0, 0.001, 0.01, 0.6]))

        with ThreadPoolExecutor() as pool:
            reading = pool.submit(read)
            writing = [pool.submit(write, n) for n in range(len(writers))]
            try:
                for future in writing:
                    future.result(timeout=60)
            finally:
                done.set()
            got = reading.result(timeout=60)
        self.check(got, sent)

    def test_nothing_is_repeated_while_nothing_is_deleted(self, world):
        """Acknowledged messages that are still stored do not come again, in batches and with late commits
        among them."""
        database, writers, reader = world
        hold = database.connect("matriarch_api", autocommit=False)
        got, since = [], None

        def write(connection, n):
            body = json.dumps({"messages": {reader.user_id: {"*": {"n": n}}}})
            connection.execute(SEND, [hash_of(writers[n % len(writers)]), TYPE, f"{n}", body])

        with database.connect("matriarch_api") as connection:
            write(connection, 0)
            for n in range(1, 4):
                write(hold, n)
            for n in range(4, 200):
                write(connection, n)
            for _ in range(3):
                answer, _ = sync_by_sql(connection, reader, since)
                got, since = got + numbers(answer), answer["next_batch"]
            assert got == [0, *range(4, 200)]
            for n in range(200, 310):
                write(connection, n)
            # These have lower ids than all that was delivered since.
            hold.commit()
            for size in (100, 13, 0):
                answer, acknowledged_by = sync_by_sql(connection, reader, since)
                assert len(numbers(answer)) == size
                got, since = got + numbers(answer), answer["next_batch"]
                assert acknowledged_by is not None
            assert sorted(got) == list(range(310))
            connection.execute(ACKNOWLEDGE, [acknowledged_by, since])
            assert stored(database) == 0
        hold.close()

    @staticmethod
    def check(got: list, sent: dict):
        for seed, mine in sent.items():
            assert [each for each in got if each[0] == seed] == mine, (
                "in the order of their sender, each once"
            )
        assert len(got) == sum(map(len, sent.values()))

    def test_a_device_that_is_deleted_meanwhile(self, nodes, shared_database):
        """Neither a lost answer nor a server at fault, and no message for nobody."""
        alice, bob = nodes[0].register("alice"), nodes[0].register("bob")
        stop = threading.Event()

        def log_in_and_out(node):
            while not stop.is_set():
                bob.another_device(node.url).post("/logout")

        def write(n):
            to(alice.at(nodes[n % 2]), bob.user_id, n, "*")

        with ThreadPoolExecutor() as pool:
            coming = [pool.submit(log_in_and_out, node) for node in nodes]
            try:
                with ThreadPoolExecutor(4) as senders:
                    list(senders.map(write, range(200)))
            finally:
                stop.set()
            for future in coming:
                future.result(timeout=30)
        assert sorted(follow(bob)) == list(range(200))

    def test_a_killed_node_loses_and_repeats_nothing(self, database, start_nodes):
        nodes = start_nodes(database, 2)
        senders = [nodes[0].register(f"sender{n}") for n in range(4)]
        bob = nodes[0].register("bob")
        done = threading.Event()
        written = []

        def write(number: int):
            client, other = senders[number], senders[number].at(nodes[1])
            for n in range(250):
                try:
                    to(client, bob, [number, n], txn_id=str(n))
                except httpx.TransportError:
                    # Whether it was done is not known: once more, at the other node.
                    client = other
                    to(client, bob, [number, n], txn_id=str(n))
                written.append([number, n])

        def read() -> list:
            client, got, since = bob, [], None
            while True:
                last = done.is_set()
                try:
                    answer = client.sync(since, timeout=0 if last else 500)
                except httpx.TransportError:
                    client = bob.at(nodes[1])
                    continue
                got, since = got + numbers(answer), answer["next_batch"]
                if last and not numbers(answer):
                    return got

        with ThreadPoolExecutor() as pool:
            reading = pool.submit(read)
            writing = [pool.submit(write, n) for n in range(len(senders))]
            try:
                eventually(lambda: len(written) >= 300, seconds=60)
                nodes[0].kill()
                for future in writing:
                    future.result(timeout=60)
            finally:
                done.set()
            got = reading.result(timeout=60)
        self.check(got, {number: [[number, n] for n in range(250)] for number in range(len(senders))})
        is_gone(database, bob)
