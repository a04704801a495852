"""What this server sends to others: events and EDUs, in transactions that survive whatever happens."""

import json
import threading
import time

import httpx
import pytest

from harness.client import new_txn_id, path
from harness.peer import event_id_of, exact
from harness.waiting import eventually


@pytest.fixture
def server(start_servers):
    return start_servers(1)[0]


def shared_room(server, remote, alice, **options) -> str:
    """A room of alice's that bob, of the other server, is in."""
    room = alice.create_room(preset="public_chat", **options)
    remote.set_membership(server.database, room, remote.user("bob"))
    return room


def ids(remote) -> list[str]:
    return [event_id_of(pdu) for pdu in remote.pdus]


def destination(server, remote, columns="*"):
    return server.database.query(
        f"select {columns} from matriarch.destinations where server_name = %s", [remote.name]
    )


def due(server):
    """Ends all pauses."""
    server.database.query("update matriarch.destinations set retry_at = now()")


def test_events_are_sent_in_order(server, remote):
    alice = server.register("alice")
    room = shared_room(server, remote, alice)
    sent = [alice.send(room, f"message {n}") for n in range(120)]
    eventually(lambda: ids(remote) == sent)
    txn_ids = [txn_id for txn_id, _ in remote.transactions]
    assert len(set(txn_ids)) == len(txn_ids)
    for _, body in remote.transactions:
        assert body["origin"] == server.name
        assert abs(body["origin_server_ts"] / 1000 - time.time()) < 60
        assert len(body["pdus"]) <= 50
    pdu = remote.pdus[0]
    assert pdu["content"]["body"] == "message 0" and pdu["room_id"] == room and "unsigned" not in pdu
    # Nothing is left that would be looked at again.
    eventually(
        lambda: (
            server.database.query(
                "select count(*) from matriarch.destination_rooms where pending_since is not null"
            )
            == [(0,)]
        )
    )


def test_only_own_events_go_out_and_only_to_servers_in_the_room(server, remote, remotes):
    alice = server.register("alice")
    other = remotes(server.database)
    room, elsewhere = shared_room(server, remote, alice), shared_room(server, other, alice)
    local = alice.create_room(preset="public_chat")
    alice.send(local, "nobody hears this")
    message = alice.send(room, "hello")
    there = alice.send(elsewhere, "hello")
    eventually(lambda: ids(remote) == [message] and ids(other) == [there])
    # Who joins is told to those who were there, not to those who told it.
    join = remote.set_membership(server.database, elsewhere, remote.user("carol"))
    second = alice.send(elsewhere, "hello, carol")
    eventually(lambda: ids(other) == [there, join, second])
    eventually(lambda: ids(remote) == [message, second])


def test_a_server_hears_how_it_was_thrown_out_and_nothing_after(server, remote, remotes):
    alice = server.register("alice")
    room = shared_room(server, remote, alice)
    witness = remotes(server.database)
    witness.set_membership(server.database, room, witness.user("eve"))
    alice.post(path("rooms", room, "ban"), {"user_id": remote.user("bob")})
    last = alice.send(room, "he is gone")
    eventually(lambda: ids(witness)[-1:] == [last])
    eventually(lambda: [pdu["content"].get("membership") for pdu in remote.pdus], ["join", "ban"])
    statement = (
        "select count(*) from matriarch.destination_rooms "
        "join matriarch.destinations using (destination_nid) where server_name = %s"
    )
    eventually(lambda: server.database.query(statement, [remote.name]) == [(0,)])
    # And once it is back, it hears on from there.
    alice.post(path("rooms", room, "unban"), {"user_id": remote.user("bob")})
    remote.set_membership(server.database, room, remote.user("bob"))
    news = alice.send(room, "he is back")
    eventually(lambda: ids(remote)[-1] == news)
    assert len(remote.pdus) == 3


