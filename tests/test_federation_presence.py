"""Presence across servers."""

import pytest

from harness.client import new_txn_id, path
from harness.recording import RecordingServer
from harness.waiting import eventually
from test_federation_sending_edus import away, back, of_type, share_room
from test_presence import past, presence, seen_by, set_presence, state_by


@pytest.fixture(scope="module")
def server(servers):
    return servers[0]


def told(remote: RecordingServer, user) -> list[dict]:
    """What a server was told of a user, in order."""
    items = [item for content in of_type(remote, "m.presence") for item in content["push"]]
    return [item for item in items if item["user_id"] == user.user_id]


def push(remote, server, *users):
    """Has a server say something of users: pairs of their names and what is said."""
    items = [{"user_id": user, "last_active_ago": 1000, **said} for user, said in users]
    send(remote, server, {"push": items})


def send(remote, server, content):
    body = {
        "origin": remote.name,
        "origin_server_ts": 0,
        "pdus": [],
        "edus": [{"edu_type": "m.presence", "content": content}],
    }
    where = f"/_matrix/federation/v1/send/{new_txn_id()}"
    assert remote.request(server.node, "PUT", where, body, destination=server.name).json() == {"pdus": {}}


def test_two_servers(servers):
    one, two = servers
    alice, bob = one.register("alice"), two.register("bob")
    room = alice.create_room(preset="public_chat")
    set_presence(alice, "online", status_msg="Here")
    bob.join(room, params={"via": one.name})
    # Whoever comes in is told of those who are there.
    eventually(lambda: state_by(bob, alice) == "online")
    assert seen_by(bob, alice)["status_msg"] == "Here"
    bob.next()
    set_presence(alice, "unavailable", status_msg="Away")
    content = presence(bob.sync_until(lambda answer: alice.user_id in presence(answer)))[alice.user_id]
    assert (content["presence"], content["status_msg"]) == ("unavailable", "Away") and content[
        "last_active_ago"
    ] < 60_000
    set_presence(bob, "online")
    content = presence(alice.sync_until(lambda answer: bob.user_id in presence(answer)))[bob.user_id]
    assert content["presence"] == "online" and content["currently_active"] is True


def test_a_server_is_told_of_changes_only(server, remote, remotes):
    alice = server.register("alice")
    other = remotes(server.database)
    share_room(server, remote, alice)
    share_room(server, remote, alice)
    share_room(server, other, server.register("somebody"))
    set_presence(alice, "online", status_msg="Here")
    eventually(lambda: len(told(remote, alice)) == 1)
    (item,) = told(remote, alice)
    assert 0 <= item.pop("last_active_ago") < 60_000
    assert item == {
        "user_id": alice.user_id,
        "presence": "online",
        "currently_active": True,
        "status_msg": "Here",
    }
    set_presence(alice, "online", status_msg="Here")
    set_presence(alice, "offline", status_msg="Here")
    eventually(lambda: len(told(remote, alice)) == 2)
    assert told(remote, alice)[1]["presence"] == "offline"
    assert told(other, alice) == []


def test_users_who_come_in_are_introduced(server, remote):
    alice, bob, carol = (server.register(name) for name in ("alice", "bob", "carol"))
    room = share_room(server, remote, alice)
    set_presence(bob, "unavailable")
    bob.join(room)
    carol.join(room)
    eventually(lambda: [item["presence"] for item in told(remote, bob)] == ["unavailable"])
    assert told(remote, carol) == []


def test_nothing_waits_for_a_server_that_is_away(server, remote):
    alice = server.register("alice")
    room = share_room(server, remote, alice)
    away(server, remote, lambda: alice.send(room, "hello"))
    set_presence(alice, "online")
    statement = """
        select count(*) from matriarch.outgoing_edus join matriarch.destinations using (destination_nid)
        where server_name = %s"""
    assert server.database.query(statement, [remote.name]) == [(0,)]
    back(server, remote)
    eventually(lambda: any(pdu["content"].get("body") == "hello" for pdu in remote.pdus))
    answers = "select failing_since is null from matriarch.destinations where server_name = %s"
    eventually(lambda: server.database.query(answers, [remote.name]) == [(True,)])
    set_presence(alice, "unavailable")
    eventually(lambda: [item["presence"] for item in told(remote, alice)] == ["unavailable"])


