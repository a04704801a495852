"""Devices: what they are called, and what goes with them when they are deleted."""

import json
import secrets
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import process
from harness.client import Client, expect, new_txn_id, path
from harness.waiting import long_poll

PASSWORD_STAGE = "m.login.password"


def device_path(device: Client | str) -> str:
    return path("devices", device if isinstance(device, str) else device.device_id)


def auth_of(user: Client, session: str | None = None) -> dict:
    auth = {
        "type": PASSWORD_STAGE,
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": user.password,
    }
    return {**auth, "session": session} if session else auth


def delete(user: Client, device: Client | str) -> dict:
    return user.delete(device_path(device), json={"auth": auth_of(user)})


def device_ids(user: Client) -> list[str]:
    return [device["device_id"] for device in user.get("/devices")["devices"]]


def give_keys(database, device: Client, timeline: str = "1"):
    """Identity keys and a one-time key, without a look at what they are."""
    database.query(
        "insert into matriarch.device_keys (user_nid, device_id, device_nid, keys)"
        " select user_nid, device_id, device_nid, '{}' from matriarch.devices where device_id = %s",
        [device.device_id],
    )
    database.query(
        "insert into matriarch.one_time_keys (device_nid, algorithm, key_id, upload_id, timeline, key)"
        " select device_nid, 'a', 'k', 1, %s, '{}' from matriarch.devices where device_id = %s",
        [timeline, device.device_id],
    )


def changes(database, user: Client) -> list[str]:
    """The devices of a user that changed, in order."""
    rows = database.query(
        "select device_id from matriarch.device_list_changes join matriarch.users using (user_nid) "
        "where user_id = %s order by stream_id",
        [user.user_id],
    )
    return [device_id for (device_id,) in rows]


@pytest.fixture
def user(node):
    return node.register("devices", initial_device_display_name="first")


class TestReading:
    def test_all_and_one(self, nodes, user):
        other = user.another_device(nodes[1].url)
        named = Client(user.url).login(
            user.user_id, user.password, device_id="A/B ☃", initial_device_display_name="☃" * 100
        )
        devices = user.get("/devices")["devices"]
        assert [device["device_id"] for device in devices] == [user.device_id, other.device_id, "A/B ☃"]
        assert [device.get("display_name") for device in devices] == ["first", None, "☃" * 100]
        for device in devices:
            one = other.get(device_path(device["device_id"]))
            assert {**one, "last_seen_ts": 0, "last_seen_ip": ""} == {
                **device,
                "last_seen_ts": 0,
                "last_seen_ip": "",
            }
        assert named.get("/_matrix/client/r0" + device_path(named))["device_id"] == "A/B ☃"

    def test_what_is_not_known_is_null(self, user):
        """Some clients give up on the whole list if a key is missing."""
        unnamed = Client(user.url).login(user.user_id, user.password)
        devices = {device["device_id"]: device for device in user.get("/devices")["devices"]}
        for device in (devices[unnamed.device_id], user.get(device_path(unnamed))):
            assert set(device) == {"device_id", "display_name", "last_seen_ip", "last_seen_ts"}
            assert device["display_name"] is None

    def test_nobody_else_s(self, node, user):
        stranger = node.register("stranger")
        for device in (user.device_id, "NOSUCH"):
            stranger.get(device_path(device), status=404, errcode="M_NOT_FOUND")
            stranger.put(device_path(device), {"display_name": "mine"}, status=404, errcode="M_NOT_FOUND")
            stranger.put(device_path(device), {}, status=404, errcode="M_NOT_FOUND")
        delete(stranger, user)
        assert user.get(device_path(user))["display_name"] == "first"


