"""Dehydrated devices: MSC3814."""

import itertools
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import Client, new_txn_id, path
from harness.crypto import Device, claim, query

WHERE = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
TYPE = "org.example.kind"
NONE = {"status": 404, "errcode": "M_NOT_FOUND"}
FORBIDDEN = {"status": 403, "errcode": "M_FORBIDDEN"}
INVALID = {"status": 400, "errcode": "M_INVALID_PARAM"}
MALFORMED = {"status": 400, "errcode": "M_BAD_JSON"}


class Dry:
    """What a client makes and stores."""

    def __init__(self, user: Client, device_id: str):
        client = Client(user.url)
        client.user_id, client.device_id = user.user_id, device_id
        self.id, self.device = device_id, Device(client)
        self.body = {
            "device_id": device_id,
            "device_data": {
                "algorithm": "m.dehydration.v1.olm",
                "pickle": device_id,
                "odd": [0.5, "\0", 10**30],
            },
            "initial_device_display_name": "Dry " + device_id,
            "device_keys": self.device.device_keys(dehydrated=True),
            "one_time_keys": self.device.one_time_keys(2),
            "fallback_keys": {"signed_curve25519:FALL": self.device.signed_key(fallback=True)},
        }

    def put(self, client: Client, **options) -> dict:
        return client.put(WHERE, self.body, **options)


def send(sender: Client, user: Client, device_id: str, content: dict, **options):
    messages = {"messages": {user.user_id: {device_id: content}}}
    return sender.put(path("sendToDevice", TYPE, new_txn_id()), messages, **options)


def events(client: Client, device_id: str, next_batch: str | None = None, **options) -> dict:
    body = {} if next_batch is None else {"next_batch": next_batch}
    return client.post(f"{WHERE}{path(device_id)}/events", body, **options)


def pages(client: Client, device_id: str) -> list[list]:
    """The contents of all pages, the last of which is empty."""
    found, next_batch = [], None
    while not found or found[-1]:
        answer = events(client, device_id, next_batch)
        found.append([event["content"]["n"] for event in answer["events"]])
        next_batch = answer["next_batch"]
    return found


def listed(client: Client) -> dict:
    return {device["device_id"]: device.get("display_name") for device in client.get("/devices")["devices"]}


def stored(node, device_id: str) -> int:
    sql = (
        "select count(*) from matriarch.to_device_messages join matriarch.devices using (device_nid) "
        "where device_id = %s"
    )
    return node.database.query(sql, [device_id])[0][0]


@pytest.fixture
def alice(node):
    return node.register("alice")


@pytest.fixture
def bob(node):
    return node.register("bob")


@pytest.fixture
def dry(alice):
    """A device that is stored. Ids look like curve25519 keys, with what paths must encode."""
    dry = Dry(alice, "dry/+" + secrets.token_hex(4))
    dry.put(alice)
    return dry


def test_it_is_announced(node):
    assert node.client().get("/_matrix/client/versions")["unstable_features"]["org.matrix.msc3814"] is True


def test_it_is_stored_found_and_deleted(nodes, alice, bob):
    there = alice.at(nodes[1])
    alice.get(WHERE, **NONE)
    alice.delete(WHERE, **NONE)
    dry = Dry(alice, "dry/+device")
    assert dry.put(alice) == {"device_id": dry.id}
    assert there.get(WHERE) == {"device_id": dry.id, "device_data": dry.body["device_data"]}
    # It is a device as others are, and tells that it is dry.
    assert listed(alice)[dry.id] == "Dry dry/+device"
    found = query(bob, alice)["device_keys"][alice.user_id][dry.id]
    assert found.pop("unsigned") == {"device_display_name": "Dry dry/+device"}
    assert found == dry.body["device_keys"] and found["dehydrated"] is True
    # Another session of the user sees it, another user does not.
    alice.another_device().get(WHERE)
    bob.get(WHERE, **NONE)
    assert there.delete(WHERE) == {"device_id": dry.id}
    alice.get(WHERE, **NONE)
    assert dry.id not in listed(alice) and dry.id not in query(bob, alice)["device_keys"][alice.user_id]
    events(alice, dry.id, **FORBIDDEN)


