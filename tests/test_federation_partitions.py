"""Three of our own servers, two nodes each, that lose sight of each other, write on, and find each other
again."""

import random
import threading
import time

import httpx
import pytest

from harness.client import path
from harness.verify import verify
from harness.waiting import eventually

EVERYBODY = ("admin", "moderator", "member", "guest")


class Party:
    """The users of one server in a room. `admin` is in it to the end; the others come and go."""

    def __init__(self, server):
        self.server = server
        for role in EVERYBODY:
            setattr(self, role, server.register(role))

    def users(self):
        return [getattr(self, role) for role in EVERYBODY]

    def at_any_node(self, rng: random.Random, client):
        return client.at(rng.choice([node for node in self.server.nodes if node.running()]))


class Story:
    """A room that users of all servers write in, as chance has it."""

    def __init__(self, servers, seed: int, version: str):
        self.rng = random.Random(f"{seed} {version}")
        self.servers = servers
        self.parties = [Party(server) for server in servers]
        first = self.parties[0].admin
        # In version 12 the creator stands above all.
        users = {
            party.admin.user_id: 100 for party in self.parties if party.admin is not first or version != "12"
        }
        users |= {party.moderator.user_id: 50 for party in self.parties}
        self.room = first.create_room(
            preset="public_chat", room_version=version, power_level_content_override={"users": users}
        )
        for party in self.parties:
            for user in party.users()[:3]:
                if user is not first:
                    user.join(self.room, params={"via": servers[0].name})
            self.alias = f"#{seed}-{version}-{time.time_ns()}"
            party.alias = f"{self.alias}:{party.server.name}"
            party.admin.put(f"/directory/room/{path(party.alias)[1:]}", {"room_id": self.room})
        # Of the time before it came in a server knows the state alone.
        converge(servers, self.room, lambda server: ())
        self.before = set(self.known(servers[0]))

    def act(self, party: Party):
        """Somebody does something, which may be forbidden."""
        rng, room = self.rng, path("rooms", self.room)
        actor = party.at_any_node(rng, rng.choice(party.users()))
        ruler = party.at_any_node(rng, rng.choice([party.admin, party.moderator]))
        admin = party.at_any_node(rng, party.admin)
        others = [user.user_id for other in self.parties for user in other.users() if user is not other.admin]
        whom = rng.choice(others)
        state = f"{room}/state"

        def levels():
            content = admin.state(self.room, "m.room.power_levels")
            content["users"][whom] = rng.choice([0, 0, 25, 50, 60])
            content["events_default"] = rng.choice([0, 0, 0, 10])
            return admin.request("PUT", f"{state}/m.room.power_levels/", content)

        def redact():
            mine = [row[0] for row in party.server.database.query(
                "select event_id from matrix.events where room_id = %s and status = 'accepted' "
                "and type = 'm.room.message'",
                [self.room],
            )]  # fmt: skip
            return (
                ruler.request("PUT", f"{room}/redact/{path(rng.choice(mine))[1:]}/{time.time_ns()}", {})
                if mine
                else None
            )

        actions = {
            lambda: actor.request(
                "PUT", f"{room}/send/m.room.message/{time.time_ns()}", {"msgtype": "m.text", "body": "hi"}
            ): 8,
            lambda: ruler.request("PUT", f"{state}/m.room.topic/", {"topic": str(rng.random())}): 3,
            lambda: ruler.request("PUT", f"{state}/m.room.name/", {"name": str(rng.random())}): 1,
            levels: 3,
            lambda: ruler.request("POST", f"{room}/ban", {"user_id": whom}): 2,
            lambda: ruler.request("POST", f"{room}/unban", {"user_id": whom}): 2,
            lambda: ruler.request("POST", f"{room}/kick", {"user_id": whom}): 2,
            lambda: ruler.request(
                "PUT",
                f"{state}/m.room.join_rules/",
                {"join_rule": rng.choice(["public", "public", "invite"])},
            ): 1,
            lambda: party.guest.request("POST", path("join", party.alias), {}): 3,
            lambda: party.member.request("POST", path("join", party.alias), {}): 1,
            lambda: party.member.request("POST", f"{room}/leave", {}): 1,
            lambda: ruler.request("POST", f"{room}/invite", {"user_id": party.guest.user_id}): 1,
            redact: 1,
        }
        response = rng.choices(list(actions), list(actions.values()))[0]()
        assert response is None or response.status_code in (200, 403), response.text

    def write(self, count: int):
        for _ in range(count):
            for party in self.parties:
                self.act(party)

    def known(self, server) -> dict[str, str]:
        """The events that a server has, but those of which it knows as auth events or state only."""
        statement = "select event_id, status from matrix.events where room_id = %s and status <> 'outlier'"
        return dict(server.database.query(statement, [self.room]))

    def news(self, server) -> dict[str, str]:
        """What it has of the time when all were in the room."""
        return {
            event_id: status for event_id, status in self.known(server).items() if event_id not in self.before
        }

    def end(self):
        """All hear of each other again: they come to have the same events, of which the same are rejected,
        and one state."""
        retry(self.servers)
        for party in self.parties:
            party.admin.send(self.room, "I am back")
        converge(self.servers, self.room, self.news)
        # What cites what came late.
        for party in self.parties:
            party.admin.send(self.room, "all is well")
        converge(self.servers, self.room, self.news)
        rejected = [
            {key for key, status in self.news(server).items() if status == "rejected"}
            for server in self.servers
        ]
        assert rejected[0] == rejected[1] == rejected[2]
        states = [
            sorted((event["type"], event["state_key"], event["event_id"])
                   for event in party.admin.at(node).get(path("rooms", self.room, "state")))
            for party in self.parties for node in party.server.nodes
        ]  # fmt: skip
        assert all(state == states[0] for state in states)
        for server in self.servers:
            assert verify(server.database, self.room) == []


