"""Nothing missed, nothing repeated: readers that follow by sync tokens get each committed event once, in room
order, whatever the order of commits, and wait for no open transaction."""

import json
import random
import threading
import time

import pytest

from harness.client import path

ROOMS = 4
WRITERS = 6
EVENTS_EACH = 25
READERS = 4

SEND = (
    "select status, body from matriarch.send(array[%s], array[%s], array['m.room.message'], "
    "array[null], array[%s], array[%s], array[null])"
)
SYNC = "select status, body, changed from matriarch.sync(array[%s], array[%s])"


def token_hash(database, user) -> bytes:
    (row,) = database.query(
        "select t.token_hash from matriarch.access_tokens t "
        "join matriarch.users u using (user_nid) where u.user_id = %s",
        [user.user_id],
    )
    return row[0]


def sync(connection, hash: bytes, since: str | None, **request) -> dict:
    request = json.dumps(
        {"since": since, "filter": json.dumps({"room": {"timeline": {"limit": 1000}}}), **request}
    )
    status, body, _ = connection.execute(SYNC, [hash, request]).fetchone()
    assert status == 200, body
    return json.loads(body)


@pytest.fixture
def world(database, start_nodes):
    """A user who writes, one who reads, and the rooms of both."""
    (node,) = start_nodes(database)
    writer, reader = node.register("writer"), node.register("reader")
    rooms = [writer.create_room(preset="public_chat") for _ in range(ROOMS)]
    for room in rooms:
        reader.join(room)
    return database, token_hash(database, writer), token_hash(database, reader), rooms


