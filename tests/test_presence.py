"""Who is there."""

import pytest

from harness.client import path
from harness.waiting import eventually


def status_of(user) -> str:
    return path("presence", user.user_id, "status")


def set_presence(user, presence, **body):
    return user.put(status_of(user), {"presence": presence, **body})


def presence(answer) -> dict:
    """The contents of a sync's presence events, by user."""
    return {event["sender"]: event["content"] for event in answer["presence"]["events"]}


def seen_by(viewer, user) -> dict:
    return viewer.get(status_of(user))


def state_by(viewer, user) -> str:
    return seen_by(viewer, user)["presence"]


def together(node):
    """Two who share a room; neither is there."""
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    alice.next()
    bob.next()
    return alice, bob, room


def past(database, user, **columns):
    """Moves times of a user's presence back by so many seconds, and has it looked at."""
    of = "where user_nid = (select user_nid from matriarch.users where user_id = %s)"
    if "until" in columns:
        database.query(
            f"update matriarch.presence_devices set until = until - %s * interval '1 second' {of}",
            [columns["until"], user.user_id],
        )
    if "last_active_at" in columns:
        statement = (
            f"update matriarch.presence set last_active_at = last_active_at - %s * interval '1 second' {of}"
        )
        database.query(statement, [columns["last_active_at"], user.user_id])
    database.query(f"update matriarch.presence set check_at = now() {of}", [user.user_id])


def all_is_noted(viewer, user):
    """What was noted before this is written by then: a node writes presence in the order it came in."""
    other = "unavailable" if state_by(viewer, user) == "online" else "online"
    user.sync(set_presence=other)
    eventually(lambda: state_by(viewer, user), other)


def test_status_is_set_and_seen(node):
    alice, bob, _ = together(node)
    assert seen_by(bob, alice) == {"presence": "offline"}
    assert set_presence(alice, "unavailable", status_msg="In a meeting") == {}
    seen = seen_by(bob, alice)
    assert (seen["presence"], seen["status_msg"]) == ("unavailable", "In a meeting")
    assert 0 <= seen["last_active_ago"] < 10_000 and "currently_active" not in seen
    set_presence(alice, "online")
    seen = seen_by(alice, alice)
    assert seen["presence"] == "online" and seen["currently_active"] is True and "status_msg" not in seen


def test_events_have_the_profile(node):
    alice, bob, _ = together(node)
    profile = {"displayname": "Alice", "avatar_url": "mxc://test.example/alice"}
    for key, value in profile.items():
        alice.put(path("profile", alice.user_id, key), {key: value})
    set_presence(alice, "online")
    assert presence(bob.next())[alice.user_id].items() >= profile.items()
    alice.delete(path("profile", alice.user_id, "avatar_url"))
    set_presence(alice, "unavailable")
    content = presence(bob.next())[alice.user_id]
    assert content["displayname"] == "Alice" and "avatar_url" not in content
    # The status is of the presence alone.
    assert set(seen_by(bob, alice)) == {"presence", "last_active_ago"}


def test_only_those_who_share_a_room_see_it(node):
    alice, _, room = together(node)
    stranger = node.register("stranger")
    set_presence(alice, "online")
    stranger.next()
    stranger.get(status_of(alice), status=403, errcode="M_FORBIDDEN")
    stranger.get(path("presence", "@nobody:test.example", "status"), status=403, errcode="M_FORBIDDEN")
    set_presence(alice, "unavailable")
    assert alice.user_id not in presence(stranger.next())
    # Whoever comes into the room is told of those who are there.
    stranger.join(room)
    assert presence(stranger.next())[alice.user_id]["presence"] == "unavailable"
    stranger.leave(room)
    stranger.next()
    set_presence(alice, "online")
    assert presence(stranger.next()) == {}


def test_nobody_sets_it_for_others(node):
    alice, bob, _ = together(node)
    alice.put(status_of(bob), {"presence": "online"}, status=403, errcode="M_FORBIDDEN")


def test_bad_bodies(node):
    alice = node.register("alice")
    where = status_of(alice)
    alice.put(where, {}, status=400, errcode="M_MISSING_PARAM")
    alice.put(where, {"presence": "asleep"}, status=400, errcode="M_BAD_JSON")
    alice.put(where, {"presence": "online", "status_msg": 5}, status=400, errcode="M_BAD_JSON")
    alice.put(where, {"presence": "online", "status_msg": "a" * 2049}, status=400, errcode="M_INVALID_PARAM")
    alice.put(where, {"presence": "online", "status_msg": "a\0"}, status=400, errcode="M_INVALID_PARAM")
    alice.get("/sync", params={"set_presence": "asleep"}, status=400, errcode="M_INVALID_PARAM")


