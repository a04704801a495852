"""Appending events: many writers, idempotency, what is refused, redactions, what is computed of an event."""

import itertools
import json
import random
import threading

import pytest

from harness import functions
from harness.functions import Refused, Request, User, send, state_content, stored_event, try_send

VERSIONS = [str(version) for version in range(1, 13)]


def events_of(database, room):
    """The timeline's rows as dicts."""
    with database.connect() as connection:
        cursor = connection.execute(
            """
            select e.event_id, e.pos, e.depth, e.prev_nids, e.auth_nids, e.event_nid, e.type, e.notifies,
            e.notify_seq,
                e.mentions, e.thread_root_nid, e.redacted_by, e.json
            from matriarch.events e join matriarch.rooms r using (room_nid)
            where r.room_id = %s order by e.pos""",
            [room],
        )
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def event_row(database, event_id):
    statement = (
        "select r.room_id from matriarch.events e join matriarch.rooms r using (room_nid) "
        "where e.event_id = %s"
    )
    room = database.query(statement, [event_id])[0][0]
    return next(event for event in events_of(database, room) if event["event_id"] == event_id)


def refused(status, errcode, call, *arguments, **options):
    with pytest.raises(Refused) as caught:
        call(*arguments, **options)
    assert (caught.value.status, caught.value.errcode) == (status, errcode), caught.value
    return caught.value


@pytest.mark.parametrize("version", VERSIONS)
def test_a_room_of_every_version(rooms, version):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    room = alice.create_room(room_version=version, preset="public_chat", name="A room", topic="To try things")
    bob.join(room)
    event_id = bob.send(room, "hi")
    event = stored_event(rooms, event_id)
    assert event["sender"] == bob.user_id
    assert event["content"] == {"msgtype": "m.text", "body": "hi"}
    assert "unsigned" not in event
    events = events_of(rooms, room)
    assert [event["depth"] for event in events] == list(range(1, len(events) + 1))
    for before, after in itertools.pairwise(events):
        assert after["prev_nids"] == [before["event_nid"]]
        assert after["pos"] - before["pos"] == 2**20
        assert all(auth < after["event_nid"] for auth in after["auth_nids"])
        cited = json.loads(after["json"])["prev_events"]
        assert [cited[0][0] if version in ("1", "2") else cited[0]] == [before["event_id"]]
    if version == "12":
        assert room == "!" + events[0]["event_id"][1:]
        assert "room_id" not in json.loads(events[0]["json"])
    else:
        assert room.endswith(":test.example")


def test_many_writers_in_one_room(rooms):
    """Depths are distinct, there is one extremity, and the counters are right."""
    writers = [User(rooms, f"writer{number}") for number in range(8)]
    room = writers[0].create_room(preset="public_chat")
    for writer in writers[1:]:
        writer.join(room)
    before = len(events_of(rooms, room))
    failures = []

    def write(writer, seed):
        rng = random.Random(seed)
        try:
            for number in range(25):
                kind = rng.randrange(4)
                if kind == 0:
                    requests = [
                        Request(writer, "m.room.message", {"body": "b"}, txn_id=f"{seed}.{number}.{i}")
                        for i in range(5)
                    ]
                    send(writer.connection, room, requests)
                elif kind == 1 and writer is writers[0]:
                    writer.send_state(room, "m.room.topic", {"topic": f"{number}"})
                else:
                    writer.send(room)
        except Exception as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(writer, seed)) for seed, writer in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    events = events_of(rooms, room)
    assert len(events) > before + 200
    assert [event["depth"] for event in events] == list(range(1, len(events) + 1))
    for earlier, later in itertools.pairwise(events):
        assert later["prev_nids"] == [earlier["event_nid"]]
    statement = (
        "select forward_extremities, depth, joined_members, notify_seq from matriarch.rooms "
        "where room_id = %s"
    )
    extremities, depth, joined, notify_seq = rooms.query(statement, [room])[0]
    assert extremities == [events[-1]["event_nid"]]
    assert depth == len(events)
    assert joined == len(writers)
    assert notify_seq == sum(event["notifies"] for event in events)


