"""Another homeserver as a script: it serves its keys and events by HTTPS, keeps to the specification unless
told otherwise, and remembers what it was asked."""

import json
import re
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from . import process
from .peer import KEY_ID, Pdu, Peer, RemoteRoom, written


class RemoteServer(Peer):
    """`localhost:<port>`. `hooks` has functions by the names of endpoints (`event`, `state_ids`, …), each
    called with the handler and the request's parts; what one returns (a status and a body) is answered
    instead."""

    def __init__(self, authority):
        self.port = process.free_port()
        super().__init__(f"localhost:{self.port}")
        self.events: dict[str, Pdu] = {}
        self.hooks = {}
        self.devices: dict[str, dict] = {}
        self.asked: list[tuple[str, list[str], dict, dict | None]] = []
        self.txn_ids = 0
        self.backfill_limit = 100
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.handle(self, None)

            def do_POST(self):
                server.handle(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            do_PUT = do_POST

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.http.daemon_threads = True
        # Connections that a node breaks off are no news.
        self.http.handle_error = lambda *_: None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.certificate, authority.key)
        self.http.socket = context.wrap_socket(
            self.http.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    # What it knows

    def learn(self, room: RemoteRoom):
        """Makes it know all events of a room, also those made later."""
        self.rooms = [*getattr(self, "rooms", []), room]

    def find(self, event_id: str) -> Pdu | None:
        known = [self.events.get(event_id)]
        known += [pdu for room in getattr(self, "rooms", []) for pdu in room.pdus if pdu.event_id == event_id]
        return next((pdu for pdu in reversed(known) if pdu is not None), None)

    @staticmethod
    def auth_chain(pdus, find) -> list[Pdu]:
        chain, open_ = {}, [id for pdu in pdus for id in pdu.json["auth_events"]]
        while open_:
            event_id = open_.pop()
            if event_id not in chain and (pdu := find(event_id)):
                chain[event_id] = pdu
                open_ += pdu.json["auth_events"]
        return list(chain.values())

    def asked_for(self, endpoint: str) -> list[tuple[str, list[str], dict, dict | None]]:
        return [asked for asked in self.asked if asked[0] == endpoint]

    # What it answers

    def handle(self, handler, body):
        url = urlsplit(handler.path)
        parts = [unquote(part) for part in url.path.split("/")[1:]]
        lists = parse_qs(url.query)
        query = {key: values if key == "v" else values[0] for key, values in lists.items()}
        if url.path.startswith("/_matrix/key/v2/server"):
            endpoint, parts = "keys", []
        elif re.fullmatch(r"/_matrix/federation/v\d/user/devices/.*", url.path):
            endpoint, parts = "devices", parts[5:]
        elif url.path == "/_matrix/policy/v1/sign":
            endpoint, parts = "sign", []
        elif re.match(r"/_matrix/federation/v[12]/", url.path):
            endpoint, parts = parts[3], parts[4:]
        else:
            endpoint, parts = "unknown", []
        self.asked.append((endpoint, parts, query, body))
        answer = None
        if hook := self.hooks.get(endpoint):
            answer = hook(handler, parts, query, body)
            if answer == "answered":
                return
        if answer is None:
            own = getattr(self, f"answer_{endpoint}", None)
            answer = own(parts, query, body) if own else None
        status, content = answer or (404, {"errcode": "M_NOT_FOUND", "error": "Not here."})
        self.write(handler, status, written(content))

    @staticmethod
    def write(handler, status: int, data: bytes):
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def answer_keys(self, *_):
        keys = {
            "server_name": self.name,
            "valid_until_ts": int(time.time() * 1000) + 86_400_000,
            "verify_keys": {KEY_ID: {"key": self.public_key}},
            "old_verify_keys": {},
        }
        keys["signatures"] = {self.name: {KEY_ID: self.sign_json(keys)}}
        return 200, keys

    def answer_event(self, parts, *_):
        pdu = self.find(parts[0])
        return (200, {"origin": self.name, "origin_server_ts": 0, "pdus": [pdu.json]}) if pdu else None

    def answer_get_missing_events(self, parts, query, body):
        seen, open_, events = set(body["earliest_events"]), list(body["latest_events"]), []
        while open_ and len(events) < min(body.get("limit", 10), 20):
            pdu = self.find(open_.pop(0))
            for event_id in pdu.json["prev_events"] if pdu else []:
                if event_id not in seen and (prev := self.find(event_id)):
                    seen.add(event_id)
                    events.append(prev)
                    open_.append(event_id)
        return 200, {"events": [pdu.json for pdu in events[:20]]}

    def answer_backfill(self, parts, query, _):
        found, open_ = {}, list(query["v"])
        while open_ and len(found) < min(int(query["limit"]), self.backfill_limit):
            event_id = open_.pop(0)
            if event_id not in found and (pdu := self.find(event_id)):
                found[event_id] = pdu
                open_ += pdu.json["prev_events"]
        return 200, {"origin": self.name, "origin_server_ts": 0, "pdus": [pdu.json for pdu in found.values()]}

    def answer_timestamp_to_event(self, parts, query, _):
        ts, forward = int(query["ts"]), query["dir"] == "f"
        near = [
            pdu
            for pdu in self.room_of(parts[0]).pdus
            if (pdu.json["origin_server_ts"] - ts) * (1 if forward else -1) >= 0
        ]
        if not near:
            return None
        pdu = min(near, key=lambda pdu: abs(pdu.json["origin_server_ts"] - ts))
        return 200, {"event_id": pdu.event_id, "origin_server_ts": pdu.json["origin_server_ts"]}

    def room_of(self, room_id: str) -> RemoteRoom | None:
        return next((room for room in getattr(self, "rooms", []) if room.room_id == room_id), None)

    def answer_event_auth(self, parts, *_):
        pdu = self.find(parts[1])
        return (
            (200, {"auth_chain": [each.json for each in self.auth_chain([pdu], self.find)]}) if pdu else None
        )

    def answer_state_ids(self, parts, query, _):
        if not (pdu := self.find(query["event_id"])):
            return None
        state = list(pdu.state_before.values())
        chain = self.auth_chain(state, self.find)
        return 200, {
            "pdu_ids": [each.event_id for each in state],
            "auth_chain_ids": [each.event_id for each in chain],
        }

    def answer_state(self, parts, query, _):
        if not (pdu := self.find(query["event_id"])):
            return None
        state = list(pdu.state_before.values())
        chain = self.auth_chain(state, self.find)
        return 200, {"pdus": [each.json for each in state], "auth_chain": [each.json for each in chain]}

    def answer_make_join(self, parts, *_):
        if not (room := self.room_of(parts[0])):
            return None
        event, _ = room.template(parts[1], "m.room.member", {"membership": "join"}, parts[1])
        return 200, {"room_version": room.version, "event": event}

    def answer_send_join(self, parts, query, event):
        if not (room := self.room_of(parts[0])):
            return None
        state = {key: pdu for head in room.head for key, pdu in head.state.items()}
        join = Pdu(event, state)
        room.pdus.append(join)
        room.head = [join]
        chain = self.auth_chain([*state.values(), join], self.find)
        return 200, {
            "origin": self.name,
            "event": event,
            "state": [pdu.json for pdu in state.values()],
            "auth_chain": [pdu.json for pdu in chain],
            "members_omitted": False,
        }

    def answer_devices(self, parts, *_):
        devices = self.devices.get(parts[0])
        return (200, devices) if devices else None

    # What it sends

    def transaction(self, node, pdus=(), edus=(), txn_id: str | None = None, **options) -> dict:
        """Sends a transaction; the answer. PDUs may be JSON objects."""
        if txn_id is None:
            self.txn_ids += 1
            txn_id = f"txn{self.txn_ids}"
        body = {
            "origin": self.name,
            "origin_server_ts": int(time.time() * 1000),
            "pdus": [pdu.json if isinstance(pdu, Pdu) else pdu for pdu in pdus],
            "edus": [{"edu_type": edu_type, "content": content} for edu_type, content in edus],
        }
        return self.call(node, "PUT", f"/_matrix/federation/v1/send/{txn_id}", body, **options)


def adopt(database, room_id: str, peers: list[Peer]) -> RemoteRoom:
    """A room of the database as its other servers know it."""
    statement = """
        select e.event_id, e.json from matriarch.events e join matriarch.rooms r using (room_nid)
        where r.room_id = %s order by e.event_nid"""
    events = [(event_id, json.loads(text)) for event_id, text in database.query(statement, [room_id])]
    room = object.__new__(RemoteRoom)
    room.version = events[0][1]["content"]["room_version"]
    room.times = iter(range(int(time.time() * 1000), 2**53))
    room.peers = {peer.name: peer for peer in peers}
    room.room_id, room.pdus, room.head = room_id, [], []
    state = {}
    for event_id, event in events:
        pdu = Pdu(event, state)
        # The peers redact as the newest room versions do.
        pdu.event_id = event_id
        state = pdu.state
        room.pdus.append(pdu)
    room.create, room.head = room.pdus[0], [room.pdus[-1]]
    return room
