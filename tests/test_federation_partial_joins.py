"""Rooms that can be used before all their members have come. MSC3706, MSC3902, and MSC3895 for what is
answered to others."""

import json
import threading
import time

import pytest

from harness.client import path, timeline
from harness.crypto import Device
from harness.large_room import LargeRoom
from harness.peer import Pdu, RemoteRoom, public_room
from harness.remote_server import RemoteServer
from harness.server import Server
from harness.verify import repair, verify
from harness.waiting import eventually

LAZY = json.dumps({"room": {"state": {"lazy_load_members": True}}})


class PartialServer(RemoteServer):
    """Leaves members out of what it answers to joins where it is asked to, and gives states once it is
    let."""

    def __init__(self, authority, servers=()):
        super().__init__(authority)
        self.servers = servers
        self.may_tell = threading.Event()
        self.hooks["send"] = lambda *_: (200, {"pdus": {}})

    def answer_send_join(self, parts, query, event):
        status, answer = super().answer_send_join(parts, query, event)
        if query.get("omit_members") == "true":
            members = [pdu for pdu in answer["state"] if pdu["type"] == "m.room.member"]
            needed = [
                pdu
                for pdu in answer["auth_chain"]
                if pdu["type"] != "m.room.member" or pdu["sender"] == creator_of(self)
            ]
            answer |= {
                "state": [pdu for pdu in answer["state"] if pdu not in members],
                "auth_chain": needed + [pdu for pdu in members if pdu["state_key"] == event["sender"]],
                "members_omitted": True,
                "servers_in_room": [self.name, *(server.name for server in self.servers)],
            }
        return status, answer

    def answer_state(self, parts, query, body):
        self.may_tell.wait(60)
        return super().answer_state(parts, query, body)

    def close(self):
        self.may_tell.set()
        super().close()


def creator_of(server: RemoteServer) -> str:
    return server.user("creator")


@pytest.fixture(scope="module")
def server(servers) -> Server:
    return servers[0]


@pytest.fixture
def other(authority, server):
    peer = RemoteServer(authority)
    peer.destination = server.name
    peer.hooks["send"] = lambda *_: (200, {"pdus": {}})
    yield peer
    peer.close()


@pytest.fixture
def remote(authority, server, other):
    peer = PartialServer(authority, [other])
    peer.destination = server.name
    yield peer
    peer.close()


def a_room(remote: RemoteServer, other: RemoteServer, version: str = "11", members: int = 5) -> RemoteRoom:
    room = public_room(creator_of(remote), [remote, other], version=version)
    for number in range(members):
        room.join(remote.user(f"member{number}"))
    room.join(other.user("neighbor"))
    remote.learn(room)
    other.learn(room)
    return room


def partial(server: Server, room) -> list[tuple]:
    return server.database.query(
        "select servers, attempts, last_error from matrix.partial_joins where room_id = %s", [room.room_id]
    )


def whole(server: Server, remote: PartialServer, room):
    """Lets the rest come."""
    remote.may_tell.set()
    eventually(lambda: not partial(server, room))
    left = (
        "select count(*) from matriarch.partial_states join matriarch.rooms using (room_nid) "
        "where room_id = %s"
    )
    assert server.database.query(left, [room.room_id]) == [(0,)]


def join(server: Server, room, remote: RemoteServer, name: str = "joiner"):
    user = server.register(name)
    user.join(room.room_id, params={"via": remote.name})
    return user


def shown(answer: dict, room) -> dict | None:
    return answer.get("rooms", {}).get("join", {}).get(room.room_id)


def members_of(user, room) -> set[str]:
    return set(user.get(path("rooms", room.room_id, "joined_members"))["joined"])


def sent_to(server: RemoteServer) -> list[dict]:
    return [pdu for asked in list(server.asked) if asked[0] == "send" for pdu in asked[3]["pdus"]]


def is_here(server: Server, event: Pdu | str) -> bool:
    """Whether an event is in the timeline."""
    event_id = event if isinstance(event, str) else event.event_id
    return server.database.query(
        "select pos is not null from matriarch.events where event_id = %s", [event_id]
    ) == [(True,)]