def test_initial_sync_has_those_who_are_there(node):
    alice, bob, _ = together(node)
    set_presence(alice, "online", status_msg="Here")
    content = presence(bob.sync())[alice.user_id]
    assert (
        content["presence"] == "online"
        and content["status_msg"] == "Here"
        and content["currently_active"] is True
    )
    set_presence(alice, "offline")
    assert alice.user_id not in presence(bob.sync())


def test_changes_wake_those_who_share_a_room_at_any_node(nodes):
    alice, bob, _ = together(nodes[0])
    bob = bob.at(nodes[1])
    bob.next()
    set_presence(alice, "online")
    assert presence(bob.sync_until(presence))[alice.user_id]["presence"] == "online"
    set_presence(alice, "online", status_msg="New")
    assert presence(bob.sync_until(presence))[alice.user_id]["status_msg"] == "New"
    set_presence(alice, "offline")
    assert presence(bob.sync_until(presence))[alice.user_id]["presence"] == "offline"


def test_repeating_it_is_no_news(node):
    alice, bob, _ = together(node)
    set_presence(alice, "online", status_msg="Here")
    bob.sync_until(presence)
    set_presence(alice, "online", status_msg="Here")
    assert presence(bob.next(timeout=1000)) == {}


def test_users_see_their_own(node):
    alice = node.register("alice")
    alice.next()
    set_presence(alice, "unavailable")
    assert presence(alice.next())[alice.user_id]["presence"] == "unavailable"


@pytest.mark.parametrize(
    ("asked", "expected"), [(None, "online"), ("online", "online"), ("unavailable", "unavailable")]
)
def test_syncs_mark_users(node, asked, expected):
    alice, bob, _ = together(node)
    alice.get("/sync", params={"set_presence": asked} if asked else {})
    assert presence(bob.sync_until(presence))[alice.user_id]["presence"] == expected


def test_syncs_as_offline_mark_nobody(node, shared_database):
    alice, bob, _ = together(node)
    alice.sync(set_presence="offline")
    assert presence(bob.next(timeout=500)) == {}
    own = "user_nid = (select user_nid from matriarch.users where user_id = %s)"
    assert shared_database.query(f"select from matriarch.presence where {own}", [alice.user_id]) == []
    alice.sync(set_presence="online")
    bob.sync_until(presence)
    alice.sync(set_presence="offline")
    assert presence(bob.sync_until(presence))[alice.user_id]["presence"] == "offline"


def test_what_the_client_says_outlasts_its_syncs(node):
    alice, bob, room = together(node)
    alice.sync(set_presence="online")
    eventually(lambda: state_by(bob, alice) == "online")
    set_presence(alice, "unavailable")
    alice.sync(set_presence="online")
    all_is_noted(alice, bob)
    assert state_by(bob, alice) == "unavailable"
    # Who does something is there.
    alice.send(room, "hello")
    eventually(lambda: state_by(bob, alice) == "online")
    # A client that goes on syncing after it said to be offline is not.
    set_presence(alice, "offline")
    assert state_by(bob, alice) == "offline"
    alice.sync(set_presence="online")
    eventually(lambda: state_by(bob, alice) == "online")


def test_syncs_change_what_the_client_said_before_them(node):
    alice, bob, _ = together(node)
    # Where no sync came before, one as online says nothing, and any other one does.
    set_presence(alice, "unavailable")
    alice.sync(set_presence="online")
    all_is_noted(alice, bob)
    assert state_by(bob, alice) == "unavailable"
    alice = alice.another_device()
    set_presence(alice, "online")
    alice.sync(set_presence="unavailable")
    eventually(lambda: state_by(bob, alice) == "unavailable")
    alice = alice.another_device()
    set_presence(alice, "online")
    assert state_by(bob, alice) == "online"
    alice.sync(set_presence="offline")
    eventually(lambda: state_by(bob, alice) == "unavailable")


def test_devices_count_together(node):
    alice, bob, _ = together(node)
    phone = alice.another_device()
    alice.sync(set_presence="online")
    phone.sync(set_presence="unavailable")
    eventually(lambda: state_by(bob, alice) == "online")
    all_is_noted(alice, bob)
    assert state_by(bob, alice) == "online"
    alice.sync(set_presence="offline")
    eventually(lambda: state_by(bob, alice) == "unavailable")
    phone.sync(set_presence="offline")
    eventually(lambda: state_by(bob, alice) == "offline")


