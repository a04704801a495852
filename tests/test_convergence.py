"""The same events, in whatever order and batches they come, make the same room."""

import random

import pytest

from harness import functions
from harness.peer import Peer, public_room, receive
from harness.verify import verify

SEEDS = 6


def random_room(seed: int, version: str):
    """A room in which several servers act at once: power levels, bans, kicks, joins and topics on branches
    that are merged and forked again. Its last event follows all of them."""
    chance = random.Random(seed)
    peers = [Peer("one.example"), Peer("two.example"), Peer("three.example")]
    users = [peer.user(name) for peer in peers for name in ("x", "y")]
    creator = users[0]
    room = public_room(creator, peers, version, users={users[1]: 50, users[2]: 50}, begins=1_600_000_000_000)
    for user in users[1:4]:
        room.join(user)
    heads = [room.head[0]]
    for _ in range(40):
        prev = chance.sample(heads, k=min(len(heads), chance.choice([1, 1, 1, 2, 3])))
        if chance.random() < 0.2:
            prev = [chance.choice(room.pdus[4:])]
        user, target = chance.choice(users), chance.choice(users)
        state = {}
        for event in prev:
            state |= event.state
        kind, content, key = chance.choice(
            [
                ("m.room.member", {"membership": "join"}, user),
                ("m.room.member", {"membership": chance.choice(["ban", "leave", "invite"])}, target),
                # The creator stays: the events that merge everything must be allowed.
                ("m.room.member", {"membership": "join" if user == creator else "leave"}, user),
                ("m.room.topic", {"topic": str(chance.random())}, ""),
                ("m.room.join_rules", {"join_rule": chance.choice(["public", "invite"])}, ""),
                ("m.room.message", {"body": "hi"}, None),
                (
                    "m.room.power_levels",
                    {
                        "users": {
                            **({creator: 100} if version != "12" else {}),
                            **{u: chance.choice([0, 50, 50, 100]) for u in chance.sample(users[1:], 3)},
                        }
                    },
                    "",
                ),
            ]
        )
        event = room.make(
            user, kind, content, key, prev=prev, state=state, ts=1_600_000_000_000 + chance.randrange(40)
        )
        heads = [head for head in heads if head not in prev] + [event]
    # Allowed whatever was rejected on the way: the creator's first events are not, and nobody can remove the
    # creator.
    auth = room.pdus[1:3] if version == "12" else room.pdus[:3]
    merge = None
    while heads != [merge]:
        merge = room.make(creator, "m.room.message", {"body": "merge"}, prev=heads[:20], auth=auth)
        heads = [*heads[20:], merge]
    return room, peers


def picture(database, room):
    """What must be equal everywhere. Whether an event fails softly depends on when it comes, by its
    definition."""
    with database.connect() as connection:
        events = connection.execute(
            """
            select event_id, case when status = 'soft-failed' then 'accepted' else status end
            from matrix.events where room_id = %s order by 1""",
            [room.room_id],
        ).fetchall()
        before = {
            event_id: connection.execute(
                "select event_id from matrix.state_at(%s) order by 1", [event_id]
            ).fetchall()
            for event_id, _ in events
        }
        heads = connection.execute(
            """
            select e.event_id from matriarch.rooms r, matriarch.events e
            where r.room_id = %s and e.event_nid = any(r.forward_extremities) order by 1""",
            [room.room_id],
        ).fetchall()
        state = connection.execute(
            "select event_id from matrix.current_state(%s) order by 1", [room.room_id]
        ).fetchall()
        members = connection.execute(
            "select user_id, membership, event_id from matrix.members where room_id = %s "
            "and membership <> 'leave' order by 1",
            [room.room_id],
        ).fetchall()
        counts = connection.execute(
            "select joined_members, invited_members from matriarch.rooms where room_id = %s", [room.room_id]
        ).fetchall()
        edges = connection.execute(
            """
            select e.event_id, array(select p.event_id from matriarch.events p
            where p.event_nid = any(e.prev_nids) order by 1)
            from matriarch.events e join matriarch.rooms r using (room_nid) where r.room_id = %s
            order by 1""",
            [room.room_id],
        ).fetchall()
    return {
        "events": events, "before": before, "heads": heads, "state": state, "members": members,
        "counts": counts,
        "edges": edges,
    }  # fmt: skip


def deliver(database, room, chance: random.Random):
    """Brings the events in a random order, in random batches, some of them twice, and again when something
    was missing."""
    waiting = list(room.pdus)
    chance.shuffle(waiting)
    for _ in range(1000):
        if not waiting:
            return
        batch = [waiting.pop() for _ in range(min(len(waiting), chance.randint(1, 12)))]
        doubled = batch + chance.sample(room.pdus, k=2) if chance.random() < 0.3 else batch
        by_id = {pdu.event_id: pdu for pdu in doubled}
        reports = receive(database, room, doubled)
        again = {report["event_id"] for report in reports if report["verdict"] == "needs"}
        assert not any(report["verdict"] == "refused" for report in reports), reports
        waiting += [by_id[event_id] for event_id in again if by_id[event_id] not in waiting]
        chance.shuffle(waiting)
    raise AssertionError("the room never became complete")


@pytest.mark.parametrize("version", ["11", "12"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_order_makes_the_same_room(cluster, seed, version):
    room, peers = random_room(seed, version)
    pictures = []
    for run in range(3):
        database = cluster.create_database()
        try:
            functions.initialize(database)
            for peer in peers:
                peer.publish(database)
            if run == 0:
                receive(database, room, room.pdus)
            else:
                deliver(database, room, random.Random(1000 * seed + run))
            pictures.append(picture(database, room))
            assert verify(database, room.room_id) == []
        finally:
            database.drop()
    # Where the last event was rejected, what fails softly is not behind it, and the heads are those of this
    # order.
    settled = dict(pictures[0]["events"])[room.pdus[-1].event_id] == "accepted"
    parts = pictures[0] if settled else ["events", "before", "edges"]
    for other in pictures[1:]:
        for part in parts:
            assert other[part] == pictures[0][part], part
    statuses = [status for _, status in pictures[0]["events"]]
    assert len(statuses) == len(room.pdus)
    assert pictures[0]["heads"] == [(room.pdus[-1].event_id,)]


def test_resolution_starts_from_the_definitions(database):
    """Conflicts found in the trie are those of whole states, and the auth difference is that of whole auth
    chains."""
    functions.initialize(database)
    room, peers = random_room(11, "11")
    for peer in peers:
        peer.publish(database)
    receive(database, room, room.pdus)
    merges = 0
    with database.connect() as connection:

        def rows(statement, *arguments):
            return connection.execute(statement, arguments).fetchall()

        for pdu in room.pdus:
            prev_events = pdu.json["prev_events"]
            states = [
                {(type, key): event for type, key, event in rows(
                    "select type, state_key, event_id from matrix.resolve_state(%s)", [prev])}
                for prev in prev_events
            ]  # fmt: skip
            keys = set().union(*states) if states else set()
            conflicts = {
                state[key]
                for key in keys
                if len({s.get(key) for s in states}) > 1
                for state in states
                if key in state
            }
            steps = rows("select phase, event_id from matrix.explain_resolution(%s)", pdu.event_id)
            assert {event for phase, event in steps if phase == "conflicted state"} == conflicts
            if not conflicts:
                continue
            merges += 1
            width = max(map(len, states))
            sets = [[*state.values(), *[None] * (width - len(state))] for state in states]
            difference = {event for (event,) in rows("select event_id from matrix.auth_difference(%s)", sets)}
            assert {event for phase, event in steps if phase == "auth difference"} == difference
    assert merges >= 2
