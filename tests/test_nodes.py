"""Several nodes on one database are one server, and any of them may die at any moment."""

import signal
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness.client import bodies, expect, new_txn_id, path, timeline
from harness.waiting import eventually, eventually_passes, long_poll

SENDERS = 6


def test_every_request_may_go_to_another_node(nodes):
    first, second = nodes
    alice = first.register("alice")
    room = alice.at(second).create_room()
    ids = [alice.at(nodes[number % 2]).send(room, f"message {number}") for number in range(10)]
    assert [event["event_id"] for event in alice.history(room) if event["type"] == "m.room.message"] == ids
    assert bodies(alice.at(second).history(room)) == [f"message {number}" for number in range(10)]
    alice.at(second).post("/logout")
    alice.get("/account/whoami", status=401, errcode="M_UNKNOWN_TOKEN")


def test_a_message_to_one_node_wakes_a_long_poll_at_the_other(nodes):
    alice = nodes[0].register("alice")
    bob = nodes[1].register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since = bob.sync()["next_batch"]
    delays = []
    for number in range(9):
        with long_poll(bob, lambda: (bob.sync(since, timeout=20_000), time.monotonic())) as waiting:
            alice.send(room, f"wake up {number}")
            acknowledged = time.monotonic()
            answer, woken = waiting.result(timeout=20)
        assert bodies(timeline(answer, room)) == [f"wake up {number}"]
        delays.append(woken - acknowledged)
        since = answer["next_batch"]
    # Nodes that were not told poll once a second; the median says that they are told.
    assert statistics.median(delays) < 0.5, delays


def test_an_idle_long_poll_ends_by_its_timeout(nodes):
    alice = nodes[0].register("alice")
    since = alice.sync()["next_batch"]
    since = alice.sync(since)["next_batch"]
    started = time.monotonic()
    answer = alice.sync(since, timeout=1500)
    assert 1.3 < time.monotonic() - started < 5
    assert not answer.get("rooms", {}).get("join")


def test_one_transaction_id_at_both_nodes_at_once_is_one_event(nodes):
    alice = nodes[0].register("alice")
    room = alice.create_room()
    twins = [alice.at(node) for node in nodes for _ in range(4)]
    with ThreadPoolExecutor(len(twins)) as pool:
        for _ in range(5):
            txn_id = new_txn_id()
            assert len(set(pool.map(lambda twin: twin.send(room, "once", txn_id=txn_id), twins))) == 1
    assert bodies(alice.history(room)) == ["once"] * 5


class Sender:
    """Sends numbered messages one after another, and turns to the other node when its own does not answer."""

    def __init__(self, client, other, room, name):
        self.client, self.other, self.room, self.name = client, other, room, name
        self.acknowledged: dict[str, str] = {}
        self.retried = 0

    def run(self, stop: threading.Event):
        number = 0
        while not stop.is_set():
            body, txn_id = f"{self.name}.{number}", f"{self.name}.{number}"
            number += 1
            try:
                self.acknowledged[body] = self.client.send(self.room, body, txn_id=txn_id)
            except httpx.TransportError:
                self.retried += 1
                self.client = self.other
                self.acknowledged[body] = self.client.send(self.room, body, txn_id=txn_id)


def senders(nodes, room) -> list[Sender]:
    made = []
    for number in range(SENDERS):
        client = nodes[0].register(f"sender{number}")
        client.join(room)
        made.append(Sender(client, client.at(nodes[1]), room, f"s{number}"))
    return made


def under_load(runners, action, messages: int = 20):
    """Does `action` once every sender has sent so many messages, and stops them after as many more."""
    stop = threading.Event()

    def go_on():
        goals = [(runner, len(runner.acknowledged) + messages) for runner in runners]
        eventually(lambda: all(len(runner.acknowledged) >= goal for runner, goal in goals), seconds=60)

    with ThreadPoolExecutor(len(runners)) as pool:
        running = [pool.submit(runner.run, stop) for runner in runners]
        try:
            go_on()
            action()
            go_on()
        finally:
            stop.set()
        for future in running:
            future.result(timeout=60)


def check_history(client, room, runners):
    """Each acknowledged message is in the room once, under the id it was acknowledged with, in its sender's
    order."""
    messages = [event for event in client.history(room, limit=100) if event["type"] == "m.room.message"]
    shown = bodies(messages)
    assert len(shown) == len(set(shown)), "an event came twice"
    ids = {event["content"]["body"]: event["event_id"] for event in messages}
    for runner in runners:
        assert runner.acknowledged.items() <= ids.items(), "an acknowledged event was lost"
        mine = [body for body in shown if body.startswith(f"{runner.name}.")]
        assert mine == sorted(mine, key=lambda body: int(body.split(".")[1]))
    assert set(shown) == {body for runner in runners for body in runner.acknowledged}


