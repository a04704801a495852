"""Events as other servers make them: canonical JSON, hashes, redaction and signatures, written from the
specification."""

import base64
import copy
import hashlib
import itertools
import json
import re

import httpx
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from .client import expect
from .cluster import SERVER_NAME

KEY_ID = "ed25519:peer"
# Rooms begin at different times, so that their ids differ.
BEGINNINGS = itertools.count(1_600_000_000_000, 10_000_000)


def unpadded(data: bytes, url_safe: bool = False) -> str:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    return encode(data).decode().rstrip("=")


# How `exact` marks a number, in JSON with and without escapes.
EXACT = re.compile(r'"(?:«|\\u00ab)([-+.0-9eE]+)(?:»|\\u00bb)"')


def exact(number: str) -> str:
    """In the place of a number that stands in the JSON as in this text: Python would write it otherwise."""
    return f"«{number}»"


def written(value, **options) -> bytes:
    """A value as JSON."""
    return EXACT.sub(r"\1", json.dumps(value, **options)).encode()


def canonical(value) -> bytes:
    return written(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# What redaction keeps in room versions 11 and 12, and in 6 to 10 where that differs.
KEPT = {
    "m.room.member": ["membership", "join_authorised_via_users_server"],
    "m.room.create": None,
    "m.room.join_rules": ["join_rule", "allow"],
    "m.room.power_levels": [
        "ban",
        "events",
        "events_default",
        "invite",
        "kick",
        "redact",
        "state_default",
        "users",
        "users_default",
    ],
    "m.room.history_visibility": ["history_visibility"],
    "m.room.redaction": ["redacts"],
}
TOP_LEVEL = [
    "event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth",
    "prev_events",
    "auth_events", "origin_server_ts",
]  # fmt: skip


def redact(event: dict) -> dict:
    """Room versions 11 and 12."""
    kept = KEPT.get(event["type"], [])
    content = event["content"]
    if kept is not None:
        content = {key: value for key, value in content.items() if key in kept}
        signed = event["content"].get("third_party_invite", {}).get("signed")
        if event["type"] == "m.room.member" and signed:
            content["third_party_invite"] = {"signed": signed}
    return {**{key: event[key] for key in TOP_LEVEL if key in event}, "content": content}


def signed_form(event: dict) -> bytes:
    form = redact(event)
    form.pop("signatures", None)
    return canonical(form)


def event_id_of(event: dict) -> str:
    return "$" + unpadded(hashlib.sha256(signed_form(event)).digest(), url_safe=True)


class Peer:
    """Another server."""

    # The server that is asked, unless a request says otherwise.
    destination = SERVER_NAME

    def __init__(self, name: str):
        self.name = name
        self.key = ECC.construct(curve="Ed25519", seed=hashlib.sha256(name.encode()).digest())
        self.public_key = unpadded(self.key.public_key().export_key(format="raw"))

    def publish(self, database, valid_until_ts=2**53, expired=False):
        """Makes the database know the key."""
        with database.connect("matriarch_api") as connection:
            connection.execute(
                "select matriarch.store_server_keys(%s, %s, %s, %s::bigint[], %s)",
                [self.name, [KEY_ID], [self.public_key], [valid_until_ts], [expired]],
            )

    def sign(self, event: dict):
        """Adds hash and signature."""
        hashed = {
            key: value for key, value in event.items() if key not in ("unsigned", "signatures", "hashes")
        }
        event["hashes"] = {"sha256": unpadded(hashlib.sha256(canonical(hashed)).digest())}
        signature = eddsa.new(self.key, "rfc8032").sign(signed_form(event))
        event.setdefault("signatures", {}).setdefault(self.name, {})[KEY_ID] = unpadded(signature)

    def user(self, name: str) -> str:
        return f"@{name}:{self.name}"

    def sign_json(self, value: dict) -> str:
        """The signature of a JSON object."""
        return unpadded(eddsa.new(self.key, "rfc8032").sign(canonical(value)))

    def request(
        self, node, method: str, path: str, body=None, destination: str | None = None
    ) -> httpx.Response:
        """Sends a signed request to a node. `path` is encoded already; a body of bytes is sent as it is, and
        not signed."""
        destination = destination or self.destination
        content = body if isinstance(body, bytes) else None if body is None else written(body)
        request = httpx.Request(method, node.url + path, content=content)
        signed = {
            "method": method,
            "uri": request.url.raw_path.decode(),
            "origin": self.name,
            "destination": destination,
        }
        if body is not None and not isinstance(body, bytes):
            signed["content"] = body
        request.headers["Authorization"] = (
            f'X-Matrix origin="{self.name}",destination="{destination}",'
            f'key="{KEY_ID}",sig="{self.sign_json(signed)}"'
        )
        with httpx.Client(timeout=60) as client:
            return client.send(request)

    def call(
        self, node, method: str, path: str, body=None, status: int = 200, errcode: str | None = None
    ) -> dict:
        """The same, and the body of an answer of this status."""
        return expect(self.request(node, method, path, body), status, errcode)

    def get(self, node, path: str, **options) -> dict:
        return self.call(node, "GET", path, **options)


class Pdu:
    """An event, with the state that its maker believes in after it."""

    def __init__(self, json_: dict, state_before: dict):
        self.json = json_
        self.event_id = event_id_of(json_)
        self.state_before = state_before
        self.state = dict(state_before)
        if "state_key" in json_:
            self.state[json_["type"], json_["state_key"]] = self

    @property
    def text(self) -> str:
        return written(self.json).decode()

    def __repr__(self):
        return (
            f"{self.event_id[:6]} {self.json['type']} {self.json.get('state_key', '')} {self.json['content']}"
        )


def auth_types(type, sender, state_key, content, version):
    types = [("m.room.power_levels", ""), ("m.room.member", sender)]
    if version != "12":
        types.append(("m.room.create", ""))
    if type == "m.room.member":
        types.append(("m.room.member", state_key))
        if content.get("membership") in ("join", "invite", "knock"):
            types.append(("m.room.join_rules", ""))
        if "join_authorised_via_users_server" in content and content.get("membership") == "join":
            types.append(("m.room.member", content["join_authorised_via_users_server"]))
    return list(dict.fromkeys(types))


class RemoteRoom:
    """A room as other servers see it, of version 11 or 12."""

    def __init__(
        self, creator: str, peers: list[Peer], version: str = "12", begins: int | None = None, **content
    ):
        self.version = version
        self.times = itertools.count(begins or next(BEGINNINGS), 1000)
        self.peers = {peer.name: peer for peer in peers}
        self.pdus: list[Pdu] = []
        self.room_id = (
            None
            if version == "12"
            else f"!{hashlib.sha256(str(next(self.times)).encode()).hexdigest()[:18]}:{peers[0].name}"
        )
        self.create = self.make(creator, "m.room.create", {"room_version": version, **content}, "", prev=[])
        self.room_id = self.room_id or "!" + self.create.event_id[1:]
        self.head = [self.create]

    def peer_of(self, user: str) -> Peer:
        return self.peers[user.split(":", 1)[1]]

    def make(self, sender, type, content, state_key=None, **options) -> Pdu:
        """An event after `prev` (default: after the newest), by the state given or else believed there."""
        event, state = self.template(sender, type, content, state_key, **options)
        self.peer_of(sender).sign(event)
        pdu = Pdu(event, state)
        self.pdus.append(pdu)
        return pdu

    def template(
        self, sender, type, content, state_key=None, prev=None, state=None, ts=None, auth=None, depth=None
    ):
        """An event that nobody signed yet, and the state before it."""
        prev = self.head if prev is None else prev
        if state is None:
            state = {}
            for event in prev:
                state |= event.state
        if auth is None:
            auth = []
            if type != "m.room.create":
                wanted = auth_types(type, sender, state_key, content, self.version)
                auth = [state[key] for key in wanted if key in state]
        event = {
            "type": type,
            "sender": sender,
            "content": copy.deepcopy(content),
            "prev_events": [event.event_id for event in prev],
            "auth_events": [event.event_id for event in auth],
            "depth": depth or 1 + max((event.json["depth"] for event in prev), default=0),
            "origin_server_ts": ts or next(self.times),
        }
        if self.room_id:
            event["room_id"] = self.room_id
        if state_key is not None:
            event["state_key"] = state_key
        return event, state

    def let_in(self, database, user) -> str:
        """A user of the tests' server joins, with the help of a server in the room. What becomes of the
        join."""
        template, state = self.template(user.user_id, "m.room.member", {"membership": "join"}, user.user_id)
        with database.connect("matriarch_api") as connection:
            status, body = connection.execute(
                "select status, body from matriarch.sign_membership(%s, %s, %s, 'join', %s, '{}')",
                [user.token_hash, self.room_id, self.version, json.dumps(template)],
            ).fetchone()
        assert status == 200, body
        join = Pdu(json.loads(body)["event"], state)
        self.pdus.append(join)
        (verdict,) = verdicts(receive(database, self, [join]))
        if verdict == "accepted":
            self.head = [join]
        return verdict

    def send(self, sender, type, content, state_key=None, **options) -> Pdu:
        """Makes an event at the end of the main line."""
        pdu = self.make(sender, type, content, state_key, **options)
        self.head = [pdu]
        return pdu

    def join(self, user, **options) -> Pdu:
        return self.send(user, "m.room.member", {"membership": "join"}, user, **options)

    def message(self, sender, body="hi", **options) -> Pdu:
        return self.send(sender, "m.room.message", {"msgtype": "m.text", "body": body}, **options)


def public_room(
    creator: str, peers: list[Peer], version="12", users=None, begins=None, **content
) -> RemoteRoom:
    """A room that anybody may join, with its creator in it."""
    room = RemoteRoom(creator, peers, version, begins, **content)
    room.join(creator)
    levels = dict(users or {})
    if version != "12":
        levels[creator] = 100
    room.send(creator, "m.room.power_levels", {"users": levels}, "")
    room.send(creator, "m.room.join_rules", {"join_rule": "public"}, "")
    return room


def receive(database, room: RemoteRoom, pdus, kind="live", states=None, given_up=None):
    """Calls `receive_pdus`; the reports."""
    texts = [pdu.text if isinstance(pdu, Pdu) else pdu for pdu in pdus]
    states, given_up = (json.dumps(value) if value else None for value in (states, given_up))
    with database.connect("matriarch_api") as connection:
        row = connection.execute(
            "select status, body from matriarch.receive_pdus(%s, %s, %s, %s, %s, %s)",
            [room.room_id, room.version, kind, texts, states, given_up],
        ).fetchone()
    assert row[0] == 200, row
    return json.loads(row[1])["pdus"]


def verdicts(reports) -> list[str]:
    return [report["verdict"] for report in reports]
