"""A Synapse and a server of ours in one room: each once as the room's creator, in room versions 10, 11 and
12."""

import itertools

import pytest

from harness.client import bodies, path, timeline
from harness.server import Server
from harness.waiting import eventually

VERSIONS = ["10", "11", "12"]


@pytest.fixture(params=["matriarch", "synapse"])
def home(request):
    """The server that rooms are created on."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def away(home, matriarch, synapse):
    """The other one."""
    return synapse if home is matriarch else matriarch


@pytest.fixture(autouse=True)
def synapse_is_content(synapse):
    """Synapse logs as an error what it did not expect."""
    before = len(synapse.complaints())
    yield
    assert synapse.complaints()[before:] == []


def members(client, room) -> dict:
    events = client.get(path("rooms", room, "members"))["chunk"]
    return {event["state_key"]: event["content"]["membership"] for event in events}


def settled(room: str, *clients):
    """All see one and the same state, and the databases of ours are sound."""

    def states():
        return [
            {event["event_id"] for event in client.get(path("rooms", room, "state"))} for client in clients
        ]

    def differences():
        first, *others = states()
        return [first ^ other for other in others]

    eventually(differences, [set()] * (len(clients) - 1))


def sound(room: str, *servers):
    for server in servers:
        if isinstance(server, Server):
            assert server.database.query("select * from matrix.verify_room(%s)", [room]) == []


def sees(client, room, event_id: str):
    """The event as the client's sync brings it."""

    def events(answer):
        return [event for event in timeline(answer, room) if event["event_id"] == event_id]

    (event,) = events(client.sync_until(events))
    return event


def converse(room: str, *clients):
    """Each says something, and all read it in turn."""
    for number, client in zip(itertools.count(1), clients):
        event_id = client.send(room, f"{client.user_id} says {number}")
        for other in clients:
            assert sees(other, room, event_id)["content"]["body"] == f"{client.user_id} says {number}"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_public_room(home, away, version):
    alice, bob = home.register("alice"), away.register("bob")
    room = alice.create_room(preset="public_chat", room_version=version, name="Across")
    alice.send(room, "before")
    bob.put(path("profile", bob.user_id, "displayname"), {"displayname": "Bob of far"})
    assert bob.join(room, params={"via": home.name, "server_name": home.name}) == {"room_id": room}
    joined = {alice.user_id: "join", bob.user_id: "join"}
    assert members(bob, room) == joined
    eventually(lambda: members(alice, room), joined)
    assert bob.state(room, "m.room.name") == {"name": "Across"}
    assert alice.state(room, "m.room.member", bob.user_id)["displayname"] == "Bob of far"
    converse(room, alice, bob)
    settled(room, alice, bob)
    sound(room, home, away)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_alias(home, away, version):
    alice, bob = home.register("alice"), away.register("bob")
    name = alice.user_id.split(":")[0][1:]
    room = alice.create_room(preset="public_chat", room_alias_name=name, room_version=version)
    assert bob.join(f"#{name}:{home.name}") == {"room_id": room}
    converse(room, alice, bob)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_invite(home, away, version):
    alice, bob = home.register("alice"), away.register("bob")
    room = alice.create_room(preset="private_chat", name="For you", room_version=version)
    alice.invite(room, bob)
    invite = bob.sync_until(lambda answer: room in answer["rooms"].get("invite", {}))["rooms"]["invite"][room]
    shown = {(event["type"], event["state_key"]): event for event in invite["invite_state"]["events"]}
    assert shown["m.room.name", ""]["content"] == {"name": "For you"}
    assert shown["m.room.member", bob.user_id]["sender"] == alice.user_id
    bob.join(room)
    eventually(lambda: members(alice, room), {alice.user_id: "join", bob.user_id: "join"})
    converse(room, alice, bob)
    # Invited again after having left, and refused.
    bob.leave(room)
    eventually(lambda: members(alice, room), {alice.user_id: "join", bob.user_id: "leave"})
    alice.invite(room, bob)
    bob.sync_until(lambda answer: room in answer["rooms"].get("invite", {}))
    bob.leave(room)
    eventually(lambda: members(alice, room), {alice.user_id: "join", bob.user_id: "leave"})
    sound(room, home)