def test_data_keep_their_digits(alice):
    dry = Dry(alice, "DRY")
    content = alice.http.build_request("PUT", "/", json=dry.body).content
    exact = content.replace(b'"DRY","odd"', b'"DRY","exact":1.0000000000000000000000001,"odd"')
    assert exact != content
    alice.call("PUT", WHERE, content=exact)
    assert b'"exact":1.0000000000000000000000001,' in alice.request("GET", WHERE).content


def test_its_keys_are_handed_out_as_others_are(alice, bob, dry):
    names = [next(iter(claim(bob, dry.device.client))) for _ in range(4)]
    assert names == [*sorted(dry.body["one_time_keys"]), "signed_curve25519:FALL", "signed_curve25519:FALL"]


def test_a_new_one_takes_its_place(nodes, alice, bob, dry):
    send(bob, alice, dry.id, {"n": 1})
    room = alice.create_room(preset="public_chat")
    bob.join(room)
    since = bob.sync()["next_batch"]
    new = Dry(alice, "SECOND")
    new.put(alice.at(nodes[1]))
    assert alice.get(WHERE)["device_id"] == new.id
    assert dry.id not in listed(alice) and new.id in listed(alice)
    assert set(query(bob, alice)["device_keys"][alice.user_id]) == {new.id}
    assert stored(nodes[0], dry.id) == 0
    events(alice, dry.id, **FORBIDDEN)
    assert bob.sync(since)["device_lists"]["changed"] == [alice.user_id]
    # What is sent to the old one goes nowhere.
    send(bob, alice, dry.id, {"n": 2})
    assert pages(alice, new.id) == [[]]


def test_the_same_one_again_keeps_its_messages_and_no_key_is_handed_out_twice(nodes, alice, bob, dry):
    first = claim(bob, dry.device.client)
    send(bob, alice, dry.id, {"n": 1})
    dry.body["device_data"] = {"algorithm": "other"}
    assert dry.put(alice.at(nodes[1])) == {"device_id": dry.id}
    assert alice.get(WHERE)["device_data"] == {"algorithm": "other"}
    assert pages(alice, dry.id) == [[1], []]
    second = claim(bob, dry.device.client)
    assert set(first) | set(second) == set(dry.body["one_time_keys"])
    assert set(claim(bob, dry.device.client)) == {"signed_curve25519:FALL"}