@pytest.mark.parametrize("version", ["11", "12"])
def test_a_room_is_used_while_members_are_missing(server, remote, other, version):
    room = a_room(remote, other, version)
    user = join(server, room, remote)
    assert partial(server, room) == [(2, 1, None)]
    eager = user.another_device()
    assert shown(eager.sync(), room) is None
    since = eager.since = eager.sync()["next_batch"]
    lazy = shown(user.sync(filter=LAZY), room)
    assert lazy and user.state(room.room_id, "m.room.join_rules") == {"join_rule": "public"}
    # Others hear what is said here, also those whose members are not known.
    event_id = user.send(room.room_id, "hello")
    eventually(
        lambda: all(
            any(pdu["content"].get("body") == "hello" for pdu in sent_to(peer)) for peer in (remote, other)
        )
    )
    # What they say comes with those who say it.
    welcome, too = (
        room.message(other.user("neighbor"), "welcome"),
        room.message(remote.user("member2"), "hello"),
    )
    other.transaction(server.node, [welcome])
    remote.transaction(server.node, [too])
    eventually(lambda: is_here(server, welcome) and is_here(server, too))
    answer = user.next(filter=LAZY)
    assert [event["event_id"] for event in timeline(answer, room.room_id)][-2:] == [
        welcome.event_id,
        too.event_id,
    ]
    states = [
        event["state_key"]
        for event in shown(answer, room)["state"]["events"]
        if event["type"] == "m.room.member"
    ]
    assert {other.user("neighbor"), remote.user("member2")} <= set(states)
    page = user.messages(room.room_id, limit=2, filter=json.dumps({"lazy_load_members": True}))
    assert {other.user("neighbor"), remote.user("member2")} <= {event["state_key"] for event in page["state"]}
    assert verify(server.database, room.room_id) == []
    assert repair(server.database, room.room_id, dry_run=False) == []
    assert shown(eager.sync(since=since), room) is None

    whole(server, remote, room)
    assert members_of(user, room) == {
        *(remote.user(f"member{n}") for n in range(5)),
        creator_of(remote),
        other.user("neighbor"),
        user.user_id,
    }
    assert verify(server.database, room.room_id) == []
    # To who asks for all members, the room is new now.
    news = shown(eager.sync(since=since), room)
    known = {
        event["state_key"]
        for event in news["state"]["events"] + news["timeline"]["events"]
        if event["type"] == "m.room.member"
    }
    assert known == members_of(user, room)
    assert event_id in [event["event_id"] for event in news["timeline"]["events"]]
    # To others nothing happened.
    lazy = shown(user.next(filter=LAZY), room)
    assert lazy is None or not lazy.get("timeline", {}).get("events")
    assert user.send(room.room_id, "all here?")
    assert verify(server.database, room.room_id) == []


def test_requests_for_all_members_wait(server, remote, other):
    room = a_room(remote, other)
    user = join(server, room, remote)
    head = user.send(room.room_id, "hello")
    stranger = remote.user("member3")
    requests = {
        "members": lambda: user.get(path("rooms", room.room_id, "members"))["chunk"],
        "joined_members": lambda: members_of(user, room),
        "state": lambda: user.get(path("rooms", room.room_id, "state")),
        "a member": lambda: user.state(room.room_id, "m.room.member", stranger),
        "initialSync": lambda: user.get(path("rooms", room.room_id, "initialSync"))["state"],
        "context": lambda: user.get(path("rooms", room.room_id, "context", head))["state"],
        # Refused at last: who is in the room is not invited, and who is nobody is not banned.
        "invite": lambda: user.invite(room.room_id, stranger, status=403, errcode="M_FORBIDDEN"),
        "kick": lambda: user.post(path("rooms", room.room_id, "kick"), {"user_id": stranger}, status=403,
            errcode="M_FORBIDDEN"),
        "put": lambda: user.call("PUT", path("rooms", room.room_id, "state", "m.room.member", stranger),
            {"membership": "ban"}, status=403, errcode="M_FORBIDDEN"),
    }  # fmt: skip
    answers, threads = {}, []
    for name, request in requests.items():
        threads.append(
            threading.Thread(target=lambda name=name, request=request: answers.__setitem__(name, request()))
        )
        threads[-1].start()
    # What needs no members does not wait.
    assert user.send(room.room_id, "meanwhile")
    user.send_state(room.room_id, "m.room.member", {"membership": "join", "displayname": "Me"}, user.user_id)
    assert shown(user.sync(filter=LAZY), room)
    # What was asked before that does.
    assert answers == {}
    whole(server, remote, room)
    for thread in threads:
        thread.join(20)
    assert set(answers) == set(requests)
    assert len(answers["members"]) >= 8 and stranger in answers["joined_members"]
    assert answers["a member"] == {"membership": "join"}
    assert stranger in members_of(user, room)
    assert verify(server.database, room.room_id) == []


