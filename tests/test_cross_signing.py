"""Client-Server API, "Cross-signing": the keys, their signatures, and who sees which."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import expect
from harness.crypto import CrossSigning, Device, SigningKey, query

UPLOAD = "/keys/device_signing/upload"
SIGN = "/keys/signatures/upload"


@pytest.fixture
def alice(node):
    return node.register("alice")


@pytest.fixture
def bob(node):
    return node.register("bob")


def by_password(user, session):
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": user.password,
        "session": session,
    }


def test_the_first_keys_need_no_authentication_and_neither_does_their_repetition(alice, bob):
    keys = CrossSigning(alice.user_id)
    for _ in range(2):
        assert alice.post(UPLOAD, keys.upload()) == {}
    body = keys.upload()
    alice.post(UPLOAD, {"master_key": body["master_key"]})
    mine, theirs = query(alice, alice), query(bob, alice)
    for field, section in (("master_key", "master_keys"), ("self_signing_key", "self_signing_keys")):
        assert mine[section] == theirs[section] == {alice.user_id: body[field]}
    assert mine["user_signing_keys"] == {alice.user_id: body["user_signing_key"]}
    assert "user_signing_keys" not in theirs


def test_a_new_user_signing_key_is_news_to_its_user_alone(alice, bob):
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    keys = CrossSigning(alice.user_id)
    body = keys.upload()
    alice.post(UPLOAD, {field: key for field, key in body.items() if field != "user_signing_key"})
    phone = alice.another_device()
    Device(phone).publish()
    phone.next()
    bob.next()
    stage = expect(alice.request("POST", UPLOAD, body), 401)
    alice.post(UPLOAD, {**body, "auth": by_password(alice, stage["session"])})
    assert phone.next()["device_lists"]["changed"] == [alice.user_id]
    # Something that happens later, which Bob does see.
    alice.send(room, "later")
    answer = bob.sync_until(lambda answer: room in answer["rooms"]["join"])
    assert answer["device_lists"]["changed"] == []


def test_other_keys_need_authentication(nodes, alice):
    alice.post(UPLOAD, CrossSigning(alice.user_id).upload())
    new = CrossSigning(alice.user_id)
    stage = expect(alice.request("POST", UPLOAD, new.upload()), 401)
    assert stage["flows"] == [{"stages": ["m.login.password"]}]
    # A session id alone is worth nothing, and neither is the wrong password.
    expect(alice.request("POST", UPLOAD, {**new.upload(), "auth": {"session": stage["session"]}}), 401)
    wrong = {**by_password(alice, stage["session"]), "password": "wrong"}
    expect(alice.request("POST", UPLOAD, {**new.upload(), "auth": wrong}), 401, "M_FORBIDDEN")
    assert query(alice, alice)["master_keys"][alice.user_id] != new.master_key()
    # At the other node, and with nothing but what authenticates.
    alice.at(nodes[1]).post(UPLOAD, {"auth": by_password(alice, stage["session"])})
    assert query(alice, alice)["master_keys"][alice.user_id] == new.master_key()


def test_authentication_of_one_upload_serves_no_other(alice):
    alice.post(UPLOAD, CrossSigning(alice.user_id).upload())
    stage = expect(alice.request("POST", UPLOAD, CrossSigning(alice.user_id).upload()), 401)
    body = {**CrossSigning(alice.user_id).upload(), "auth": by_password(alice, stage["session"])}
    alice.post(UPLOAD, body, status=403, errcode="M_FORBIDDEN")


def test_a_new_key_beside_the_old_master_key_needs_authentication(alice):
    keys = CrossSigning(alice.user_id)
    alice.post(UPLOAD, {"master_key": keys.master_key()})
    body = keys.upload()
    stage = expect(alice.request("POST", UPLOAD, {"self_signing_key": body["self_signing_key"]}), 401)
    alice.post(
        UPLOAD, {"self_signing_key": body["self_signing_key"], "auth": by_password(alice, stage["session"])}
    )
    assert query(alice, alice)["self_signing_keys"] == {alice.user_id: body["self_signing_key"]}


def test_keys_must_be_signed_by_the_master_key(alice):
    keys, other = CrossSigning(alice.user_id), CrossSigning(alice.user_id)
    for field in ("self_signing_key", "user_signing_key"):
        for wrong in (other.upload()[field], {**keys.upload()[field], "signatures": {}}):
            alice.post(UPLOAD, {**keys.upload(), field: wrong}, status=400, errcode="M_INVALID_SIGNATURE")
        alice.post(UPLOAD, {field: keys.upload()[field]}, status=400, errcode="M_MISSING_PARAM")
    alice.post(UPLOAD, {}, status=400, errcode="M_MISSING_PARAM")
    assert "master_keys" not in query(alice, alice)


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "@other:test.example"},
        {"user_id": 1},
        {"usage": ["self_signing"]},
        {"usage": "master"},
        {"keys": {}},
        {"keys": {"ed25519:A": "A", "ed25519:B": "B"}},
        {"keys": {"ed25519:A": 1}},
        {"keys": {"ed25519:A": "A"}},
        {"keys": {"curve25519:x": "x"}},
        {"signatures": 1},
    ],
)
def test_a_bad_master_key_is_refused(alice, change):
    body = {"master_key": {**CrossSigning(alice.user_id).master_key(), **change}}
    alice.post(UPLOAD, body, status=400, errcode="M_INVALID_PARAM")


def test_a_key_is_not_named_like_a_device(alice):
    keys = CrossSigning(alice.user_id)
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": alice.user_id},
        "password": alice.password,
    }
    alice.post("/login", {**login, "device_id": keys.master.public_key})
    alice.post(UPLOAD, keys.upload(), status=403, errcode="M_FORBIDDEN")


def test_neither_at_the_same_moment(alice, shared_database):
    keys = CrossSigning(alice.user_id)
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": alice.user_id},
        "password": alice.password,
    }
    of_alice = "user_nid = (select user_nid from matriarch.users where user_id = %s)"
    with shared_database.connect(autocommit=False) as connection, ThreadPoolExecutor() as pool:
        connection.execute(f"select from matriarch.users where {of_alice} for no key update", [alice.user_id])
        connection.execute(
            "insert into matriarch.cross_signing_keys (user_nid, usage, public_key, keys)"
            " select user_nid, 'master', %s, '{}' from matriarch.users where user_id = %s",
            [keys.master.public_key, alice.user_id])  # fmt: skip
        answer = pool.submit(alice.request, "POST", "/login", {**login, "device_id": keys.master.public_key})
        with pytest.raises(TimeoutError):
            answer.result(timeout=1)
        connection.commit()
        expect(answer.result(timeout=10), 400, "M_INVALID_PARAM")
    shared_database.query(f"delete from matriarch.cross_signing_keys where {of_alice}", [alice.user_id])
    with shared_database.connect(autocommit=False) as connection, ThreadPoolExecutor() as pool:
        connection.execute(
            "insert into matriarch.devices (user_nid, device_id) select user_nid, %s "
            "from matriarch.users where user_id = %s",
            [keys.master.public_key, alice.user_id],
        )
        answer = pool.submit(alice.request, "POST", UPLOAD, keys.upload())
        with pytest.raises(TimeoutError):
            answer.result(timeout=1)
        connection.commit()
        expect(answer.result(timeout=10), 403, "M_FORBIDDEN")


def test_no_keys_come_after_the_device_is_gone(alice, shared_database):
    other = alice.another_device()
    with shared_database.connect(autocommit=False) as connection, ThreadPoolExecutor() as pool:
        connection.execute("delete from matriarch.devices where device_id = %s", [other.device_id])
        answer = pool.submit(other.request, "POST", UPLOAD, CrossSigning(alice.user_id).upload())
        with pytest.raises(TimeoutError):
            answer.result(timeout=1)
        connection.commit()
        expect(answer.result(timeout=10), 401, "M_UNKNOWN_TOKEN")


def test_a_device_is_signed_by_the_self_signing_key_for_all_to_see(alice, bob):
    keys, device = CrossSigning(alice.user_id), Device(alice)
    published = device.publish()
    alice.post(UPLOAD, keys.upload())
    signed = keys.self_signing.sign(published, alice.user_id)
    only_new = {
        **signed,
        "signatures": {
            alice.user_id: {
                keys.self_signing.key_id: signed["signatures"][alice.user_id][keys.self_signing.key_id]
            }
        },
    }
    assert alice.post(SIGN, {alice.user_id: {alice.device_id: only_new}}) == {"failures": {}}
    for asker in (alice, bob):
        found = query(asker, alice)["device_keys"][alice.user_id][alice.device_id]
        assert found["signatures"] == signed["signatures"]


def test_the_master_key_is_signed_by_the_users_devices(alice, bob):
    keys, device = CrossSigning(alice.user_id), Device(alice)
    device.publish()
    alice.post(UPLOAD, keys.upload())
    signed = device.key.sign(keys.master_key(), alice.user_id)
    assert alice.post(SIGN, {alice.user_id: {keys.master.name: signed}}) == {"failures": {}}
    assert query(bob, alice)["master_keys"][alice.user_id] == signed


def test_another_users_master_key_is_signed_for_oneself_alone(node, alice, bob):
    mine, theirs = CrossSigning(alice.user_id), CrossSigning(bob.user_id)
    alice.post(UPLOAD, mine.upload())
    bob.post(UPLOAD, theirs.upload())
    signed = mine.user_signing.sign(theirs.master_key(), alice.user_id)
    assert alice.post(SIGN, {bob.user_id: {theirs.master.name: signed}}) == {"failures": {}}
    assert query(alice, bob)["master_keys"][bob.user_id] == signed
    for asker in (bob, node.register("carol")):
        assert query(asker, bob)["master_keys"][bob.user_id] == theirs.master_key()


def test_many_are_signed_at_once(alice, bob, shared_database):
    mine, theirs = CrossSigning(alice.user_id), CrossSigning(bob.user_id)
    bob.post(UPLOAD, theirs.upload())
    alice.post(UPLOAD, mine.upload())
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    bob.next()
    devices = [alice, *(alice.another_device() for _ in range(5))]
    signed = {
        device.device_id: mine.self_signing.sign(Device(device).publish(), alice.user_id)
        for device in devices
    }
    bob.next()
    newest = "select coalesce(max(stream_id), 0) from matriarch.device_list_changes"
    ((before,),) = shared_database.query(newest)
    body = {
        alice.user_id: signed,
        bob.user_id: {theirs.master.name: mine.user_signing.sign(theirs.master_key(), alice.user_id)},
    }
    assert alice.post(SIGN, body) == {"failures": {}}
    changes = (
        "select u.user_id, device_id, audience is null from matriarch.device_list_changes "
        "join matriarch.users u using (user_nid) where stream_id > %s"
    )
    expected = {(alice.user_id, device.device_id, True) for device in devices} | {(bob.user_id, None, False)}
    assert set(shared_database.query(changes, [before])) == expected
    found = query(bob, alice)["device_keys"][alice.user_id]
    assert {device_id: keys["signatures"] for device_id, keys in found.items()} == {
        key: value["signatures"] for key, value in signed.items()
    }
    assert bob.next()["device_lists"]["changed"] == [alice.user_id]
    # The same again is no news.
    ((before,),) = shared_database.query(newest)
    assert alice.post(SIGN, body) == {"failures": {}}
    assert shared_database.query(changes, [before]) == []


def test_what_is_wrong_with_one_signature_keeps_no_other_out(alice, bob):
    mine, theirs = CrossSigning(alice.user_id), CrossSigning(bob.user_id)
    published = Device(alice).publish()
    bobs = Device(bob).publish()
    alice.post(UPLOAD, mine.upload())
    bob.post(UPLOAD, theirs.upload())
    good = mine.self_signing.sign(published, alice.user_id)
    bent = mine.self_signing.sign(published, alice.user_id)
    bent["signatures"][alice.user_id][mine.self_signing.key_id] = "A" * 86
    answer = alice.post(
        SIGN,
        {
            alice.user_id: {alice.device_id: good, "NONE": good, mine.master.name: mine.master_key()},
            bob.user_id: {
                # Others' devices are signed by their own users only.
                bob.device_id: mine.user_signing.sign(bobs, alice.user_id),
                theirs.master.name: mine.user_signing.sign({**theirs.master_key(), "more": 1}, alice.user_id),
            },
            "@nobody:test.example": {"X": good},
        },
    )
    errcodes = {
        user: {key: error["errcode"] for key, error in keys.items()}
        for user, keys in answer["failures"].items()
    }
    assert errcodes == {
        alice.user_id: {"NONE": "M_NOT_FOUND", mine.master.name: "M_INVALID_SIGNATURE"},
        bob.user_id: {bob.device_id: "M_NOT_FOUND", theirs.master.name: "M_INVALID_PARAM"},
        "@nobody:test.example": {"X": "M_NOT_FOUND"},
    }
    found = query(bob, alice)["device_keys"][alice.user_id][alice.device_id]["signatures"]
    assert found == good["signatures"]
    failures = alice.post(SIGN, {alice.user_id: {alice.device_id: bent}})["failures"]
    assert failures[alice.user_id][alice.device_id]["errcode"] == "M_INVALID_SIGNATURE"
    wrong_key = SigningKey(alice.device_id).sign(mine.master_key(), alice.user_id)
    failures = alice.post(SIGN, {alice.user_id: {mine.master.name: wrong_key}})["failures"]
    assert failures[alice.user_id][mine.master.name]["errcode"] == "M_INVALID_SIGNATURE"
    assert query(bob, alice)["device_keys"][alice.user_id][alice.device_id]["signatures"] == found


def test_a_malformed_body_stores_nothing(alice, bob):
    keys, device = CrossSigning(alice.user_id), Device(alice)
    alice.post(UPLOAD, keys.upload())
    published = device.publish()
    signed = keys.self_signing.sign(published, alice.user_id)
    body = {alice.user_id: {alice.device_id: signed}, "@zoe:test.example": []}
    alice.post(SIGN, body, status=400, errcode="M_BAD_JSON")
    assert (
        query(alice, alice)["device_keys"][alice.user_id][alice.device_id]["signatures"]
        == published["signatures"]
    )


def test_a_device_with_the_longest_of_names_signs(node, alice):
    alice = node.client().login(alice.user_id, alice.password, device_id="D" * 255)
    keys, device = CrossSigning(alice.user_id), Device(alice)
    alice.post(UPLOAD, keys.upload())
    device.publish()
    signed = device.key.sign(keys.master_key(), alice.user_id)
    assert alice.post(SIGN, {alice.user_id: {keys.master.public_key: signed}}) == {"failures": {}}
    assert query(alice, alice)["master_keys"][alice.user_id] == signed


def test_no_signature_outlives_its_device(node, alice, shared_database):
    """Not even one that came while the device was being deleted."""
    keys, other = CrossSigning(alice.user_id), alice.another_device()
    alice.post(UPLOAD, keys.upload())
    signed = keys.self_signing.sign(Device(other).publish(), alice.user_id)
    with shared_database.connect(autocommit=False) as connection:
        connection.execute("delete from matriarch.devices where device_id = %s", [other.device_id])
        alice.post(SIGN, {alice.user_id: {other.device_id: signed}})
        connection.commit()
    other = node.client().login(alice.user_id, alice.password, device_id=other.device_id)
    published = Device(other).publish()
    assert (
        query(alice, alice)["device_keys"][alice.user_id][other.device_id]["signatures"]
        == published["signatures"]
    )


def test_new_keys_end_the_signatures_of_the_old_ones(alice, bob):
    old, new, device = CrossSigning(alice.user_id), CrossSigning(alice.user_id), Device(alice)
    published = device.publish()
    alice.post(UPLOAD, old.upload())
    alice.post(SIGN, {alice.user_id: {alice.device_id: old.self_signing.sign(published, alice.user_id)}})
    stage = expect(alice.request("POST", UPLOAD, new.upload()), 401)
    alice.post(UPLOAD, {**new.upload(), "auth": by_password(alice, stage["session"])})
    found = query(bob, alice)
    assert found["device_keys"][alice.user_id][alice.device_id]["signatures"] == published["signatures"]
    assert found["self_signing_keys"][alice.user_id] == new.upload()["self_signing_key"]


def test_other_device_keys_end_the_signatures_of_the_device(alice, bob):
    keys, device = CrossSigning(alice.user_id), Device(alice)
    published = device.publish()
    alice.post(UPLOAD, keys.upload())
    alice.post(SIGN, {alice.user_id: {alice.device_id: keys.self_signing.sign(published, alice.user_id)}})
    again = device.publish()
    assert (
        query(bob, alice)["device_keys"][alice.user_id][alice.device_id]["signatures"] == again["signatures"]
    )


def test_old_paths_are_known(node):
    user = node.register(f"old-{secrets.token_hex(2)}")
    user.post("/_matrix/client/unstable/keys/device_signing/upload", CrossSigning(user.user_id).upload())
    assert user.post("/_matrix/client/unstable/keys/signatures/upload", {}) == {"failures": {}}