class TestMessages:
    def test_they_come_in_pages_in_order_and_stay(self, nodes, alice, bob, dry):
        total = 1203
        with nodes[0].database.connect() as connection:
            connection.execute(
                "insert into matriarch.to_device_messages (device_nid, message)"
                " select device_nid, json_build_object('content', json_build_object('n', n))"
                " from matriarch.devices cross join generate_series(1, %s) n where device_id = %s",
                [total, dry.id],
            )
        found = pages(alice.at(nodes[1]), dry.id)
        assert [*itertools.chain.from_iterable(found)] == list(range(1, total + 1))
        assert [len(page) for page in found] == [500, 500, 203, 0]
        # Nothing was deleted: another client can begin anew, at another place, as can this one in the middle.
        assert stored(nodes[0], dry.id) == total
        first = events(alice.another_device(), dry.id)
        assert [event["content"]["n"] for event in first["events"]] == list(range(1, 501))
        again = [
            events(client, dry.id, first["next_batch"])["events"] for client in (alice, alice.at(nodes[1]))
        ]
        assert again[0] == again[1] and again[0][0]["content"] == {"n": 501}

    def test_get_ends_with_a_page_without_next_batch(self, alice, bob, dry):
        where = f"{WHERE}{path(dry.id)}/events"
        assert alice.get(where) == {"events": []}
        for n in (1, 2):
            send(bob, alice, dry.id, {"n": n})
        first = alice.get(where)
        assert first["events"] == events(alice, dry.id)["events"]
        assert [event["content"]["n"] for event in first["events"]] == [1, 2]
        send(bob, alice, dry.id, {"n": 3})
        second = alice.get(where, params={"from": first["next_batch"]})
        assert [event["content"]["n"] for event in second["events"]] == [3]
        assert alice.get(where, params={"from": second["next_batch"]}) == {"events": []}

    def test_they_have_the_form_of_a_syncs(self, alice, bob, dry):
        send(bob, alice, dry.id, {"n": "☃\0"})
        send(bob, alice, "*", {"n": 2})
        named = {"type": TYPE, "sender": bob.user_id}
        answer = events(alice, dry.id)
        assert answer["events"] == [{**named, "content": {"n": "☃\0"}}, {**named, "content": {"n": 2}}]
        # A sync of a device that is logged in has its own alone.
        assert [event["content"]["n"] for event in alice.sync()["to_device"]["events"]] == [2]
        # What comes later is in the next page.
        send(bob, alice, dry.id, {"n": 3})
        assert [event["content"]["n"] for event in events(alice, dry.id, answer["next_batch"])["events"]] == [
            3
        ]

    def test_an_empty_body_begins_at_the_oldest(self, alice, bob, dry):
        send(bob, alice, dry.id, {"n": 1})
        for content in (b"", b"{}", b'{"next_batch": null}'):
            answer = alice.call("POST", f"{WHERE}{path(dry.id)}/events", content=content)
            assert len(answer["events"]) == 1

    def test_what_commits_late_is_not_passed_over(self, nodes, alice, bob, dry):
        send(bob, alice, dry.id, {"n": 1})
        with nodes[0].database.connect(autocommit=False) as late:
            insert = (
                "insert into matriarch.to_device_messages (device_nid, message) select device_nid, %s "
                "from matriarch.devices where device_id = %s"
            )
            late.execute(insert, ['{"content": {"n": "late"}}', dry.id])
            send(bob, alice, dry.id, {"n": 2})
            answer = events(alice, dry.id)
            assert [event["content"]["n"] for event in answer["events"]] == [1, 2]
        answer = events(alice.at(nodes[1]), dry.id, answer["next_batch"])
        assert [event["content"]["n"] for event in answer["events"]] == ["late"]
        assert events(alice, dry.id, answer["next_batch"])["events"] == []

    def test_only_of_ones_own_dehydrated_device(self, alice, bob, dry):
        for client, device in (
            (alice, alice.device_id),
            (alice, "NONE"),
            (bob, dry.id),
            (bob, bob.device_id),
        ):
            events(client, device, **FORBIDDEN)
            client.get(f"{WHERE}{path(device)}/events", **FORBIDDEN)

    def test_bad_places_are_refused(self, alice, dry):
        for bad in ("x", "s1_1", "t1", "s\0"):
            events(alice, dry.id, bad, **INVALID)
            alice.get(f"{WHERE}{path(dry.id)}/events", params={"from": bad}, **INVALID)
        alice.post(f"{WHERE}{path(dry.id)}/events", {"next_batch": 1}, **MALFORMED)


