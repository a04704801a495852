"""Key backups: Client-Server API, "Server-side key backups"."""

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import pytest

from harness.client import expect, path

ROOM = "!room:elsewhere.example"
ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
AUTH_DATA = {"public_key": "abc", "signatures": {"@a:b": {"ed25519:D": "s"}}}
UNKNOWN = {"status": 404, "errcode": "M_NOT_FOUND"}
MALFORMED = {"status": 400, "errcode": "M_BAD_JSON"}
INVALID = {"status": 400, "errcode": "M_INVALID_PARAM"}


def key(first_message_index=0, forwarded_count=0, is_verified=True, **session_data) -> dict:
    return {
        "first_message_index": first_message_index,
        "forwarded_count": forwarded_count,
        "is_verified": is_verified,
        "session_data": {"ephemeral": "e", "ciphertext": "c", "mac": "m", **session_data},
    }


def create(user, auth_data=None) -> str:
    """A new version."""
    return user.post("/room_keys/version", {"algorithm": ALGORITHM, "auth_data": auth_data or AUTH_DATA})[
        "version"
    ]


def keys(version, *scope) -> dict:
    return {"where": "/room_keys/keys" + (path(*scope) if scope else ""), "params": {"version": version}}


def put(user, version, body, *scope, **options) -> dict:
    return user.put(json=body, **keys(version, *scope), **options)


def get(user, version, *scope, **options) -> dict:
    return user.get(**keys(version, *scope), **options)


def delete(user, version, *scope, **options) -> dict:
    return user.delete(**keys(version, *scope), **options)


def info(user, version=None, **options) -> dict:
    return user.get("/room_keys/version" + (path(version) if version else ""), **options)


def state(user, version) -> tuple:
    """The etag and count of a version, which a look at its keys must bear out."""
    answer = info(user, version)
    rooms = get(user, version)["rooms"]
    assert sum(len(room["sessions"]) for room in rooms.values()) == answer["count"]
    return answer["etag"], answer["count"]


@pytest.fixture
def user(node):
    return node.register("backup")


@pytest.fixture
def version(user):
    return create(user)


