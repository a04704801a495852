"""Servers exchange what generators make, for a while: two of ours, a Synapse, and a Dendrite where its binary
is at hand. Nothing that is valid for its room version is lost, and nothing stops.

EXCHANGE_SECONDS (20) says for how long, EXCHANGE_SEED repeats what a run made, and DENDRITE names the folder
with the binaries of a Dendrite (`dendrite`, `generate-keys`)."""

import json
import os
import random
import time

import pytest

from harness.client import new_txn_id, path
from harness.dendrite import Dendrite
from harness.generator import Generator
from harness.peer import written
from harness.waiting import eventually, eventually_passes

SECONDS = float(os.environ.get("EXCHANGE_SECONDS", "20"))
SEED = int(os.environ.get("EXCHANGE_SEED", random.randrange(2**32)))
# How long what was sent may take to arrive at the end.
GRACE = 60 + SECONDS / 4
pytestmark = pytest.mark.timeout(120 + SECONDS + 2 * GRACE)
# In versions 1 to 5, events may have any number.
VERSIONS = ["5", "11"]
# A Dendrite drops the characters "-0" from any number when it checks a signature (`-0.0`, `1e-05`), and reads
# numbers of its clients as floats.
DENDRITE_READS = ("1.5", "0.1", "1.0", "1e+16", "1E5", "1e300", "1.50", "10000000000.0")


class Exchange:
    """Users of several servers in rooms of several versions."""

    def __init__(self, homes, generator: Generator):
        self.generator, self.random = generator, generator.random
        self.users = [home.register("user") for home in homes]
        first, *others = self.users
        self.rooms = {
            version: first.create_room(preset="public_chat", room_version=version) for version in VERSIONS
        }
        for room in self.rooms.values():
            for user in others:
                user.join(room, params={"via": homes[0].name, "server_name": homes[0].name})
        # By room: the ids and contents of events. By user: the marks and contents of messages to its device.
        self.events = {room: {} for room in self.rooms.values()}
        self.messages = {user.user_id: {} for user in self.users}
        self.seen_events = {user.user_id: {room: {} for room in self.events} for user in self.users}
        self.seen_messages = {user.user_id: {} for user in self.users}
        self.refused = 0
        for room in self.rooms.values():
            for user in self.users:
                eventually(lambda user=user, room=room: len(self.members(user, room)) == len(self.users))

    @staticmethod
    def members(user, room) -> list:
        events = user.get(path("rooms", room, "members"))["chunk"]
        return [event for event in events if event["content"]["membership"] == "join"]

    def step(self):
        actions = [self.send, self.send, self.send, self.send_state, self.message, self.message, self.typing]
        actions += [self.receipt, self.keys, self.profile]
        self.random.choice(actions)(self.random.choice(self.users))

    def put(self, user, where: str, content) -> dict | None:
        """Sends JSON; the answer, or None if the user's own server refuses it."""
        response = user.request("PUT", where, content=written(content))
        if response.status_code == 200:
            return response.json()
        assert 400 <= response.status_code < 500, response.text
        self.refused += 1
        return None

    def send(self, user, state_key=None):
        version, room = self.random.choice(list(self.rooms.items()))
        # Also what the version forbids: then the own server says so.
        any_form = version == "5" or self.random.random() < 0.1
        content = self.generator.content(any_form)
        if state_key is None:
            where = path("rooms", room, "send", "org.example.any", new_txn_id())
        else:
            where = path("rooms", room, "state", "org.example.any", state_key)
        if answer := self.put(user, where, content):
            self.events[room][answer["event_id"]] = json.loads(written(content))

    def send_state(self, user):
        # Each user has the right to one piece of state.
        self.send(self.users[0], state_key=self.generator.text(10))

    def message(self, user):
        target = self.random.choice(self.users)
        content = {**self.generator.content(any_form=True), "mark": new_txn_id()}
        messages = {target.user_id: {target.device_id: content}}
        where = path("sendToDevice", "org.example.any", new_txn_id())
        if self.put(user, where, {"messages": messages}) is not None:
            self.messages[target.user_id][content["mark"]] = json.loads(written(content))

    def typing(self, user):
        room = self.random.choice(list(self.events))
        self.put(user, path("rooms", room, "typing", user.user_id), {"typing": True, "timeout": 1000})

    def receipt(self, user):
        room = self.random.choice(list(self.events))
        if seen := list(self.seen_events[user.user_id][room]):
            where = path("rooms", room, "receipt", "m.read", self.random.choice(seen))
            user.request("POST", where, {})

    def keys(self, user):
        device = {
            "user_id": user.user_id, "device_id": user.device_id, "algorithms": ["org.example"],
            "keys": {f"ed25519:{user.device_id}": "key"}, "signatures": {user.user_id: {}},
            "extra": self.generator.value(any_form=self.random.random() < 0.5),
        }  # fmt: skip
        user.request("POST", "/keys/upload", content=written({"device_keys": device}))
        others = {other.user_id: [] for other in self.users}
        user.request("POST", "/keys/query", {"device_keys": others, "timeout": 1000})

    def profile(self, user):
        where = path("profile", user.user_id, "displayname")
        self.put(user, where, {"displayname": self.generator.text(20)})

    def sync(self, user, timeout=0):
        filter_ = '{"room": {"timeline": {"limit": 500}}, "presence": {"types": []}}'
        options = {"timeout": timeout, "filter": filter_}
        if user.since:
            options["since"] = user.since
        answer = user.get("/sync", params=options)
        user.since = answer["next_batch"]
        for event in answer.get("to_device", {}).get("events", []):
            self.seen_messages[user.user_id][event["content"].get("mark")] = event["content"]
        for room, joined in answer.get("rooms", {}).get("join", {}).items():
            for event in joined.get("timeline", {}).get("events", []):
                self.seen_events[user.user_id].setdefault(room, {})[event["event_id"]] = event["content"]

    def missing(self) -> list:
        """What has not arrived, or has arrived as something else."""
        for user in self.users:
            self.sync(user)
        seen = self.seen_events
        return [
            f"{user.user_id} has {self.seen_messages[user.user_id].get(mark)} for {content}"
            for user in self.users
            for mark, content in self.messages[user.user_id].items()
            if self.seen_messages[user.user_id].get(mark) != content
        ] + [
            f"{user.user_id} has {seen[user.user_id][room].get(event_id)} for {event_id} {content}"
            for room, events in self.events.items()
            for user in self.users
            for event_id, content in events.items()
            if not self.has(user, room, event_id, content)
        ]

    def has(self, user, room: str, event_id: str, content) -> bool:
        """Whether a user can read an event, in a sync or by itself."""
        seen = self.seen_events[user.user_id][room]
        if event_id not in seen:
            response = user.request("GET", path("rooms", room, "event", event_id))
            if response.status_code == 200:
                seen[event_id] = response.json()["content"]
        return seen.get(event_id) == content


