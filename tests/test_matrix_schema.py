"""The schema `matrix`: what analysts see of rooms."""

import json


def rows(database, statement, *parameters):
    """Rows as the analysts' role gets them."""
    return database.query(statement, parameters, user="matriarch_readonly")


def test_a_room_and_its_members_are_rows(node, shared_database):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat", name="Elephants", topic="Trunks")
    bob.join(room)
    found = rows(
        shared_database,
        "select name, topic, creator, join_rule, history_visibility, room_version, joined_members "
        "from matrix.rooms where room_id = %s",
        room,
    )
    assert found == [("Elephants", "Trunks", alice.user_id, "public", "shared", "12", 2)]
    bob.leave(room)
    members = rows(
        shared_database,
        "select user_id, membership, sender from matrix.members where room_id = %s order by 2",
        room,
    )
    assert members == [(alice.user_id, "join", alice.user_id), (bob.user_id, "leave", bob.user_id)]


def test_events_have_content_where_jsonb_can_hold_it(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room(preset="private_chat")
    plain = alice.send(room, {"msgtype": "m.text", "body": "hello", "number": 5})
    nul = alice.send(room, {"msgtype": "m.text", "body": "a\0b"})
    select = "select type, sender, state_key, status, content, json from matrix.events where event_id = %s"
    ((event_type, sender, state_key, status, content, text),) = rows(shared_database, select, plain)
    assert (event_type, sender, state_key, status) == ("m.room.message", alice.user_id, None, "accepted")
    assert content == {"msgtype": "m.text", "body": "hello", "number": 5}
    assert json.loads(text)["content"] == content
    ((*_, content, text),) = rows(shared_database, select, nul)
    assert content is None
    assert json.loads(text)["content"]["body"] == "a\0b"


def test_redactions_show(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room(preset="private_chat")
    event_id = alice.send(room, "secret")
    redaction = alice.redact(room, event_id)
    select = "select redacted_by, content from matrix.events where event_id = %s"
    assert rows(shared_database, select, event_id) == [(redaction, {})]


def test_current_state_and_state_at(node, shared_database):
    alice = node.register("alice")
    room = alice.create_room(preset="private_chat", name="First")
    before = alice.send(room, "one")
    second = alice.send_state(room, "m.room.name", {"name": "Second"})
    after = alice.send(room, "two")

    def name(statement, parameter):
        return [
            content["name"]
            for type, content in rows(shared_database, statement, parameter)
            if type == "m.room.name"
        ]

    assert name("select type, content from matrix.current_state(%s)", room) == ["Second"]
    assert name("select type, content from matrix.state_at(%s)", before) == ["First"]
    # The state before the event that changes it
    assert name("select type, content from matrix.state_at(%s)", second) == ["First"]
    assert name("select type, content from matrix.state_at(%s)", after) == ["Second"]
    both = "(select event_id from matrix.state_at(%s)) except (select event_id from matrix.current_state(%s))"
    assert rows(shared_database, both, after, room) == []
    ((first,),) = rows(
        shared_database,
        "select event_id from matrix.events where room_id = %s and type = 'm.room.create'",
        room,
    )
    assert rows(shared_database, "select * from matrix.state_at(%s)", first) == []


def test_check_auth_tells_the_verdict_and_the_rule(node, shared_database):
    alice, bob, eve = node.register("alice"), node.register("bob"), node.register("eve")
    room = alice.create_room(preset="public_chat")
    bob.join(room)

    def check(sender, **event):
        event = {"room_id": room, "sender": sender.user_id, "content": {}, **event}
        return rows(shared_database, "select * from matrix.check_auth(%s)", json.dumps(event))[0]

    count = "select count(*) from matrix.events where room_id = %s"
    before = rows(shared_database, count, room)
    allowed, rule, reason, auth_events = check(bob, type="m.room.message")
    assert (allowed, rule, reason) == (True, None, None)
    assert auth_events
    allowed, rule, reason, _ = check(bob, type="m.room.topic", state_key="", content={"topic": "x"})
    assert allowed is False and rule and reason
    allowed, rule, reason, _ = check(eve, type="m.room.message")
    assert allowed is False and rule and reason
    # Nothing was stored.
    assert rows(shared_database, count, room) == before


def test_analysts_can_only_read(shared_database):
    granted = """
        select table_schema, table_name, privilege_type from information_schema.table_privileges
        where grantee in ('matriarch_readonly', 'PUBLIC') and table_schema in ('matriarch', 'matrix')
          and (privilege_type <> 'SELECT' or table_schema = 'matriarch')"""
    assert shared_database.query(granted) == []