class TestVersions:
    def test_they_count_up_and_the_newest_is_current(self, nodes, user):
        info(user, **UNKNOWN)
        first = create(user)
        described = {"algorithm": ALGORITHM, "auth_data": AUTH_DATA, "count": 0}
        assert info(user) == {**described, "version": first, "etag": info(user)["etag"]}
        assert isinstance(info(user)["etag"], str)
        second = create(user.at(nodes[1]), {"public_key": "other"})
        assert second != first
        assert info(user)["version"] == second and info(user)["auth_data"] == {"public_key": "other"}
        assert info(user, first) == {**described, "version": first, "etag": info(user, first)["etag"]}

    @pytest.mark.parametrize(
        "bad", ["0", "-1", "99", "01", "+1", "1 ", "1.0", "x", "９", "9223372036854775808", "x" * 999]
    )
    def test_unknown_ones_are_not_found(self, user, version, bad):
        assert version == "1"
        info(user, bad, **UNKNOWN)
        update = {"algorithm": ALGORITHM, "auth_data": {}}
        user.put("/room_keys/version" + path(bad), update, **UNKNOWN)
        user.delete("/room_keys/version" + path(bad), **UNKNOWN)
        one = {"sessions": {"s": key()}}
        put(user, bad, {"rooms": {ROOM: one}}, **UNKNOWN)
        put(user, bad, one, ROOM, **UNKNOWN)
        put(user, bad, key(), ROOM, "s", **UNKNOWN)
        for scope in ((), (ROOM,), (ROOM, "s")):
            get(user, bad, *scope, **UNKNOWN)
            delete(user, bad, *scope, **UNKNOWN)

    def test_each_user_has_their_own(self, node, user, version):
        put(user, version, key(), ROOM, "s")
        other = node.register("other")
        info(other, version, **UNKNOWN)
        get(other, version, **UNKNOWN)
        delete(other, version, **UNKNOWN)
        assert create(other) == version
        assert get(other, version) == {"rooms": {}}
        other.delete("/room_keys/version" + path(version))
        assert get(user, version, ROOM, "s") == key()

    def test_a_deleted_one_stays_gone_and_its_number_is_not_given_out_again(self, nodes, user, version):
        put(user, version, key(), ROOM, "s")
        second = create(user)
        where = "/room_keys/version" + path(second)
        user.delete(where)
        info(user, second, **UNKNOWN)
        put(user, second, key(), ROOM, "s", **UNKNOWN)
        get(user, second, **UNKNOWN)
        get(user, second, ROOM, "s", **UNKNOWN)
        delete(user, second, **UNKNOWN)
        user.put(where, {"algorithm": ALGORITHM, "auth_data": {}}, **UNKNOWN)
        # The one before is current again, with its keys.
        assert info(user)["version"] == version
        put(user, version, key(), ROOM, "t")
        assert set(get(user, version, ROOM)["sessions"]) == {"s", "t"}
        # To delete again succeeds, and deletes nothing.
        user.at(nodes[1]).delete(where)
        assert info(user)["version"] == version
        third = create(user)
        assert third not in (version, second)
        for each in (version, third):
            user.delete("/room_keys/version" + path(each))
        info(user, **UNKNOWN)
        assert create(user) not in (version, second, third)
        assert rows(user, nodes[0]) == 0

    def test_auth_data_alone_can_be_changed(self, user, version):
        put(user, version, key(), ROOM, "s")
        before, where = info(user), "/room_keys/version" + path(version)
        for body in ({"auth_data": {"a": 1}}, {"auth_data": {"a": 2}, "version": version}):
            assert user.put(where, {"algorithm": ALGORITHM, **body}) == {}
            assert info(user) == {**before, "auth_data": body["auth_data"]}
        for body in ({"algorithm": "other"}, {"version": "2"}, {"version": ""}):
            user.put(where, {"algorithm": ALGORITHM, "auth_data": {}, **body}, **INVALID)
        assert info(user) == {**before, "auth_data": {"a": 2}}

    def test_an_older_one_can_be_described_anew(self, user, version):
        create(user)
        user.put("/room_keys/version" + path(version), {"algorithm": ALGORITHM, "auth_data": {"a": 1}})
        assert info(user, version)["auth_data"] == {"a": 1}

    @pytest.mark.parametrize(
        ("method", "where"), [("POST", "/room_keys/version"), ("PUT", "/room_keys/version/1")]
    )
    def test_malformed_descriptions_are_refused(self, user, version, method, where):
        good = {"algorithm": ALGORITHM, "auth_data": {}}
        for missing in good:
            body = {name: value for name, value in good.items() if name != missing}
            user.call(method, where, body, status=400, errcode="M_MISSING_PARAM")
        for bad in (
            {"algorithm": 1},
            {"algorithm": None},
            {"auth_data": "x"},
            {"auth_data": []},
            {"auth_data": None},
            {"version": 1},
        ):
            user.call(method, where, {**good, **bad}, **MALFORMED)
        for name in ("a\0b", "x" * 256):
            user.call(method, where, {**good, "algorithm": name}, **INVALID)
        assert info(user)["version"] == version and info(user)["auth_data"] == AUTH_DATA

    def test_versions_made_at_one_moment_all_differ(self, nodes, user):
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda n: create(user.at(nodes[n % 2])), range(16)))
        assert len(set(made)) == 16
        assert info(user)["version"] == max(made, key=int)


def rows(user, node) -> int:
    """How many keys of a user the database holds."""
    sql = (
        "select count(*) from matriarch.key_backup_keys join matriarch.users using (user_nid) "
        "where user_id = %s"
    )
    return node.database.query(sql, [user.user_id])[0][0]


