"""What this server sends to others beside events: typing, receipts, messages to devices, changes of device
lists."""

import pytest

from harness.client import new_txn_id, path
from harness.crypto import CrossSigning, Device
from harness.waiting import eventually


@pytest.fixture(scope="module")
def server(servers):
    return servers[0]


def share_room(server, remote, alice) -> str:
    room = alice.create_room(preset="public_chat")
    remote.set_membership(server.database, room, remote.user("bob"))
    return room


def of_type(remote, edu_type) -> list[dict]:
    return [edu["content"] for edu in remote.edus if edu["edu_type"] == edu_type]


def due(server):
    server.database.query("update matriarch.destinations set retry_at = now()")


def away(server, remote, cause):
    """Makes the server fail, by what `cause()` has it sent; what is queued from then on waits."""
    remote.on_send = lambda txn_id, body: (503, {})
    cause()
    statement = "select failing_since is not null from matriarch.destinations where server_name = %s"
    eventually(lambda: server.database.query(statement, [remote.name]) == [(True,)])


def back(server, remote):
    remote.on_send = remote.take
    due(server)


def test_typing(server, remote, remotes):
    alice = server.register("alice")
    other = remotes(server.database)
    room = share_room(server, remote, alice)
    share_room(server, other, alice)
    where = path("rooms", room, "typing", alice.user_id)
    expected = {"room_id": room, "user_id": alice.user_id}
    alice.put(where, {"typing": True, "timeout": 30_000})
    eventually(lambda: of_type(remote, "m.typing") == [{**expected, "typing": True}])
    alice.put(where, {"typing": False})
    eventually(lambda: of_type(remote, "m.typing")[1:] == [{**expected, "typing": False}])
    # That it ends by itself is told as well.
    alice.put(where, {"typing": True, "timeout": 100})
    eventually(lambda: [edu["typing"] for edu in of_type(remote, "m.typing")] == [True, False, True, False])
    assert of_type(other, "m.typing") == []


def test_receipts(server, remote):
    alice = server.register("alice")
    room = share_room(server, remote, alice)
    first, second = alice.send(room, "first"), alice.send(room, "second")
    alice.post(path("rooms", room, "receipt", "m.read", first), {})
    eventually(lambda: len(of_type(remote, "m.receipt")) == 1)
    ((receipt,),) = [edu[room]["m.read"].values() for edu in of_type(remote, "m.receipt")]
    assert receipt["event_ids"] == [first] and receipt["data"].keys() == {"ts"}
    alice.post(path("rooms", room, "receipt", "m.read.private", second), {})
    alice.post(path("rooms", room, "receipt", "m.read", second), {"thread_id": "main"})
    eventually(lambda: len(of_type(remote, "m.receipt")) == 2)
    receipt = of_type(remote, "m.receipt")[1][room]["m.read"][alice.user_id]
    assert receipt["event_ids"] == [second] and receipt["data"]["thread_id"] == "main"


def test_what_was_not_sent_is_merged(server, remote):
    alice = server.register("alice")
    room = share_room(server, remote, alice)
    events = [alice.send(room, f"message {n}") for n in range(5)]
    eventually(lambda: len(remote.pdus) == 5)
    away(server, remote, lambda: alice.send(room, "hello"))
    for event in events:
        alice.post(path("rooms", room, "receipt", "m.read", event), {})
    statement = """
        select count(*) from matriarch.outgoing_edus join matriarch.destinations using (destination_nid)
        where server_name = %s"""
    assert server.database.query(statement, [remote.name]) == [(1,)]
    back(server, remote)
    eventually(lambda: len(of_type(remote, "m.receipt")) == 1)
    assert of_type(remote, "m.receipt")[0][room]["m.read"][alice.user_id]["event_ids"] == [events[-1]]
    eventually(lambda: server.database.query(statement, [remote.name]) == [(0,)])


def test_messages_to_devices(server, remote):
    alice = server.register("alice")
    share_room(server, remote, alice)
    bob, carol = remote.user("bob"), remote.user("carol")

    def send(n, **messages):
        txn_id = new_txn_id()
        for _ in range(2):
            alice.put(path("sendToDevice", "m.test", txn_id), {"messages": messages["messages"]})

    send(
        0,
        messages={
            bob: {"ONE": {"n": 0}, "*": {"n": "all"}},
            carol: {"*": {"n": 0}},
            alice.user_id: {"*": {"n": 0}},
        },
    )
    eventually(lambda: len(of_type(remote, "m.direct_to_device")) == 1)
    (edu,) = of_type(remote, "m.direct_to_device")
    assert edu.pop("message_id")
    assert edu == {
        "sender": alice.user_id,
        "type": "m.test",
        "messages": {bob: {"ONE": {"n": 0}, "*": {"n": "all"}}, carol: {"*": {"n": 0}}},
    }
    # None is lost and none is merged while the server is away, and they keep their order.
    away(server, remote, lambda: send(1, messages={bob: {"ONE": {"n": 1}}}))
    for n in range(2, 150):
        send(n, messages={bob: {"ONE": {"n": n}}})
    back(server, remote)
    numbers = lambda: [edu["messages"][bob]["ONE"]["n"] for edu in of_type(remote, "m.direct_to_device")]
    eventually(lambda: numbers() == list(range(150)))
    assert len({edu["message_id"] for edu in of_type(remote, "m.direct_to_device")[1:]}) == 149
    assert all(len(body["edus"]) <= 100 for _, body in remote.transactions)


