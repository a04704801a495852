"""Users are invited by e-mail address, here and across servers."""

import httpx
import pytest

from conftest import Started
from harness.client import expect, path
from harness.identity_server import IdentityServer
from harness.peer import KEY_ID
from harness.server import Server
from harness.waiting import eventually

ADDRESS = "friend@example.org"
ON_BIND = "/_matrix/federation/v1/3pid/onbind"


@pytest.fixture(scope="module")
def servers(shared_cluster, authority):
    """Two homeservers that ask identity servers."""
    with Started() as started:
        servers = [
            Server(shared_cluster, authority, started, MATRIARCH_IDENTITY__SERVERS='["localhost:*"]')
            for _ in range(2)
        ]
        yield servers
    for server in servers:
        server.database.drop()


@pytest.fixture(scope="module")
def server(servers):
    return servers[0]


@pytest.fixture
def identity(authority):
    server = IdentityServer(authority)
    yield server
    server.close()


def request(identity, address=ADDRESS, **changes) -> dict:
    return {
        "id_server": identity.name,
        "id_access_token": "secret",
        "medium": "email",
        "address": address,
        **changes,
    }


def invite(client, room, identity, address=ADDRESS, status=200, errcode=None, **changes):
    body = request(identity, address, **changes)
    return client.post(path("rooms", room, "invite"), body, status=status, errcode=errcode)


def on_bind(server, body, method="PUT", status=200):
    return expect(httpx.request(method, server.node.url + ON_BIND, json=body), status)


def is_invited(client, room) -> bool:
    return room in client.sync()["rooms"].get("invite", {})


def third_party_invites(client, room) -> dict:
    events = client.get(path("rooms", room, "state"))
    return {event["state_key"]: event for event in events if event["type"] == "m.room.third_party_invite"}


def test_an_address_that_is_known(servers, identity):
    one, two = servers
    alice, bob, carol = one.register("alice"), one.register("bob"), two.register("carol")
    identity.users = {"friend@example.org": bob.user_id, "carol@example.org": carol.user_id}
    room = alice.create_room(preset="private_chat")
    invite(alice, room, identity, "Friend@Example.org", reason="Hello")
    assert is_invited(bob, room)
    assert alice.state(room, "m.room.member", bob.user_id)["reason"] == "Hello"
    invite(alice, room, identity, "carol@example.org")
    assert is_invited(carol, room)
    carol.join(room)
    assert [endpoint for endpoint, _, _ in identity.requests] == ["hash_details", "lookup"] * 2
    assert {authorization for _, _, authorization in identity.requests} == {"Bearer secret"}
    assert not any("example" in str(body) for _, body, _ in identity.requests)


def test_an_address_that_is_not_known(servers, identity):
    one, _ = servers
    alice, bob = one.register("alice"), one.register("bob")
    alice.put(path("profile", alice.user_id, "displayname"), {"displayname": "Alice"})
    room = alice.create_room(preset="private_chat", name="A room")
    invite(alice, room, identity)
    (stored,) = identity.invites
    assert stored.items() >= {
        "medium": "email", "address": ADDRESS, "room_id": room, "sender": alice.user_id,
        "room_name": "A room",
        "room_join_rules": "invite", "sender_display_name": "Alice",
    }.items()  # fmt: skip
    event = third_party_invites(alice, room)[stored["token"]]
    assert event["sender"] == alice.user_id and event["content"]["display_name"] == "f...@e..."
    assert (
        event["content"]["public_key"]
        == identity.public_key
        == event["content"]["public_keys"][0]["public_key"]
    )
    # Bob turns out to have the address.
    assert on_bind(one, identity.binding(bob.user_id, ADDRESS)) == {}
    assert is_invited(bob, room)
    content = alice.state(room, "m.room.member", bob.user_id)
    assert content["third_party_invite"]["display_name"] == "f...@e..."
    assert content["third_party_invite"]["signed"]["mxid"] == bob.user_id
    bob.join(room)
    # Said once more it is nothing new.
    assert on_bind(one, identity.binding(bob.user_id, ADDRESS), method="POST") == {}
    assert room in bob.get("/joined_rooms")["joined_rooms"]