def test_current_state_agrees_with_the_trie(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room(preset="public_chat")
    for number in range(40):
        alice.send_state(room, "org.example.key", {"number": number}, state_key=str(number % 35))
    trie, flat = rooms.query(
        """
        select array(select event_nid from matriarch.state_entries(r.current_root) order by 1),
            array(select current_event_nid from matriarch.room_state_keys k where k.room_nid = r.room_nid
            order by 1)
        from matriarch.rooms r where r.room_id = %s""",
        [room],
    )[0]
    assert trie == flat and len(trie) > 35


# Transaction ids


def test_sending_is_idempotent_at_the_same_moment(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room()
    connections = [rooms.connect("matriarch_api") for _ in range(2)]
    for number in range(30):
        ids = [None, None]
        barrier = threading.Barrier(2)

        def write(place):
            barrier.wait()
            ids[place] = alice.on(connections[place]).send(room, "once", txn_id=f"same{number}")

        threads = [threading.Thread(target=write, args=(place,)) for place in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ids[0] == ids[1] and ids[0]
    assert sum(event["type"] == "m.room.message" for event in events_of(rooms, room)) == 30


def test_idempotency_within_a_batch_and_its_scope(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    room, other = alice.create_room(preset="public_chat"), alice.create_room()
    bob.join(room)
    first, again, other_type, other_user = send(
        alice.connection,
        room,
        [
            Request(alice, "m.room.message", {"body": "1"}, txn_id="t"),
            Request(alice, "m.room.message", {"body": "2"}, txn_id="t"),
            Request(alice, "org.example.type", {"body": "3"}, txn_id="t"),
            Request(bob, "m.room.message", {"body": "4"}, txn_id="t"),
        ],
    )
    assert first == again
    assert len({first["event_id"], other_type["event_id"], other_user["event_id"]}) == 3
    assert alice.send(other, "5", txn_id="t") != first["event_id"]
    assert alice.send(room, "6", txn_id="t") == first["event_id"]
    targets = [alice.send(room), alice.send(room)]
    redactions = [alice.redact(room, target, txn_id="r") for target in targets]
    assert redactions[0] != redactions[1]
    assert [alice.redact(room, target, txn_id="r") for target in targets] == redactions


def test_a_refused_request_leaves_the_batch_alone(rooms):
    alice, stranger = User(rooms, "alice"), User(rooms, "stranger")
    room = alice.create_room()
    before = len(events_of(rooms, room))
    answers = try_send(
        alice.connection,
        room,
        [
            Request(alice, "m.room.message", {"body": "1"}, txn_id="1"),
            Request(stranger, "m.room.message", {"body": "2"}, txn_id="2"),
            Request(alice, "m.room.message", "not json", txn_id="3"),
            Request(alice, "m.room.message", '{"body": 1.5}', txn_id="4"),
            Request(alice, "m.room.topic", {"topic": "x"}, state_key=""),
            Request(alice, "m.room.message", {"body": "6"}, txn_id="6"),
        ],
    )
    kinds = [(a.status, a.errcode) if isinstance(a, Refused) else "event_id" in a for a in answers]
    assert kinds == [True, (403, "M_FORBIDDEN"), (400, "M_NOT_JSON"), (400, "M_BAD_JSON"), True, True]
    assert len(events_of(rooms, room)) == before + 3
    assert state_content(rooms, room, "m.room.topic") == {"topic": "x"}


# What is refused


def test_a_batch_for_several_rooms(rooms):
    """Each room gets its own in order, whatever they are: messages wait in memory for each other, state does
    not."""
    alice = User(rooms, "alice")
    ids = [alice.create_room() for _ in range(3)]
    old = [alice.send(room) for room in ids]
    requests = []
    for number in range(4):
        for room, target in zip(ids, old, strict=True):
            request = Request(alice, "m.room.message", {"body": str(number)}, txn_id=f"{room}{number}")
            if number == 1:
                request = Request(alice, "m.room.topic", {"topic": room}, state_key="")
            elif number == 2:
                request = Request(alice, "m.room.redaction", {}, txn_id=f"{room}{number}", redacts=target)
            requests.append((room, request))
    answers = [
        answer["event_id"]
        for answer in try_send(alice.connection, [room for room, _ in requests], [r for _, r in requests])
    ]
    for place, room in enumerate(ids):
        events = events_of(rooms, room)
        assert [event["event_id"] for event in events[-4:]] == answers[place::3]
        assert [event["prev_nids"] for event in events[1:]] == [[event["event_nid"]] for event in events[:-1]]
        assert (
            next(event for event in events if event["event_id"] == old[place])["redacted_by"]
            == events[-2]["event_nid"]
        )
        assert state_content(rooms, room, "m.room.topic") == {"topic": room}


def test_unknown_token_and_unknown_room(rooms):
    alice = User(rooms, "alice")
    refused(403, "M_FORBIDDEN", alice.send, "!nowhere:test.example")
    alice.token_hash = bytes(32)
    refused(401, "M_UNKNOWN_TOKEN", alice.send, "!nowhere:test.example")


@pytest.mark.parametrize("version", ["1", "5", "6", "10", "12"])
def test_refusals_by_power_and_membership(rooms, version):
    alice, bob, stranger = (User(rooms, name) for name in ("alice", "bob", "stranger"))
    room = alice.create_room(room_version=version, preset="public_chat")
    bob.join(room)
    refused(403, "M_FORBIDDEN", stranger.send, room)
    refused(403, "M_FORBIDDEN", bob.send_state, room, "m.room.topic", {"topic": "mine"})
    refused(403, "M_FORBIDDEN", alice.send_state, room, "org.example", {}, state_key=bob.user_id)
    refused(403, "M_FORBIDDEN", alice.send_state, room, "m.room.create", {"room_version": version})
    refused(403, "M_FORBIDDEN", alice.send, room, {"membership": "join"}, "m.room.member")
    refused(
        403,
        "M_FORBIDDEN",
        alice.send_state,
        room,
        "m.room.member",
        {"membership": "join"},
        state_key=stranger.user_id,
    )
    levels = state_content(rooms, room, "m.room.power_levels")
    levels["users"][bob.user_id] = 50
    alice.send_state(room, "m.room.power_levels", levels)
    bob.send_state(room, "m.room.topic", {"topic": "mine"})
    levels["users"][bob.user_id] = 100
    refused(403, "M_FORBIDDEN", bob.send_state, room, "m.room.power_levels", levels)
    levels["users"][bob.user_id] = "50"
    refused(400, "M_BAD_JSON", alice.send_state, room, "m.room.power_levels", levels)


def test_format_limits(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room()
    refused(413, "M_TOO_LARGE", alice.send, room, "x" * 65_536)
    refused(413, "M_TOO_LARGE", alice.send, room, {}, "t" * 256)
    refused(413, "M_TOO_LARGE", alice.send_state, room, "org.example", {}, state_key="k" * 256)
    refused(413, "M_TOO_LARGE", alice.send_state, room, "org.example", {}, state_key="é" * 128)
    alice.send_state(room, "t" * 255, {}, state_key="k" * 255)
    alice.send(room, "x" * 64_000)
    for number in ("1.5", "1e3", "9007199254740992", "-9007199254740992", "1e400", "-0.0"):
        error = "M_NOT_JSON" if number == "1e400" else "M_BAD_JSON"
        answers = try_send(
            alice.connection, room, [Request(alice, "m.room.message", f'{{"n": {number}}}', txn_id=number)]
        )
        assert isinstance(answers[0], Refused) and (answers[0].status, answers[0].errcode) == (400, error), (
            number
        )
    for text in ('{"a": 1, "a": 2}', '{"a": ' * 200 + "1" + "}" * 200, "[]", '"text"'):
        answers = try_send(alice.connection, room, [Request(alice, "m.room.message", text, txn_id="bad")])
        assert (answers[0].status, answers[0].errcode) == (400, "M_BAD_JSON"), text[:20]
    refused(400, "M_INVALID_PARAM", alice.send, room, txn_id="t" * 1000)


def test_old_rooms_take_what_canonical_json_does_not(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room(room_version="5")
    answer = send(alice.connection, room, [Request(alice, "m.room.message", '{"n": 1.5}', txn_id="1")])[0]
    assert stored_event(rooms, answer["event_id"])["content"] == {"n": 1.5}


def test_nul_in_a_body_is_kept(rooms):
    alice = User(rooms, "alice")
    alice.set_profile(displayname="nul\0nul")
    room = alice.create_room()
    event_id = alice.send(room, "before\0after")
    assert stored_event(rooms, event_id)["content"]["body"] == "before\0after"
    mentions = {"user_ids": ["@a\0b:test.example", "@a:test.example"]}
    event_id = alice.send(
        room,
        {"body": "", "m.mentions": mentions, "m.relates_to": {"rel_type": "m.thread", "event_id": "$\0"}},
    )
    assert event_row(rooms, event_id)["mentions"] == ["@a:test.example"]
    alice.send_state(
        room, "m.room.member", {"membership": "join", "displayname": "a\0b"}, state_key=alice.user_id
    )


def test_the_same_state_again_is_the_same_event(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room()
    first = alice.send_state(room, "m.room.topic", {"topic": "x", "more": [1, {"a": None}]})
    assert alice.send_state(room, "m.room.topic", {"more": [1, {"a": None}], "topic": "x"}) == first
    assert alice.send_state(room, "m.room.topic", {"topic": "y"}) != first


def test_sessions_do_not_remember_what_was_redacted(rooms):
    alice = User(rooms, "alice")
    elsewhere = alice.on(rooms.connect("matriarch_api"))
    room = alice.create_room()
    first = alice.send_state(room, "org.example", {"a": 1})
    for session in (alice, elsewhere):
        session.send(room)
        assert session.send_state(room, "org.example", {"a": 1}) == first
    alice.redact(room, first)
    assert elsewhere.send_state(room, "org.example", {"a": 1}) != first


def test_aliases_in_canonical_alias_must_point_here(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room(room_alias_name="here", preset="public_chat")
    other = alice.create_room(room_alias_name="there")
    here, there = "#here:test.example", "#there:test.example"
    set_alias = lambda content: alice.send_state(room, "m.room.canonical_alias", content)
    refused(400, "M_BAD_ALIAS", set_alias, {"alias": there})
    refused(400, "M_BAD_ALIAS", set_alias, {"alias": here, "alt_aliases": ["#no:test.example"]})
    refused(400, "M_INVALID_PARAM", set_alias, {"alias": "nonsense"})
    refused(400, "M_INVALID_PARAM", set_alias, {"alias": "#a\0b:test.example"})
    refused(400, "M_BAD_JSON", set_alias, {"alias": 1})
    set_alias({"alias": here, "alt_aliases": [here]})
    rooms.query("delete from matriarch.room_aliases where room_alias = %s returning 1", [here])
    set_alias({"alt_aliases": [here]})
    set_alias({})
    assert other != room


def test_server_acl_must_be_well_formed(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room()
    for content in ({"allow": "*"}, {"allow": [1]}, {"deny": {}}, {"allow_ip_literals": "no"}):
        refused(400, "M_BAD_JSON", alice.send_state, room, "m.room.server_acl", content)
    alice.send_state(room, "m.room.server_acl", {"allow": ["*"], "deny": [], "allow_ip_literals": False})


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_server_acl_must_not_deny_this_server(rooms, version):
    alice = User(rooms, "alice")
    room = alice.create_room(room_version=version)
    for content in (
        {},
        {"allow": []},
        {"allow": ["*"], "deny": ["*"]},
        {"allow": ["*"], "deny": ["TEST.example"]},
        {"allow": ["*.org"]},
        {"m.room.server_acl": {"allow": ["*"]}},
    ):
        refused(400, "M_BAD_JSON", alice.send_state, room, "m.room.server_acl", content)
        initial_state = [{"type": "m.room.server_acl", "content": content}]
        refused(400, "M_BAD_JSON", alice.create_room, room_version=version, initial_state=initial_state)
    old = alice.send_state(room, "m.room.server_acl", {"allow": ["*"]})
    current = alice.send_state(room, "m.room.server_acl", {"allow": ["*"], "deny": ["evil.example"]})
    refused(403, "M_FORBIDDEN", alice.redact, room, current)
    alice.redact(room, old)


def test_a_room_cannot_replace_itself(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room()
    content = {"body": "Over there", "replacement_room": room}
    refused(400, "M_INVALID_PARAM", alice.send_state, room, "m.room.tombstone", content)
    alice.send_state(room, "m.room.tombstone", {**content, "replacement_room": alice.create_room()})


# Redactions


@pytest.mark.parametrize("version", VERSIONS)
def test_redaction(rooms, version):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    room = alice.create_room(room_version=version, preset="public_chat")
    bob.join(room)
    secret = bob.send(
        room, {"msgtype": "m.text", "body": "secret", "m.mentions": {"user_ids": [alice.user_id]}}
    )
    redaction = alice.redact(room, secret, reason="spam")
    event = stored_event(rooms, secret)
    assert event["content"] == {}
    assert {"hashes", "signatures", "auth_events", "prev_events", "depth", "origin_server_ts"} <= set(event)
    row = event_row(rooms, secret)
    assert row["redacted_by"] == event_row(rooms, redaction)["event_nid"]
    assert row["mentions"] is None and not row["notifies"]
    stored = stored_event(rooms, redaction)
    assert stored["content"]["reason"] == "spam"
    where = stored["content"] if int(version) >= 11 else stored
    assert where["redacts"] == secret
    assert ("redacts" in stored) == (int(version) < 11)
    again = alice.redact(room, secret)
    assert again != redaction and event_row(rooms, secret)["redacted_by"] == row["redacted_by"]
    theirs = alice.send(room)
    if int(version) >= 3:
        refused(403, "M_FORBIDDEN", bob.redact, room, theirs)
    own = bob.send(room)
    bob.redact(room, own)
    by_send = bob.send(room, {"redacts": bob.send(room), "reason": "mine"}, type="m.room.redaction")
    stored = stored_event(rooms, by_send)
    assert ("redacts" in stored["content"]) == (int(version) >= 11) and stored["content"]["reason"] == "mine"
    refused(400, "M_MISSING_PARAM", bob.send, room, {}, "m.room.redaction")
    refused(400, "M_BAD_JSON", bob.redact, room, own, reason=1)
    refused(404, "M_NOT_FOUND", bob.redact, room, "$nothing")
    # As state, nobody would check it.
    refused(400, "M_INVALID_PARAM", alice.send_state, room, "m.room.redaction", {"redacts": theirs})
    refused(403, "M_FORBIDDEN", User(rooms, "stranger").redact, room, "$nothing")
    refused(404, "M_NOT_FOUND", bob.redact, room, alice.send(alice.create_room(room_version=version)))


def test_redacted_membership_keeps_its_place(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    bob.set_profile(displayname="Bob", avatar_url="mxc://test.example/bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    members = """
        select m.membership, m.display_name, m.avatar_url, e.event_id
        from matriarch.memberships m join matriarch.users u using (user_nid)
        join matriarch.events e using (event_nid)
        where u.user_id = %s"""
    (membership, name, avatar, event_id) = rooms.query(members, [bob.user_id])[0]
    assert (membership, name, avatar) == ("join", "Bob", "mxc://test.example/bob")
    alice.redact(room, event_id)
    assert rooms.query(members, [bob.user_id]) == [("join", None, None, event_id)]
    assert state_content(rooms, room, "m.room.member", bob.user_id) == {"membership": "join"}
    bob.send(room, "still here")


# What is computed of an event


def test_what_notifies(rooms):
    alice = User(rooms, "alice")
    room = alice.create_room()
    root = alice.send(room, "root")
    counted = event_row(rooms, root)["notify_seq"]
    relation = lambda kind: {"m.relates_to": {"rel_type": kind, "event_id": root}}
    cases = [
        ({"msgtype": "m.text", "body": ""}, "m.room.message", True, 1),
        ({"msgtype": "m.notice", "body": ""}, "m.room.message", False, 0),
        ({"algorithm": "x"}, "m.room.encrypted", True, 1),
        ({"body": "", **relation("m.replace")}, "m.room.message", False, 0),
        ({"body": "", **relation("m.replace")}, "m.room.encrypted", False, 0),
        ({"body": "", **relation("m.thread")}, "m.room.message", True, 0),
        (relation("m.annotation"), "m.reaction", False, 0),
        ({}, "org.example", False, 0),
    ]
    for content, type, notifies, count in cases:
        row = event_row(rooms, alice.send(room, content, type))
        counted += count
        assert (row["notifies"], row["notify_seq"]) == (notifies, counted), content
        in_thread = content.get("m.relates_to", {}).get("rel_type") == "m.thread"
        assert (row["thread_root_nid"] is not None) == in_thread


def test_threads(rooms):
    alice = User(rooms, "alice")
    room, other = alice.create_room(), alice.create_room()
    thread = lambda root: {"body": "", "m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    root = alice.send(room)
    reply = alice.send(room, thread(root))
    assert event_row(rooms, reply)["thread_root_nid"] == event_row(rooms, root)["event_nid"]
    refused(400, "M_UNKNOWN", alice.send, room, thread(reply))
    assert event_row(rooms, alice.send(other, thread(root)))["thread_root_nid"] is None
    assert event_row(rooms, alice.send(room, thread("$unknown")))["thread_root_nid"] is None


def test_mentions(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    mention = lambda user, content: event_row(rooms, user.send(room, {"body": "", "m.mentions": content}))[
        "mentions"
    ]
    assert mention(alice, {"user_ids": [bob.user_id, "nobody", 1, bob.user_id], "room": False}) == [
        bob.user_id
    ]
    assert mention(alice, {"room": True}) == ["@room"]
    assert mention(bob, {"room": True}) is None
    assert mention(bob, {"room": True, "user_ids": [alice.user_id]}) == [alice.user_id]
    assert mention(bob, []) is None and mention(bob, {"user_ids": "x"}) is None


def test_who_is_woken(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    room = alice.create_room()
    room_nid = rooms.query("select room_nid from matriarch.rooms where room_id = %s", [room])[0][0]
    bob_nid = rooms.query("select user_nid from matriarch.users where user_id = %s", [bob.user_id])[0][0]
    answer = send(alice.connection, room, [Request(alice, "m.room.message", {}, txn_id="1")])[0]
    assert (answer.wake_rooms, answer.wake_users) == ([room_nid], [])
    answer = alice.invite(room, bob)
    assert (answer.wake_rooms, answer.wake_users) == ([room_nid], [bob_nid])


def test_check_auth_tells_the_rule(rooms):
    alice, bob = User(rooms, "alice"), User(rooms, "bob")
    room = alice.create_room(preset="public_chat")
    check = lambda **event: rooms.query(
        "select * from matriarch.check_auth(%s)", [json.dumps({"room_id": room, **event})]
    )[0]
    event = {"type": "m.room.message", "content": {}}
    assert check(sender=alice.user_id, **event)[0]
    allowed, rule, reason, auth_events = check(sender=bob.user_id, **event)
    assert (allowed, rule) == (False, "6") and reason and len(auth_events) == 1
    join = {"type": "m.room.member", "state_key": bob.user_id, "content": {"membership": "join"}}
    assert check(sender=bob.user_id, **join)[0]
    assert check(sender=bob.user_id, **join)[3]
    assert check(sender=alice.user_id, **join)[:2] == (False, "5.3.2")
    assert rooms.query("select allowed, reason from matriarch.check_auth('[]')")[0][0] is False
    assert rooms.query("""select allowed from matriarch.check_auth('{"room_id": "!x"}')""") == [(False,)]


def test_initialize_is_once_and_for_all(rooms):
    functions.initialize(rooms)
    assert rooms.query("select count(*) from matriarch.signing_keys") == [(1,)]
    with pytest.raises(Exception, match="belongs to the server"):
        rooms.query("select matriarch.initialize('other.example')")
    with pytest.raises(Exception, match="not a server name"):
        rooms.query("select matriarch.initialize('other example')")
