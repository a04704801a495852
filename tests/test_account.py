"""Account management: whoami, a new password, deactivation."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import PASSWORD, Client, expect, path
from harness.crypto import CrossSigning, Device, query

NEW = "a new password"


def by_password(user, password=None) -> dict:
    identifier = {"type": "m.id.user", "user": user.user_id}
    return {"type": "m.login.password", "identifier": identifier, "password": password or user.password}


def change_password(user, **body) -> dict:
    return user.post("/account/password", {"new_password": NEW, "auth": by_password(user), **body})


def deactivate(user, **body) -> dict:
    return user.post("/account/deactivate", {"auth": by_password(user), **body})


@pytest.mark.parametrize("version", ["v3", "r0"])
def test_whoami_tells_user_and_device(nodes, version):
    user = nodes[0].register("who")
    where = f"/_matrix/client/{version}/account/whoami"
    assert user.at(nodes[1]).get(where) == {
        "user_id": user.user_id,
        "device_id": user.device_id,
        "is_guest": False,
    }


def test_tokens_are_asked_for(node):
    for method, where in (
        ("GET", "/account/whoami"),
        ("POST", "/account/password"),
        ("POST", "/account/deactivate"),
    ):
        node.client().call(method, where, {}, status=401, errcode="M_MISSING_TOKEN")
        Client(node.url, "unknown").call(method, where, {}, status=401, errcode="M_UNKNOWN_TOKEN")


@pytest.mark.parametrize("version", ["v3", "r0"])
def test_a_new_password_logs_out_the_other_devices(nodes, version):
    user = nodes[0].register("pass")
    other = user.another_device(nodes[1].url)
    where = f"/_matrix/client/{version}/account/password"
    expect(user.request("POST", where, {"new_password": NEW, "auth": by_password(user)}), 200)
    user.get("/account/whoami")
    other.get("/account/whoami", status=401, errcode="M_UNKNOWN_TOKEN")
    nodes[1].client().login(user.user_id, NEW)
    login = {"type": "m.login.password", "user": user.user_id, "password": PASSWORD}
    nodes[1].client().post("/login", login, status=403, errcode="M_FORBIDDEN")


def test_logout_devices_can_be_declined(node):
    user = node.register("pass")
    other = user.another_device()
    assert change_password(user, logout_devices=False) == {}
    other.get("/account/whoami")


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"new_password": 1}, "M_BAD_JSON"),
        ({"new_password": ""}, "M_WEAK_PASSWORD"),
        ({"new_password": "x" * 2000}, "M_INVALID_PARAM"),
        ({"new_password": NEW, "logout_devices": "no"}, "M_BAD_JSON"),
    ],
)
def test_malformed_new_passwords_are_refused(node, body, errcode):
    user = node.register("pass")
    user.post("/account/password", {**body, "auth": by_password(user)}, status=400, errcode=errcode)
    node.client().login(user.user_id)


def test_deactivation_ends_everything(nodes):
    user = nodes[0].register("gone")
    other = user.another_device()
    expect(user.request("POST", "/account/deactivate", {}), 401)
    assert deactivate(user) == {"id_server_unbind_result": "success"}
    for client in (user, other):
        client.get("/account/whoami", status=401, errcode="M_UNKNOWN_TOKEN")
    login = {"type": "m.login.password", "user": user.user_id, "password": PASSWORD}
    nodes[1].client().post("/login", login, status=403, errcode="M_USER_DEACTIVATED")
    # Who does not know the password learns nothing.
    nodes[1].client().post("/login", {**login, "password": "wrong"}, status=403, errcode="M_FORBIDDEN")


def test_a_deactivated_users_name_is_never_given_out_again(node):
    user = node.register("gone")
    deactivate(user)
    again = {
        "username": user.user_id[1:].split(":")[0],
        "password": PASSWORD,
        "auth": {"type": "m.login.dummy"},
    }
    node.client().post("/register", again, status=400, errcode="M_USER_IN_USE")


def test_deactivation_leaves_rooms(node):
    user, friend = node.register("gone"), node.register("friend")
    joined, invited = friend.create_room(preset="public_chat"), friend.create_room()
    user.join(joined)
    friend.invite(invited, user)
    deactivate(user)
    rows = node.database.query(
        "select room_id, membership from matrix.members where user_id = %s", [user.user_id]
    )
    assert sorted(rows) == sorted([(joined, "leave"), (invited, "leave")])


def test_erasure_deletes_profile_account_data_and_password(node):
    user = node.register("erase")
    deactivate(user, erase=True)
    tables = {
        table: node.database.query(
            (
                f"select count(*) from matriarch.{table} join matriarch.users using (user_nid) "
                f"where user_id = %s"
            ),
            [user.user_id],
        )[0][0]
        for table in ("profiles", "account_data", "filters", "devices")
    }
    assert tables == {"profiles": 0, "account_data": 0, "filters": 0, "devices": 0}
    rows = node.database.query(
        "select erased, password_hash from matriarch.accounts "
        "join matriarch.users using (user_nid) where user_id = %s",
        [user.user_id],
    )
    assert rows == [(True, None)]
    # Without a password the account cannot be told from an unknown one.
    login = {"type": "m.login.password", "user": user.user_id, "password": PASSWORD}
    node.client().post("/login", login, status=403, errcode="M_FORBIDDEN")


def test_newcomers_get_redacted_copies_of_what_the_erased_wrote(node):
    user, friend, stranger = (node.register(name) for name in ("erase", "friend", "stranger"))
    room = friend.create_room(preset="public_chat")
    user.put(path("profile", user.user_id, "displayname"), {"displayname": "Eve Real-Name"})
    user.join(room)
    friend.put(path("rooms", room, "state", "m.room.power_levels"),
               {**friend.state(room, "m.room.power_levels"), "state_default": 0})  # fmt: skip
    user.send_state(room, "m.room.topic", {"topic": "stays"})
    secret = user.send(room, "secret")
    late = node.register("late")
    late.join(room)
    other = friend.send(room, "by another")
    deactivate(user, erase=True)
    stranger.join(room)
    again = node.register("again")

    def reads(reader):
        """The events of the room, if all endpoints tell the same."""
        context = reader.get(path("rooms", room, "context", secret), params={"limit": 50})
        section = reader.sync(filter={"room": {"timeline": {"limit": 50}}})["rooms"]["join"][room]
        preview = reader.get(path("rooms", room, "initialSync"), params={"limit": 50})
        answers = [
            reader.history(room),
            context["events_before"][::-1] + [context["event"]] + context["events_after"],
            section["timeline"]["events"],
            preview["messages"]["chunk"],
        ]
        told = [
            {event["event_id"]: (event["content"], event["unsigned"].get("prev_content")) for event in events}
            for events in answers
        ]
        assert all(each == told[0] for each in told)
        assert reader.event(room, secret)["content"] == told[0][secret][0]
        return told[0]

    for reader in (friend, late):
        assert reads(reader)[secret][0]["body"] == "secret"
    for reader in (stranger, again):
        if reader is again:
            again.join(room)
        told = reads(reader)
        assert told[secret] == ({}, None) and told[other][0]["body"] == "by another"
        assert "Eve" not in str(told) and "{'topic': 'stays'}" in str(told)
        assert reader.state(room, "m.room.topic") == {"topic": "stays"}
    # In the same answers as a reader of before.
    assert reads(friend)[secret][0]["body"] == "secret"


def test_no_key_outlives_the_account(node):
    user, friend = node.register("gone"), node.register("friend")
    keys = CrossSigning(user.user_id)
    Device(user).publish()
    user.post("/keys/device_signing/upload", keys.upload())
    signed = keys.self_signing.sign(
        query(user, user)["device_keys"][user.user_id][user.device_id], user.user_id
    )
    user.post("/keys/signatures/upload", {user.user_id: {user.device_id: signed}})
    user.post(
        "/room_keys/version",
        {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "k"}},
    )
    tables = ("device_keys", "cross_signing_keys", "key_signatures", "key_backup_versions")
    statement = (
        "select count(*) from matriarch.{} where user_nid = (select user_nid from matriarch.users "
        "where user_id = %s)"
    )
    count = lambda: [node.database.query(statement.format(table), [user.user_id])[0][0] for table in tables]
    assert all(count())
    deactivate(user)
    assert count() == [0, 0, 0, 0]
    answer = query(friend, user)
    assert answer["device_keys"].get(user.user_id, {}) == {} and user.user_id not in answer.get(
        "master_keys", {}
    )
    # What tells others of it is not kept for ever.
    statement = (
        "update matriarch.device_list_changes set created_at = now() - interval '91 days' "
        "where user_nid = (select user_nid from matriarch.users where user_id = %s)"
    )
    node.database.query(statement, [user.user_id])
    node.database.query("select matriarch.prune_keys()")
    statement = (
        "select from matriarch.device_list_changes join matriarch.users using (user_nid) where user_id = %s"
    )
    assert node.database.query(statement, [user.user_id]) == []


def test_without_erasure_the_profile_stays(node):
    user = node.register("keep")
    deactivate(user, erase=False)
    rows = node.database.query(
        "select erased, value from matriarch.accounts join matriarch.users using (user_nid)"
        " join matriarch.profiles using (user_nid) where user_id = %s and key = 'displayname'",
        [user.user_id],
    )
    assert len(rows) == 1 and rows[0][0] is False


def test_acts_on_one_account_at_one_moment_end_without_trouble(nodes):
    user = nodes[0].register("busy")
    login = {"type": "m.login.password", "user": user.user_id, "password": PASSWORD, "refresh_token": True}

    def act(n: int) -> set[int]:
        """Logs in on one of two devices, refreshes, and ends it in one way or another."""
        statuses = set()

        def request(method, where, body, token=None):
            answer = Client(nodes[n % 2].url, token).request(method, where, body)
            statuses.add(answer.status_code)
            return answer.json()

        for turn in range(3):
            answer = request("POST", "/login", {**login, "device_id": f"D{n % 3}"})
            answer = {
                **answer,
                **request("POST", "/refresh", {"refresh_token": answer.get("refresh_token", "")}),
            }
            token = answer.get("access_token", "none")
            request("GET", "/account/whoami", None, token)
            if (n + turn) % 3 == 0:
                request("POST", "/logout", {}, token)
            elif (n + turn) % 3 == 1:
                request(
                    "POST", "/account/password", {"new_password": PASSWORD, "auth": by_password(user)}, token
                )
            else:
                request("POST", "/refresh", {"refresh_token": answer.get("refresh_token", "")})
        return statuses

    with ThreadPoolExecutor(8) as pool:
        # 403: the password was replaced between its check and the login.
        assert set().union(*pool.map(act, range(6))) <= {200, 401, 403}
    nodes[0].client().login(user.user_id)