@pytest.mark.parametrize("is_there", [False, True], ids=["server outside", "server in the room"])
def test_a_user_of_another_server_has_it(servers, identity, is_there):
    one, two = servers
    alice, bob, carol = one.register("alice"), two.register("bob"), two.register("carol")
    room = alice.create_room(preset="private_chat")
    if is_there:
        alice.invite(room, carol)
        carol.join(room)
    invite(alice, room, identity)
    if is_there:
        eventually(lambda: len(third_party_invites(carol, room)) == 1)
    on_bind(two, identity.binding(bob.user_id, ADDRESS))
    bob.sync_until(lambda answer: room in answer["rooms"].get("invite", {}))
    assert alice.state(room, "m.room.member", bob.user_id)["membership"] == "invite"
    bob.join(room)
    eventually(lambda: alice.state(room, "m.room.member", bob.user_id)["membership"] == "join")
    # The server that lets the user in asks whether the key is valid.
    assert [endpoint for endpoint, _, _ in identity.requests].count("pubkey/isvalid") == 1


def test_joins_with_what_an_identity_server_signed(servers, identity):
    one, two = servers
    alice, bob, eve, carol = (
        one.register("alice"),
        one.register("bob"),
        one.register("eve"),
        two.register("carol"),
    )
    name = alice.user_id[1:].split(":")[0]
    room = alice.create_room(preset="private_chat", room_alias_name=name)
    invite(alice, room, identity)
    token = identity.invites[0]["token"]

    def join(client, signed, where=room, status=200, errcode=None, **options):
        return client.post(
            path("join", where), {"third_party_signed": signed}, status=status, errcode=errcode, **options
        )

    def full(client, token=token):
        """What clients are given has a sender, which is signed too."""
        proved = {"mxid": client.user_id, "token": token, "sender": alice.user_id}
        return {**proved, "signatures": {identity.name: {KEY_ID: identity.sign_json(proved)}}}

    join(bob, full(bob, "another"), status=403, errcode="M_FORBIDDEN")
    join(eve, full(bob), status=403, errcode="M_FORBIDDEN")
    join(bob, {**full(bob), "extra": 5}, status=403, errcode="M_FORBIDDEN")
    join(bob, {**full(bob), "sender": bob.user_id}, status=403, errcode="M_FORBIDDEN")
    join(bob, {}, status=400, errcode="M_INVALID_PARAM")
    join(bob, 5, status=400, errcode="M_BAD_JSON")
    join(bob, full(bob), "#nothing:" + one.name, status=404, errcode="M_NOT_FOUND")
    identity.valid = False
    join(bob, full(bob), status=403, errcode="M_FORBIDDEN")
    assert not is_invited(bob, room)
    identity.valid = True
    assert join(bob, full(bob), f"#{name}:{one.name}") == {"room_id": room}
    assert join(bob, full(bob)) == {"room_id": room}
    members = [event for event in alice.history(room) if event["state_key"] == bob.user_id]
    assert [(event["sender"], event["content"]["membership"]) for event in members] == [
        (alice.user_id, "invite"),
        (bob.user_id, "join"),
    ]
    # Where the room is elsewhere, the server of who invited makes the invite.
    assert join(carol, full(carol), params={"via": one.name}) == {"room_id": room}
    eventually(lambda: alice.state(room, "m.room.member", carol.user_id)["membership"] == "join")


def test_what_is_not_proved(servers, identity, authority):
    one, two = servers
    alice, bob, carol = one.register("alice"), one.register("bob"), two.register("carol")
    room = alice.create_room(preset="private_chat")
    invite(alice, room, identity)
    other = IdentityServer(authority)
    token = identity.invites[0]["token"]
    for user, server in ((bob, one), (carol, two)):
        proved = identity.signed(user.user_id, token)
        for changes in (
            {"signed": other.signed(user.user_id, token)},
            {"signed": identity.signed(user.user_id, "another")},
            {"signed": identity.signed(user.user_id, "a\0")},
            {"signed": identity.signed(alice.user_id, token)},
            {"signed": {**proved, "extra": 1}},
            {"signed": 5},
            {"sender": bob.user_id},
            {"sender": "nobody"},
            {"room_id": "!elsewhere:example.org"},
            {"room_id": 5},
        ):
            on_bind(server, identity.binding(user.user_id, ADDRESS, **changes))
            assert not is_invited(user, room), changes
    # A key that is not valid any more.
    identity.valid = False
    for user, server in ((bob, one), (carol, two)):
        on_bind(server, identity.binding(user.user_id, ADDRESS))
        assert not is_invited(user, room)
    other.close()