@pytest.mark.parametrize("version", VERSIONS)
def test_who_left_is_invited_again(home, away, synapse, version):
    """While others of the server have stayed in the room."""
    alice, bob, dave = home.register("alice"), away.register("bob"), away.register("dave")
    room = alice.create_room(preset="private_chat", invite=[bob.user_id, dave.user_id], room_version=version)
    for user in (bob, dave):
        user.join(room)
    for _ in range(2):
        eventually(lambda: members(alice, room).get(dave.user_id), "join")
        dave.leave(room)
        eventually(lambda: members(alice, room).get(dave.user_id), "leave")
        alice.invite(room, dave)
        if away is synapse:
            # A Synapse lets nobody in by an invite before the room's own events tell it of that.
            eventually(lambda: members(bob, room).get(dave.user_id), "invite")
        dave.join(room)
    converse(room, alice, bob, dave)
    settled(room, alice, bob, dave)
    sound(room, home, away)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_restricted_room(home, away, version):
    alice, bob, carol = home.register("alice"), away.register("bob"), away.register("carol")
    space = alice.create_room(preset="public_chat", room_version=version)
    room = alice.create_room(preset="private_chat", room_version=version)
    allow = [{"type": "m.room_membership", "room_id": space}]
    alice.send_state(room, "m.room.join_rules", {"join_rule": "restricted", "allow": allow})
    via = {"via": home.name, "server_name": home.name}
    bob.join(space, params=via)
    bob.join(room, params=via)
    assert bob.state(room, "m.room.member", bob.user_id)["join_authorised_via_users_server"] == alice.user_id
    carol.join(room, params=via, status=403)
    carol.join(space)
    carol.join(room, params=via)
    eventually(lambda: members(alice, room).get(carol.user_id), "join")
    converse(room, alice, bob, carol)
    settled(room, alice, bob, carol)
    sound(room, home, away)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("rule", ["knock", "knock_restricted"])
def test_knocking(home, away, version, rule):
    alice, bob = home.register("alice"), away.register("bob")
    room = alice.create_room(preset="private_chat", name="Knock first", room_version=version)
    alice.send_state(
        room,
        "m.room.join_rules",
        {"join_rule": rule, "allow": []} if rule != "knock" else {"join_rule": rule},
    )
    via = {"via": home.name, "server_name": home.name}
    bob.next()
    assert bob.post(path("knock", room), {"reason": "please"}, params=via) == {"room_id": room}
    answer = bob.sync_until(lambda answer: room in answer["rooms"].get("knock", {}))
    assert {"name": "Knock first"} in [
        event["content"] for event in answer["rooms"]["knock"][room]["knock_state"]["events"]
    ]
    eventually(lambda: members(alice, room).get(bob.user_id), "knock")
    alice.invite(room, bob)
    bob.sync_until(lambda answer: room in answer["rooms"].get("invite", {}))
    bob.join(room)
    eventually(lambda: members(alice, room).get(bob.user_id), "join")
    converse(room, alice, bob)
    sound(room, home, away)


@pytest.fixture(params=VERSIONS)
def shared(request, home, away):
    """Alice and Bob, of the two servers, in one room that they have both seen."""
    alice, bob = home.register("alice"), away.register("bob")
    room = alice.create_room(preset="public_chat", room_version=request.param)
    bob.join(room, params={"via": home.name, "server_name": home.name})
    eventually(lambda: members(alice, room).get(bob.user_id), "join")
    alice.next()
    bob.next()
    yield room, alice, bob
    settled(room, alice, bob)
    sound(room, home, away)


def test_edits_reactions_redactions(shared):
    room, *both = shared
    for writer, reader in itertools.permutations(both):
        said = writer.send(room, "teh words")
        sees(reader, room, said)
        edit = {"rel_type": "m.replace", "event_id": said}
        edited = writer.send(room, {
            "msgtype": "m.text", "body": "* the words", "m.relates_to": edit,
            "m.new_content": {"msgtype": "m.text", "body": "the words"},
        })  # fmt: skip
        assert sees(reader, room, edited)["content"]["m.relates_to"] == edit
        annotation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": said, "key": "👍"}}
        reacted = reader.send(room, annotation, type="m.reaction")
        assert sees(writer, room, reacted)["content"] == annotation
        redaction = writer.redact(room, said, reason="never mind")
        sees(reader, room, redaction)
        for client in both:
            event = client.event(room, said)
            assert event["content"] == {}
            assert event["unsigned"]["redacted_because"]["event_id"] == redaction