def test_a_second_user_joins_through_another_server(server, remote, other):
    """This server does not know whether they may."""
    room = a_room(remote, other)
    first, second = join(server, room, remote), server.register("second")
    second.join(room.room_id)
    assert len(partial(server, room)) == 1
    assert [asked[2]["omit_members"] for asked in remote.asked_for("send_join")] == ["true", "true"]
    assert second.send(room.room_id, "me too")
    whole(server, remote, room)
    assert {first.user_id, second.user_id, remote.user("member1")} <= members_of(second, room)
    assert verify(server.database, room.room_id) == []


def test_receipts_of_members_who_are_not_known_yet(server, remote, other):
    room = a_room(remote, other)
    user = join(server, room, remote)
    event_id = user.send(room.room_id, "hello")
    member, stranger = remote.user("member3"), remote.user("stranger")
    receipts = {who: {"event_ids": [event_id], "data": {"ts": 1}} for who in (member, stranger)}
    remote.transaction(server.node, [], [("m.receipt", {room.room_id: {"m.read": receipts}})])

    def read() -> set[str]:
        statement = """
            select user_id from matriarch.receipts join matriarch.users using (user_nid)
            join matriarch.events using (event_nid) where event_id = %s"""
        return {who for (who,) in server.database.query(statement, [event_id])}

    assert read() == set()
    # Other events of the room do not show it.
    seen = room.message(remote.user("member2"), "hello")
    remote.transaction(server.node, [seen])
    eventually(lambda: is_here(server, seen))
    assert read() == set()
    whole(server, remote, room)
    assert read() == {member}


def test_servers_that_the_answer_left_out_learn_of_devices(server, remote, other):
    """They are not known while devices change."""
    remote.servers = ()
    room = a_room(remote, other)
    user = join(server, room, remote)

    def updates(peer) -> list[dict]:
        sent = [asked[3] for asked in list(peer.asked) if asked[0] == "send"]
        edus = [edu for transaction in sent for edu in transaction["edus"]]
        return [edu["content"] for edu in edus if edu["edu_type"] == "m.device_list_update"]

    Device(user).publish()
    eventually(lambda: updates(remote))
    whole(server, remote, room)
    eventually(lambda: updates(other))
    (update,) = updates(other)
    assert (update["user_id"], update["device_id"]) == (user.user_id, user.device_id)
    assert "keys" in update


def test_a_node_that_stops_gives_its_leases_back(start_servers, remote, other):
    (server,) = start_servers(1)
    remote.destination = other.destination = server.name
    room = a_room(remote, other)
    user = join(server, room, remote)
    silent = threading.Event()
    remote.hooks["devices"] = lambda *_: silent.wait(30) and None
    content = {"user_id": creator_of(remote), "device_id": "PHONE", "stream_id": 2, "prev_id": [1]}
    message = room.message(creator_of(remote))
    remote.transaction(server.node, [message])
    eventually(lambda: is_here(server, message))
    remote.transaction(server.node, [], [("m.device_list_update", content)])
    leases = """
        select leased_until is not null, attempts from matriarch.partial_joins
        union all
        select leased_until is not null, attempts from matriarch.remote_device_lists"""
    eventually(lambda: server.database.query(leases) == [(True, 1), (True, 0)])
    server.node.stop()
    assert server.database.query(leases) == [(False, 0), (False, 0)]
    silent.set()
    assert user.user_id