def test_bad_bindings(servers):
    one, two = servers
    for body in ({}, {"mxid": 5, "invites": []}, {"mxid": "@a:b", "invites": 5}):
        assert httpx.put(one.node.url + ON_BIND, json=body).status_code == 400
    bob = two.register("bob")
    on_bind(one, {"mxid": bob.user_id, "invites": []}, status=400)
    on_bind(one, {"mxid": f"@nobody:{one.name}", "invites": [{}] * 51}, status=400)
    on_bind(one, {"mxid": f"@nobody:{one.name}", "invites": [{}, {"room_id": "!a", "sender": "@b\0:c"}]})


def test_exchanges_that_are_refused(servers, identity, remote):
    one, _ = servers
    alice, bob = one.register("alice"), one.register("bob")
    room = alice.create_room(preset="private_chat")
    invite(alice, room, identity)
    token = identity.invites[0]["token"]

    def exchange(user, room_id=room, status=403, errcode="M_FORBIDDEN", signed=None, **changes):
        content = {
            "membership": "invite",
            "third_party_invite": {"display_name": "", "signed": signed or identity.signed(user, token)},
        }
        event = {
            "type": "m.room.member",
            "room_id": room_id,
            "sender": alice.user_id,
            "state_key": user,
            "content": content,
            **changes,
        }
        where = f"/_matrix/federation/v1/exchange_third_party_invite/{room_id}"
        answer = remote.request(one.node, "PUT", where, event, destination=one.name)
        expect(answer, status, errcode)

    eve = remote.user("eve")
    exchange(bob.user_id)
    exchange(eve, sender=bob.user_id)
    exchange(eve, signed=identity.signed(eve, "another"))
    exchange(eve, signed=IdentityServer.signed(remote, eve, token))
    exchange(eve, sender=remote.user("x"), status=404, errcode="M_NOT_FOUND")
    exchange(eve, room_id="!elsewhere:example.org", status=404, errcode="M_NOT_FOUND")
    exchange(eve, type="m.room.message", status=400, errcode="M_INVALID_PARAM")
    exchange(eve, content={}, status=400, errcode="M_INVALID_PARAM")
    # This server gives no invite of its users' without their server's signature.
    exchange(eve, status=404, errcode="M_NOT_FOUND")
    assert len(remote.asked_for("invite")) == 1


def test_requests_that_are_refused(servers, identity, node):
    one, _ = servers
    alice, bob = one.register("alice"), one.register("bob")
    room = alice.create_room(preset="public_chat")
    invite(bob, room, identity, status=403, errcode="M_FORBIDDEN")
    bob.join(room)
    invite(bob, room, identity, status=403, errcode="M_FORBIDDEN")
    invite(alice, "!elsewhere:example.org", identity, status=404, errcode="M_NOT_FOUND")
    invite(alice, room, identity, id_server="evil.example", status=403, errcode="M_SERVER_NOT_TRUSTED")
    invite(alice, room, identity, id_server="localhost:x/../y", status=400, errcode="M_INVALID_PARAM")
    for key in ("id_server", "id_access_token", "medium"):
        body = request(identity)
        del body[key]
        alice.post(path("rooms", room, "invite"), body, status=400, errcode="M_MISSING_PARAM")
    assert identity.requests == []
    identity.refusal = 403, {"errcode": "M_TERMS_NOT_SIGNED", "error": "Read them."}
    invite(alice, room, identity, status=403, errcode="M_TERMS_NOT_SIGNED")
    identity.refusal = 200, {}
    invite(alice, room, identity, status=502, errcode="M_UNKNOWN")
    # Others are asked only where the configuration says so.
    carol = node.register("carol")
    invite(carol, carol.create_room(), identity, status=403, errcode="M_SERVER_NOT_TRUSTED")


def test_new_rooms(servers, identity):
    one, _ = servers
    alice, bob = one.register("alice"), one.register("bob")
    identity.users = {"bob@example.org": bob.user_id}
    invites = [
        request(identity),
        request(identity, "bob@example.org"),
        request(identity, id_server="evil.example"),
    ]
    room = alice.create_room(preset="private_chat", invite_3pid=invites)
    assert is_invited(bob, room)
    assert list(third_party_invites(alice, room)) == [identity.invites[0]["token"]]
    alice.post("/createRoom", {"invite_3pid": [{}]}, status=400, errcode="M_MISSING_PARAM")
    alice.post("/createRoom", {"invite_3pid": 5}, status=400, errcode="M_BAD_JSON")