def test_a_server_that_leaves_by_itself(server, remote, remotes):
    alice = server.register("alice")
    room, other_room = shared_room(server, remote, alice), shared_room(server, remote, alice)
    witness = remotes(server.database)
    witness.set_membership(server.database, room, witness.user("eve"))
    left = remote.set_membership(server.database, room, remote.user("bob"), "leave")
    last = alice.send(room, "he left")
    eventually(lambda: ids(witness) == [left, last])
    # What comes later of a room that he is in still, he is sent.
    later = alice.send(other_room, "he is here")
    eventually(lambda: later in ids(remote))
    assert last not in ids(remote)
    assert server.database.query("select other_servers from matriarch.rooms where room_id = %s", [room]) == [
        (1,)
    ]


def test_a_transaction_is_repeated_as_it_was(server, remote):
    alice = server.register("alice")
    room = shared_room(server, remote, alice)
    seen = []
    remote.on_send = lambda txn_id, body: (seen.append((txn_id, body)), (502, {}))[1]
    first = alice.send(room, "first")
    eventually(lambda: destination(server, remote, "retry_at > now()") == [(True,)])
    second = alice.send(room, "second")
    due(server)
    eventually(lambda: len(seen) == 2)
    eventually(lambda: destination(server, remote, "retry_at > now()") == [(True,)])
    assert seen[0] == seen[1]
    ((error, failing, interval),) = destination(
        server, remote, "last_error, failing_since is not null, extract(epoch from retry_interval)::int"
    )
    assert "502" in error and failing and interval >= 4
    remote.on_send = remote.take
    due(server)
    eventually(lambda: ids(remote) == [first, second])
    assert remote.transactions[0] == seen[0]
    eventually(
        lambda: destination(server, remote, "last_error, failing_since, retry_at, txn_id") == [(None,) * 4]
    )


def test_a_pause_ends_when_the_server_is_heard_of(server, remote, remotes):
    alice = server.register("alice")
    room = shared_room(server, remote, alice)
    witness = remotes(server.database)
    joined = witness.set_membership(server.database, room, witness.user("eve"))
    eventually(lambda: ids(remote) == [joined])
    remote.on_send = lambda txn_id, body: (503, {})
    message = alice.send(room, "hello")
    eventually(lambda: destination(server, remote, "failing_since is not null") == [(True,)])
    server.database.query(
        "update matriarch.destinations set retry_at = now() + interval '1 day', retry_interval = '1 day' "
        "where server_name = %s",
        [remote.name],
    )
    remote.on_send = remote.take
    second = alice.send(room, "is he there?")
    eventually(lambda: second in ids(witness))
    assert ids(remote) == [joined]
    uri = f"/_matrix/federation/v1/query/profile?user_id={alice.user_id}"
    assert remote.request(server.node, "GET", uri, destination=server.name).status_code == 200
    eventually(lambda: ids(remote) == [joined, message, second])


def poisoned(remote, status: int, refused: list):
    """Makes the server refuse, with this status, transactions that have an event or EDU with "poison"."""

    def answer(txn_id, body):
        if "poison" in json.dumps(body):
            refused.append(body)
            return status, {"errcode": "M_UNKNOWN", "error": "I will not have that"}
        return remote.take(txn_id, body)

    remote.on_send = answer


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_a_refused_transaction_is_taken_apart_until_the_bad_item_is_alone(server, remote, status):
    alice, bob = server.register("alice"), remote.user("bob")
    room = shared_room(server, remote, alice)
    remote.on_send = lambda txn_id, body: (503, {})
    first = alice.send(room, "first")
    eventually(lambda: destination(server, remote, "retry_at > now()") == [(True,)])
    said = ["one", "poison", "two", "poison", "three"]
    sent = [(alice.send(room, body), body) for body in said]
    good = [first, *(event_id for event_id, body in sent if body != "poison")]
    for body in said:
        where = path("sendToDevice", "org.example", new_txn_id())
        alice.put(where, {"messages": {bob: {"D": {"body": body}}}})
    refused = []
    poisoned(remote, status, refused)
    due(server)
    eventually(lambda: ids(remote) == good)

    def to_device():
        messages = [edu["content"] for edu in remote.edus if edu["edu_type"] == "m.direct_to_device"]
        return [message["messages"][bob]["D"]["body"] for message in messages]

    eventually(to_device, ["one", "two", "three"])
    # Each was alone in the end, once.
    alone = [body for body in refused if len(body["pdus"]) + len(body["edus"]) == 1]
    assert len(alone) == 4 and len(refused) < 40
    eventually(lambda: destination(server, remote, "failing_since, txn_id") == [(None, None)])