class TestRenaming:
    def test_rename(self, nodes, user):
        where = device_path(user)
        assert user.put(where, {"display_name": "second"}) == {}
        assert user.at(nodes[1]).get(where)["display_name"] == "second"
        # Nothing said, nothing changed.
        assert user.put(where, {}) == {}
        assert user.get(where)["display_name"] == "second"
        user.put(where, {"display_name": ""})
        assert user.get(where)["display_name"] == ""

    def test_names_are_bounded(self, user):
        where = device_path(user)
        user.put(where, {"display_name": "☃" * 100})
        user.put(where, {"display_name": "x" * 101}, status=400, errcode="M_TOO_LARGE")
        user.put(where, {"display_name": "a\u0000b"}, status=400, errcode="M_INVALID_PARAM")
        user.put(where, {"display_name": 1}, status=400, errcode="M_BAD_JSON")
        assert user.get(where)["display_name"] == "☃" * 100

    def test_others_learn_of_a_new_name_if_the_device_has_keys(self, user, shared_database):
        user.put(device_path(user), {"display_name": "unseen"})
        assert changes(shared_database, user) == []
        give_keys(shared_database, user)
        for name in ("seen", "seen", "seen again"):
            user.put(device_path(user), {"display_name": name})
        assert changes(shared_database, user) == [user.device_id] * 2


class TestDeleting:
    def test_it_takes_the_password(self, user):
        other = user.another_device()
        stage = expect(user.request("DELETE", device_path(other), {}), 401)
        assert stage["flows"] == [{"stages": [PASSWORD_STAGE]}] and stage["session"]
        # Some clients send no body at first.
        assert expect(user.request("DELETE", device_path(other)), 401)["session"]
        wrong = {"auth": {**auth_of(user, stage["session"]), "password": "wrong"}}
        assert expect(user.request("DELETE", device_path(other), wrong), 401)["errcode"] == "M_FORBIDDEN"
        other.get("/account/whoami")
        assert user.delete(device_path(other), json={"auth": auth_of(user, stage["session"])}) == {}
        other.get("/account/whoami", status=401, errcode="M_UNKNOWN_TOKEN")
        assert device_ids(user) == [user.device_id]

    def test_the_authentication_is_for_one_device(self, user):
        first, second = user.another_device(), user.another_device()
        session = expect(user.request("DELETE", device_path(first), {}), 401)["session"]
        user.delete(
            device_path(second), json={"auth": auth_of(user, session)}, status=403, errcode="M_FORBIDDEN"
        )
        user.post(
            "/delete_devices", {"devices": [first.device_id], "auth": auth_of(user, session)}, status=401
        )
        assert len(device_ids(user)) == 3
        user.delete(device_path(first), json={"auth": auth_of(user, session)})
        assert device_ids(user) == [user.device_id, second.device_id]

    def test_a_device_that_is_gone_or_never_was(self, user):
        other = user.another_device()
        for _ in range(2):
            assert delete(user, other) == {}
        assert delete(user, "NOSUCH") == {}

    def test_its_own(self, user):
        delete(user, user)
        user.get("/devices", status=401, errcode="M_UNKNOWN_TOKEN")

    def test_several(self, nodes, user):
        others = [user.another_device() for _ in range(3)]
        wanted = [others[0].device_id, others[2].device_id, "NOSUCH", "a\u0000b", others[0].device_id]
        stage = expect(user.request("POST", "/delete_devices", {"devices": wanted}), 401)
        assert stage["flows"] == [{"stages": [PASSWORD_STAGE]}]
        assert (
            user.at(nodes[1]).post(
                "/delete_devices", {"devices": wanted, "auth": auth_of(user, stage["session"])}
            )
            == {}
        )
        assert device_ids(user) == [user.device_id, others[1].device_id]
        assert user.post("/delete_devices", {"devices": [], "auth": auth_of(user)}) == {}

    def test_bad_requests(self, user):
        for devices in ("x", {"a": 1}, [1], [None], [[]]):
            user.post(
                "/delete_devices",
                {"devices": devices, "auth": auth_of(user)},
                status=400,
                errcode="M_BAD_JSON",
            )
        user.post("/delete_devices", {"auth": auth_of(user)}, status=400, errcode="M_MISSING_PARAM")

    def test_it_takes_all_that_is_the_device_s(self, user, shared_database):
        login = {
            "type": PASSWORD_STAGE,
            "identifier": {"type": "m.id.user", "user": user.user_id},
            "password": user.password,
        }
        other = Client(user.url).adopt(
            answer := Client(user.url).post("/login", {**login, "refresh_token": True}), user.password
        )
        give_keys(shared_database, other)
        shared_database.query(
            "insert into matriarch.key_signatures (user_nid, key_name, signer_nid, signer_key_id, signature)"
            " select user_nid, %s, user_nid, 'k', 's' from matriarch.users where user_id = %s",
            [other.device_id, user.user_id],
        )
        user.put(path("sendToDevice", "m.test", new_txn_id()), {"messages": {user.user_id: {"*": {}}}})
        other.put(path("sendToDevice", "m.test", new_txn_id()), {"messages": {}})
        tables = [
            "access_tokens",
            "refresh_tokens",
            "device_keys",
            "one_time_keys",
            "to_device_messages",
            "to_device_transactions",
        ]
        [(device_nid,)] = shared_database.query(
            "select device_nid from matriarch.devices where device_id = %s", [other.device_id]
        )

        def rows():
            counts = [
                shared_database.query(
                    f"select count(*) from matriarch.{table} where device_nid = %s", [device_nid]
                )
                for table in tables
            ]
            signatures = shared_database.query(
                "select count(*) from matriarch.key_signatures where key_name = %s", [other.device_id]
            )
            return [count for [(count,)] in (*counts, signatures)]

        assert rows() == [1] * (len(tables) + 1)
        delete(user, other)
        assert rows() == [0] * (len(tables) + 1)
        assert changes(shared_database, user) == [other.device_id]
        other.post(
            "/refresh", {"refresh_token": answer["refresh_token"]}, status=401, errcode="M_UNKNOWN_TOKEN"
        )
        assert len(user.sync()["to_device"]["events"]) == 1