def test_the_idle_become_unavailable_and_active_again(node, shared_database):
    alice, bob, room = together(node)
    alice.sync(set_presence="online")
    eventually(lambda: state_by(bob, alice) == "online")
    bob.next()
    past(shared_database, alice, last_active_at=301)
    content = presence(bob.sync_until(presence))[alice.user_id]
    assert content["presence"] == "unavailable" and content["last_active_ago"] > 300_000
    # Syncing is not activity.
    alice.sync(set_presence="online", timeout=100)
    all_is_noted(alice, bob)
    assert state_by(bob, alice) == "unavailable"
    alice.put(path("rooms", room, "typing", alice.user_id), {"typing": True, "timeout": 1000})
    eventually(lambda: state_by(bob, alice) == "online")
    assert seen_by(bob, alice)["last_active_ago"] < 10_000


def test_the_gone_become_offline(node, shared_database):
    alice, bob, room = together(node)
    carol = node.register("carol")
    carol.join(room)
    for user in (alice, carol):
        user.sync(set_presence="online")
        eventually(lambda user=user: state_by(bob, user) == "online")
    bob.next()
    past(shared_database, alice, until=30)
    past(shared_database, carol, until=100)
    # When who is gone was found, who is not gone yet was looked at as well.
    eventually(lambda: state_by(bob, carol) == "offline")
    assert state_by(bob, alice) == "online"
    bob.next()
    past(shared_database, alice, until=100)
    assert presence(bob.sync_until(presence))[alice.user_id]["presence"] == "offline"
    own = "user_nid = (select user_nid from matriarch.users where user_id = %s)"
    assert shared_database.query(f"select from matriarch.presence_devices where {own}", [alice.user_id]) == []


def test_syncing_on_writes_nothing(node, shared_database):
    alice, bob, _ = together(node)
    alice.sync(set_presence="online")
    eventually(lambda: state_by(bob, alice) == "online")
    statement = """
        select p.ctid, d.ctid, p.xid
        from matriarch.presence p join matriarch.presence_devices d using (user_nid)
        join matriarch.users using (user_nid)
        where user_id = %s"""
    before = shared_database.query(statement, [alice.user_id])
    for _ in range(5):
        alice.sync(alice.since, set_presence="online", timeout=50)
    all_is_noted(alice, bob)
    assert shared_database.query(statement, [alice.user_id]) == before


def test_rows_of_another_cluster_are_no_news(node, shared_database):
    """As a dump may bring them: their transaction ids are those of another history."""
    alice, bob, _ = together(node)
    set_presence(alice, "online")
    bob.next()
    own = "user_nid = (select user_nid from matriarch.users where user_id = %s)"
    shared_database.query(f"update matriarch.presence set xid = '1000000000000' where {own}", [alice.user_id])
    assert presence(bob.next()) == {}
    set_presence(alice, "unavailable")
    assert alice.user_id in presence(bob.next())


def test_filters(node):
    alice, bob, _ = together(node)
    set_presence(alice, "online")
    for unwanted in (
        {"not_types": ["*"]},
        {"types": []},
        {"not_senders": [alice.user_id]},
        {"senders": [bob.user_id]},
    ):
        assert alice.user_id not in presence(bob.sync(bob.since, filter={"presence": unwanted}))
    for wanted in ({}, {"types": ["m.presence"]}, {"senders": [alice.user_id]}):
        assert alice.user_id in presence(bob.sync(bob.since, filter={"presence": wanted}))


def test_those_who_are_ignored_are_not_shown(node):
    alice, bob, _ = together(node)
    where = path("user", bob.user_id, "account_data", "m.ignored_user_list")
    bob.put(where, {"ignored_users": {alice.user_id: {}}})
    bob.next()
    set_presence(alice, "online")
    assert presence(bob.next()) == {}


def test_turned_off(database, start_nodes):
    database.query("insert into matriarch.presence (user_nid) values (1)")
    (node,) = start_nodes(database, MATRIARCH_PRESENCE__ENABLED="false")
    alice = node.register("alice")
    bob = node.register("bob")
    bob.join(alice.create_room(preset="public_chat"))
    bob.next()
    assert set_presence(alice, "online", status_msg="Here") == {}
    assert seen_by(bob, alice) == {"presence": "offline"}
    alice.sync(set_presence="online")
    assert presence(bob.next(timeout=300)) == {}
    assert presence(bob.sync()) == {}
    eventually(lambda: database.query("select from matriarch.presence") == [])