def test_history_from_before_the_join(home, away):
    for version in VERSIONS:
        alice, bob = home.register("alice"), away.register("bob")
        room = alice.create_room(preset="public_chat", room_version=version)
        said = [f"before {number}" for number in range(120)]
        for body in said:
            alice.send(room, body)
        bob.join(room, params={"via": home.name, "server_name": home.name})
        alice.send(room, "after")
        bob.sync_until(lambda answer: "after" in bodies(timeline(answer, room)))
        history = bob.history(room)
        assert bodies(history) == [*said, "after"]
        assert history[0]["type"] == "m.room.create"
        assert len({event["event_id"] for event in history}) == len(history)


def test_typing(shared):
    room, *both = shared

    def typing(answer):
        events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", [])
        return [event["content"]["user_ids"] for event in events if event["type"] == "m.typing"]

    for writer, reader in itertools.permutations(both):
        writer.put(path("rooms", room, "typing", writer.user_id), {"typing": True, "timeout": 20_000})
        reader.sync_until(lambda answer: [writer.user_id] in typing(answer))
        writer.put(path("rooms", room, "typing", writer.user_id), {"typing": False})
        reader.sync_until(lambda answer: [] in typing(answer))


def test_receipts(shared):
    room, *both = shared

    def receipts(answer, event_id):
        events = answer.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", [])
        return [event["content"][event_id]["m.read"] for event in events if event_id in event["content"]]

    for writer, reader in itertools.permutations(both):
        said = writer.send(room, "read me")
        sees(reader, room, said)
        reader.post(path("rooms", room, "receipt", "m.read", said), {"thread_id": "main"})
        answer = writer.sync_until(
            lambda answer: any(reader.user_id in found for found in receipts(answer, said))
        )
        (receipt,) = [found[reader.user_id] for found in receipts(answer, said) if reader.user_id in found]
        assert receipt["thread_id"] == "main"


def test_presence(shared):
    _room, *both = shared

    def presence(answer, user):
        events = answer.get("presence", {}).get("events", [])
        return [event["content"] for event in events if event["sender"] == user]

    for writer, reader in itertools.permutations(both):
        writer.put(
            path("presence", writer.user_id, "status"), {"presence": "online", "status_msg": "federating"}
        )
        answer = reader.sync_until(
            lambda answer: any("status_msg" in found for found in presence(answer, writer.user_id))
        )
        (content,) = [found for found in presence(answer, writer.user_id) if "status_msg" in found]
        assert content["presence"] == "online"
        assert content["status_msg"] == "federating"


def test_device_lists(shared):
    _room, *both = shared
    for writer, reader in itertools.permutations(both):
        reader.next()
        other = writer.another_device()
        keys = {
            "user_id": other.user_id,
            "device_id": other.device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {f"ed25519:{other.device_id}": "c" * 43, f"curve25519:{other.device_id}": "d" * 43},
            "signatures": {other.user_id: {f"ed25519:{other.device_id}": "e" * 86}},
        }
        other.post("/keys/upload", {"device_keys": keys})
        reader.sync_until(lambda answer: writer.user_id in answer.get("device_lists", {}).get("changed", []))
        found = reader.post("/keys/query", {"device_keys": {writer.user_id: []}})
        assert found["device_keys"][writer.user_id][other.device_id]["keys"] == keys["keys"]


def test_to_device(shared):
    _, *both = shared
    for writer, reader in itertools.permutations(both):
        content = {"text": f"from {writer.user_id}"}
        message = {"messages": {reader.user_id: {reader.device_id: content}}}
        writer.put(path("sendToDevice", "org.example.note", f"txn-{writer.user_id}"), message)
        answer = reader.sync_until(lambda answer: answer.get("to_device", {}).get("events"))
        assert answer["to_device"]["events"] == [
            {"type": "org.example.note", "sender": writer.user_id, "content": content}
        ]


def test_profile(home, away):
    alice, bob = home.register("alice"), away.register("bob")
    alice.put(path("profile", alice.user_id, "displayname"), {"displayname": "Alice of afar"})
    assert bob.get(path("profile", alice.user_id))["displayname"] == "Alice of afar"
    bob.get(path("profile", f"@nobody:{home.name}"), status=404)


def test_public_rooms(home, away):
    alice, bob = home.register("alice"), away.register("bob")
    room = alice.create_room(preset="public_chat", name="Listed", visibility="public")

    def listed():
        rooms = bob.get("/publicRooms", params={"server": home.name, "limit": 1000})["chunk"]
        return [entry["name"] for entry in rooms if entry["room_id"] == room]

    eventually(listed, ["Listed"])