def test_a_refusal_that_may_pass_is_tried_some_times(server, remote):
    alice = server.register("alice")
    room = shared_room(server, remote, alice)
    refused = []
    poisoned(remote, 500, refused)
    alice.send(room, "poison")
    for count in (1, 2):
        eventually(lambda count=count: len(refused) == count)
        eventually(lambda: destination(server, remote, "retry_at > now()") == [(True,)])
        due(server)
    good = alice.send(room, "good")
    eventually(lambda: ids(remote) == [good])


def test_a_server_that_refuses_everything_loses_nothing(server, remote):
    alice = server.register("alice")
    room = shared_room(server, remote, alice)
    tries = []
    remote.on_send = lambda txn_id, body: (tries.append(body), (403, {"errcode": "M_FORBIDDEN"}))[1]
    messages = [alice.send(room, f"message {number}") for number in range(3)]
    eventually(lambda: destination(server, remote, "failing_since is not null") == [(True,)])
    # It was asked with an empty transaction, which tells whom to blame.
    assert any(body["pdus"] == [] and body["edus"] == [] for body in tries)
    remote.on_send = remote.take
    due(server)
    eventually(lambda: ids(remote) == messages)


def test_an_accepted_transaction_is_not_repeated_for_a_bad_answer(server, remote):
    alice = server.register("alice")
    room = shared_room(server, remote, alice)
    remote.on_send = lambda txn_id, body: (remote.take(txn_id, body), (200, [exact("1e999")]))[1]
    messages = [alice.send(room, f"message {number}") for number in range(3)]
    eventually(lambda: ids(remote) == messages)
    eventually(lambda: destination(server, remote, "failing_since, txn_id") == [(None, None)])


def test_an_event_that_is_not_accepted_counts_as_sent(server, remote):
    alice = server.register("alice")
    room = shared_room(server, remote, alice)

    def complain(txn_id, body):
        remote.take(txn_id, body)
        return 200, {"pdus": {event_id_of(pdu): {"error": "no"} for pdu in body["pdus"]}}

    remote.on_send = complain
    sent = [alice.send(room, "one"), alice.send(room, "two")]
    eventually(lambda: ids(remote) == sent)
    eventually(
        lambda: "matriarch_federation_pdus_refused_total" in httpx.get(f"{server.node.url}/metrics").text
    )


def test_a_dead_server_costs_a_row_however_much_is_written(server, remote):
    alice = server.register("alice")
    room = shared_room(server, remote, alice)
    remote.close()
    alice.send(room, "hello")
    eventually(lambda: destination(server, remote, "failing_since is not null") == [(True,)])

    def row():
        return server.database.query("select ctid, xmin from matriarch.destination_rooms")

    before = row()
    for n in range(20):
        alice.send(room, f"message {n}")
    assert row() == before


