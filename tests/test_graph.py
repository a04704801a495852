"""The event graph of a room, as rows and as a picture."""

import json
import subprocess
import xml.etree.ElementTree as xml

from harness import process
from harness.peer import public_room, receive, verdicts

SVG = "{http://www.w3.org/2000/svg}"


def graph(database, room_id, *limit):
    """The rows of `matrix.room_graph` as the analysts' role gets them, as dicts by event id, in their
    order."""
    with database.connect("matriarch_readonly") as connection:
        placeholders = ", ".join(["%s"] * (1 + len(limit)))
        cursor = connection.execute(f"select * from matrix.room_graph({placeholders})", [room_id, *limit])
        columns = [column.name for column in cursor.description]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    return {row["event_id"]: row for row in rows}


def draw(database, room, *arguments, fails=None) -> str:
    finished = subprocess.run(
        [process.binary(), "graph", room, "--svg", *arguments],
        env=database.environment("matriarch_api"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    if fails is not None:
        assert finished.returncode != 0 and fails in finished.stderr, finished
    else:
        assert finished.returncode == 0, finished
    assert "panicked" not in finished.stderr
    return finished.stdout


def drawn(picture: str):
    """The groups of the picture that stand for events: by event id, the lines of the tooltip and the classes
    of the marks."""
    found = {}
    for group in xml.fromstring(picture).findall(f"{SVG}g"):
        lines = group.find(f"{SVG}title").text.split("\n")
        classes = {element.get("class") for element in group.iter()} - {None}
        assert lines[0] not in found
        found[lines[0]] = (lines[1:], classes)
    return found


def forked_room(rooms, peers):
    """A room with a fork, a merge, a soft-failed and a rejected event, and one that cites an event that is
    not here."""
    alice, bob = peers[0].user("alice"), peers[1].user("bob")
    room = public_room(alice, peers, users={bob: 50})
    joined = room.join(bob)
    left = room.make(alice, "m.room.topic", {"topic": "left"}, "", prev=[joined])
    right = room.make(bob, "m.room.message", {"body": "right"}, prev=[joined])
    merge = room.message(alice, prev=[left, right])
    rejected = room.make(bob, "m.room.power_levels", {"users": {bob: 100}}, "", prev=[merge])
    ban = room.send(alice, "m.room.member", {"membership": "ban"}, bob, prev=[merge])
    reports = receive(rooms, room, room.pdus)
    assert verdicts(reports) == ["accepted"] * 8 + ["rejected", "accepted"], reports
    soft_failed = room.make(bob, "m.room.message", {"body": "I stay"}, prev=[merge])
    assert verdicts(receive(rooms, room, [soft_failed])) == ["soft-failed"]
    # Never sent
    gap = room.make(alice, "m.room.message", {"body": "lost"}, prev=[ban])
    room.pdus.remove(gap)
    last = room.message(alice, prev=[gap], state=ban.state)
    states = {last.event_id: [pdu.event_id for pdu in last.state_before.values()]}
    reports = receive(rooms, room, [last], given_up={"prev_events": [gap.event_id]}, states=states)
    assert verdicts(reports) == ["accepted"], reports
    events = {
        "joined": joined,
        "merge": merge,
        "rejected": rejected,
        "ban": ban,
        "soft_failed": soft_failed,
        "gap": gap,
        "last": last,
    }
    return room, events


def test_rows_of_a_forked_room(rooms, peers):
    room, events = forked_room(rooms, peers)
    rows = graph(rooms, room.room_id)
    assert set(rows) == {pdu.event_id for pdu in room.pdus}
    for pdu in room.pdus:
        row = rows[pdu.event_id]
        assert row["type"] == pdu.json["type"] and row["state_key"] == pdu.json.get("state_key")
        assert row["sender"] == pdu.json["sender"] and row["depth"] == pdu.json["depth"]
        assert row["prev_events"] == pdu.json["prev_events"] and row["auth_events"] == pdu.json["auth_events"]
    by_name = {name: rows.get(pdu.event_id) for name, pdu in events.items()}
    assert by_name["rejected"]["status"] == "rejected" and "rule" in by_name["rejected"]["status_reason"]
    assert by_name["soft_failed"]["status"] == "soft-failed" and by_name["soft_failed"]["position"] is None
    assert {
        row["status"] for name, row in by_name.items() if row and name not in ("rejected", "soft_failed")
    } == {"accepted"}
    assert by_name["last"]["missing_prev_events"] == [events["gap"].event_id]
    assert all(row["missing_prev_events"] == [] for name, row in by_name.items() if row and name != "last")
    heads = {event_id for event_id, row in rows.items() if row["is_forward_extremity"]}
    assert heads == {events["ban"].event_id, events["last"].event_id}
    depths = [row["depth"] for row in rows.values()]
    assert depths == sorted(depths)


def test_the_newest_events_are_taken(rooms, peers):
    room, _events = forked_room(rooms, peers)
    newest = [pdu.event_id for pdu in room.pdus]
    for limit in (1, 3, 5, 1000):
        assert set(graph(rooms, room.room_id, limit)) == set(newest[-limit:])
    assert graph(rooms, room.room_id, 0) == {} == graph(rooms, room.room_id, -1)
    assert graph(rooms, "!nowhere:test.example") == {}


def test_forks_and_merges_are_found_by_sql(rooms, peers):
    room, events = forked_room(rooms, peers)
    forks = """
        with graph as materialized (select * from matrix.room_graph(%s))
        select prev.event_id, count(*)
        from graph cross join unnest(prev_events) as prev (event_id)
        group by 1 having count(*) > 1 order by count(*)"""
    with rooms.connect("matriarch_readonly") as connection:
        found = connection.execute(forks, [room.room_id]).fetchall()
        merges = "select event_id from matrix.room_graph(%s) where cardinality(prev_events) > 1"
        merged = connection.execute(merges, [room.room_id]).fetchall()
    assert found == [(events["joined"].event_id, 2), (events["merge"].event_id, 3)]
    assert merged == [(events["merge"].event_id,)]


def test_the_picture_shows_every_event(rooms, peers, tmp_path):
    room, events = forked_room(rooms, peers)
    picture = draw(rooms, room.room_id)
    groups = drawn(picture)
    assert set(groups) == {pdu.event_id for pdu in room.pdus} | {events["gap"].event_id}
    for pdu in room.pdus:
        lines, classes = groups[pdu.event_id]
        assert lines[0] == pdu.json["type"] and pdu.json["sender"] in lines
        assert ("state-type" in classes) == ("state_key" in pdu.json)
        short = f">{pdu.event_id[:9]}<"
        assert short in picture

    def marked(mark):
        return {event_id for event_id, (_, classes) in groups.items() if mark in classes}

    assert marked("rejected") == {events["rejected"].event_id}
    assert marked("soft-failed") == {events["soft_failed"].event_id}
    assert marked("missing") == {events["gap"].event_id}
    assert marked("extremity") == {events["ban"].event_id, events["last"].event_id}
    edges = [
        path for path in xml.fromstring(picture).findall(f"{SVG}path") if path.get("class").startswith("edge")
    ]
    assert len(edges) == sum(len(pdu.json["prev_events"]) for pdu in room.pdus)

    file = tmp_path / "graph.svg"
    assert draw(rooms, room.room_id, str(file)) == ""
    assert file.read_text() == picture
    few = drawn(draw(rooms, room.room_id, "--limit", "2"))
    assert len([lines for lines, _ in few.values() if lines[0].startswith("m.")]) == 2


def test_a_room_of_this_server_is_drawn_by_its_alias(node, shared_database):
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat", room_alias_name="graph")
    bob.join(room)
    said = bob.send(room, {"msgtype": "m.text", "body": "a\0b"})
    alice.send_state(room, "</text><script>", {}, "<&\"'")
    rows = graph(shared_database, room)
    groups = drawn(draw(shared_database, "#graph:test.example"))
    assert set(groups) == set(rows)
    assert rows[said]["prev_events"] and rows[said]["missing_prev_events"] == []
    everything = shared_database.query("select event_id from matrix.events where room_id = %s", [room])
    assert {event_id for (event_id,) in everything} == set(rows)


def test_rooms_that_are_not_there(shared_database, node):
    for room in ("!nowhere:test.example", "#nowhere:test.example", "", "'"):
        draw(shared_database, room, fails="does not know the room")
    draw(shared_database, "!nowhere:test.example", "--limit", "0", fails="--limit")


def test_times_beyond_any_calendar(rooms, peers):
    """Other servers may claim any time; nobody's query may fail for that."""
    alice = peers[0].user("alice")
    room = public_room(alice, peers)
    sane = room.message(alice)
    # So that a signature counts at any time.
    rooms.query("update matriarch.server_keys set valid_until_ts = 9007199254740992")
    wild = [room.message(alice, ts=ts) for ts in (-(2**53) + 1, 2**53 - 1)]
    room.send(alice, "m.room.member", {"membership": "join", "displayname": "Alice"}, alice, ts=-(2**53) + 1)
    assert verdicts(receive(rooms, room, room.pdus)) == ["accepted"] * len(room.pdus)
    with rooms.connect("matriarch_readonly") as connection:
        sent_at = "select event_id, sent_at is null from matrix.events where room_id = %s"
        found = dict(connection.execute(sent_at, [room.room_id]).fetchall())
        assert not found[sane.event_id] and found[wild[0].event_id]
        for statement, parameter in [
            ("select since from matrix.members where room_id = %s", room.room_id),
            ("select sent_at from matrix.current_state(%s)", room.room_id),
            ("select sent_at from matrix.state_at(%s)", wild[1].event_id),
            ("select sent_at from matrix.resolve_state(array[%s])", wild[1].event_id),
            ("select sent_at from matrix.room_graph(%s)", room.room_id),
        ]:
            # As text: the client's calendar ends before the database's.
            as_text = f"select sent_at::text from ({statement}) as t (sent_at)"
            assert connection.execute(as_text, [parameter]).fetchall(), statement
    assert len(drawn(draw(rooms, room.room_id))) == len(room.pdus)


def test_what_an_events_json_says(database):
    def fields(event):
        statement = "select f.state_key, f.prev_events, f.auth_events from matriarch.event_fields(%s) f"
        return database.query(statement, [event if isinstance(event, str) else json.dumps(event)])[0]

    assert fields({"state_key": "", "prev_events": ["$a", "$b"], "auth_events": []}) == ("", ["$a", "$b"], [])
    # Room versions 1 and 2
    assert fields({"prev_events": [["$a", {"sha256": "x"}]], "auth_events": [["$b", {}]]}) == (
        None,
        ["$a"],
        ["$b"],
    )
    assert fields({"state_key": "a\0b", "prev_events": ["$\0"], "content": {"x": 1e300}}) == (
        "a\ufffdb",
        ["$\ufffd"],
        [],
    )
    for other in ("", "[]", "{", "null"):
        assert fields(other) == (None, [], [])
