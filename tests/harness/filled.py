"""A small database with something in most tables, which the fixture `tests/fixtures/filled-VERSION.sql` keeps
for tests of upgrades. VERSION is that of the newest migration when it was written. A fixture stays when
migrations are added. In tests/,

    python -m harness.filled

writes the fixture of the present version."""

import json
import re

from . import process, schema
from .client import Client, new_txn_id, path
from .cluster import Cluster, Database
from .crypto import CrossSigning, Device, claim
from .node import Node
from .peer import Peer, public_room, receive, verdicts

FIXTURES = process.ROOT / "tests/fixtures"
NAMES = ("alice", "bob")
PASSWORD = "a password that only tests know"
BODIES = ("one", "two", "three")
NAME = "A filled room"


def fixtures() -> list[int]:
    """The versions that there are fixtures of."""
    return sorted(int(re.search(r"\d+", file.name).group()) for file in FIXTURES.glob("filled-*.sql"))


def fill(database: Database, node: Node):
    """Users, rooms, keys and what belongs to them, through the API; a remote room through intake."""
    alice, bob = (Client(node.url).register(username=name, password=PASSWORD) for name in NAMES)
    alice.put(path("profile", alice.user_id, "displayname"), {"displayname": "Alice"})
    for version in ("1", "10", "12"):
        room = alice.create_room(
            preset="public_chat", name=NAME, room_version=version, room_alias_name=f"room{version}"
        )
        bob.join(room)
        sent = [alice.send(room, body) for body in BODIES]
        alice.redact(room, alice.send(room, "to be redacted"))
        bob.post(path("rooms", room, "receipt", "m.read", sent[-1]), {})
        alice.put(path("user", alice.user_id, "rooms", room, "tags", "m.favourite"), {"order": 0.5})
    alice.put(path("user", alice.user_id, "account_data", "org.example.kept"), {"kept": True})
    alice.post(path("user", alice.user_id, "filter"), {"room": {"timeline": {"limit": 5}}})
    fill_keys(alice, bob)
    fill_remote_room(database)


def fill_keys(alice: Client, bob: Client):
    """Keys of devices, some handed out, a message to a device, and a backup."""
    for user in (alice, bob):
        device = Device(user)
        device.publish()
        fallback = {"signed_curve25519:FB": device.signed_key(fallback=True)}
        user.post("/keys/upload", {"one_time_keys": device.one_time_keys(3), "fallback_keys": fallback})
    claim(bob, alice)
    upload = CrossSigning(alice.user_id).upload()
    alice.post("/keys/device_signing/upload", upload)
    messages = {alice.user_id: {alice.device_id: {"body": "to a device"}}}
    bob.put(path("sendToDevice", "m.test", new_txn_id()), {"messages": messages})
    backup = alice.post("/room_keys/version", {"algorithm": "a", "auth_data": {"public_key": "k"}})["version"]
    key = {"first_message_index": 0, "forwarded_count": 0, "is_verified": True, "session_data": {"c": "t"}}
    alice.put("/room_keys/keys/!r:b/s", key, params={"version": backup})


def fill_remote_room(database: Database):
    """A room that forked and merged, with a rejected event, an outlier and a gap."""
    peers = [Peer("one.example"), Peer("two.example")]
    for peer in peers:
        peer.publish(database)
    creator, other = peers[0].user("carol"), peers[1].user("dan")
    room = public_room(creator, peers)
    room.join(other)
    fork = room.head
    branches = [room.make(user, "m.room.topic", {"topic": user}, "", prev=fork) for user in (creator, other)]
    room.head = branches[:1]
    room.message(creator, prev=branches)
    assert "rejected" in verdicts(receive(database, room, room.pdus))
    unseen = room.message(creator, "not received")
    after = room.make(creator, "m.room.message", {"msgtype": "m.text", "body": "after a gap"}, prev=[unseen])
    state = {after.event_id: [event.event_id for event in after.state_before.values()]}
    receive(database, room, [after], states=state, given_up={"prev_events": [unseen.event_id]})


def data(database: Database) -> str:
    """All rows as statements. Positions in the write-ahead log of this cluster mean nothing in another."""
    database.query("call matriarch.reset_sync_xids()", user="matriarch_admin")
    return schema.pg_dump(
        database,
        "--data-only", "--column-inserts", "--no-unlogged-table-data", "--schema", "matriarch",
    )  # fmt: skip


def restore(database: Database, version: int):
    """Makes the tables as they were at a version, and puts the rows of its fixture into them. The database is
    empty but for the extension."""
    with database.connect() as connection:
        connection.execute("set role matriarch_owner")
        connection.execute("set search_path to matriarch, pg_temp")
        for number, file in schema.migrations().items():
            if number <= version:
                connection.execute(file.read_text())
        connection.execute(
            "create table schema_history (version int4 primary key, name varchar(255),"
            " applied_on varchar(255), checksum varchar(255))"
        )
        connection.execute("reset role")
        # As a restore of a dump does: triggers wrote what they had to write when the rows were new.
        connection.execute("set session_replication_role = replica")
        connection.execute((FIXTURES / f"filled-{version}.sql").read_text())


def main():
    cluster = Cluster()
    try:
        cluster.start()
        cluster.make_template()
        database = cluster.create_database()
        node = Node(database, cluster.folder.path).start()
        try:
            fill(database, node)
        finally:
            node.stop()
        version = max(schema.migrations())
        (FIXTURES / f"filled-{version}.sql").write_text(data(database))
        counts = database.query(
            "select relname, n_live_tup from pg_stat_user_tables where schemaname = 'matriarch' order by 1"
        )
        print(json.dumps(dict(counts), indent=1))
    finally:
        cluster.remove()


if __name__ == "__main__":
    main()
