"""Servers find, trust and ask each other: keys, profiles, aliases, room directories, keys of users."""

import itertools
import json
import ssl
import subprocess
import time

import httpx
import pytest

from harness import process
from harness.client import path
from harness.crypto import CrossSigning, Device, claim, query
from harness.peer import KEY_ID
from harness.server import Server


@pytest.fixture(scope="module")
def one(servers) -> Server:
    return servers[0]


@pytest.fixture(scope="module")
def two(servers) -> Server:
    return servers[1]


@pytest.fixture(scope="module")
def bare(authority):
    """Requests that nobody signs."""
    with httpx.Client(verify=ssl.create_default_context(cafile=authority.file)) as client:
        yield client


def published(bare, server: Server) -> dict:
    answer = bare.get(f"https://{server.name}/_matrix/key/v2/server")
    assert answer.status_code == 200
    return answer.json()


def test_published_keys(bare, one):
    keys = published(bare, one)
    assert keys["server_name"] == one.name
    assert keys["old_verify_keys"] == {}
    assert keys["valid_until_ts"] > (time.time() + 3600) * 1000
    (key_id,) = keys["verify_keys"]
    assert key_id.startswith("ed25519:")
    assert list(keys["signatures"][one.name]) == [key_id]
    for old in (f"/_matrix/key/v2/server/{key_id}", "/_matrix/key/v2/server/"):
        assert bare.get(f"https://{one.name}{old}").json()["verify_keys"] == keys["verify_keys"]


def test_rotated_keys_are_published_as_old(bare, start_servers):
    one, two = start_servers()
    before = published(bare, one)
    alice = one.register("alice")
    bob = two.register("bob")
    bob.get(path("profile", alice.user_id))
    environment = {**one.database.environment(), "MATRIARCH_SERVER_NAME": one.name}
    rotated = subprocess.run(
        [process.binary(), "keys", "rotate"], env=environment, capture_output=True, text=True
    )
    assert rotated.returncode == 0, rotated.stderr
    after = published(bare, one)
    assert set(after["verify_keys"]) == {rotated.stdout.split()[0]}
    ((old_id, old),) = after["old_verify_keys"].items()
    assert before["verify_keys"] == {old_id: {"key": old["key"]}}
    assert abs(old["expired_ts"] / 1000 - time.time()) < 60
    assert old_id not in after["verify_keys"]
    # The new key is found when it is first met.
    alice.get(path("profile", bob.user_id))


def test_version(bare, one):
    server = bare.get(f"https://{one.name}/_matrix/federation/v1/version").json()["server"]
    assert server["name"] == "Matriarch" and server["version"]


def test_requests_must_be_signed(bare, one, two):
    where = f"https://{one.name}/_matrix/federation/v1/query/profile?user_id=x"
    good = f'X-Matrix origin="{two.name}",destination="{one.name}",key="ed25519:x",sig="c2ln"'
    for header in (
        None,
        "Bearer x",
        "X-Matrix nonsense",
        good,
        good.replace(f'destination="{one.name}"', 'destination="other.example"'),
    ):
        answer = bare.get(where, headers={} if header is None else {"Authorization": header})
        assert answer.status_code == 401
        assert answer.json()["errcode"] == "M_UNAUTHORIZED"


def test_unknown_paths(bare, one):
    for where, status in (("/_matrix/federation/v1/nothing", 404), ("/_matrix/key/v2/server", 405)):
        answer = bare.request("GET" if status == 404 else "PUT", f"https://{one.name}{where}")
        assert (answer.status_code, answer.json()["errcode"]) == (status, "M_UNRECOGNIZED")


