"""Three of our own servers in one room: what is written at one is at all."""

from harness.client import new_txn_id, path
from harness.crypto import Device
from harness.waiting import eventually


def event_ids(server, room) -> set[str]:
    """What users wrote. Of the time before it came in a server knows the state alone."""
    statement = """
        select event_id from matrix.events
        where room_id = %s and type in ('m.room.message', 'm.room.topic') and status = 'accepted'"""
    return {event_id for (event_id,) in server.database.query(statement, [room])}


def state(server, room):
    return server.database.query(
        "select type, state_key, event_id from matrix.current_state(%s) order by 1, 2", [room]
    )


def converge(servers, room):
    """Waits until all know the same events, and have the same state of them."""
    eventually(lambda: len({frozenset(event_ids(server, room)) for server in servers}) == 1, seconds=20)
    eventually(lambda: len({str(state(server, room)) for server in servers}) == 1, seconds=20)
    for server in servers:
        assert server.database.query("select * from matrix.verify_room(%s)", [room]) == []


def test_three_servers_in_one_room(start_servers):
    servers = one, two, three = start_servers(3)
    alice, bob, carol = one.register("alice"), two.register("bob"), three.register("carol")
    room = alice.create_room(preset="public_chat")
    bob.join(room, params={"via": one.name})
    converge([one, two], room)
    # The servers that were there hear of it from the one that let her in.
    carol.join(room, params={"via": one.name})
    converge(servers, room)
    for n in range(5):
        for client in (alice, bob, carol):
            client.send(room, f"{n} of {client.user_id}")
    converge(servers, room)
    dave = three.register("dave")
    alice.post(path("rooms", room, "invite"), {"user_id": dave.user_id})
    dave.join(room)
    carol.post(path("rooms", room, "leave"))
    converge(servers, room)
    Device(dave).publish()
    dave.put(
        path("sendToDevice", "m.test", new_txn_id()), {"messages": {alice.user_id: {"*": {"hello": "alice"}}}}
    )

    def received():
        events = alice.sync()["to_device"]["events"] if "to_device" in alice.sync() else []
        return [event["content"] for event in events] == [{"hello": "alice"}]

    eventually(received)
    dave.put(path("rooms", room, "typing", dave.user_id), {"typing": True, "timeout": 30_000})
    ephemeral = lambda: alice.sync()["rooms"]["join"][room].get("ephemeral", {}).get("events", [])
    eventually(lambda: any(event["content"].get("user_ids") == [dave.user_id] for event in ephemeral()))


def test_servers_that_were_apart_converge(start_servers):
    """Each writes while the other is down; in the end they have the same events and the same state."""
    servers = one, two = start_servers(2)
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(
        preset="public_chat", power_level_content_override={"events_default": 0, "state_default": 0}
    )
    bob.join(room, params={"via": one.name})
    converge(servers, room)
    two.node.stop()
    alice.put(path("rooms", room, "state", "m.room.topic", ""), {"topic": "by alice"})
    for n in range(60):
        alice.send(room, f"alice {n}")
    one.node.stop()
    two.node.start()
    bob.put(path("rooms", room, "state", "m.room.topic", ""), {"topic": "by bob"})
    for n in range(60):
        bob.send(room, f"bob {n}")
    one.node.start()
    converge(servers, room)