def test_what_was_let_in_is_judged_again(server, remote, other):
    room = public_room(creator_of(remote), [remote, other])
    banned = other.user("banned")
    old = room.join(banned)
    room.join(other.user("neighbor"))
    room.send(creator_of(remote), "m.room.member", {"membership": "ban"}, banned)
    remote.learn(room)
    other.learn(room)
    user = join(server, room, remote)
    member = dict(room.head[0].state.items())
    member["m.room.member", banned] = old
    rules = [pdu for key, pdu in member.items() if key[0] == "m.room.power_levels"]
    bad = room.make(
        banned,
        "m.room.message",
        {"msgtype": "m.text", "body": "still here"},
        state=member,
        auth=[*rules, old],
    )
    other.transaction(server.node, [bad])
    eventually(lambda: is_here(server, bad))
    good = room.make(
        other.user("neighbor"), "m.room.message", {"msgtype": "m.text", "body": "hello"}, prev=[bad]
    )
    other.transaction(server.node, [good])
    eventually(lambda: is_here(server, good))
    own = user.send(room.room_id, "and me")
    topic = room.make(creator_of(remote), "m.room.topic", {"topic": "news"}, "")
    remote.transaction(server.node, [topic])
    eventually(lambda: is_here(server, topic))
    assert verify(server.database, room.room_id) == []
    whole(server, remote, room)
    assert not is_here(server, bad)
    assert all(is_here(server, event) for event in (good, own, topic))
    status = "select status, status_reason from matrix.events where event_id = %s"
    ((status, reason),) = server.database.query(status, [bad.event_id])
    assert status == "rejected" and "by the state before it" in reason
    assert user.state(room.room_id, "m.room.topic") == {"topic": "news"}
    assert members_of(user, room) == {creator_of(remote), other.user("neighbor"), user.user_id}
    assert verify(server.database, room.room_id) == []


def test_events_that_fork_off_before_the_join(server, remote, other):
    room = a_room(remote, other)
    # The neighbor does not know of the newest events and of the join; what is before the fork, nobody here
    # has.
    before = room.message(other.user("neighbor"), "before")
    room.send(creator_of(remote), "m.room.topic", {"topic": "later"}, "")
    user = join(server, room, remote)
    head = room.head
    fork = room.make(
        other.user("neighbor"), "m.room.message", {"msgtype": "m.text", "body": "fork"}, prev=[before]
    )
    more = room.make(
        other.user("neighbor"), "m.room.message", {"msgtype": "m.text", "body": "more"}, prev=[fork]
    )
    merged = room.make(
        creator_of(remote), "m.room.message", {"msgtype": "m.text", "body": "merged"}, prev=[*head, more]
    )
    other.transaction(server.node, [fork, more])
    remote.transaction(server.node, [merged])
    eventually(lambda: is_here(server, fork) and is_here(server, merged))
    assert server.database.query("select count(*) from matriarch.partial_states where lost") == [(1,)]
    # That the state is asked for when the room is whole, and not before.
    assert remote.asked_for("state_ids") == other.asked_for("state_ids") == []
    whole(server, remote, room)
    assert len(remote.asked_for("state_ids")) + len(other.asked_for("state_ids")) == 1
    roots = (
        "select topic from matrix.state_at(%s) s "
        "cross join lateral (select s.content::jsonb ->> 'topic' as topic) t where s.type = 'm.room.topic'"
    )
    assert server.database.query(roots, [fork.event_id]) == []
    assert server.database.query(roots, [merged.event_id]) == [("later",)]
    assert user.state(room.room_id, "m.room.topic") == {"topic": "later"}
    assert verify(server.database, room.room_id) == []


def test_states_of_forks_that_are_none(server, remote, other):
    """One server's bad answer keeps nobody from the whole room."""
    room = a_room(remote, other)
    before = room.message(other.user("neighbor"), "before")
    room.send(creator_of(remote), "m.room.topic", {"topic": "later"}, "")
    user = join(server, room, remote)
    forks = [
        room.make(
            other.user("neighbor"), "m.room.message", {"msgtype": "m.text", "body": str(n)}, prev=[before]
        )
        for n in range(7)
    ]
    other.transaction(server.node, forks)
    eventually(lambda: all(is_here(server, fork) for fork in forks))
    topics = [pdu.event_id for pdu in room.pdus if pdu.json["type"] in ("m.room.topic", "m.room.create")]
    double = room.make(creator_of(remote), "m.room.topic", {"topic": "double"}, "", prev=[before])

    def state_ids(handler, parts, query, body):
        return 200, {"pdu_ids": [*topics, double.event_id], "auth_chain_ids": []}

    remote.hooks["state_ids"] = state_ids
    whole(server, remote, room)
    # One request for each.
    assert len(remote.asked_for("state_ids")) == 7
    assert all(is_here(server, fork) for fork in forks)
    assert user.state(room.room_id, "m.room.topic") == {"topic": "later"}
    assert verify(server.database, room.room_id) == []