def all_arrived(exchange):
    def arrived():
        missing = exchange.missing()
        assert missing == [], f"{len(missing)}: " + "\n".join(missing[:10])

    eventually_passes(arrived, seconds=GRACE)


def exchange(homes, **options):
    generator = Generator(SEED, **options)
    exchange = Exchange(homes, generator)
    deadline = time.monotonic() + SECONDS
    steps = 0
    while time.monotonic() < deadline:
        exchange.step()
        steps += 1
        if steps % 20 == 0:
            exchange.sync(generator.random.choice(exchange.users))
    sent = sum(map(len, exchange.events.values())), sum(map(len, exchange.messages.values()))
    print(f"seed {SEED}: {steps} steps, {sent[0]} events, {sent[1]} messages, {exchange.refused} refused")
    all_arrived(exchange)
    # Nothing waits for anything.
    for user in exchange.users:
        for room in exchange.events:
            event_id = user.send(room, "the last word")
            exchange.events[room][event_id] = {"msgtype": "m.text", "body": "the last word"}
    all_arrived(exchange)
    return exchange


def sound(servers, rooms):
    for server in servers:
        for room in rooms:
            assert server.database.query("select * from matrix.verify_room(%s)", [room]) == []


def test_servers_of_ours_and_a_synapse(servers, synapse):
    rooms = exchange([servers[0], synapse, servers[1]]).events
    sound(servers, rooms)


def test_servers_of_ours_and_a_dendrite(servers, authority, tmp_path):
    folder = os.environ.get("DENDRITE")
    if not folder:
        pytest.skip("DENDRITE does not name the folder with the binaries of a Dendrite.")
    dendrite = Dendrite(authority, tmp_path, folder)
    try:
        rooms = exchange([servers[0], dendrite.start(), servers[1]], odd_numbers=DENDRITE_READS).events
    finally:
        dendrite.stop()
    sound(servers, rooms)