class TestRefusals:
    """What is refused leaves everything as it was."""

    @pytest.fixture(autouse=True)
    def unchanged(self, nodes, alice, bob, dry):
        send(bob, alice, dry.id, {"n": 1})
        before = listed(alice), query(bob, alice)
        yield
        assert (listed(alice), query(bob, alice)) == before
        assert alice.get(WHERE) == {"device_id": dry.id, "device_data": dry.body["device_data"]}
        assert pages(alice, dry.id) == [[1], []]

    def test_ids_of_other_devices(self, alice):
        other = alice.another_device()
        try:
            for device_id in (alice.device_id, other.device_id):
                Dry(alice, device_id).put(alice, **INVALID)
        finally:
            other.post("/logout")

    def test_missing_parts(self, alice):
        new = Dry(alice, "NEW")
        for missing in ("device_id", "device_data", "device_keys"):
            body = {part: value for part, value in new.body.items() if part != missing}
            alice.put(WHERE, body, status=400, errcode="M_MISSING_PARAM")

    def test_malformed_parts(self, alice):
        new = Dry(alice, "NEW")
        bad = [
            {"device_id": 1},
            {"device_data": "x"},
            {"device_data": []},
            {"device_data": None},
            {"device_keys": []},
        ]
        bad += [{"initial_device_display_name": 1}, {"one_time_keys": []}, {"fallback_keys": 1}]
        bad += [
            {"device_keys": new.device.device_keys(device_id="OTHER")},
            {"device_keys": new.device.device_keys(user_id="@o:test.example")},
        ]
        for part in bad:
            alice.put(WHERE, {**new.body, **part}, **MALFORMED)
        for part in (
            {"device_id": ""},
            {"device_id": "a\0"},
            {"device_id": "x" * 256},
            {"initial_device_display_name": "\0"},
            {"initial_device_display_name": "x" * 1025},
        ):
            alice.put(WHERE, {**new.body, **part}, **INVALID)

    def test_another_one_time_key_of_the_same_name(self, alice, dry):
        name = next(iter(dry.body["one_time_keys"]))
        changed = {**dry.body, "device_data": {"a": 1}, "one_time_keys": {name: dry.device.signed_key()}}
        alice.put(WHERE, changed, **INVALID)

    def test_nobody_logs_in_on_it(self, node, alice, dry):
        identifier = {"type": "m.id.user", "user": alice.user_id}
        login = {
            "type": "m.login.password",
            "identifier": identifier,
            "password": alice.password,
            "device_id": dry.id,
        }
        node.client().post("/login", login, **INVALID)


def test_of_several_at_one_moment_one_stays(nodes, alice):
    made = [Dry(alice, f"DRY{n}") for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: made[n].put(alice.at(nodes[n % 2])), range(8)))
    left = alice.get(WHERE)["device_id"]
    assert set(listed(alice)) == {alice.device_id, left}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: made[0].put(alice.at(nodes[n % 2])), range(8)))
    assert set(listed(alice)) == {alice.device_id, "DRY0"}


def test_messages_that_come_while_it_is_replaced_are_kept_or_refused_with_it(nodes, alice, bob, dry):
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(send, bob.at(nodes[n % 2]), alice, "*", {"n": n}) for n in range(24)]
        new = Dry(alice, "NEW")
        new.put(alice)
        for each in sent:
            each.result()
    send(bob, alice, "*", {"n": "last"})
    found = [*itertools.chain.from_iterable(pages(alice, new.id))]
    assert found[-1] == "last" and len(found) == len(set(found))


def test_it_goes_as_devices_go(alice, dry):
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": alice.user_id},
        "password": alice.password,
    }
    alice.call("DELETE", path("devices", dry.id), {"auth": auth})
    alice.get(WHERE, **NONE)
    dry.put(alice)
    other = alice.another_device()
    alice.post("/logout")
    assert other.get(WHERE)["device_id"] == dry.id, "it outlives the session that made it"
    other.post("/logout/all")
    alice = Client(alice.url).login(alice.user_id, alice.password)
    alice.get(WHERE, **NONE)
    assert set(listed(alice)) == {alice.device_id}


def test_one_statement_each(node, alice):
    dry = Dry(alice, "DRY")
    for method, where, body in (
        ("PUT", WHERE, dry.body),
        ("GET", WHERE, None),
        ("GET", f"{WHERE}/DRY/events", None),
        ("POST", f"{WHERE}/DRY/events", {}),
        ("DELETE", WHERE, None),
    ):
        response = alice.request(method, where, body)
        assert (response.status_code, response.headers["x-matriarch-db-statements"]) == (200, "1"), (
            response.text
        )