def test_profiles_of_other_servers(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    alice.put(path("profile", alice.user_id, "displayname"), {"displayname": "Alice in Ünicode"})
    assert bob.get(path("profile", alice.user_id)) == {"displayname": "Alice in Ünicode"}
    assert bob.get(path("profile", alice.user_id, "displayname")) == {"displayname": "Alice in Ünicode"}
    for user in (f"@nobody:{one.name}", "@nobody:127.0.0.1:1"):
        status, errcode = (404, "M_NOT_FOUND") if one.name in user else (502, "M_UNKNOWN")
        bob.get(path("profile", user), status=status, errcode=errcode)


def test_aliases_and_directories_of_other_servers(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    name = alice.user_id.split(":")[0][1:]
    room = alice.create_room(preset="public_chat", room_alias_name=name, name="Across", visibility="public")
    assert bob.get(path("directory", "room", f"#{name}:{one.name}")) == {
        "room_id": room,
        "servers": [one.name],
    }
    bob.get(path("directory", "room", f"#none-{name}:{one.name}"), status=404, errcode="M_NOT_FOUND")
    page = bob.post(
        "/publicRooms", {"filter": {"generic_search_term": "Across"}}, params={"server": one.name}
    )
    assert room in [entry["room_id"] for entry in page["chunk"]]
    assert room not in [entry["room_id"] for entry in bob.post("/publicRooms", {})["chunk"]]
    page = bob.get("/publicRooms", params={"server": one.name})
    assert room in [entry["room_id"] for entry in page["chunk"]]
    two.node.client().get("/publicRooms", params={"server": one.name}, status=401, errcode="M_MISSING_TOKEN")


def test_keys_of_users_across_servers(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    device, signing = Device(alice), CrossSigning(alice.user_id)
    keys = device.publish()
    one_time = device.one_time_keys(1)
    alice.post("/keys/upload", {"one_time_keys": one_time})
    alice.post("/keys/device_signing/upload", signing.upload())
    found = query(bob, alice, bob)
    device_keys = found["device_keys"][alice.user_id][alice.device_id]
    assert {**device_keys, "unsigned": {}} == {**keys, "unsigned": {}}
    assert found["master_keys"] == {alice.user_id: signing.master_key()}
    assert found["self_signing_keys"] == {alice.user_id: signing.upload()["self_signing_key"]}
    assert "user_signing_keys" not in found and found["failures"] == {}
    assert claim(bob, alice) == one_time
    assert claim(bob, alice) == {}
    # What is gone there is gone here.
    alice.another_device().post("/logout/all")
    assert query(bob, alice)["device_keys"][alice.user_id] == {}


def test_signatures_of_other_servers_users_are_for_oneself(one, two):
    alice, bob, carol = one.register("alice"), two.register("bob"), two.register("carol")
    theirs, mine = CrossSigning(alice.user_id), CrossSigning(bob.user_id)
    alice.post("/keys/device_signing/upload", theirs.upload())
    bob.post("/keys/device_signing/upload", mine.upload())
    query(bob, alice)
    signed = mine.user_signing.sign(theirs.master_key(), bob.user_id)
    body = {alice.user_id: {theirs.master.name: signed}}
    assert bob.post("/keys/signatures/upload", body) == {"failures": {}}
    assert query(bob, alice)["master_keys"][alice.user_id] == signed
    for asker in (carol, alice):
        assert query(asker, alice)["master_keys"][alice.user_id] == theirs.master_key()


def test_servers_that_do_not_answer_are_failures(one, two):
    alice, bob = one.register("alice"), two.register("bob")
    Device(alice).publish()
    wanted = {alice.user_id: [], bob.user_id: [], "@x:127.0.0.1:1": [], "@y:nonsense..name": []}
    answer = bob.post("/keys/query", {"device_keys": wanted, "timeout": 5000})
    assert set(answer["failures"]) == {"127.0.0.1:1", "nonsense..name"}
    assert alice.device_id in answer["device_keys"][alice.user_id]
    answer = bob.post(
        "/keys/claim", {"one_time_keys": {"@x:127.0.0.1:1": {"D": "signed_curve25519"}}, "timeout": 5000}
    )
    assert set(answer["failures"]) == {"127.0.0.1:1"}


def test_notary(bare, one, two):
    keys = published(bare, two)
    question = {"server_keys": {two.name: {}, "127.0.0.1:1": {}, one.name: {}}}
    answers = [
        bare.post(f"https://{one.name}/_matrix/key/v2/query", content=json.dumps(question)).json(),
        bare.get(f"https://{one.name}/_matrix/key/v2/query/{two.name}").json(),
    ]
    for answer in answers:
        found = {entry["server_name"]: entry for entry in answer["server_keys"]}
        assert "127.0.0.1:1" not in found
        assert found[two.name]["verify_keys"] == keys["verify_keys"]
        assert set(found[two.name]["signatures"]) == {one.name, two.name}
    assert one.name in {entry["server_name"] for entry in answers[0]["server_keys"]}


def test_a_notary_knows_keys_that_their_server_dropped(bare, one, remote_servers):
    (remote,) = remote_servers()
    again = itertools.count(1)

    def publish(*key_ids):
        keys = {
            "server_name": remote.name,
            "valid_until_ts": int(time.time() * 1000) + next(again) * 86_400_000,
            "verify_keys": {key_id: {"key": remote.public_key} for key_id in (KEY_ID, *key_ids)},
            "old_verify_keys": {},
        }
        keys["signatures"] = {remote.name: {KEY_ID: remote.sign_json(keys)}}
        remote.hooks["keys"] = lambda *_: (200, keys)
        # Has the notary fetch it.
        wanted = keys["valid_until_ts"]
        url = f"https://{one.name}/_matrix/key/v2/query/{remote.name}?minimum_valid_until_ts={wanted}"
        (answer,) = bare.get(url).json()["server_keys"]
        assert answer["verify_keys"] == keys["verify_keys"]

    def found(*key_ids) -> list[set[str]]:
        question = {"server_keys": {remote.name: {key_id: {} for key_id in key_ids}}}
        answer = bare.post(f"https://{one.name}/_matrix/key/v2/query", content=json.dumps(question)).json()
        assert all({one.name, remote.name} == set(keys["signatures"]) for keys in answer["server_keys"])
        return [set(keys["verify_keys"]) - {KEY_ID} for keys in answer["server_keys"]]

    publish("ed25519:a", "ed25519:b")
    publish("ed25519:b", "ed25519:c")
    publish("ed25519:d")
    assert found() == found("ed25519:d") == found("ed25519:none") == [{"ed25519:d"}]
    assert found("ed25519:a") == [{"ed25519:d"}, {"ed25519:a", "ed25519:b"}]
    assert found("ed25519:b") == [{"ed25519:d"}, {"ed25519:b", "ed25519:c"}]
    assert found("ed25519:b", "ed25519:c", "ed25519:d") == [{"ed25519:d"}, {"ed25519:b", "ed25519:c"}]
    # A server that names new keys all the time fills no database.
    for number in range(3):
        publish(*(f"ed25519:{number}.{part}" for part in range(15)))
    statement = "select count(*) from matriarch.dropped_server_keys where server_name = %s"
    ((kept,),) = one.database.query(statement, [remote.name])
    assert kept <= 20
    assert found("ed25519:1.0")[1] == {f"ed25519:1.{part}" for part in range(15)}


def test_keys_of_a_silent_server_come_from_a_notary(bare, start_servers):
    one, two = start_servers()
    (three,) = start_servers(1, MATRIARCH_FEDERATION__NOTARIES=f'["{one.name}"]')
    # The notary knows the keys of the server that falls silent.
    one.register("x").get(path("profile", two.register("bob").user_id))
    bare.get(f"https://{one.name}/_matrix/key/v2/query/{two.name}")
    two.node.stop()
    answer = bare.get(f"https://{three.name}/_matrix/key/v2/query/{two.name}").json()
    (found,) = answer["server_keys"]
    assert found["server_name"] == two.name
    assert set(found["signatures"]) >= {two.name, three.name}


def test_servers_that_are_not_admitted(one, start_servers):
    """A denied host is denied at every port."""
    (wary,) = start_servers(1, MATRIARCH_FEDERATION__DENY='["LOCALHOST"]')
    (one_port,) = start_servers(1, MATRIARCH_FEDERATION__DENY='["localhost:1"]')
    alice = one.register("alice")
    for denying in (wary, one_port):
        bob = denying.register("bob")
        bob.get(path("profile", alice.user_id), status=403, errcode="M_FORBIDDEN")
        alice.get(path("profile", bob.user_id), status=403, errcode="M_FORBIDDEN")


def test_private_addresses_and_strange_certificates(one, start_servers):
    (careful,) = start_servers(1, MATRIARCH_FEDERATION__ALLOW_PRIVATE_ADDRESSES="false")
    careful.register("bob").get(
        path("profile", one.register("alice").user_id), status=502, errcode="M_UNKNOWN"
    )
    bob = careful.register("bob")
    bob.get(path("profile", f"@alice:127.0.0.1:{one.port}"), status=502, errcode="M_UNKNOWN")
    (stranger,) = start_servers(1, MATRIARCH_FEDERATION__CA_FILE="/dev/null")
    stranger.register("bob").get(
        path("profile", one.register("alice").user_id), status=502, errcode="M_UNKNOWN"
    )
    (credulous,) = start_servers(
        1, MATRIARCH_FEDERATION__CA_FILE="/dev/null", MATRIARCH_FEDERATION__VERIFY_CERTIFICATES="false"
    )
    credulous.register("bob").get(path("profile", one.register("alice").user_id))


def test_without_federation_there_is_none(node):
    alice = node.register("alice")
    alice.get(path("profile", "@bob:localhost:1"), status=404, errcode="M_NOT_FOUND")
    assert alice.request("GET", "/_matrix/key/v2/server").status_code == 404
