"""`matrix.verify_room` finds what is wrong, and nothing else; `matrix.repair_room` heals it."""

import json
import random

import psycopg
import pytest

from harness.functions import User
from harness.peer import public_room, receive, verdicts
from harness.verify import repair, verify, verify_all
from test_convergence import deliver, random_room

VERSIONS = [str(number) for number in range(1, 13)]


@pytest.mark.parametrize("version", VERSIONS)
def test_rooms_of_local_users_are_healthy(rooms, version):
    alice, bob, eve = User(rooms, "alice"), User(rooms, "bob"), User(rooms, "eve")
    alice.set_profile(displayname="Alice")
    room = alice.create_room(room_version=version, preset="public_chat", name="Room", topic="All of it")
    bob.join(room), eve.join(room)
    message = bob.send(room, "oops")
    topic = alice.send_state(room, "m.room.topic", {"topic": "other"})
    alice.redact(room, message), alice.redact(room, topic)
    alice.act(room, "kick", user_id=eve.user_id)
    alice.invite(room, eve)
    alice.act(room, "ban", user_id=bob.user_id)
    name = alice.send_state(
        room, "m.room.power_levels", {"users": {} if version == "12" else {alice.user_id: 100}, "invite": 0}
    )
    alice.redact(room, name)
    alice.set_profile(displayname="Alicia")
    eve.act(room, "leave")
    private = bob.create_room(room_version=version, preset="private_chat", invite=[eve.user_id])
    bob.act(private, "leave")
    assert verify_all(rooms) == []