def test_members_who_joined_by_rules_of_before(server, remote, other):
    room = a_room(remote, other)
    room.send(creator_of(remote), "m.room.join_rules", {"join_rule": "invite"}, "")
    user = server.register("guest")
    room.send(creator_of(remote), "m.room.member", {"membership": "invite"}, user.user_id)
    user.join(room.room_id, params={"via": remote.name})
    messages = [
        room.message(who, "hi")
        for who in (remote.user("member1"), other.user("neighbor"), remote.user("member2"))
    ]
    remote.transaction(server.node, [messages[0]])
    other.transaction(server.node, [messages[1]])
    remote.transaction(server.node, [messages[2]])
    eventually(lambda: all(is_here(server, message) for message in messages))
    fork = room.make(
        remote.user("member3"), "m.room.message", {"msgtype": "m.text", "body": "aside"}, prev=[messages[0]]
    )
    remote.transaction(server.node, [fork])
    eventually(lambda: is_here(server, fork))
    whole(server, remote, room)
    assert all(is_here(server, message) for message in [*messages, fork])
    assert verify(server.database, room.room_id) == []


def test_redactions_wait(server, remote, other):
    """What is stripped does not come back."""
    room = public_room(creator_of(remote), [remote, other], version="11")
    banned = other.user("banned")
    old = room.join(banned)
    room.join(other.user("neighbor"))
    room.send(creator_of(remote), "m.room.power_levels", {"users": {creator_of(remote): 100, banned: 50}}, "")
    room.send(creator_of(remote), "m.room.member", {"membership": "ban"}, banned)
    remote.learn(room)
    other.learn(room)
    user = join(server, room, remote)
    kept = room.message(other.user("neighbor"), "keep this")
    gone = room.message(other.user("neighbor"), "and not this")
    other.transaction(server.node, [kept, gone])
    eventually(lambda: is_here(server, gone))
    state = dict(gone.state)
    auth = [state[key] for key in (("m.room.create", ""), ("m.room.power_levels", ""))]
    bad = room.make(banned, "m.room.redaction", {"redacts": kept.event_id}, prev=[gone], auth=[*auth, old])
    good = room.make(other.user("neighbor"), "m.room.redaction", {"redacts": gone.event_id}, prev=[gone])
    other.transaction(server.node, [bad, good])
    eventually(lambda: is_here(server, bad) and is_here(server, good))
    assert verify(server.database, room.room_id) == []
    whole(server, remote, room)
    assert not is_here(server, bad)
    assert user.event(room.room_id, kept.event_id)["content"]["body"] == "keep this"
    assert user.event(room.room_id, gone.event_id)["content"] == {}
    assert verify(server.database, room.room_id) == []


def test_clients_learn_what_came_of_it(server, remote, other):
    """State that was let in wrongly is taken back, and the members are counted, also for who loads members
    lazily."""
    room = public_room(creator_of(remote), [remote, other], version="11")
    banned = other.user("banned")
    old = room.join(banned)
    for number in range(5):
        room.join(remote.user(f"member{number}"))
    topic = room.send(creator_of(remote), "m.room.topic", {"topic": "true"}, "")
    room.send(creator_of(remote), "m.room.power_levels", {"users": {creator_of(remote): 100, banned: 50}}, "")
    room.send(creator_of(remote), "m.room.member", {"membership": "ban"}, banned)
    remote.learn(room)
    other.learn(room)
    user = join(server, room, remote)
    head = room.head[0].state
    auth = [head[key] for key in (("m.room.create", ""), ("m.room.power_levels", ""))]
    bad = room.make(banned, "m.room.topic", {"topic": "false"}, "", auth=[*auth, old])
    other.transaction(server.node, [bad])
    eventually(lambda: is_here(server, bad))
    answer = user.sync(filter=LAZY)
    assert user.state(room.room_id, "m.room.topic") == {"topic": "false"}
    whole(server, remote, room)
    news = shown(user.sync(filter=LAZY, since=answer["next_batch"]), room)
    assert topic.event_id in [event["event_id"] for event in news["state"]["events"]]
    assert news["summary"]["m.joined_member_count"] == 7
    assert not any(
        event["type"] == "m.room.member"
        and event["state_key"] != user.user_id
        and "member" in event["state_key"]
        and event["state_key"] not in news["summary"].get("m.heroes", [])
        for event in news["state"]["events"]
    )
    assert verify(server.database, room.room_id) == []