def ways_to_delete() -> dict:
    """All that deletes a device with keys: functions of the user's device, another of the user's, and the
    database."""

    def passwd(device, _, database):
        command = [process.binary(), "user", "passwd", device.user_id]
        subprocess.run(
            command,
            env=database.environment("matriarch_api"),
            input="new\n",
            text=True,
            check=True,
            capture_output=True,
        )

    def change_password(device, other, _):
        other.post("/account/password", {"new_password": secrets.token_hex(8), "auth": auth_of(other)})

    return {
        "DELETE": lambda device, other, _: delete(other, device),
        "delete_devices": lambda device, other, _: other.post(
            "/delete_devices", {"devices": [device.device_id], "auth": auth_of(other)}
        ),
        "logout": lambda device, *_: device.post("/logout"),
        "logout all": lambda _, other, __: other.post("/logout/all"),
        "password": change_password,
        "passwd": passwd,
        "a name": lambda device, *_: device.put(device_path(device), {"display_name": secrets.token_hex(4)}),
    }


@pytest.mark.parametrize("way", ways_to_delete())
def test_whoever_shares_a_room_is_woken(nodes, shared_database, way):
    """At another node, and though nothing happened in the room."""
    alice, bob = nodes[0].register("alice"), nodes[1].register("bob")
    other = alice.another_device()
    give_keys(shared_database, alice)
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since = bob.sync()["next_batch"]
    since = bob.sync(since, timeout=500)["next_batch"]
    params = {"set_presence": "offline", "since": since, "timeout": 2000}
    with long_poll(bob, bob.request, "GET", "/sync", params=params) as poll:
        ways_to_delete()[way](alice, other, shared_database)
        # The sync asked again, whatever the answer has to say of it.
        assert int(poll.result(timeout=20).headers["x-matriarch-db-statements"]) > 1
    assert alice.device_id in changes(shared_database, alice)


def test_deactivation_wakes_rooms(nodes, shared_database):
    alice, bob = nodes[0].register("alice"), nodes[1].register("bob")
    give_keys(shared_database, alice)
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since = bob.sync()["next_batch"]
    alice.post("/account/deactivate", {"auth": auth_of(alice)})
    assert changes(shared_database, alice) == [alice.device_id]
    assert room in json.dumps(bob.sync(since, timeout=5000))


def test_no_device_has_the_name_of_a_cross_signing_key(user, shared_database):
    key = secrets.token_urlsafe(32)
    shared_database.query(
        "insert into matriarch.cross_signing_keys (user_nid, usage, public_key, keys)"
        " select user_nid, 'master', %s, '{}' from matriarch.users where user_id = %s",
        [key, user.user_id],
    )
    login = {
        "type": PASSWORD_STAGE,
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": user.password,
    }
    Client(user.url).post("/login", {**login, "device_id": key}, status=400, errcode="M_INVALID_PARAM")
    assert device_ids(user) == [user.device_id]
    # Another user's key is no matter.
    other = Client(user.url).register("other", device_id=key)
    assert device_ids(other) == [key]


