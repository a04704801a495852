"""After a crash or a restore: what was undone is not taken for what came after it. A base backup, restored to
the time that it was taken at, begins a new timeline, as a failover to a standby that lags does."""

import shutil
import signal
import subprocess

import httpx
import pytest

from harness import process
from harness.client import Client, new_txn_id, path, timeline
from harness.cluster import Cluster, Database
from harness.crypto import Device, claim

FILLER = "select pg_current_xact_id()"


def base_backup(cluster: Cluster, name: str):
    """Takes a base backup, and returns its folder."""
    folder = cluster.folder.owned(name)
    command = [
        cluster.bin / "pg_basebackup",
        "-h",
        cluster.socket_folder,
        "-p",
        str(cluster.port),
        "-U",
        "postgres",
    ]
    finished = subprocess.run(
        [str(part) for part in [*command, "-D", folder, "-X", "stream", "-c", "fast"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **(
            {}
            if cluster.user is None
            else {"user": cluster.user.pw_uid, "group": cluster.user.pw_gid, "extra_groups": []}
        ),
    )
    assert finished.returncode == 0, finished.stdout
    return folder


def restore(cluster: Cluster, backup, recover: bool = True):
    """Puts the backup in the place of the data; with `recover` on a new timeline."""
    cluster.stop()
    shutil.rmtree(cluster.data)
    shutil.move(backup, cluster.data)
    if recover:
        (cluster.data / "recovery.signal").touch()
        with (cluster.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(
                "restore_command = 'false'\nrecovery_target = 'immediate'\nrecovery_target_action "
                "= 'promote'\n"
            )
    cluster.start()
    with cluster.connect("postgres") as connection:
        while connection.execute("select pg_is_in_recovery()").fetchone()[0]:
            pass


def send_to(sender: Client, receiver: Client, body: str):
    messages = {receiver.user_id: {receiver.device_id: {"body": body}}}
    sender.put(path("sendToDevice", "m.test", new_txn_id()), {"messages": messages})


def burn_transaction_ids(database: Database, count: int = 200):
    with database.connect() as connection:
        for _ in range(count):
            connection.execute(FILLER)


@pytest.fixture
def world(own_cluster, start_nodes):
    """A database of a cluster that may be broken, a node, and two users who share a room."""
    database = own_cluster.create_database()
    (node,) = start_nodes(database)
    alice, bob = node.register("alice"), node.register("bob")
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    return database, alice, bob, room


@pytest.mark.allow_errors("the database is away for a while")
def test_one_time_keys_that_may_have_been_handed_out_never_are_again(own_cluster, world):
    _, alice, bob, _ = world
    device = Device(alice)
    before = device.one_time_keys(6)
    fallback = {"signed_curve25519:FB": device.signed_key(fallback=True)}
    alice.post("/keys/upload", {"one_time_keys": before, "fallback_keys": fallback})
    handed_out = claim(bob, alice)
    backup = base_backup(own_cluster, "backup")
    for _ in range(3):
        handed_out |= claim(bob, alice)
    assert len(handed_out) == 4
    restore(own_cluster, backup)

    # Two of the six were never handed out. Nobody can tell which.
    assert alice.sync()["device_one_time_keys_count"] == {"signed_curve25519": 0}
    assert claim(bob, alice) == fallback
    # The client uploads anew, and may repeat what it uploaded before.
    after = device.one_time_keys(2)
    counts = alice.post("/keys/upload", {"one_time_keys": {**before, **after}})["one_time_key_counts"]
    assert counts == {"signed_curve25519": 2}
    assert claim(bob, alice) | claim(bob, alice) == after
    assert claim(bob, alice) == fallback


@pytest.mark.allow_errors("the database is away for a while")
@pytest.mark.parametrize("recover", [True, False], ids=["on a new timeline", "as a plain copy"])
def test_a_token_of_a_lost_future_has_seen_nothing_of_the_present(own_cluster, world, recover):
    database, alice, bob, room = world
    early = bob.sync()["next_batch"]
    backup = base_backup(own_cluster, "backup")
    alice.send(room, "lost")
    send_to(alice, bob, "lost")
    burn_transaction_ids(database)
    lost = bob.sync()["next_batch"]
    restore(own_cluster, backup, recover)
    # Those ids are given out again.
    event_id = alice.send(room, "after the restore")
    Device(alice).publish()
    send_to(alice, bob, "after the restore")
    burn_transaction_ids(database, 400)
    for since in (early, lost):
        answer = bob.sync(since)
        assert [event["event_id"] for event in timeline(answer, room)] == [event_id]
        assert answer["device_lists"]["changed"] == [alice.user_id]
        assert [event["content"]["body"] for event in answer["to_device"]["events"]] == ["after the restore"]
    # From here on all is as ever.
    since = answer["next_batch"]
    assert timeline(bob.sync(since), room) == []
    event_id = alice.send(room, "and on")
    assert [event["event_id"] for event in timeline(bob.sync(since), room)] == [event_id]


@pytest.mark.allow_errors("the database is away for a while")
def test_tokens_outlive_restarts_and_crashes(own_cluster, world):
    database, alice, bob, room = world
    sent = []
    # Tokens, with the number of messages that they have seen.
    tokens = [(bob.sync()["next_batch"], 0)]
    for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGQUIT, signal.SIGINT):
        own_cluster.restart(how)
        tokens.append((bob.sync()["next_batch"], len(sent)))
        sent.append(alice.send(room, "on"))
        tokens.append((bob.sync()["next_batch"], len(sent)))
    for token, seen in tokens:
        assert [event["event_id"] for event in timeline(bob.sync(token), room)] == sent[seen:]
    assert database.query("select count(*) from matriarch.generations") == [(5,)]


def test_tokens_of_other_clusters_are_refused(node):
    alice = node.register("alice")
    token = alice.sync()["next_batch"]
    assert token[0] == "s"
    system, rest = token[1:5], token[5:]
    other = "0000" if system != "0000" else "1111"
    stranger = Client(alice.url, alice.access_token)
    for wrong in (f"s{other}{rest}", "s1_5_2", "s_5_2", f"s{system}\u00e9{rest}", "s" + token):
        stranger.get("/sync", params={"since": wrong}, status=400, errcode="M_INVALID_PARAM")
    # A generation that is not known may be one that a restore undid.
    stranger.get("/sync", params={"since": f"s{system}00000000{token[13:]}"})


# Dumps


@pytest.fixture
def dumped(cluster, start_nodes, tmp_path):
    """A dump of a database with a room, and what belongs to it: the file and the id of the room."""
    database = cluster.create_database()
    (node,) = start_nodes(database)
    alice = node.register(username="alice", password="wonderland")
    room = alice.create_room(name="Dumped")
    node.stop()
    file = tmp_path / "dump"
    subprocess.run([cluster.bin / "pg_dump", "-Fc", "-f", file, database.url()], check=True)
    database.drop()
    return file, room


def restored(cluster, file, *options) -> Database:
    """A database that the dump was restored into."""
    cluster.execute("create database {}", "restored")
    database = Database(cluster, "restored")
    subprocess.run([cluster.bin / "pg_restore", *options, "-d", database.url(), file], check=False)
    return database


def migrated(database) -> subprocess.CompletedProcess:
    return subprocess.run(
        [process.binary(), "migrate"], env=database.environment(), capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def without_roles(cluster):
    """A second cluster, which has the extension's files and none of the roles."""
    other = Cluster()
    try:
        other.start()
        yield other
    finally:
        other.remove()


def test_a_dump_restored_into_a_cluster_without_the_roles_works_after_migrating(
    dumped, without_roles, start_nodes
):
    file, room = dumped
    database = restored(without_roles, file)
    # A dump may have the schema before the extension, which makes the roles.
    database.query("alter schema matrix owner to postgres")
    owner = "select nspowner::regrole::text from pg_namespace where nspname = 'matrix'"
    assert database.query(owner) == [("postgres",)]
    done = migrated(database)
    assert done.returncode == 0, done.stderr
    assert database.query(owner) == [("matriarch_owner",)]
    database.query("call matriarch.reset_sync_xids()", user="postgres")
    (node,) = start_nodes(database)
    alice = Client(node.url).login("alice", "wonderland")
    alice.send(room, "after the restore")
    database.query("create role analyst login in role matriarch_readonly")
    for statement in ("select name from matrix.rooms", f"select * from matrix.current_state('{room}')"):
        assert database.query(statement, user="analyst")
    node.stop()


@pytest.mark.parametrize("options", [["--no-owner"], []])
def test_a_restored_dump_belongs_to_its_owner_after_migrating(dumped, cluster, start_nodes, options):
    file, room = dumped
    database = restored(cluster, file, *options)
    if options:
        refused = run_serve(database)
        assert refused.returncode == 1 and "matriarch_owner" in refused.stderr
    done = migrated(database)
    assert done.returncode == 0, done.stderr
    (node,) = start_nodes(database)
    Client(node.url).login("alice", "wonderland").send(room, "after the restore")
    assert database.query("select name from matrix.rooms", user="matriarch_readonly") == [("Dumped",)]
    node.stop()
    database.drop()


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--schema-only"], "--schema-only"), (["--no-privileges"], "--no-privileges")],
)
def test_a_dump_that_lacks_something_is_refused_in_a_sentence(dumped, cluster, options, words):
    database = restored(cluster, dumped[0], *options)
    refused = migrated(database)
    assert refused.returncode == 1 and words in refused.stderr, refused.stderr
    database.drop()


def test_rows_of_another_cluster_are_noticed_by_the_nodes(database, start_nodes):
    (node,) = start_nodes(database)
    alice = node.register("alice")
    alice.create_room()
    database.query("update matriarch.events set xid = '99999999999'")
    answer = httpx.get(f"{node.url}/health/ready")
    assert answer.status_code == 503 and "reset_sync_xids" in answer.json()["reason"]
    refused = run_serve(database)
    assert refused.returncode == 1 and "reset_sync_xids" in refused.stderr
    database.query("call matriarch.reset_sync_xids()", user="matriarch_admin")
    assert httpx.get(f"{node.url}/health/ready").status_code == 200


def run_serve(database) -> subprocess.CompletedProcess:
    return subprocess.run(
        [process.binary(), "serve"],
        env=database.environment("matriarch_api"),
        capture_output=True,
        text=True,
        timeout=60,
    )