def test_a_server_with_which_no_room_is_shared_gets_nothing(server, remote):
    alice = server.register("alice")
    Device(alice).publish()
    alice.put(path("sendToDevice", "m.test", new_txn_id()), {"messages": {remote.user("bob"): {"*": {}}}})
    statement = """
        select count(*) from matriarch.outgoing_edus join matriarch.destinations using (destination_nid)
        where server_name = %s"""
    assert server.database.query(statement, [remote.name]) == [(0,)]


def test_device_lists(server, remote):
    alice = server.register("alice")
    share_room(server, remote, alice)
    device = Device(alice)
    keys = device.publish()
    eventually(lambda: len(of_type(remote, "m.device_list_update")) == 1)
    update = of_type(remote, "m.device_list_update")[0]
    assert update["user_id"] == alice.user_id and update["device_id"] == alice.device_id
    assert {**update["keys"], "unsigned": {}} == {**keys, "unsigned": {}}
    assert update["prev_id"] == [] and "deleted" not in update
    alice.put(path("devices", alice.device_id), {"display_name": "a new name"})
    eventually(lambda: len(of_type(remote, "m.device_list_update")) == 2)
    renamed = of_type(remote, "m.device_list_update")[1]
    assert renamed["device_display_name"] == "a new name" and renamed["prev_id"] == [update["stream_id"]]
    where = f"/_matrix/federation/v1/user/devices/{alice.user_id}"
    answer = remote.request(server.node, "GET", where, destination=server.name).json()
    assert answer["stream_id"] == renamed["stream_id"]
    signing = CrossSigning(alice.user_id)
    alice.post("/keys/device_signing/upload", signing.upload())
    eventually(lambda: len(of_type(remote, "m.signing_key_update")) == 1)
    assert of_type(remote, "m.signing_key_update") == [
        {
            "user_id": alice.user_id,
            "master_key": signing.master_key(),
            "self_signing_key": signing.upload()["self_signing_key"],
        }
    ]
    # Cross-signing does not break the chain of updates.
    alice.post("/logout")
    eventually(lambda: len(of_type(remote, "m.device_list_update")) == 3)
    gone = of_type(remote, "m.device_list_update")[2]
    assert gone["deleted"] is True and gone["prev_id"] == [renamed["stream_id"]] and "keys" not in gone


def test_servers_learn_of_devices_of_those_who_join(server, remote):
    alice, bob = server.register("alice"), server.register("bob")
    room = share_room(server, remote, alice)
    Device(bob).publish()
    bob.post(path("rooms", room, "join"))
    eventually(lambda: [edu["user_id"] for edu in of_type(remote, "m.device_list_update")] == [bob.user_id])
    second = share_room(server, remote, alice)
    bob.post(path("rooms", second, "join"))
    last = alice.send(second, "hello")
    eventually(lambda: any(pdu["content"].get("body") == "hello" for pdu in remote.pdus))
    assert last and len(of_type(remote, "m.device_list_update")) == 1


def test_what_waits_for_a_dead_server_is_forgotten_in_the_end(server):
    statement = """
        with dead as (insert into matriarch.destinations (server_name) values ('dead.example')
        returning destination_nid)
        insert into matriarch.outgoing_edus (destination_nid, edu_type, content, created_at)
        select destination_nid, edu_type, '{}', now() - days * interval '1 day'
        from dead, unnest(array['m.typing', 'm.receipt', 'm.direct_to_device', 'm.device_list_update'])
        edu_type,
            unnest(array[0.5, 2, 29, 31]) days"""
    with server.database.connect() as connection, connection.transaction():
        connection.execute(statement)
        connection.execute(
            "update matriarch.destinations set retry_at = now() + interval '1 day' "
            "where server_name = 'dead.example'"
        )
    assert server.database.query("select matriarch.prune_outgoing()", user="matriarch_api") == [(8,)]
    left = """
        select edu_type, count(*) from matriarch.outgoing_edus
        join matriarch.destinations using (destination_nid)
        where server_name = 'dead.example' group by 1 order by 1"""
    assert server.database.query(left) == [
        ("m.device_list_update", 3),
        ("m.direct_to_device", 3),
        ("m.receipt", 1),
        ("m.typing", 1),
    ]