def test_a_join_that_the_whole_state_forbids(server, remote, other):
    """The server that helped was wrong, or lied: the user was banned."""
    room = a_room(remote, other)
    user = server.register("banned")
    room.send(creator_of(remote), "m.room.member", {"membership": "ban"}, user.user_id)

    def lie(handler, parts, query, event):
        status, answer = remote.answer_send_join(parts, query, event)
        answer["auth_chain"] = [pdu for pdu in answer["auth_chain"] if pdu.get("state_key") != user.user_id]
        return status, answer

    def template(handler, parts, query, body):
        event, state = room.template(parts[1], "m.room.member", {"membership": "join"}, parts[1])
        ban = state["m.room.member", parts[1]].event_id
        event["auth_events"] = [event_id for event_id in event["auth_events"] if event_id != ban]
        return 200, {"room_version": room.version, "event": event}

    remote.hooks |= {"send_join": lie, "make_join": template}
    user.join(room.room_id, params={"via": remote.name})
    since = user.sync(filter=LAZY)["next_batch"]
    user.send(room.room_id, "let me in")
    whole(server, remote, room)
    assert room.room_id in user.sync(filter=LAZY, since=since).get("rooms", {}).get("leave", {})
    user.put(
        path("rooms", room.room_id, "send", "m.room.message", "x"),
        {"body": "hm"},
        status=403,
        errcode="M_FORBIDDEN",
    )
    assert verify(server.database, room.room_id) == []


def test_what_other_servers_are_answered(server, remote, other):
    room = a_room(remote, other)
    user = join(server, room, remote)
    event_id = user.send(room.room_id, "hello")
    base, room_path = "/_matrix/federation/v1", path(room.room_id)
    for where in (
        f"/make_join{room_path}{path(other.user('new'))}?ver=11",
        f"/make_knock{room_path}{path(other.user('new'))}?ver=11",
        f"/make_leave{room_path}{path(other.user('neighbor'))}",
        f"/state{room_path}?event_id={event_id}",
        f"/state_ids{room_path}?event_id={event_id}",
    ):
        other.get(server.node, base + where, status=404, errcode="M_UNABLE_DUE_TO_PARTIAL_STATE")
    # Its members are not known; that it is in the room is.
    assert other.get(server.node, f"{base}/event{path(event_id)}")["pdus"][0]["content"]["body"] == "hello"
    assert other.get(server.node, f"{base}/event_auth{room_path}{path(event_id)}")["auth_chain"]
    assert other.get(server.node, f"{base}/backfill{room_path}?v={event_id}&limit=10")["pdus"]
    whole(server, remote, room)
    assert other.get(server.node, f"{base}/state_ids{room_path}?event_id={event_id}")["pdu_ids"]
    # They are counted as what they are: nobody of a server that the first one made up is.
    servers = "select other_servers from matriarch.rooms where room_id = %s"
    assert server.database.query(servers, [room.room_id]) == [(2,)]


def test_a_server_that_is_not_in_the_room_after_all(server, remote, other):
    room = public_room(creator_of(remote), [remote])
    remote.learn(room)
    user = join(server, room, remote)
    servers = "select other_servers from matriarch.rooms where room_id = %s"
    assert server.database.query(servers, [room.room_id]) == [(2,)]
    whole(server, remote, room)
    assert server.database.query(servers, [room.room_id]) == [(1,)]
    user.send(room.room_id, "secret")
    eventually(lambda: any(pdu["content"].get("body") == "secret" for pdu in sent_to(remote)))
    assert all(pdu["content"].get("body") != "secret" for pdu in sent_to(other))
    assert verify(server.database, room.room_id) == []


def test_another_server_is_asked(server, remote, other):
    room = a_room(remote, other)
    remote.hooks["state"] = lambda *_: (500, {"errcode": "M_UNKNOWN", "error": "no"})
    user = join(server, room, remote)
    eventually(lambda: not partial(server, room))
    assert len(remote.asked_for("state")) == len(other.asked_for("state")) == 1
    assert other.user("neighbor") in members_of(user, room)
    assert verify(server.database, room.room_id) == []