def test_after_a_long_outage_what_was_superseded_is_not_sent(server, remote):
    alice = server.register("alice")
    rooms = [shared_room(server, remote, alice) for _ in range(3)]
    remote.on_send = lambda txn_id, body: (503, {})
    first = alice.send(rooms[0], "first")
    eventually(lambda: destination(server, remote, "failing_since is not null") == [(True,)])
    newest = []
    for room in rooms:
        for n in range(60):
            newest.append(alice.send(room, f"message {n}"))
    server.database.query("update matriarch.destination_rooms set pending_since = now() - interval '1 day'")
    server.database.query("update matriarch.destinations set txn_created_at = now() - interval '1 day'")
    remote.on_send = remote.take
    due(server)
    eventually(lambda: set(newest[59::60]) <= set(ids(remote)))
    # The transaction that was under way, and then the newest of each room.
    assert ids(remote)[0] == first
    assert len(remote.pdus) == 4
    news = alice.send(rooms[1], "on from here")
    eventually(lambda: ids(remote)[-1] == news)
    assert len(remote.pdus) == 5


def test_nothing_is_lost_when_a_node_is_killed(start_servers, remotes):
    (server,) = start_servers(1, nodes=2)
    remote = remotes(server.database)
    alice = server.nodes[1].register("alice")
    room = shared_room(server, remote, alice)
    slow = []

    over = threading.Event()

    def hang(txn_id, body):
        slow.append(txn_id)
        over.wait(60)
        return 503, {}

    remote.on_send = hang
    sent = [alice.send(room, "before")]
    eventually(lambda: len(slow) == 1)
    sent += [alice.send(room, f"message {n}") for n in range(5)]
    # The node that wrote was told first, and so has the lease.
    server.nodes[1].kill()
    over.set()
    remote.on_send = remote.take
    # Its lease ends soon; as if that were now.
    lease = "select leased_until between now() and now() + interval '15 seconds' from matriarch.destinations"
    assert server.database.query(lease) == [(True,)]
    server.database.query("update matriarch.destinations set leased_until = now()")
    eventually(lambda: ids(remote) == sent)
    assert remote.transactions[0][0] == slow[0]


def as_admin(server, statement, arguments):
    return server.database.query(statement, arguments, user="matriarch_admin")


def test_operators_see_retry_and_purge(server, remote):
    alice = server.register("alice")
    room = shared_room(server, remote, alice)
    remote.on_send = lambda txn_id, body: (503, {"errcode": "M_UNKNOWN", "error": "not today"})
    alice.send(room, "lost")
    alice.put(path("rooms", room, "typing", alice.user_id), {"typing": True, "timeout": 30_000})
    columns = (
        "rooms, pending_rooms, pending_edus, last_error like '%%503%%', next_try_at > now(), "
        "pending_since < now()"
    )
    statement = f"select {columns} from matrix.destinations where server_name = %s"
    eventually(lambda: as_admin(server, statement, [remote.name]) == [(1, 1, 1, True, True, True)])
    assert as_admin(server, "select matriarch.purge_queue(%s)", [remote.name]) == [(1,)]
    remote.on_send = remote.take
    assert as_admin(server, "select matriarch.retry_now(%s)", [remote.name]) == [(True,)]
    assert as_admin(server, "select matriarch.retry_now(%s)", ["nobody.example"]) == [(False,)]
    statement = (
        "select pending_rooms, pending_edus, next_try_at from matrix.destinations where server_name = %s"
    )
    eventually(lambda: as_admin(server, statement, [remote.name]) == [(0, 0, None)])
    news = alice.send(room, "news")
    eventually(lambda: ids(remote) == [news])
    metrics = httpx.get(f"{server.node.url}/metrics").text
    assert 'matriarch_federation_transactions_total{outcome="failed"}' in metrics


def test_many_writers_lose_no_event(server, remote):
    """Marking and unmarking race: whatever was committed is sent."""
    alice = server.register("alice")
    rooms = [shared_room(server, remote, alice) for _ in range(4)]
    sent: dict[str, list[str]] = {room: [] for room in rooms}

    def write(room):
        for n in range(60):
            sent[room].append(alice.send(room, f"message {n}"))

    threads = [threading.Thread(target=write, args=[room]) for room in rooms]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    def received():
        return {room: [event_id_of(pdu) for pdu in remote.pdus if pdu["room_id"] == room] for room in rooms}

    eventually(lambda: received() == sent)