def test_each_committed_event_once_and_in_order(world):
    database, writer, reader, rooms = world
    written: dict[str, list[str]] = {room: [] for room in rooms}
    lock = threading.Lock()
    done = threading.Event()
    failures = []

    def guarded(work):
        def run(*args):
            try:
                work(*args)
            except Exception as error:
                failures.append(error)
                raise

        return run

    @guarded
    def write(seed):
        chance = random.Random(seed)
        with database.connect("matriarch_api", autocommit=False) as connection:
            for n in range(EVENTS_EACH):
                room = chance.choice(rooms)
                content = json.dumps({"msgtype": "m.text", "body": f"{seed}.{n}"})
                status, body = connection.execute(SEND, [room, writer, f"{seed}.{n}", content]).fetchone()
                assert status == 200, body
                # Others append to other rooms, and commit before or after.
                time.sleep(chance.choice([0, 0, 0.001, 0.01, 0.03]))
                if chance.random() < 0.1:
                    connection.rollback()
                    continue
                connection.commit()
                with lock:
                    written[room].append(json.loads(body)["event_id"])

    @guarded
    def hold_open(opened):
        """A transaction that writes elsewhere for the whole test."""
        with database.connect(autocommit=False) as connection:
            connection.execute("create table if not exists public.elsewhere (n integer)")
            connection.execute("insert into public.elsewhere values (1)")
            opened.set()
            done.wait()
            connection.rollback()

    followed = []

    @guarded
    def follow(seed, ready):
        chance = random.Random(seed)
        seen: dict[str, list[str]] = {room: [] for room in rooms}
        followed.append(seen)
        with database.connect("matriarch_api") as connection:
            since = sync(connection, reader, None)["next_batch"]
            ready.release()
            last = False
            while True:
                # What was committed before this look is seen by it.
                last = done.is_set()
                answer = sync(connection, reader, since)
                for room, section in answer["rooms"]["join"].items():
                    assert not section["timeline"]["limited"]
                    seen[room] += [event["event_id"] for event in section["timeline"]["events"]]
                if chance.random() < 0.2:
                    # A repeated token gives the same again.
                    again = sync(connection, reader, since)
                    for room, section in answer["rooms"]["join"].items():
                        first = [event["event_id"] for event in section["timeline"]["events"]]
                        second = again["rooms"]["join"][room]["timeline"]["events"]
                        assert [event["event_id"] for event in second][: len(first)] == first
                since = answer["next_batch"]
                if last:
                    return
                time.sleep(chance.choice([0, 0.001, 0.01]))

    opened, ready = threading.Event(), threading.Semaphore(0)
    holder = threading.Thread(target=hold_open, args=[opened])
    holder.start()
    assert opened.wait(10)
    readers = [threading.Thread(target=follow, args=[n, ready]) for n in range(READERS)]
    for thread in readers:
        thread.start()
    for _ in readers:
        assert ready.acquire(timeout=10)
    writers = [threading.Thread(target=write, args=[n]) for n in range(WRITERS)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()

    # Before the other transaction ends, everything is there already.
    deadline = time.monotonic() + 10
    total = sum(map(len, written.values()))
    while any(sum(map(len, seen.values())) < total for seen in followed) and time.monotonic() < deadline:
        time.sleep(0.02)
    early = [sum(map(len, seen.values())) for seen in followed]
    done.set()
    for thread in [*readers, holder]:
        thread.join()
    assert not failures
    assert early == [total] * READERS

    order = {
        room: [
            row[0]
            for row in database.query(
                "select e.event_id from matriarch.events e join matriarch.rooms r using (room_nid)"
                " where r.room_id = %s and e.type = 'm.room.message' order by e.pos",
                [room],
            )
        ]
        for room in rooms
    }
    for room in rooms:
        assert sorted(order[room]) == sorted(written[room])
    for seen in followed:
        assert seen == order


def test_two_writers_that_commit_in_reverse_order(world):
    """The later transaction commits first: a reader between both sees its event, and the earlier one
    afterwards."""
    database, writer, reader, rooms = world
    first = database.connect("matriarch_api", autocommit=False)
    second = database.connect("matriarch_api", autocommit=False)
    look = database.connect("matriarch_api")
    since = sync(look, reader, None)["next_batch"]
    content = '{"msgtype":"m.text","body":"x"}'
    for connection, room in [(first, rooms[0]), (second, rooms[1])]:
        connection.execute(SEND, [room, writer, "txn " + room, content])
    assert sync(look, reader, since)["rooms"]["join"] == {}
    second.commit()
    between = sync(look, reader, since)
    assert list(between["rooms"]["join"]) == [rooms[1]]
    assert between["next_batch"].count("_") > 1, "the open transaction stands in the token"
    first.commit()
    after = sync(look, reader, between["next_batch"])
    assert list(after["rooms"]["join"]) == [rooms[0]]
    assert sync(look, reader, after["next_batch"])["rooms"]["join"] == {}
    assert set(sync(look, reader, since)["rooms"]["join"]) == {rooms[0], rooms[1]}
    for connection in (first, second, look):
        connection.close()


def test_tokens_hold_across_a_restart_of_the_database(own_cluster, start_nodes):
    database = own_cluster.create_database()
    (node,) = start_nodes(database)
    alice = node.register("alice")
    room = alice.create_room()
    since = alice.sync()["next_batch"]
    event_id = alice.send(room, "before the restart")
    hash = token_hash(database, alice)
    node.stop()
    own_cluster.restart()
    with database.connect("matriarch_api") as connection:
        answer = sync(connection, hash, since)
        assert [event["event_id"] for event in answer["rooms"]["join"][room]["timeline"]["events"]] == [
            event_id
        ]


def test_many_syncs_in_one_statement_are_each_their_own(world):
    database, writer, reader, rooms = world
    with database.connect("matriarch_api") as connection:
        since = sync(connection, reader, None)["next_batch"]
        _status, _body = connection.execute(
            SEND, [rooms[0], writer, "one", '{"msgtype":"m.text","body":"x"}']
        ).fetchone()
        requests = [
            json.dumps({"since": since}),
            json.dumps({"since": since}),
            "{}",
            '{"since": "nonsense"}',
            "{}",
        ]
        hashes = [reader, writer, reader, reader, b"\0" * 32]
        rows = connection.execute("select * from matriarch.sync(%s, %s)", [hashes, requests]).fetchall()
        assert [row[0] for row in rows] == [200, 200, 200, 400, 401]
        answers = [json.loads(row[1]) for row in rows]
        for answer in answers[:2]:
            assert list(answer["rooms"]["join"]) == [rooms[0]]
        own, others = (
            answer["rooms"]["join"][rooms[0]]["timeline"]["events"][0]["unsigned"]
            for answer in answers[1::-1]
        )
        assert own["transaction_id"] == "one" and "transaction_id" not in others
        assert set(answers[2]["rooms"]["join"]) == set(rooms)
        assert answers[3]["errcode"] == "M_INVALID_PARAM" and answers[4]["errcode"] == "M_UNKNOWN_TOKEN"


def test_a_standing_transaction_makes_tokens_longer_and_nothing_else(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    room = alice.create_room()
    with database.connect(autocommit=False) as held:
        held.execute("create table public.held ()")
        since = alice.sync()["next_batch"]
        for n in range(20):
            event_id = alice.send(room, str(n))
            answer = alice.sync(since, timeout=5000)
            events = answer["rooms"]["join"][room]["timeline"]["events"]
            assert [event["event_id"] for event in events] == [event_id]
            since = answer["next_batch"]
            assert len(since) < 100
        held.rollback()
    assert alice.sync(since)["rooms"]["join"] == {}


def test_paths_that_take_tokens_share_them(node):
    alice = node.register("alice")
    room = alice.create_room()
    token = alice.sync()["next_batch"]
    for where, name in [("messages", "from"), ("messages", "to"), ("members", "at")]:
        alice.get(path("rooms", room, where), params={"dir": "b", name: token})