class TestKeys:
    def test_all_forms_of_putting_and_getting_agree(self, nodes, user, version):
        one, two, three = key(1), key(2, 3, False), key(4)
        other_room = "!ältere/räume:b"
        put(
            user,
            version,
            {"rooms": {ROOM: {"sessions": {"one+/=": one}}, other_room: {"sessions": {"x": three}}}},
        )
        put(user.at(nodes[1]), version, {"sessions": {"two": two}}, ROOM)
        assert put(user, version, three, ROOM, "thr/ee")["count"] == 4
        sessions = {"one+/=": one, "two": two, "thr/ee": three}
        for node in nodes:
            there = user.at(node)
            assert get(there, version) == {
                "rooms": {ROOM: {"sessions": sessions}, other_room: {"sessions": {"x": three}}}
            }
            assert get(there, version, ROOM) == {"sessions": sessions}
            for name, data in sessions.items():
                assert get(there, version, ROOM, name) == data

    def test_what_is_not_there(self, user, version):
        assert get(user, version) == {"rooms": {}}
        assert get(user, version, ROOM) == {"sessions": {}}
        get(user, version, ROOM, "s", **UNKNOWN)
        put(user, version, key(), ROOM, "s")
        assert get(user, version, "!other:b") == {"sessions": {}}
        get(user, version, ROOM, "t", **UNKNOWN)
        get(user, version, "!other:b", "s", **UNKNOWN)

    def test_empty_uploads_change_nothing(self, user, version):
        before = info(user)["etag"]
        for body, scope in (
            ({"rooms": {}}, ()),
            ({"rooms": {ROOM: {"sessions": {}}}}, ()),
            ({"sessions": {}}, (ROOM,)),
        ):
            assert put(user, version, body, *scope) == {"etag": before, "count": 0}

    def test_all_forms_of_deleting(self, nodes, user, version):
        everything = {"rooms": {room: {"sessions": {"s": key(), "t": key()}} for room in ("!a:b", "!c:d")}}
        put(user, version, everything)
        tags = [state(user, version)[0]]
        for scope, left in ((("!a:b", "s"), 3), (("!c:d",), 1), ((), 0)):
            answer = delete(user.at(nodes[1]), version, *scope)
            assert (
                answer == dict(zip(("etag", "count"), state(user, version), strict=True))
                and answer["count"] == left
            )
            tags.append(answer["etag"])
            assert delete(user, version, *scope) == answer, "deleting nothing changes nothing"
        assert len(set(tags)) == 4

    def test_only_the_current_version_takes_keys(self, nodes, user, version):
        put(user, version, key(), ROOM, "s")
        second = create(user)
        one = {"sessions": {"s": key()}}
        for body, scope in (({"rooms": {ROOM: one}}, ()), (one, (ROOM,)), (key(), (ROOM, "t"))):
            answer = put(
                user.at(nodes[1]), version, body, *scope, status=403, errcode="M_WRONG_ROOM_KEYS_VERSION"
            )
            assert answer["current_version"] == second
        # Reading and deleting go on.
        assert get(user, version, ROOM) == one
        assert delete(user, version, ROOM, "s")["count"] == 0
        put(user, second, key(), ROOM, "t")

    @pytest.mark.parametrize("form", ["backup", "room", "session"])
    def test_the_better_key_is_kept(self, user, version, form):
        """Whatever the order in which they come: verified before not, then from earlier on, then less often
        forwarded."""
        best_first = [
            key(5, 5, True),
            key(5, 6, True),
            key(6, 0, True),
            key(0, 0, False),
            key(0, 1, False),
            key(1, 0, False),
        ]
        for session, order in enumerate(permutations(range(len(best_first)), 2)):
            name = f"s{session}"
            for rank in order:
                body = best_first[rank]
                if form == "session":
                    answer = put(user, version, body, ROOM, name)
                elif form == "room":
                    answer = put(user, version, {"sessions": {name: body}}, ROOM)
                else:
                    answer = put(user, version, {"rooms": {ROOM: {"sessions": {name: body}}}})
            assert get(user, version, ROOM, name) == best_first[min(order)]
            assert answer["count"] == session + 1

    def test_the_etag_changes_exactly_when_keys_do(self, user, version):
        seen = [info(user)["etag"]]

        def changes(body, *scope, count):
            answer = put(user, version, body, *scope)
            assert (answer["etag"], answer["count"]) == state(user, version)
            assert answer["etag"] not in seen and answer["count"] == count
            seen.append(answer["etag"])

        def changes_nothing(body, *scope, count):
            assert put(user, version, body, *scope) == {"etag": seen[-1], "count": count}
            assert state(user, version) == (seen[-1], count)

        changes(key(5), ROOM, "s", count=1)
        changes_nothing(key(5), ROOM, "s", count=1)
        # As good as what is there, and so not better, though its ciphertext differs.
        changes_nothing(key(5, ciphertext="other"), ROOM, "s", count=1)
        changes_nothing(key(6), ROOM, "s", count=1)
        changes(key(4), ROOM, "s", count=1)
        # One of several is enough, and the others stay.
        changes({"sessions": {"s": key(7), "t": key()}}, ROOM, count=2)
        changes({"rooms": {ROOM: {"sessions": {"s": key(3), "t": key(1)}}}}, count=2)
        assert get(user, version, ROOM) == {"sessions": {"s": key(3), "t": key()}}
        changes_nothing({"rooms": {ROOM: {"sessions": {"s": key(8), "t": key(1)}}}}, count=2)

    def test_data_comes_back_as_it_was_sent(self, user, version):
        odd = {"fraction": 0.1, "big": 10**30, "nul": "\0", "☃": [None, {"a": {}}], "": "", "deep": [[[[]]]]}
        user.put("/room_keys/version" + path(version), {"algorithm": ALGORITHM, "auth_data": odd})
        assert info(user)["auth_data"] == odd
        data = key(2**53 - 1, 2**53 - 1, False, **odd)
        for body, scope in (
            (data, (ROOM, "1")),
            ({"sessions": {"2": data}}, (ROOM,)),
            ({"rooms": {ROOM: {"sessions": {"3": data}}}}, ()),
        ):
            put(user, version, body, *scope)
        assert get(user, version, ROOM) == {"sessions": dict.fromkeys("123", data)}
        # Numbers keep their very digits, and text its escapes.
        exact = b'{"a":1.000000000000000000000000001e+2,"b":"\\u00e9"}'
        content = (
            b'{"first_message_index":0,"forwarded_count":0,"is_verified":true,"session_data":' + exact + b"}"
        )
        expect(user.request("PUT", **keys(version, ROOM, "4"), content=content), 200)
        assert exact in user.request("GET", **keys(version, ROOM, "4")).content

    @pytest.mark.parametrize("form", ["backup", "room", "session"])
    def test_malformed_keys_are_refused_whole(self, user, version, form):
        def attempt(data, **refusal):
            if form == "session":
                put(user, version, data, ROOM, "bad", **refusal)
            elif form == "room":
                put(user, version, {"sessions": {"good": key(), "bad": data}}, ROOM, **refusal)
            else:
                put(user, version, {"rooms": {ROOM: {"sessions": {"good": key(), "bad": data}}}}, **refusal)

        for missing in key():
            attempt(
                {name: value for name, value in key().items() if name != missing},
                status=400,
                errcode="M_MISSING_PARAM",
            )
        numbers = (-1, 0.5, "1", None, True, 2**63, 2**64, 10**30)
        bad = [{name: value} for name in ("first_message_index", "forwarded_count") for value in numbers]
        bad += [{"is_verified": value} for value in (1, "true", None)]
        bad += [{"session_data": value} for value in ("text", [], None, 1)]
        for wrong in bad:
            attempt({**key(), **wrong}, **MALFORMED)
        if form != "session":
            # A list of an object's values is no object.
            for wrong in (list(key().values()), "x", None, 1):
                attempt(wrong, **MALFORMED)
        assert state(user, version) == (info(user)["etag"], 0)

    def test_malformed_rooms_are_refused(self, user, version):
        for body in ({}, {"room": {}}):
            put(user, version, body, status=400, errcode="M_MISSING_PARAM")
        for body in (
            {"rooms": []},
            {"rooms": None},
            {"rooms": {ROOM: []}},
            {"rooms": {ROOM: [{"s": key()}]}},
            {"rooms": {ROOM: None}},
        ):
            put(user, version, body, **MALFORMED)
        put(user, version, {}, ROOM, status=400, errcode="M_MISSING_PARAM")
        put(user, version, {"sessions": [key()]}, ROOM, **MALFORMED)
        put(user, version, {"rooms": {ROOM: {}}}, status=400, errcode="M_MISSING_PARAM")

    def test_impossible_ids_are_refused(self, user, version):
        long = "!" + "x" * 255
        for room in ("", "x", "#a:b", "a\0b", long):
            put(user, version, {"rooms": {room: {"sessions": {"s": key()}}}}, **INVALID)
        for room in ("x", "#a:b", long):
            put(user, version, {"sessions": {"s": key()}}, room, **INVALID)
            put(user, version, key(), room, "s", **INVALID)
            assert get(user, version, room) == {"sessions": {}}
        for session in ("", "a\0b", "x" * 256):
            put(user, version, {"sessions": {session: key()}}, ROOM, **INVALID)
        put(user, version, key(), ROOM, "x" * 256, **INVALID)
        put(user, version, {"sessions": {"x" * 255: key()}}, "!" + "x" * 254)
        put(user, version, {"sessions": {"x" * 255: key(1)}}, "!" + "x" * 254)
        assert state(user, version)[1] == 1

    def test_the_version_must_be_named(self, user, version):
        for method, body in (("GET", None), ("DELETE", None), ("PUT", {"rooms": {}})):
            user.call(method, "/room_keys/keys", body, status=400, errcode="M_MISSING_PARAM")

    @pytest.mark.parametrize("prefix", ["r0", "unstable", "v3"])
    def test_old_paths_lead_to_the_same(self, user, prefix):
        base = f"/_matrix/client/{prefix}/room_keys"
        made = user.post(f"{base}/version", {"algorithm": ALGORITHM, "auth_data": {}})["version"]
        user.put(f"{base}/version/{made}", {"algorithm": ALGORITHM, "auth_data": AUTH_DATA})
        at = {"params": {"version": made}}
        user.put(f"{base}/keys", {"rooms": {ROOM: {"sessions": {"a": key()}}}}, **at)
        user.put(f"{base}/keys{path(ROOM)}", {"sessions": {"b": key()}}, **at)
        user.put(f"{base}/keys{path(ROOM)}/c", key(), **at)
        assert set(user.get(f"{base}/keys", **at)["rooms"][ROOM]["sessions"]) == {"a", "b", "c"}
        assert set(user.get(f"{base}/keys{path(ROOM)}", **at)["sessions"]) == {"a", "b", "c"}
        assert user.get(f"{base}/keys{path(ROOM)}/c", **at) == key()
        assert user.get(f"{base}/version") == user.get(f"{base}/version/{made}") == info(user)
        for where in (f"{path(ROOM)}/c", path(ROOM), ""):
            user.delete(f"{base}/keys{where}", **at)
        user.delete(f"{base}/version/{made}")
        info(user, **UNKNOWN)

    def test_thousands_in_one_request(self, nodes, user, version):
        def backup(first):
            sessions = {f"s{n}": key(first) for n in range(100)}
            return {"rooms": {f"!r{n}:b": {"sessions": sessions} for n in range(50)}}

        assert put(user, version, backup(7))["count"] == 5000
        answer = put(user.at(nodes[1]), version, backup(6))
        assert answer["count"] == 5000
        assert get(user, version) == backup(6)
        assert put(user, version, backup(8)) == answer
        assert delete(user, version)["count"] == 0


