"""A key that was stolen once: its owner can end it."""

import hashlib
import time

from Crypto.PublicKey import ECC

from harness.peer import KEY_ID, Peer, unpadded
from harness.waiting import eventually

WEEK = 7 * 86_400_000
NEW_ID = "ed25519:new"


def now() -> int:
    return int(time.time() * 1000)


def publish(server, key_id, name, old=(), valid_until_ts=2**53 - 1):
    """Has a scripted server publish a key made from `name`, and `old` keys that it does not use any more."""
    signer = Peer(server.name)
    signer.key = ECC.construct(curve="Ed25519", seed=hashlib.sha256(name.encode()).digest())
    public_key = unpadded(signer.key.public_key().export_key(format="raw"))
    keys = {
        "server_name": server.name,
        "valid_until_ts": valid_until_ts,
        "verify_keys": {key_id: {"key": public_key}},
        "old_verify_keys": {old_id: {"key": key, "expired_ts": now() - 1000} for old_id, key in old},
    }
    keys["signatures"] = {server.name: {key_id: signer.sign_json(keys)}}
    server.hooks["keys"] = lambda *_: (200, keys)


def rotate(server):
    """The owner of the scripted server makes a new key, and publishes the stolen one as an old one."""
    publish(server, NEW_ID, "new", old=[(KEY_ID, server.public_key)])


def ask(server, node) -> int:
    """A request that is signed with the server's first key."""
    where = "/_matrix/federation/v1/query/profile?user_id=@x:test.example"
    return server.request(node, "GET", where).status_code


def stored(node, server) -> tuple[int, bool]:
    ((valid_until_ts, expired),) = node.database.query(
        "select valid_until_ts, expired from matriarch.server_keys where server_name = %s and key_id = %s",
        [server.name, KEY_ID],
    )
    return valid_until_ts, expired


def age(node, server, days: float):
    """Makes what is known of the server's keys so many days older."""
    for table in ("server_keys", "server_key_responses"):
        node.database.query(
            f"""update matriarch.{table}
            set fetched_at = fetched_at - %s * interval '1 day', valid_until_ts = valid_until_ts - %s
            where server_name = %s""",
            [days, int(days * 86_400_000), server.name],
        )


def test_keys_count_for_a_week_whatever_their_server_says(home, remote_servers):
    node, (server,) = home[0], remote_servers()
    publish(server, KEY_ID, server.name)
    assert ask(server, node) == 404
    assert stored(node, server)[0] <= now() + WEEK
    rotate(server)
    age(node, server, 7.1)
    assert ask(server, node) == 401
    assert stored(node, server)[1]


def test_keys_are_asked_for_again_at_half_of_their_time(home, remote_servers):
    node, (server,) = home[0], remote_servers()
    publish(server, KEY_ID, server.name)
    assert ask(server, node) == 404
    rotate(server)
    age(node, server, 3.4)
    assert ask(server, node) == 404
    assert len(server.asked_for("keys")) == 1
    age(node, server, 0.2)
    eventually(lambda: ask(server, node), 401)
    assert len(server.asked_for("keys")) <= 3


def test_a_notary_does_not_hand_out_what_the_server_has_replaced(home, remote_servers):
    node, (server,) = home[0], remote_servers()
    publish(server, KEY_ID, server.name)
    where = f"/_matrix/key/v2/query/{server.name}"
    (keys,) = node.client().http.get(where).json()["server_keys"]
    assert set(keys["verify_keys"]) == {KEY_ID}
    publish(server, NEW_ID, "new", old=[(KEY_ID, server.public_key)], valid_until_ts=now() + 3_600_000)
    age(node, server, 6.9)
    minimum = {"minimum_valid_until_ts": now() + 1_800_000 + 3 * 3_600_000}
    (keys,) = node.client().http.get(where, params=minimum).json()["server_keys"]
    assert set(keys["verify_keys"]) == {NEW_ID}