def test_users_go_together_and_only_the_newest_word(server, remote):
    users = [server.register("user") for _ in range(5)]
    room = share_room(server, remote, users[0])
    for user in users[1:]:
        user.join(room)
    eventually(lambda: len(remote.pdus) == 4)
    idle = "select txn_id is null from matriarch.destinations where server_name = %s"
    eventually(lambda: server.database.query(idle, [remote.name]) == [(True,)])
    server.database.query(
        "update matriarch.destinations set retry_at = now() + interval '1 minute' where server_name = %s",
        [remote.name],
    )
    for said in ("online", "unavailable", "online"):
        for user in users:
            set_presence(user, said)
    server.database.query(
        "update matriarch.destinations set retry_at = now() where server_name = %s", [remote.name]
    )
    eventually(lambda: len(of_type(remote, "m.presence")) == 1)
    (content,) = of_type(remote, "m.presence")
    assert {item["user_id"]: item["presence"] for item in content["push"]} == {
        user.user_id: "online" for user in users
    }
    assert len(content["push"]) == 5


def test_servers_are_reminded_of_those_who_are_there(server, remote):
    alice = server.register("alice")
    share_room(server, remote, alice)
    set_presence(alice, "online")
    eventually(lambda: len(told(remote, alice)) == 1)
    own = "where user_nid = (select user_nid from matriarch.users where user_id = %s)"
    server.database.query(
        f"update matriarch.presence set told_at = now() - interval '30 minutes' {own}", [alice.user_id]
    )
    past(server.database, alice)
    eventually(lambda: len(told(remote, alice)) == 2)


def test_other_servers_speak_for_their_users(server, remote):
    alice = server.register("alice")
    room = share_room(server, remote, alice)
    bob = remote.user("bob")
    alice.next()
    push(remote, server, (bob, {"presence": "online", "status_msg": "Hi", "currently_active": True}))
    content = presence(alice.sync_until(presence))[bob]
    assert 1000 <= content.pop("last_active_ago") < 60_000
    assert content == {"presence": "online", "status_msg": "Hi", "currently_active": True}
    assert alice.get(path("presence", bob, "status"))["presence"] == "online"
    # The same once more is no news.
    push(remote, server, (bob, {"presence": "online", "status_msg": "Hi", "currently_active": True}))
    assert presence(alice.next(timeout=500)) == {}
    # What they are called is what they are in rooms.
    of_bob = "where user_nid = (select user_nid from matriarch.users where user_id = %s)"
    server.database.query(f"update matriarch.memberships set display_name = 'Bob' {of_bob}", [bob])
    push(remote, server, (bob, {"presence": "online", "status_msg": "Hello"}))
    assert presence(alice.sync_until(presence))[bob]["displayname"] == "Bob"
    push(remote, server, (bob, {"presence": "unavailable", "last_active_ago": 400_000}))
    assert presence(alice.next())[bob]["presence"] == "unavailable"
    # Their activity is news where they do not count as active.
    push(remote, server, (bob, {"presence": "unavailable", "last_active_ago": 1000}))
    assert presence(alice.next())[bob]["last_active_ago"] < 60_000
    # Whoever comes into the room is told.
    carol = server.register("carol")
    carol.next()
    carol.join(room)
    assert presence(carol.next())[bob]["presence"] == "unavailable"


def test_a_server_that_falls_silent(server, remote):
    alice = server.register("alice")
    share_room(server, remote, alice)
    bob = remote.user("bob")
    push(remote, server, (bob, {"presence": "online", "currently_active": True}))
    alice.next()
    statement = (
        "update matriarch.presence set check_at = now() where user_nid = (select user_nid "
        "from matriarch.users where user_id = %s)"
    )
    server.database.query(statement, [bob])
    assert presence(alice.sync_until(presence))[bob]["presence"] == "offline"


def test_what_has_no_effect(server, remote):
    alice = server.register("alice")
    share_room(server, remote, alice)
    bob = remote.user("bob")
    alice.next()
    push(
        remote, server,
        (alice.user_id, {"presence": "online"}),
        (remote.user("nobody"), {"presence": "online"}),
        (bob, {"presence": "asleep"}),
        (bob, {"presence": 5}),
        (7, {"presence": "online"}),
        (f"@\0:{remote.name}", {"presence": "online"}),
    )  # fmt: skip
    for content in ({}, {"push": {}}, {"push": [5, None, []]}):
        send(remote, server, content)
    assert presence(alice.next()) == {}
    assert seen_by(alice, alice)["presence"] == "offline"
    # What is odd in part is taken in part.
    push(
        remote,
        server,
        (
            bob,
            {
                "presence": "online",
                "status_msg": "a" * 5000,
                "last_active_ago": 2**53 - 1,
                "currently_active": "yes",
            },
        ),
    )
    content = presence(alice.next())[bob]
    assert (
        content["presence"] == "online"
        and content["currently_active"] is False
        and "status_msg" not in content
    )