def retry(servers):
    """Ends all pauses."""
    for server in servers:
        for other in servers:
            server.database.query("select matriarch.retry_now(%s)", [other.name], user="matriarch_admin")


def state(server, room):
    return server.database.query(
        "select type, state_key, event_id from matrix.current_state(%s) order by 1, 2", [room]
    )


def traces(server, event_ids: set[str]):
    """What a server knows of events, for the report of a failure."""
    statement = """
        select event_id, e.event_nid, status, status_reason, outgoing, json from matriarch.events e
        where event_id = any(%s)"""
    yield from server.database.query(statement, [list(event_ids)])
    yield from server.database.query("select * from matrix.inbound")
    yield from server.database.query("""
        select d.server_name, d.failing_since, d.last_error, r.sent_nid, r.left_nid, r.joined_members,
        r.pending_since
        from matriarch.destination_rooms r join matriarch.destinations d using (destination_nid)""")
    for node in server.nodes:
        for line in node.log.read_text().splitlines():
            if any(event_id in line for event_id in event_ids):
                yield line


def converge(servers, room, events, timeout: float = 25):
    """Waits until all have the same events and the same state."""
    deadline = time.monotonic() + timeout
    while True:
        known = [set(events(server)) for server in servers]
        states = [state(server, room) for server in servers]
        if all(one == known[0] for one in known) and all(one == states[0] for one in states):
            return
        if time.monotonic() > deadline:
            everything = set().union(*known)
            missing = {event_id for one in known for event_id in everything - one}
            differing = {each[2] for one in states for each in set(one) ^ set(states[0])}
            told = "\n".join(
                f"{server.name}: {line}" for server in servers for line in traces(server, missing | differing)
            )
            raise AssertionError(
                f"no convergence: the states differ by {differing}, and not all have {missing}:\n{told}"
            )
        time.sleep(0.1)


@pytest.fixture(autouse=True)
def healed(linked):
    yield
    linked[1].heal()


@pytest.mark.parametrize("version", ["10", "11", "12"])
@pytest.mark.parametrize("seed", range(6))
def test_partitions_heal(linked, seed, version):
    servers, links = linked
    one, two, three = servers
    story = Story(servers, seed, version)
    story.write(3)
    silently = seed % 2 == 1
    links.cut([one], [two, three], silently=silently)
    story.write(10)
    links.cut([one], [two], [three], silently=silently)
    story.write(10)
    links.heal()
    story.write(3)
    story.end()