@pytest.mark.parametrize("answer", ["nothing", "no create", "another room", "cut off"])
def test_answers_that_are_no_state(server, remote, other, answer):
    room = a_room(remote, other)
    stranger = public_room(creator_of(remote), [remote], version="11")

    def bad(handler, parts, query, body):
        _status, good = RemoteServer.answer_state(remote, parts, query, body)
        if answer == "nothing":
            return 200, {}
        if answer == "no create":
            return 200, good | {"pdus": [pdu for pdu in good["pdus"] if pdu["type"] != "m.room.create"]}
        if answer == "another room":
            return 200, {"pdus": [pdu.json for pdu in stranger.pdus], "auth_chain": []}
        remote.write(handler, 200, json.dumps(good).encode()[:-20])
        return "answered"

    remote.hooks["state"] = other.hooks["state"] = bad
    user = join(server, room, remote)
    eventually(lambda: partial(server, room)[0][1] >= 2)
    ((_, _, error),) = partial(server, room)
    assert error
    assert user.send(room.room_id, "hello")
    remote.hooks.pop("state"), other.hooks.pop("state")
    whole(server, remote, room)
    assert other.user("neighbor") in members_of(user, room)
    assert verify(server.database, room.room_id) == []


def test_a_node_dies_while_it_loads(start_servers, remote, other):
    (server,) = start_servers(1, 2)
    room = a_room(remote, other)
    user = join(server, room, remote)
    eventually(lambda: remote.asked_for("state"))
    server.nodes[0].kill()
    server.database.query(
        "update matriarch.partial_joins set leased_until = now() where leased_until is not null"
    )
    user = user.at(server.nodes[1])
    assert user.send(room.room_id, "hello")
    remote.may_tell.set()
    eventually(lambda: not partial(server, room))
    assert other.user("neighbor") in members_of(user, room)
    assert verify(server.database, room.room_id) == []


def test_who_left_comes_back(server, remote, other):
    room, control = a_room(remote, other), a_room(remote, other)
    forbidden = {"errcode": "M_FORBIDDEN", "error": "You left."}
    remote.hooks["state"] = other.hooks["state"] = lambda *_: (403, forbidden)
    user = join(server, room, remote)
    user.join(control.room_id, params={"via": remote.name})
    user.send(room.room_id, "hello")
    user.leave(room.room_id)
    # Who left is told what was known then.
    assert user.user_id in {
        event["state_key"] for event in user.get(path("rooms", room.room_id, "members"))["chunk"]
    }
    assert user.get(path("rooms", room.room_id, "state"))

    def asked(about) -> int:
        """How often a room's state was asked for."""
        both = remote.asked_for("state") + other.asked_for("state")
        return len([parts for _, parts, _, _ in both if parts[0] == about.room_id])

    # Nobody is asked any more: of the rooms that are due, the one that waits longest comes first. The servers
    # refuse until then, so that the other room stays partial.
    before, before_of_control = asked(room), asked(control)
    server.database.query(
        "update matriarch.partial_joins set leased_until = null, "
        "next_try_at = now() - case room_id when %s then 60 else 0 end * interval '1 second'",
        [room.room_id],
    )
    eventually(lambda: asked(control) > before_of_control)
    assert asked(room) == before
    assert verify(server.database, room.room_id) == []
    remote.hooks.pop("state"), other.hooks.pop("state")
    # The next join begins anew, without members again; nothing waits for the earlier one any more.
    user.join(room.room_id, params={"via": remote.name})
    assert remote.asked_for("send_join")[-1][2]["omit_members"] == "true"
    assert len(remote.asked_for("send_join")) == 3
    assert len(partial(server, room)) == 1
    assert user.send(room.room_id, "here again")
    assert verify(server.database, room.room_id) == []
    whole(server, remote, room)
    assert other.user("neighbor") in members_of(user, room)
    assert verify(server.database, room.room_id) == []


