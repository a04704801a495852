"""Answers stay bounded, whatever was stored."""

import json

from harness.client import new_txn_id
from harness.functions import Request, User, send

MEBIBYTE = 1 << 20


def test_a_sync_is_cut_where_events_are_long(rooms):
    """The client gets the rest by paging back."""
    alice = User(rooms, "alice")
    long = json.dumps({"body": "x" * 60_000})
    names = [alice.create_room() for _ in range(5)]
    for room in names:
        requests = [Request(alice, "org.example", long, txn_id=new_txn_id()) for _ in range(130)]
        send(alice.connection, room, requests)
    filter = json.dumps({"room": {"timeline": {"limit": 1000}}})
    request = {"since": None, "filter": filter, "full_state": False, "use_state_after": False}
    request = json.dumps({**request, "unstable_use_state_after": False, "presence": False})
    statement = "select status, body from matriarch.sync(%s, %s)"
    ((status, body),) = alice.connection.execute(statement, [[alice.token_hash], [request]]).fetchall()
    assert status == 200
    assert MEBIBYTE < len(body) < 40 * MEBIBYTE
    answer = json.loads(body)
    for room in names:
        timeline = answer["rooms"]["join"][room]["timeline"]
        assert timeline["limited"]
        statement = "select status, body from matriarch.messages(%s, %s, %s, null, 'b', 1, null, false)"
        arguments = [alice.token_hash, room, timeline["prev_batch"]]
        ((status, body),) = alice.connection.execute(statement, arguments).fetchall()
        (event,) = json.loads(body)["chunk"]
        assert status == 200 and event["type"] == "org.example"
        assert event["event_id"] not in {shown["event_id"] for shown in timeline["events"]}