def test_a_kick_after_what_is_missing(linked):
    """Who is out of the room may ask for what is before the event that says so."""
    servers, links = linked
    one, two, three = servers
    alice, bob, carol = [
        server.register(name) for server, name in zip(servers, ("alice", "bob", "carol"), strict=True)
    ]
    room = alice.create_room(preset="public_chat")
    for user in (bob, carol):
        user.join(room, params={"via": one.name})
    converge(servers, room, lambda server: ())
    links.cut([two], [three])
    said = carol.send(room, "of which two hears nothing")
    known = "select count(*) from matrix.events where event_id = %s"
    eventually(lambda: one.database.query(known, [said]) == [(1,)])
    alice.post(path("rooms", room, "kick"), {"user_id": bob.user_id})
    eventually(lambda: bob.get("/joined_rooms")["joined_rooms"] == [], seconds=20)
    assert verify(two.database, room) == []


def test_nodes_that_die_while_they_send_and_receive(linked):
    servers, _ = linked
    story = Story(servers, 99, "12")
    sent = []

    def write(party, user, count=120):
        for n in range(count):
            # The other node takes over when one dies.
            for _ in range(2):
                try:
                    sent.append(party.at_any_node(story.rng, user).send(story.room, f"{n} of {user.user_id}"))
                    break
                except httpx.TransportError:
                    continue

    writers = [threading.Thread(target=write, args=[party, party.admin]) for party in story.parties]
    [writer.start() for writer in writers]
    for number, server in enumerate(servers):
        victim = server.nodes[number % 2]
        for act in (victim.kill, victim.start):
            goal = len(sent) + 20
            eventually(lambda goal=goal: len(sent) >= goal, seconds=60)
            act()
    [writer.join() for writer in writers]
    story.end()
    for server in servers:
        assert set(sent) <= set(story.known(server))


def test_a_server_that_was_away_for_a_day(linked):
    """It gets the newest of each room, and fetches what it wants of the rest."""
    servers, _ = linked
    stories = [Story(servers, seed, "11") for seed in range(4)]
    away, *others = servers
    for node in away.nodes:
        node.stop()
    lengths = (1200, 300, 300, 300)

    def write(story, party, count):
        writer = party.admin.at(party.server.nodes[0])
        for n in range(count):
            writer.send(story.room, str(n))
        writer.send_state(story.room, "m.room.topic", {"topic": f"of {party.server.name}"})

    writers = [
        threading.Thread(target=write, args=[story, party, length // 2])
        for story, length in zip(stories, lengths, strict=True) for party in story.parties[1:]
    ]  # fmt: skip
    [writer.start() for writer in writers]
    [writer.join() for writer in writers]
    before = [
        sum(metric(node, "matriarch_federation_pdus_sent_total") for node in server.nodes)
        for server in others
    ]
    for server in others:
        server.database.query(
            "update matriarch.destination_rooms set pending_since = now() - interval '1 day' "
            "where pending_since is not null"
        )
        server.database.query(
            "update matriarch.destinations set txn_created_at = now() - interval '1 day' "
            "where txn_id is not null"
        )
    for node in away.nodes:
        node.start()
    retry(servers)
    started = time.monotonic()
    for story in stories:
        converge(servers, story.room, lambda server: (), timeout=60)
    assert time.monotonic() - started < 60
    for story, length in zip(stories, lengths, strict=True):
        story.parties[0].admin.at(away.node).send(story.room, "what did I miss?")
        news = [story.news(server) for server in servers]
        # A gap of a thousand events is passed over; history is fetched when somebody reads it.
        assert length > 1000 or set(news[1]) <= set(news[0])
        converge(servers, story.room, lambda server: ())
        for server in servers:
            assert verify(server.database, story.room) == []
    # A transaction that was under way may be repeated; of each room there is the newest event.
    after = [
        sum(metric(node, "matriarch_federation_pdus_sent_total") for node in server.nodes)
        for server in others
    ]
    assert all(new - old <= 50 + 4 * len(stories) for old, new in zip(before, after, strict=True)), (
        before,
        after,
    )


def metric(node, name: str) -> float:
    lines = httpx.get(f"{node.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))