def test_a_partial_room_that_was_left_is_joined_whole(server, remote, other):
    room = a_room(remote, other)
    user = join(server, room, remote)
    user.send(room.room_id, "hello")
    user.leave(room.room_id)
    remote.hooks["send_join"] = lambda _, *asked: RemoteServer.answer_send_join(remote, *asked)
    user.join(room.room_id, params={"via": remote.name})
    assert partial(server, room) == []
    assert other.user("neighbor") in members_of(user, room)
    servers = "select other_servers from matriarch.rooms where room_id = %s"
    assert server.database.query(servers, [room.room_id]) == [(2,)]
    assert verify(server.database, room.room_id) == []


def test_an_unban_that_nobody_told(server, remote, other):
    """The invite that follows does not cite it."""
    room = a_room(remote, other)
    remote.may_tell.set()
    user = join(server, room, remote)
    creator = creator_of(remote)
    rules = room.send(creator, "m.room.join_rules", {"join_rule": "invite"}, "")
    ban = room.send(creator, "m.room.member", {"membership": "ban"}, user.user_id)
    remote.transaction(server.node, [rules, ban])
    eventually(lambda: is_here(server, ban))
    room.send(creator, "m.room.member", {"membership": "leave"}, user.user_id)
    state = room.head[0].state
    kinds = ("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", creator)
    auth = [*(state[kind] for kind in kinds), rules]
    invite = room.send(creator, "m.room.member", {"membership": "invite"}, user.user_id, auth=auth)
    where = f"/_matrix/federation/v2/invite{path(room.room_id, invite.event_id)}"
    shown_keys = "type", "state_key", "sender", "content"
    stripped = [{key: state[kind].json[key] for key in shown_keys} for kind in kinds]
    body = {"room_version": "11", "event": invite.json, "invite_room_state": stripped}
    remote.call(server.node, "PUT", where, body)
    user.join(room.room_id)
    eventually(lambda: not partial(server, room))
    assert user.user_id in members_of(user, room)
    assert user.send(room.room_id, "back")
    assert verify(server.database, room.room_id) == []


def test_two_users_join_at_once(server, remote, other):
    room = a_room(remote, other)
    users = [server.register("joiner") for _ in range(3)]
    threads = [
        threading.Thread(target=user.join, args=[room.room_id], kwargs={"params": {"via": remote.name}})
        for user in users
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: partial(server, room))
    time.sleep(0.5)
    whole(server, remote, room)
    for thread in threads:
        thread.join(30)
    assert {user.user_id for user in users} <= members_of(users[0], room)
    assert verify(server.database, room.room_id) == []


def test_a_join_that_another_one_overtakes(server, remote, other):
    """The room is whole before the answer to the second join has come."""
    room = a_room(remote, other)
    remote.may_tell.set()
    first, second = server.register("first"), server.register("second")
    waits, goes_on = threading.Event(), threading.Event()

    def slow(handler, parts, query, event):
        if event["sender"] == second.user_id:
            waits.set()
            goes_on.wait(60)

    remote.hooks["send_join"] = slow
    thread = threading.Thread(
        target=second.join, args=[room.room_id], kwargs={"params": {"via": remote.name}}
    )
    thread.start()
    waits.wait(20)
    first.join(room.room_id, params={"via": remote.name})
    eventually(lambda: not partial(server, room))
    goes_on.set()
    thread.join(60)
    assert {first.user_id, second.user_id} <= members_of(second, room)
    assert partial(server, room) == []
    assert verify(server.database, room.room_id) == []


def test_a_small_room_is_whole_at_once(servers):
    one, two = servers
    alice = one.register("alice")
    room = alice.create_room(preset="public_chat")
    alice.send(room, "hello")
    bob = two.register("bob")
    bob.join(room, params={"via": one.name})
    assert room in bob.sync()["rooms"]["join"]
    assert bob.get(path("rooms", room, "joined_members"))["joined"].keys() == {alice.user_id, bob.user_id}
    assert verify(two.database, room) == []


def test_a_large_room(server, remote, other):
    room = LargeRoom(remote, 1500)
    room.serve(omits_members=True)
    tell = remote.hooks["state"]

    def state(*asked):
        remote.may_tell.wait(60)
        return tell(*asked)

    remote.hooks["state"] = state
    user = join(server, room, remote)
    assert user.send(room.room_id, "so soon")
    whole(server, remote, room)
    assert len(members_of(user, room)) == 1501
    assert verify(server.database, room.room_id) == []