def test_sigkill_under_load_loses_and_duplicates_nothing(database, start_nodes):
    nodes = start_nodes(database, 2)
    alice = nodes[1].register("alice")
    room = alice.create_room(preset="public_chat")
    runners = senders(nodes, room)
    under_load(runners, nodes[0].kill)
    assert sum(runner.retried for runner in runners) == SENDERS
    check_history(alice, room, runners)
    # An answer that got lost is given again, by a node that never saw the request.
    for runner in runners:
        body, event_id = next(iter(runner.acknowledged.items()))
        assert runner.other.send(room, body, txn_id=body) == event_id


def test_sigterm_drains(database, start_nodes):
    nodes = start_nodes(database, 2)
    alice = nodes[1].register("alice")
    room = alice.create_room(preset="public_chat")
    runners = senders(nodes, room)
    waiting = nodes[0].register("waiting")
    since = waiting.sync()["next_batch"]
    since = waiting.sync(since)["next_batch"]
    params = {"set_presence": "offline", "since": since, "timeout": 60_000}
    with long_poll(waiting, waiting.request, "GET", "/sync", params=params) as poll:
        started = time.monotonic()
        under_load(runners, lambda: None if nodes[0].stop() == 0 else pytest.fail("the exit status is not 0"))
        # The long poll was answered, not cut off, and did not hold up the end.
        assert expect(poll.result(timeout=1), 200)["next_batch"]
    assert time.monotonic() - started < 20
    check_history(alice, room, runners)


@pytest.mark.allow_errors("the database is away for a while")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_postgres_restarts_under_the_nodes(own_cluster, start_nodes, how):
    database = own_cluster.create_database()
    nodes = start_nodes(database, 2)
    alice, bob = nodes[0].register("alice"), nodes[1].register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    before = alice.send(room, "before")
    since = bob.sync()["next_batch"]

    params = {"since": since, "timeout": 5000, "set_presence": "offline"}
    with long_poll(bob, bob.request, "GET", "/sync", params=params) as poll:
        own_cluster.stop(how)
        for client in (alice, bob, nodes[0].client()):
            for _ in range(3):
                answer = (
                    client.request("GET", "/account/whoami")
                    if client.access_token
                    else client.request(
                        "POST",
                        "/login",
                        {
                            "type": "m.login.password",
                            "identifier": {"type": "m.id.user", "user": "x"},
                            "password": "x",
                        },
                    )
                )
                assert answer.status_code == 503, answer.text
                assert answer.json()["errcode"].startswith("M_")
        expect(
            alice.request("PUT", path("rooms", room, "send", "m.room.message", "away"), {"body": "away"}), 503
        )
        for node in nodes:
            assert not node.ready()
            assert httpx.get(f"{node.url}/health/live").status_code == 200
        own_cluster.start()
        # The poll that was under way ended cleanly, one way or the other.
        assert poll.result(timeout=40).status_code in (200, 503)

    for node in nodes:
        eventually_passes(lambda node=node: expect(node.client().request("GET", "/health/ready"), 200))
        assert node.running()
    after = eventually_passes(lambda: alice.send(room, "after", txn_id="after"))
    assert alice.send(room, "after", txn_id="after") == after
    history = [
        event for event in eventually_passes(lambda: bob.history(room)) if event["type"] == "m.room.message"
    ]
    assert [event["event_id"] for event in history] == [before, after]
    # Wake-ups work again as well.
    since = bob.sync()["next_batch"]
    with long_poll(bob, bob.sync, since, timeout=20_000) as poll:
        alice.send(room, "awake")
        assert bodies(timeline(poll.result(timeout=20), room)) == ["awake"]


@pytest.mark.allow_errors("sessions are ended by force")
def test_sessions_ended_under_the_nodes_are_replaced(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    room = alice.create_room()
    for number in range(5):
        database.query(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        answer = alice.request(
            "PUT", path("rooms", room, "send", "m.room.message", f"m{number}"), {"body": f"{number}"}
        )
        assert answer.status_code in (200, 503), answer.text
        eventually_passes(lambda number=number: alice.send(room, {"body": f"{number}"}, txn_id=f"m{number}"))
    assert bodies(alice.history(room)) == [str(number) for number in range(5)]
