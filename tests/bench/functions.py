"""What the writing functions, and syncs, cost the database server, in CPU time of the backend that runs them.

    MATRIARCH_TEST_PROFILE=release python -m bench.functions

Durable settings, one connection, nothing else running. Each figure is the best of five rounds."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import functions
from harness.cluster import Cluster, Database
from harness.functions import Request, User, send, try_send

ROUNDS = 5
CONTENT = {"msgtype": "m.text", "body": "x" * 100}
SYNC = "select body from matriarch.sync(%s, %s)"

BARE_TABLE = """
    create table bare (like matriarch.events including all);
    alter table bare alter event_nid set default nextval('matriarch.event_nids')"""

BARE_INSERT = """
    insert into bare (room_nid, pos, depth, origin_server_ts, sender_nid, state_before, device_nid, event_id,
    type, txn_id,
        prev_nids, auth_nids, json)
    values (1, %s, 1, 1, 1, 1, 1, %s, 'm.room.message', %s, '{1}', '{1,2,3}', %s)"""


class Meter:
    """Runs work on one backend, and prints what each event costs it."""

    def __init__(self, database: Database, user: str):
        self.connection = database.connect(user, prepare_threshold=1)
        self.stat = Path(f"/proc/{self.connection.info.backend_pid}/schedstat")

    def cpu(self) -> float:
        return int(self.stat.read_text().split()[0]) / 1e9

    def measure(self, name: str, work, *, calls: int = 400, events: int = 1):
        for _ in range(10):
            work()
        rounds = []
        for _ in range(ROUNDS):
            cpu, wall = self.cpu(), time.perf_counter()
            for _ in range(calls):
                work()
            each = 1e6 / calls / events
            rounds.append(((self.cpu() - cpu) * each, (time.perf_counter() - wall) * each))
        cpu, wall = min(cpu for cpu, _ in rounds), min(wall for _, wall in rounds)
        print(f"{name:40} {cpu:6.0f} µs CPU {wall:6.0f} µs in all", flush=True)


def main():
    cluster = Cluster(durable=True, settings={"shared_buffers": "1GB", "max_wal_size": "4GB"})
    try:
        cluster.start()
        cluster.make_template()
        database = cluster.create_database()
        functions.initialize(database)
        measure_all(database)
    finally:
        cluster.remove()


def measure_all(database: Database):
    meter = Meter(database, "matriarch_api")
    connection = meter.connection
    alice = User(database, "alice", connection=connection)
    rooms = [alice.create_room() for _ in range(100)]
    counter = iter(range(10**9))

    def message() -> Request:
        return Request(alice, "m.room.message", CONTENT, txn_id=str(next(counter)))

    def whoami():
        connection.execute("select status, body from matriarch.whoami(%s)", [alice.token_hash])

    def topic():
        alice.send_state(rooms[1], "m.room.topic", {"topic": str(next(counter))})

    def new_key():
        alice.send_state(rooms[2], "org.example", {}, state_key=str(next(counter)))

    def sync(since: str | None) -> str:
        request = json.dumps({"since": since, "presence": True})
        return connection.execute(SYNC, [[reader.token_hash], [request]]).fetchone()[0]

    reader = User(database, "reader", connection=connection)
    read = [reader.create_room() for _ in range(50)]
    before = json.loads(sync(None))["next_batch"]
    send(connection, read[0], [Request(reader, "m.room.message", CONTENT, txn_id="new")])
    now = json.loads(sync(before))["next_batch"]

    meter.measure("a call that reads one row (whoami)", whoami)
    meter.measure("sync with nothing new, 50 rooms", lambda: sync(now))
    meter.measure("sync with one new event, 50 rooms", lambda: sync(before))
    meter.measure("send, one room", lambda: send(connection, rooms[0], [message()]))
    meter.measure("send, 100 rooms", lambda: send(connection, rooms[next(counter) % 100], [message()]))
    connection.execute("set synchronous_commit = off")
    meter.measure(
        "send, 100 rooms, commits not waited for",
        lambda: send(connection, rooms[next(counter) % 100], [message()]),
    )
    connection.execute("set synchronous_commit = on")
    for size in (10, 50):
        batch = lambda: send(connection, rooms[0], [message() for _ in range(size)])
        meter.measure(f"send, {size} events a call, for each", batch, calls=400 // size, events=size)
    for size in (8, 16, 48):
        batch = lambda: try_send(
            connection, [rooms[next(counter) % 100] for _ in range(size)], [message() for _ in range(size)]
        )
        meter.measure(f"send to {size} rooms a call, for each", batch, calls=400 // size, events=size)
    meter.measure("state put, a key that is there", topic, calls=200)
    meter.measure("state put, a new key", new_key, calls=200)
    meter.measure("createRoom", alice.create_room, calls=50)
    public = alice.create_room(preset="public_chat")
    joiners = iter([User(database, "joiner", connection=connection) for _ in range(200 * ROUNDS + 10)])
    meter.measure("join", lambda: next(joiners).join(public), calls=200)

    bare = Meter(database, "postgres")
    bare.connection.execute(BARE_TABLE)
    text = "x" * 700

    def insert():
        number = next(counter)
        bare.connection.execute(BARE_INSERT, [number, f"${number:043}", str(number), text])

    bare.measure("a bare insert of such a row", insert)
    bare.connection.execute("set synchronous_commit = off")
    bare.measure("a bare insert, commits not waited for", insert)


if __name__ == "__main__":
    main()