def test_kick_and_ban(shared):
    room, alice, bob = shared
    alice.post(path("rooms", room, "kick"), {"user_id": bob.user_id, "reason": "out"})
    bob.sync_until(lambda answer: room in answer["rooms"].get("leave", {}))
    home = alice.user_id.split(":", 1)[1]
    via = {"via": home, "server_name": home}
    bob.join(room, params=via)
    eventually(lambda: members(alice, room).get(bob.user_id), "join")
    alice.post(path("rooms", room, "ban"), {"user_id": bob.user_id})
    bob.sync_until(lambda answer: room in answer["rooms"].get("leave", {}))
    bob.join(room, params=via, status=403, errcode="M_FORBIDDEN")
    alice.post(path("rooms", room, "unban"), {"user_id": bob.user_id})
    bob.join(room, params=via)
    eventually(lambda: members(alice, room).get(bob.user_id), "join")
    converse(room, alice, bob)


def test_server_acl(shared):
    room, alice, bob = shared
    # Access control lists know no ports.
    far = bob.user_id.split(":")[1]
    alice.send_state(
        room, "m.room.server_acl", {"allow": ["*"], "deny": [far.upper()], "allow_ip_literals": True}
    )
    bob.sync_until(lambda answer: "m.room.server_acl" in [event["type"] for event in timeline(answer, room)])
    bob.send(room, "unheard")
    # What the far server does elsewhere still arrives.
    other = alice.create_room(preset="public_chat")
    home = alice.user_id.split(":", 1)[1]
    bob.join(other, params={"via": home, "server_name": home})
    said = bob.send(other, "heard")
    sees(alice, other, said)
    assert "unheard" not in bodies(alice.history(room))
    alice.send_state(room, "m.room.server_acl", {"allow": ["*"], "deny": []})
    bob.sync_until(lambda answer: "m.room.server_acl" in [event["type"] for event in timeline(answer, room)])
    # The next message brings the former with it.
    said = bob.send(room, "again")
    sees(alice, room, said)


def test_upgrade(home, away):
    for old, new in (("10", "11"), ("11", "12"), ("12", "11")):
        alice, bob = home.register("alice"), away.register("bob")
        room = alice.create_room(preset="public_chat", room_version=old, name="Old")
        bob.join(room, params={"via": home.name, "server_name": home.name})
        replacement = alice.post(path("rooms", room, "upgrade"), {"new_version": new})["replacement_room"]
        bob.sync_until(
            lambda answer: "m.room.tombstone" in [event["type"] for event in timeline(answer, room)]
        )
        assert bob.state(room, "m.room.tombstone")["replacement_room"] == replacement
        bob.join(replacement, params={"via": home.name, "server_name": home.name})
        create = bob.state(replacement, "m.room.create")
        assert create["room_version"] == new
        assert create["predecessor"]["room_id"] == room
        assert bob.state(replacement, "m.room.name") == {"name": "Old"}
        converse(replacement, alice, bob)
        sound(replacement, home, away)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_was_away_catches_up(home, away, matriarch, synapse, version):
    alice, bob = home.register("alice"), away.register("bob")
    room = alice.create_room(preset="public_chat", room_version=version)
    bob.join(room, params={"via": home.name, "server_name": home.name})
    converse(room, alice, bob)
    absent, writer = (matriarch.node if away is matriarch else synapse), alice
    absent.stop()
    said = [f"meanwhile {number}" for number in range(60)]
    for body in said:
        writer.send(room, body)
    writer.send_state(room, "m.room.topic", {"topic": "written meanwhile"})
    absent.start()
    if away is synapse:
        matriarch.database.query("select matriarch.retry_now(%s)", [synapse.name])
    last = writer.send(room, "welcome back")
    # What is asked for before it comes is not lost for those who sync.
    bob.request("GET", path("rooms", room, "event", last))
    bob.sync_until(lambda answer: last in [event["event_id"] for event in timeline(answer, room)], seconds=40)
    assert bob.state(room, "m.room.topic") == {"topic": "written meanwhile"}
    history = bodies(bob.history(room))
    assert [body for body in history if body.startswith("meanwhile")] == said
    converse(room, alice, bob)
    settled(room, alice, bob)
    sound(room, home, away)