def test_deleting_and_sending_at_once(nodes, shared_database):
    """Neither waits for the other for long, and neither fails."""
    alice = nodes[0].register("alice")
    for _ in range(3):
        others = [alice.another_device() for _ in range(6)]
        with ThreadPoolExecutor() as pool:
            sending = [
                pool.submit(
                    alice.at(node).put,
                    path("sendToDevice", "m.test", new_txn_id()),
                    {"messages": {alice.user_id: {"*": {"n": n}}}},
                )
                for n in range(8)
                for node in nodes
            ]
            wanted = [device.device_id for device in reversed(others)]
            alice.post("/delete_devices", {"devices": wanted, "auth": auth_of(alice)})
            for future in sending:
                assert future.result(timeout=20) == {}
    assert device_ids(alice) == [alice.device_id]


class TestLastSeen:
    """A node writes it about once a minute, and when it stops."""

    def seen(self, client: Client) -> tuple[int | None, str | None]:
        device = client.get(device_path(client))
        return device.get("last_seen_ts"), device.get("last_seen_ip")

    def test_it_is_written_off_the_path_of_requests(self, database, start_nodes):
        (node,) = start_nodes(database)
        alice, bob = node.register("alice"), node.register("bob")
        again = Client(node.url).login(alice.user_id, alice.password)
        started = time.time()
        for client in (alice, bob, again):
            for _ in range(3):
                assert client.request("GET", "/account/whoami").headers["x-matriarch-db-statements"] == "1"
        Client(node.url, "unknown").get("/account/whoami", status=401)
        bob.post("/logout")
        assert database.query("select count(*) from matriarch.devices where last_seen_at is not null") == [
            (0,)
        ]
        node.stop()
        assert database.query("select count(*) from matriarch.devices where last_seen_ip = '127.0.0.1'") == [
            (2,)
        ]
        node.start()
        for device in alice.get("/devices")["devices"]:
            assert started * 1000 - 1 <= device["last_seen_ts"] <= time.time() * 1000
            assert device["last_seen_ip"] == "127.0.0.1"

    def test_a_device_is_written_every_few_minutes(self, database, start_nodes):
        (node,) = start_nodes(database)
        alice = node.register("alice")
        seen = []
        for age in (0, 0, 170, 190):
            database.query(
                "update matriarch.devices set last_seen_at = last_seen_at - make_interval(secs => %s)", [age]
            )
            [(before,)] = database.query("select last_seen_at from matriarch.devices")
            alice.get("/account/whoami")
            node.stop()
            node.start()
            [(after,)] = database.query("select last_seen_at from matriarch.devices")
            seen.append(after != before)
        assert seen == [True, False, False, True]

    def test_a_locked_device_is_left_for_later(self, database, start_nodes):
        (node,) = start_nodes(database)
        alice, bob = node.register("alice"), node.register("bob")
        with database.connect(autocommit=False) as connection:
            connection.execute(
                "select from matriarch.devices where device_id = %s for update", [alice.device_id]
            )
            for client in (alice, bob):
                client.get("/account/whoami")
            node.stop()
            connection.rollback()
        assert database.query("select device_id from matriarch.devices where last_seen_at is not null") == [
            (bob.device_id,)
        ]

    @pytest.mark.parametrize("trusted", [False, True])
    def test_the_word_of_a_proxy_counts_where_there_is_one(self, database, start_nodes, trusted):
        (node,) = start_nodes(database)
        node.stop()
        listeners = node.environment["MATRIARCH_LISTENERS"]
        node.environment["MATRIARCH_LISTENERS"] = listeners.replace(
            "}]", f", trust_forwarded_for = {str(trusted).lower()}}}]"
        )
        node.start()
        alice, bob = node.register("alice"), node.register("bob")
        alice.request("GET", "/account/whoami", headers={"X-Forwarded-For": "203.0.113.9, 2001:db8::1"})
        bob.request("GET", "/account/whoami", headers={"X-Forwarded-For": "nonsense"})
        node.stop()
        rows = dict(database.query("select device_id, last_seen_ip from matriarch.devices"))
        assert rows == {
            alice.device_id: "2001:db8::1" if trusted else "127.0.0.1",
            bob.device_id: "127.0.0.1",
        }