class TestAtOneMoment:
    """Two nodes, many clients."""

    def test_count_and_etag_agree_with_the_keys(self, nodes, user, version):
        def work(n):
            there = user.at(nodes[n % 2])
            room = f"!r{n % 3}:b"
            if n % 7 == 6:
                return delete(there, version, room, f"s{n % 5}")
            if n % 5 == 4:
                return put(
                    there, version, {"rooms": {room: {"sessions": {f"s{m}": key(200 - n) for m in range(9)}}}}
                )
            return put(there, version, key(n), room, f"s{n % 11}")

        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(work, range(120)))
        assert state(user, version) in {(answer["etag"], answer["count"]) for answer in answers}
        # An etag stands for one content, and so for one count.
        assert len({(answer["etag"], answer["count"]) for answer in answers}) == len(
            {answer["etag"] for answer in answers}
        )

    def test_the_best_of_one_session_wins(self, nodes, user, version):
        with ThreadPoolExecutor(10) as pool:
            answers = list(
                pool.map(lambda n: put(user.at(nodes[n % 2]), version, key(n * 7 % 40), ROOM, "s"), range(40))
            )
        assert get(user, version, ROOM, "s") == key(0)
        assert {answer["count"] for answer in answers} == {1}

    def test_a_version_deleted_meanwhile_keeps_nothing(self, nodes, user):
        for _ in range(5):
            version = create(user)

            def work(n):
                there = user.at(nodes[n % 2])
                if n == 6:
                    return there.request("DELETE", "/room_keys/version" + path(version))
                return there.request("PUT", **keys(version, ROOM, f"s{n}"), json=key())

            with ThreadPoolExecutor(10) as pool:
                statuses = {answer.status_code for answer in pool.map(work, range(12))}
            assert statuses <= {200, 404}
            info(user, version, **UNKNOWN)
            assert rows(user, nodes[0]) == 0

    def test_nothing_goes_into_a_version_once_another_was_made(self, nodes, user, version):
        with ThreadPoolExecutor(8) as pool:
            writes = [
                pool.submit(
                    lambda n=n: user.at(nodes[n % 2]).request(
                        "PUT", **keys(version, ROOM, f"s{n}"), json=key()
                    )
                )
                for n in range(30)
            ]
            create(user.at(nodes[1]))
            put(
                user.at(nodes[0]),
                version,
                key(),
                ROOM,
                "late",
                status=403,
                errcode="M_WRONG_ROOM_KEYS_VERSION",
            )
        answers = [write.result() for write in writes]
        assert {answer.status_code for answer in answers} <= {200, 403}
        assert state(user, version)[1] == sum(answer.status_code == 200 for answer in answers)


def test_an_erased_account_leaves_no_backup(nodes, user, version):
    put(user, version, key(), ROOM, "s")
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user.user_id},
        "password": user.password,
    }
    user.post("/account/deactivate", {"erase": True, "auth": auth})
    assert rows(user, nodes[0]) == 0
    sql = (
        "select count(*) from matriarch.key_backup_versions join matriarch.users using (user_nid) "
        "where user_id = %s"
    )
    assert nodes[0].database.query(sql, [user.user_id]) == [(0,)]