def test_a_restricted_room_is_healthy(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    space = alice.create_room(preset="public_chat")
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    state = [{"type": "m.room.join_rules", "state_key": "", "content": rule}]
    room = alice.create_room(preset="private_chat", initial_state=state)
    bob.join(space), bob.join(room)
    assert verify_all(rooms) == []


@pytest.mark.parametrize("seed", range(20, 24))
def test_random_rooms_are_healthy(rooms, seed):
    room, peers = random_room(seed, random.Random(seed).choice(["11", "12"]))
    for peer in peers:
        peer.publish(rooms)
    deliver(rooms, room, random.Random(seed))
    alice = User(rooms, "alice")
    if room.let_in(rooms, alice) == "accepted":
        alice.send(room.room_id)
    assert verify_all(rooms) == []


def fork(rooms, peers):
    """A room with branches, soft-failed, rejected and redacted events, an outlier, and a given state."""
    alice, bob, eve = peers[0].user("alice"), peers[1].user("bob"), peers[0].user("eve")
    room = public_room(alice, peers, users={bob: 50})
    room.alice, room.bob, room.eve = alice, bob, eve
    room.join(bob), room.join(eve)
    joined = room.send(bob, "m.room.topic", {"topic": "all"}, "")
    assert set(verdicts(receive(rooms, room, room.pdus))) == {"accepted"}
    room.left = room.make(alice, "m.room.name", {"name": "left"}, "", prev=[joined])
    room.right = room.make(alice, "m.room.topic", {"topic": "right"}, "", prev=[joined])
    room.by_eve = room.make(eve, "m.room.topic", {"topic": "mine"}, "", prev=[joined])
    assert verdicts(receive(rooms, room, [room.left, room.right, room.by_eve])) == [
        "accepted",
        "accepted",
        "rejected",
    ]
    room.ban = room.make(alice, "m.room.member", {"membership": "ban"}, bob, prev=[room.left, room.right])
    room.late = room.make(bob, "m.room.name", {"name": "late"}, "", prev=[room.left, room.right])
    assert verdicts(receive(rooms, room, [room.ban])) == ["accepted"]
    assert verdicts(receive(rooms, room, [room.late])) == ["soft-failed"]
    room.merge = room.make(
        alice, "m.room.message", {"body": "?"}, prev=[room.ban, room.late, room.by_eve], state=room.ban.state
    )
    room.redaction = room.make(alice, "m.room.redaction", {"redacts": room.right.event_id}, prev=[room.merge])
    assert verdicts(receive(rooms, room, [room.merge, room.redaction])) == ["accepted"] * 2
    room.lost = room.make(alice, "m.room.message", {"body": "lost"}, prev=[room.redaction])
    room.after = room.make(alice, "m.room.topic", {"topic": "after"}, "", prev=[room.lost])
    state = {room.after.event_id: [pdu.event_id for pdu in room.after.state_before.values()]}
    options = {"given_up": {"prev_events": [room.lost.event_id]}, "states": state}
    assert verdicts(receive(rooms, room, [room.after], **options)) == ["accepted"]
    room.outlier = room.make(
        eve, "m.room.member", {"membership": "join", "displayname": "Eve"}, eve, prev=[room.after]
    )
    assert verdicts(receive(rooms, room, [room.outlier], kind="outlier")) == ["outlier"]
    room.other = room.make(alice, "m.room.avatar", {"url": "mxc://one.example/a"}, "", prev=[room.redaction])
    room.last = room.make(eve, "m.room.message", {"body": "last"}, prev=[room.redaction])
    assert verdicts(receive(rooms, room, [room.other, room.last])) == ["accepted"] * 2
    return room


@pytest.fixture
def forked(rooms, peers):
    return fork(rooms, peers)


def test_a_forked_room_is_healthy(rooms, forked):
    assert verify(rooms, forked.room_id) == []
    # What was lost is found.
    assert verdicts(receive(rooms, forked, [forked.lost], kind="backfilled")) == ["accepted"]
    assert verify(rooms, forked.room_id) == []
    assert verdicts(receive(rooms, forked, [forked.outlier])) == ["accepted"]
    assert verify(rooms, forked.room_id) == []
    assert repair(rooms, forked.room_id, False) == []


def test_backfill_is_healthy(rooms, peers):
    alice, bob = peers[0].user("alice"), peers[1].user("bob")
    room = public_room(alice, peers)
    joined = room.join(bob)
    old = [room.message(alice, str(number)) for number in range(6)]
    last = room.message(bob)
    receive(rooms, room, list(last.state_before.values()), kind="outlier")
    state = {last.event_id: [pdu.event_id for pdu in last.state_before.values()]}
    options = {"given_up": {"prev_events": [old[-1].event_id]}, "states": state}
    assert verdicts(receive(rooms, room, [last], **options)) == ["accepted"]
    assert verify(rooms, room.room_id) == []
    given = {old[3].event_id: state[last.event_id]}
    options = {"given_up": {"prev_events": [old[2].event_id]}, "states": given}
    assert verdicts(receive(rooms, room, old[3:], kind="backfilled", **options)) == ["accepted"] * 3
    assert verify(rooms, room.room_id) == []
    assert (
        verdicts(receive(rooms, room, [*room.pdus[:4], joined, *old[:3]], kind="backfilled"))
        == ["accepted"] * 8
    )
    assert verify(rooms, room.room_id) == []
    assert repair(rooms, room.room_id, False) == []


def nid_of(rooms, pdu):
    return rooms.query("select event_nid from matriarch.events where event_id = %s", [pdu.event_id])[0][0]


def columns(rows):
    return [row[:2] for row in rows]


def heal(rooms, room, *checks):
    """What is found (these `checks`, if given) a dry run tells, without a change, and a repair heals. What
    follows from what was repaired before needs no repair."""
    found = verify(rooms, room.room_id)
    assert found and (not checks or {row[0] for row in found} == set(checks)), found
    told = repair(rooms, room.room_id, True)
    assert told and set(checks) <= {row[0] for row in told}, told
    assert all(row[5] for row in told), told
    assert verify(rooms, room.room_id) == found
    assert repair(rooms, room.room_id, False) == told
    assert verify(rooms, room.room_id) == []
    assert repair(rooms, room.room_id, False) == []


def test_a_flipped_byte(rooms, forked):
    before = verify(rooms, forked.room_id)
    assert before == []
    original = rooms.query("select json from matriarch.events where event_id = %s", [forked.left.event_id])[
        0
    ][0]
    damage = "update matriarch.events set json = %s where event_id = %s"
    for position in (
        len(original) // 7,
        len(original) // 2,
        original.index('"left"') + 2,
        original.index('"depth"') + 8,
    ):
        flipped = original[:position] + chr(ord(original[position]) ^ 1) + original[position + 1 :]
        rooms.query(damage, [flipped, forked.left.event_id])
        found = verify(rooms, forked.room_id)
        assert found and {row[1] for row in found} == {forked.left.event_id}, (position, flipped, found)
        assert {row[0] for row in found} <= {"json", "event id", "content hash", "signatures", "room id"}, (
            found
        )
        told = repair(rooms, forked.room_id, False)
        assert [row[:5] for row in told] == found
        assert all(row[5] is None for row in told)
    rooms.query(damage, [original.replace("left", "gone"), forked.left.event_id])
    assert columns(verify(rooms, forked.room_id)) == [("content hash", forked.left.event_id)]
    rooms.query(damage, [json.dumps(json.loads(original), indent=1), forked.left.event_id])
    heal(rooms, forked, "json")
    assert rooms.query("select json from matriarch.events where event_id = %s", [forked.left.event_id]) == [
        (original,)
    ]


def test_a_wrong_signature(rooms, forked):
    wrong = (
        "update matriarch.events set json = regexp_replace(json, '(\"ed25519:peer\":\").', '\\1%s') "
        "where event_id = %%s"
    )
    for letter in "AB":
        rooms.query(wrong % letter, [forked.left.event_id])
    assert columns(verify(rooms, forked.room_id)) == [("signatures", forked.left.event_id)]
    rooms.query("delete from matriarch.server_keys where server_name = 'one.example'")
    assert verify(rooms, forked.room_id) == []


def test_edges(rooms, forked):
    ban, create = nid_of(rooms, forked.ban), nid_of(rooms, forked.create)
    rooms.query("delete from matriarch.event_auth_edges where event_nid = %s", [ban])
    heal(rooms, forked, "auth edges")
    rooms.query("insert into matriarch.event_auth_edges values (%s, %s)", [create, ban])
    heal(rooms, forked, "auth edges")


def test_references(rooms, forked):
    set_column = "update matriarch.events set {} = {}[2:] where event_nid = %s"
    rooms.query(set_column.format("auth_nids", "auth_nids"), [nid_of(rooms, forked.ban)])
    found = verify(rooms, forked.room_id)
    assert ("auth events", forked.ban.event_id) in columns(found)
    heal(rooms, forked)
    rooms.query(set_column.format("prev_nids", "prev_nids"), [nid_of(rooms, forked.merge)])
    found = verify(rooms, forked.room_id)
    assert ("prev events", forked.merge.event_id) in columns(found)
    heal(rooms, forked)
    rooms.query("update matriarch.missing_prev_events set prev_event_id = '$other'")
    heal(rooms, forked, "missing prev events")
    rooms.query("insert into matriarch.missing_prev_events select room_nid, '$x', 0 from matriarch.rooms")
    heal(rooms, forked, "missing prev events")


def test_columns_of_events(rooms, forked):
    statement = """
        update matriarch.events
        set type = 'x', depth = 1000, origin_server_ts = 5, sender_nid = (select min(user_nid)
        from matriarch.users)
        where event_id = %s"""
    rooms.query(statement, [forked.last.event_id])
    subjects = {row[2] for row in verify(rooms, forked.room_id)}
    assert subjects >= {"type", "depth", "origin_server_ts", "sender"}
    heal(rooms, forked)
    statement = "update matriarch.events set key_idx = key_idx - 1 where event_id = %s"
    rooms.query(statement, [forked.left.event_id])
    found = verify(rooms, forked.room_id)
    assert ("key index", forked.left.event_id) in columns(found)
    heal(rooms, forked)
    rooms.query("update matriarch.room_state_keys set state_key = 'x' where type = 'm.room.name'")
    found = verify(rooms, forked.room_id)
    heal(rooms, forked)


@pytest.mark.parametrize("which", ["left", "ban", "merge", "last"])
def test_a_wrong_root(rooms, forked, which):
    pdu = getattr(forked, which)
    set_root = "update matriarch.events set state_before = %s where event_id = %s"
    other = "select state_before from matriarch.events where event_id = %s"
    root = rooms.query(other, [forked.pdus[2].event_id])[0][0]
    rooms.query(set_root, [root, pdu.event_id])
    found = verify(rooms, forked.room_id)
    assert ("state before", pdu.event_id) in columns(found)
    heal(rooms, forked)
    for nothing in (10**12, None):
        rooms.query(set_root, [nothing, pdu.event_id])
        found = verify(rooms, forked.room_id)
        assert ("state before", pdu.event_id) in columns(found)
        heal(rooms, forked)


def test_a_wrong_current_root(rooms, forked):
    state = rooms.query("select * from matrix.current_state(%s)", [forked.room_id])
    root = "select state_before from matriarch.events where event_id = %s"
    for wrong in (rooms.query(root, [forked.ban.event_id])[0][0], 10**12):
        rooms.query("update matriarch.rooms set current_root = %s", [wrong])
        found = verify(rooms, forked.room_id)
        assert "current root" in {row[0] for row in found}
        heal(rooms, forked)
    assert rooms.query("select * from matrix.current_state(%s)", [forked.room_id]) == state


def test_broken_nodes(rooms, forked):
    rooms.query(
        "update matriarch.state_nodes set kids = kids[2:] where node_id = (select max(node_id) "
        "from matriarch.state_nodes)"
    )
    found = verify(rooms, forked.room_id)
    assert "state node" in {row[0] for row in found}
    # The state that was given cannot be made again; that of the room can, where it does not need it.
    repair(rooms, forked.room_id, False)
    left = {row[0] for row in verify(rooms, forked.room_id)}
    assert left <= {
        "state before",
        "current root",
        "current state",
        "memberships",
        "other servers",
        "room",
    }, left


def test_flat_rows(rooms, forked):
    set_member = (
        "update matriarch.memberships set {} where user_nid = (select user_nid from matriarch.users "
        "where user_id = %s)"
    )
    for assignment, user in [
        ("membership = 'leave'", forked.alice),
        ("membership = 'join'", forked.bob),
        ("event_nid = event_nid + 1", forked.eve),
        ("display_name = 'Adam'", forked.eve),
    ]:
        rooms.query(set_member.format(assignment), [user])
        found = verify(rooms, forked.room_id)
        assert [(row[0], row[2]) for row in found] == [("memberships", user)]
        heal(rooms, forked, "memberships")
    rooms.query("delete from matriarch.memberships")
    heal(rooms, forked, "memberships")
    rooms.query("update matriarch.room_state_keys set current_event_nid = null where type = 'm.room.topic'")
    heal(rooms, forked, "current state")
    rooms.query("insert into matriarch.users (user_id) values ('@x:y')")
    rooms.query(
        """
        insert into matriarch.memberships (room_nid, user_nid, event_nid, sender_nid, membership)
        select room_nid, user_nid, 1, user_nid, 'join' from matriarch.rooms, matriarch.users
        where user_id = '@x:y'"""
    )
    heal(rooms, forked, "memberships")


def test_columns_of_the_room(rooms, forked):
    wrong = "joined_members = 9, invited_members = 9, depth = 1, next_key_idx = 1, last_pos = 1"
    rooms.query(f"update matriarch.rooms set {wrong}")
    assert {row[2] for row in verify(rooms, forked.room_id)} == {
        "joined_members", "invited_members", "depth", "next_key_idx", "last_pos",
    }  # fmt: skip
    heal(rooms, forked, "room")


def test_other_servers(rooms, forked):
    statement = (
        "select destination_nid, joined_members from matriarch.destination_rooms "
        "where left_nid is null order by 1"
    )
    right = rooms.query(statement)
    assert len(right) > 0
    for damage in (
        "update matriarch.destination_rooms set joined_members = 17 where left_nid is null",
        "delete from matriarch.destination_rooms where left_nid is null",
        "update matriarch.destination_rooms set left_nid = 1, joined_members = 0",
    ):
        rooms.query(damage)
        heal(rooms, forked)
        assert rooms.query(statement) == right
    rooms.query("update matriarch.rooms set other_servers = 0")
    heal(rooms, forked, "room")


def test_forward_extremities(rooms, forked):
    stored = "select forward_extremities from matriarch.rooms"
    right = rooms.query(stored)
    for wrong in (
        "forward_extremities[2:]",
        f"forward_extremities || {nid_of(rooms, forked.merge)}::bigint",
        "'{}'",
    ):
        rooms.query(f"update matriarch.rooms set forward_extremities = {wrong}")
        found = verify(rooms, forked.room_id)
        assert "forward extremities" in {row[0] for row in found}
        heal(rooms, forked)
        assert rooms.query(stored) == right


def test_superseded(rooms, forked):
    for event in (forked.late, forked.outlier):
        rooms.query(
            "update matriarch.events set superseded = not superseded where event_id = %s", [event.event_id]
        )
        heal(rooms, forked, "superseded")


@pytest.mark.parametrize("which", ["left", "last", "ban", "merge"])
def test_a_wrong_rejection(rooms, forked, which):
    pdu = getattr(forked, which)
    state = rooms.query("select * from matrix.current_state(%s)", [forked.room_id])
    rooms.query("update matriarch.events set status = 2, pos = null where event_id = %s", [pdu.event_id])
    found = verify(rooms, forked.room_id)
    assert ("verdict", pdu.event_id) in columns(found)
    heal(rooms, forked)
    assert rooms.query("select * from matrix.current_state(%s)", [forked.room_id]) == state


def test_a_wrong_acceptance(rooms, forked):
    rooms.query(
        "update matriarch.events set status = 0, pos = 1 where event_id = %s", [forked.by_eve.event_id]
    )
    found = verify(rooms, forked.room_id)
    assert ("verdict", forked.by_eve.event_id) in columns(found)
    heal(rooms, forked)
    rooms.query("update matriarch.events set pos = null where event_id = %s", [forked.last.event_id])
    found = verify(rooms, forked.room_id)
    assert ("timeline", forked.last.event_id) in columns(found)
    heal(rooms, forked)


def test_a_given_state_stays(rooms, forked):
    """Also when it is not what the events before it, which came later, resolve to."""
    before = list(forked.last.state_before.values())
    lost = forked.make(forked.alice, "m.room.message", {"body": "lost"}, prev=[forked.last])
    after = forked.make(forked.alice, "m.room.message", {"body": "after"}, prev=[lost])
    kept = [pdu.event_id for pdu in before if pdu.json["type"] != "m.room.topic"]
    options = {"given_up": {"prev_events": [lost.event_id]}, "states": {after.event_id: kept}}
    assert verdicts(receive(rooms, forked, [after], **options)) == ["accepted"]
    assert verdicts(receive(rooms, forked, [lost], kind="backfilled")) == ["accepted"]
    assert verify(rooms, forked.room_id) == []
    assert repair(rooms, forked.room_id, False) == []


DAMAGE = [
    "update matriarch.events set status = 2, pos = null where event_nid = %(one)s",
    "update matriarch.events set status = 0, pos = event_nid where event_nid = %(one)s and status in (1, 2)",
    "update matriarch.events set state_before = 0 where event_nid = %(one)s",
    "update matriarch.events set state_before = null where event_nid = %(one)s and status in (0, 1)",
    "update matriarch.events set prev_nids = '{}' where event_nid = %(one)s",
    "update matriarch.events set auth_nids = auth_nids[2:] where event_nid = %(one)s",
    "update matriarch.events set key_idx = 1 where event_nid = %(one)s and key_idx is not null",
    "update matriarch.events set superseded = not superseded where event_nid = %(one)s",
    "update matriarch.events set type = 'x', depth = 7 where event_nid = %(one)s",
    "delete from matriarch.event_auth_edges where event_nid = %(one)s or auth_nid = %(other)s",
    "delete from matriarch.memberships where event_nid in (%(one)s, %(other)s)",
    "update matriarch.rooms set forward_extremities = array[%(one)s]::bigint[]",
    "update matriarch.rooms set current_root = 0",
    "update matriarch.room_state_keys set current_event_nid = %(one)s where key_idx = 3",
]


@pytest.mark.parametrize("seed", range(30, 33))
def test_damage_of_many_kinds_is_healed(rooms, seed):
    chance = random.Random(seed)
    room, peers = random_room(seed, chance.choice(["11", "12"]))
    for peer in peers:
        peer.publish(rooms)
    deliver(rooms, room, chance)
    nids = [nid for (nid,) in rooms.query("select event_nid from matriarch.events")]
    for _ in range(6):
        for statement in chance.sample(DAMAGE, k=chance.randint(1, 4)):
            rooms.query(statement, {"one": chance.choice(nids), "other": chance.choice(nids)})
        repair(rooms, room.room_id, False)
        assert verify(rooms, room.room_id) == []
        assert repair(rooms, room.room_id, False) == []


def test_an_event_that_is_gone(rooms, forked):
    rooms.query("delete from matriarch.events where event_id = %s", [forked.right.event_id])
    found = verify(rooms, forked.room_id)
    assert "state node" in {row[0] for row in found}
    repair(rooms, forked.room_id, False)
    again = repair(rooms, forked.room_id, False)
    assert all(row[5] is None for row in again), again


def test_redactions(rooms, forked):
    original = "select json from matriarch.events where event_id = %s"
    redacted = rooms.query(original, [forked.right.event_id])
    assert redacted != [(forked.right.text,)]
    whole = json.dumps(forked.right.json, sort_keys=True, separators=(",", ":"))
    assignments = ("json = %s", "json = %s, redacted_by = null")
    for assignment in assignments:
        rooms.query(
            f"update matriarch.events set {assignment} where event_id = %s", [whole, forked.right.event_id]
        )
        assert columns(verify(rooms, forked.room_id)) == [("redaction", forked.right.event_id)]
        heal(rooms, forked, "redaction")
        assert rooms.query(original, [forked.right.event_id]) == redacted
    statement = "insert into matriarch.missing_redacted_events select room_nid, %s, 1 from matriarch.rooms"
    rooms.query(statement, [forked.left.event_id])
    heal(rooms, forked, "redaction")
    early = forked.make(forked.alice, "m.room.redaction", {"redacts": "$unknown"}, prev=[forked.last])
    assert verdicts(receive(rooms, forked, [early])) == ["accepted"]
    assert verify(rooms, forked.room_id) == []
    rooms.query("delete from matriarch.missing_redacted_events")
    heal(rooms, forked, "redaction")
    # Those without effect are withheld from clients, the others are not.
    for flip in range(2):
        rooms.query("update matriarch.events set withheld = not withheld where type = 'm.room.redaction'")
        assert {check for check, _ in columns(verify(rooms, forked.room_id))} == {"redaction"}, flip
        heal(rooms, forked, "redaction")


def test_who_may(rooms, forked):
    def run(role, statement):
        with rooms.connect() as connection:
            connection.execute(f"set role {role}")
            connection.execute(statement, [forked.room_id])

    run("matriarch_admin", "select * from matrix.verify_room(%s)")
    for role in ("matriarch_readonly", "matriarch_api"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run(role, "select * from matrix.repair_room(%s)")
    for function in ("verify_room", "repair_room"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run("matriarch_api", f"select * from matriarch.{function}(%s)")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="not known"):
        verify(rooms, "!nowhere")


def test_writers_are_not_blocked(rooms, peers):
    room = fork(rooms, peers)
    with rooms.connect(autocommit=False) as connection:
        connection.execute("select * from matrix.verify_room(%s)", [room.room_id])
        message = room.make(room.alice, "m.room.message", {"body": "meanwhile"}, prev=[room.last])
        assert verdicts(receive(rooms, room, [message])) == ["accepted"]
    assert verify(rooms, room.room_id) == []
