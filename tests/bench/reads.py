"""How long the reading functions take inside the database, called from one connection:

    cd tests && MATRIARCH_TEST_PROFILE=release python -m bench.reads [rooms] [gap]

`rooms` (50) are what the reader is in, with six members and 30 messages each; `gap` (10000) is the number of
messages sent to one of them afterwards. Prints the median and the least of the times in milliseconds, and the
answer's bytes."""

import json
import statistics
import sys
import time

from harness.client import Client
from harness.cluster import Cluster, Database
from harness.node import Node

SYNC = "select status, body from matriarch.sync(%s, %s)"
MESSAGES = "select status, body from matriarch.messages(%s, %s, null, null, 'b', %s, null, false)"
SEND = """select status, body from matriarch.send(array_fill(%s::text, array[50]), %s,
    array_fill('m.room.message'::text, array[50]),
    array_fill(null::text, array[50]), %s, %s, array_fill(null::text, array[50]))"""
TOKEN = """select t.token_hash from matriarch.access_tokens t join matriarch.users u using (user_nid)
    where u.user_id = %s"""
LAZY = {"room": {"timeline": {"limit": 20}, "state": {"lazy_load_members": True}}}


def request(since=None, filter=None, **more) -> str:
    return json.dumps({"since": since, "filter": filter and json.dumps(filter), **more})


def make_rooms(node: Node, count: int) -> tuple[list[Client], list[str]]:
    users = [node.register("herd") for _ in range(6)]
    rooms = []
    for n in range(count):
        host = users[1 + n % 5]
        room = host.create_room(preset="public_chat", **({"name": f"Room {n}"} if n % 2 else {}))
        for user in users:
            if user is not host:
                user.join(room)
        for k in range(30):
            users[1 + k % 5].send(room, f"message {k} " + "x" * 200)
        rooms.append(room)
    return users, rooms


def measure(database: Database, users: list[Client], rooms: list[str], gap: int):
    connection = database.connect("matriarch_api")
    hashes = [database.query(TOKEN, [user.user_id])[0][0] for user in users]
    reader = hashes[0]

    def run(name: str, statement: str, parameters: list, times: int = 100) -> list[tuple]:
        took = []
        for _ in range(times + 6):
            started = time.perf_counter()
            rows = connection.execute(statement, parameters, prepare=True).fetchall()
            took.append((time.perf_counter() - started) * 1000)
        took = took[6:]
        size = sum(len(row[-1]) for row in rows)
        print(f"{name:44} {statistics.median(took):9.2f} {min(took):9.2f} {size:9}", flush=True)
        return rows

    print(f"{'':44} {'median':>9} {'least':>9} {'bytes':>9}")
    since = json.loads(connection.execute(SYNC, [[reader], ["{}"]]).fetchone()[1])["next_batch"]
    users[1].create_room()  # moves the present on from the token
    run("whoami", "select status, body from matriarch.whoami(%s)", [reader])
    run("sync, nothing new", SYNC, [[reader], [request(since)]])
    run(f"initial sync, {len(rooms)} rooms x 20, lazy", SYNC, [[reader], [request(None, LAZY)]], 20)
    users[1].send(rooms[0], "new")
    run("sync, one event", SYNC, [[reader], [request(since)]])
    run("500 syncs in one statement, one event", SYNC, [(hashes * 84)[:500], [request(since)] * 500], 5)
    run("messages, 100", MESSAGES, [reader, rooms[0], 100])
    for n in range(gap // 50):
        texts = [json.dumps({"msgtype": "m.text", "body": f"{n} {k} " + "x" * 200}) for k in range(50)]
        connection.execute(SEND, [rooms[0], [hashes[1]] * 50, [f"{n}.{k}" for k in range(50)], texts])
    run(f"sync, over a gap of {gap}", SYNC, [[reader], [request(since)]], 20)
    run("messages, 1000", MESSAGES, [reader, rooms[0], 1000], 20)
    connection.close()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    gap = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    cluster = Cluster()
    try:
        cluster.start()
        cluster.make_template()
        database = cluster.create_database()
        node = Node(database, cluster.folder.path).start()
        users, rooms = make_rooms(node, count)
        measure(database, users, rooms, gap)
        node.stop()
    finally:
        cluster.remove()


if __name__ == "__main__":
    main()
