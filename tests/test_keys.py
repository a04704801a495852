"""Device keys, one-time keys and fallback keys: Client-Server API, "Key Distribution"."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import expect
from harness.crypto import CrossSigning, Device, claim, query


@pytest.fixture
def alice(node):
    return node.register("alice")


@pytest.fixture
def bob(node):
    return node.register("bob")


def upload(client, **body):
    return client.post("/keys/upload", body)["one_time_key_counts"]


def test_device_keys_come_back_as_uploaded_with_the_devices_name(node, alice, bob):
    alice = node.client().login(alice.user_id, alice.password, initial_device_display_name="Alice's phone")
    keys = Device(alice).publish()
    answer = query(bob, alice)
    assert answer["failures"] == {}
    found = answer["device_keys"][alice.user_id][alice.device_id]
    assert found.pop("unsigned") == {"device_display_name": "Alice's phone"}
    assert found == keys


def test_a_query_names_devices_or_means_all(alice, bob):
    Device(alice).publish()
    other = alice.another_device()
    Device(other).publish()
    ask = lambda devices: set(
        bob.post("/keys/query", {"device_keys": {alice.user_id: devices}})["device_keys"][alice.user_id]
    )
    assert ask([]) == {alice.device_id, other.device_id}
    assert ask([other.device_id]) == {other.device_id}
    assert ask([other.device_id, "NONE"]) == {other.device_id}
    assert ask(["NONE"]) == set()


def test_users_without_keys_and_unknown_users_have_no_devices(alice, bob):
    nobody = "@nobody:" + alice.user_id.split(":", 1)[1]
    wanted = {bob.user_id: [], nobody: [], "@far:away.example": []}
    answer = alice.post("/keys/query", {"device_keys": wanted})
    assert answer["device_keys"] == {bob.user_id: {}, nobody: {}}
    assert set(answer["failures"]) == {"away.example"}


def test_device_keys_of_others_are_refused(alice, bob):
    device = Device(alice)
    for wrong in ({"user_id": bob.user_id}, {"device_id": "OTHER"}, {"user_id": 1}):
        alice.post(
            "/keys/upload", {"device_keys": device.device_keys(**wrong)}, status=400, errcode="M_BAD_JSON"
        )
    assert query(bob, alice)["device_keys"][alice.user_id] == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"algorithms": {}},
        {"algorithms": [1]},
        {"keys": []},
        {"keys": {"ed25519:X": 1}},
        {"signatures": []},
        {"signatures": {"@a:b": []}},
        {"signatures": {"@a:b": {"ed25519:X": 1}}},
    ],
)
def test_keys_of_a_wrong_shape_are_refused(alice, wrong):
    keys = Device(alice).device_keys()
    keys.update(wrong)
    alice.post("/keys/upload", {"device_keys": keys}, status=400, errcode="M_BAD_JSON")


@pytest.mark.parametrize("missing", ["user_id", "device_id", "algorithms", "keys", "signatures"])
def test_device_keys_without_a_required_part_are_refused(alice, bob, missing):
    keys = Device(alice).device_keys()
    del keys[missing]
    alice.post("/keys/upload", {"device_keys": keys}, status=400, errcode="M_BAD_JSON")
    assert query(bob, alice)["device_keys"][alice.user_id] == {}


@pytest.mark.parametrize(
    "keys",
    [
        {"no-colon": "x"},
        {"signed_curve25519:A": 1},
        {"signed_curve25519:A": {}},
        {"signed_curve25519:A": {"key": 1}},
        {"signed_curve25519:A": "text"},
        {"signed_curve25519:A": {"key": "x"}},
        {"curve25519:A": {"signatures": {}}},
        {"signed_curve25519:A": {"key": "x", "signatures": {"@a:b": 1}}},
        {"signed_curve25519:\0": {"key": "x"}},
        {"a" * 256 + ":A": {"key": "x"}},
    ],
)
def test_one_time_keys_of_a_wrong_shape_are_refused(alice, keys):
    for field in ("one_time_keys", "fallback_keys"):
        alice.post("/keys/upload", {field: keys}, status=400, errcode="M_BAD_JSON")
    assert upload(alice) == {"signed_curve25519": 0}


def test_one_time_keys_are_counted_and_handed_out_in_upload_order(alice, bob):
    device = Device(alice)
    uploads = [device.one_time_keys(2) for _ in range(3)]
    for number, keys in enumerate(reversed(uploads), 1):
        assert upload(alice, one_time_keys=keys) == {"signed_curve25519": 2 * number}
    assert alice.sync()["device_one_time_keys_count"] == {"signed_curve25519": 6}
    for keys in reversed(uploads):
        claimed = {**claim(bob, alice), **claim(bob, alice)}
        assert claimed == keys
    assert claim(bob, alice) == {}
    assert alice.sync()["device_one_time_keys_count"] == {"signed_curve25519": 0}


def test_algorithms_are_apart(alice, bob):
    upload(alice, one_time_keys={"curve25519:A": "plain", **Device(alice).one_time_keys(1)})
    assert upload(alice) == {"curve25519": 1, "signed_curve25519": 1}
    assert claim(bob, alice, "curve25519") == {"curve25519:A": "plain"}
    assert claim(bob, alice, "curve25519") == {}
    assert claim(bob, alice, "none") == {}


def test_the_same_key_may_be_uploaded_again_but_never_comes_back(alice, bob):
    keys = Device(alice).one_time_keys(2)
    for _ in range(2):
        assert upload(alice, one_time_keys=keys) == {"signed_curve25519": 2}
    claimed = claim(bob, alice)
    assert upload(alice, one_time_keys=keys) == {"signed_curve25519": 1}
    rest = claim(bob, alice)
    assert {**claimed, **rest} == keys
    assert upload(alice, one_time_keys=keys) == {"signed_curve25519": 0}
    assert claim(bob, alice) == {}


def test_another_key_under_the_same_name_is_refused(alice, bob):
    device = Device(alice)
    keys = device.one_time_keys(1)
    (name,) = keys
    upload(alice, one_time_keys=keys)
    other = {name: device.signed_key()}
    alice.post("/keys/upload", {"one_time_keys": other}, status=400, errcode="M_INVALID_PARAM")
    claim(bob, alice)
    alice.post("/keys/upload", {"one_time_keys": other}, status=400, errcode="M_INVALID_PARAM")
    # A new signature makes no new key.
    resigned = {name: Device(alice).key.sign({"key": keys[name]["key"]}, alice.user_id)}
    assert upload(alice, one_time_keys=resigned) == {"signed_curve25519": 0}


def test_fallback_keys_serve_again_and_again_until_replaced(alice, bob):
    device = Device(alice)
    first, second = ({f"signed_curve25519:F{n}": device.signed_key(fallback=True)} for n in range(2))
    assert alice.sync()["device_unused_fallback_key_types"] == []
    upload(alice, one_time_keys=device.one_time_keys(1), fallback_keys=first)
    assert alice.sync()["device_unused_fallback_key_types"] == ["signed_curve25519"]
    assert not claim(bob, alice).keys() & first.keys()
    assert alice.sync()["device_unused_fallback_key_types"] == ["signed_curve25519"]
    for _ in range(2):
        assert claim(bob, alice) == first
        assert alice.sync()["device_unused_fallback_key_types"] == []
    # The same key again was used all the same.
    upload(alice, fallback_keys=first)
    assert alice.sync()["device_unused_fallback_key_types"] == []
    upload(alice, fallback_keys=second)
    assert alice.sync()["device_unused_fallback_key_types"] == ["signed_curve25519"]
    assert claim(bob, alice) == second


def test_there_is_one_fallback_key_of_an_algorithm(alice):
    device = Device(alice)
    keys = {f"signed_curve25519:F{n}": device.signed_key(fallback=True) for n in range(2)}
    alice.post("/keys/upload", {"fallback_keys": keys}, status=400, errcode="M_INVALID_PARAM")


def test_several_devices_are_claimed_at_once(alice, bob):
    other = alice.another_device()
    keys = {}
    for client in (alice, other, bob):
        keys[client.device_id] = Device(client).one_time_keys(1)
        upload(client, one_time_keys=keys[client.device_id])
    wanted = {
        alice.user_id: {
            alice.device_id: "signed_curve25519",
            other.device_id: "signed_curve25519",
            "NONE": "signed_curve25519",
        },
        bob.user_id: {bob.device_id: "signed_curve25519"},
        "@far:away.example": {"D": "signed_curve25519"},
    }
    answer = alice.post("/keys/claim", {"one_time_keys": wanted})
    assert answer["one_time_keys"] == {
        alice.user_id: {alice.device_id: keys[alice.device_id], other.device_id: keys[other.device_id]},
        bob.user_id: {bob.device_id: keys[bob.device_id]},
    }
    assert set(answer["failures"]) == {"away.example"}


def test_fifty_claimers_at_two_nodes_get_fifty_keys_and_then_fallbacks(nodes, alice):
    device = Device(alice)
    keys = device.one_time_keys(50)
    fallback = {"signed_curve25519:FB": device.signed_key(fallback=True)}
    upload(alice, one_time_keys=keys, fallback_keys=fallback)
    claimers = [nodes[n % 2].register(f"claimer{n}") for n in range(10)]
    start = threading.Barrier(50)

    def run(number):
        client = claimers[number % 10].at(nodes[number % 2])
        start.wait()
        return claim(client, alice), claim(client, alice)

    with ThreadPoolExecutor(50) as pool:
        claimed = [key for pair in pool.map(run, range(50)) for key in pair]
    names = [name for key in claimed for name in key]
    assert len(names) == 100
    assert set(names) == {*keys, *fallback}
    for name in keys:
        assert names.count(name) == 1
    assert all(key[name] == {**keys, **fallback}[name] for key in claimed for name in key)


def test_ten_thousand_users_in_one_query(alice):
    Device(alice).publish()
    server = alice.user_id.split(":", 1)[1]
    wanted = {f"@user{n}:{server}": [] for n in range(10_000)} | {alice.user_id: []}
    answer = alice.post("/keys/query", {"device_keys": wanted})
    assert set(answer["device_keys"][alice.user_id]) == {alice.device_id}
    assert len(answer["device_keys"]) == 10_001


def test_a_device_has_a_bounded_number_of_one_time_keys(alice):
    keys = {f"curve25519:{n}": "k" for n in range(5_000)}
    assert upload(alice, one_time_keys=keys)["curve25519"] == 5_000
    alice.post("/keys/upload", {"one_time_keys": {"curve25519:more": "k"}}, status=400, errcode="M_TOO_LARGE")


def test_what_is_there_already_counts_once(alice):
    keys = {f"curve25519:{n}": "k" for n in range(3_000)}
    for _ in range(2):
        assert upload(alice, one_time_keys=keys)["curve25519"] == 3_000


def test_keys_of_an_earlier_timeline_are_forgotten(alice, shared_database):
    """Not before a repeated upload of one would be out of the question."""
    upload(alice, one_time_keys={"curve25519:a": "k", "curve25519:b": "k"})
    of_alice = "device_nid = (select device_nid from matriarch.devices where device_id = %s)"
    shared_database.query(
        f"update matriarch.one_time_keys set timeline = 'earlier' where {of_alice}", [alice.device_id]
    )
    stored = lambda: {
        key
        for (key,) in shared_database.query(
            f"select key_id from matriarch.one_time_keys where {of_alice}", [alice.device_id]
        )
    }
    assert upload(alice, one_time_keys={"curve25519:c": "k"})["curve25519"] == 1
    assert stored() == {"a", "b", "c"}
    shared_database.query("update matriarch.generations set started_at = started_at - interval '31 days'")
    try:
        assert upload(alice, one_time_keys={"curve25519:d": "k"})["curve25519"] == 2
        assert stored() == {"c", "d"}
    finally:
        shared_database.query("update matriarch.generations set started_at = started_at + interval '31 days'")


def test_a_device_has_a_bounded_number_of_fallback_keys(alice):
    keys = {f"a{n}:k": "k" for n in range(100)}
    for _ in range(2):
        upload(alice, fallback_keys=keys)
    alice.post("/keys/upload", {"fallback_keys": {"more:k": "k"}}, status=400, errcode="M_TOO_LARGE")
    assert len(alice.sync()["device_unused_fallback_key_types"]) == 100


def test_a_key_is_no_longer_than_an_event(alice):
    long = "k" * 65_536
    for body in (
        {"device_keys": Device(alice).device_keys(more=long)},
        {"one_time_keys": {"a:k": long}},
        {"fallback_keys": {"a:k": {"key": long}}},
    ):
        alice.post("/keys/upload", body, status=413, errcode="M_TOO_LARGE")
    keys = CrossSigning(alice.user_id)
    alice.post(
        "/keys/device_signing/upload",
        {"master_key": {**keys.master_key(), "more": long}},
        status=413,
        errcode="M_TOO_LARGE",
    )


@pytest.mark.parametrize("kind", ["device_keys", "one_time_keys", "fallback_keys"])
def test_an_upload_for_a_device_that_is_deleted_meanwhile_is_refused(alice, shared_database, kind):
    other = alice.another_device()
    device = Device(other)
    body = {kind: device.device_keys() if kind == "device_keys" else device.one_time_keys(1)}
    with shared_database.connect(autocommit=False) as connection, ThreadPoolExecutor() as pool:
        connection.execute("delete from matriarch.devices where device_id = %s", [other.device_id])
        answer = pool.submit(other.request, "POST", "/keys/upload", body)
        with pytest.raises(TimeoutError):
            answer.result(timeout=0.5)
        connection.commit()
        expect(answer.result(timeout=30), 401, "M_UNKNOWN_TOKEN")


def test_of_different_keys_of_one_name_at_one_moment_one_is_refused(nodes, alice):
    body = lambda n: {"one_time_keys": {f"a:{k}": f"{n}" for k in range(200)}}
    for _ in range(3):
        device = alice.another_device()
        with ThreadPoolExecutor() as pool:
            answers = list(
                pool.map(
                    lambda n: device.at(nodes[n]).request("POST", "/keys/upload", body(n)).status_code,
                    range(2),
                )
            )
        assert sorted(answers) == [200, 400]


def test_deleting_a_device_takes_its_keys(alice, bob):
    other = alice.another_device()
    Device(other).publish()
    upload(other, one_time_keys=Device(other).one_time_keys(1))
    other.post("/logout")
    assert query(bob, alice)["device_keys"][alice.user_id] == {}
    assert claim(bob, other) == {}


def test_old_clients_name_their_device_in_the_path(alice, bob):
    keys = Device(alice).device_keys()
    alice.post(f"/_matrix/client/r0/keys/upload/{alice.device_id}", {"device_keys": keys})
    assert alice.device_id in query(bob, alice)["device_keys"][alice.user_id]
