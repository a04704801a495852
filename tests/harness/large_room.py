"""A public room with many members as its server hands it to those who join, made quickly: nothing but its
JSON is kept."""

import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .peer import KEY_ID, canonical, redact, unpadded
from .remote_server import RemoteServer

BEGAN = 1_600_000_000_000


class LargeRoom:
    """A room of version 11 with `members` of a server, each with a profile, in one line of events."""

    def __init__(self, server: RemoteServer, members: int, localpart: str = "member"):
        self.server, self.version = server, "11"
        # The same key as the server's: this library signs a hundred times as fast.
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(server.name.encode()).digest())
        self.room_id = f"!{localpart}{members}:{server.name}"
        # The events' JSON, as bytes, by event id; all of them are state.
        self.events: dict[str, bytes] = {}
        self.newest: list[str] = []
        creator = f"@{localpart}0:{server.name}"
        create = self.add(creator, "m.room.create", "", {"room_version": self.version}, [])
        join = self.add(creator, "m.room.member", creator, {"membership": "join"}, [create])
        levels = self.add(creator, "m.room.power_levels", "", {"users": {creator: 100}}, [create, join])
        rules = self.add(creator, "m.room.join_rules", "", {"join_rule": "public"}, [create, join, levels])
        self.rules = [create, levels, rules]
        for number in range(1, members):
            user = f"@{localpart}{number}:{server.name}"
            profile = {
                "displayname": f"Member {number}",
                "avatar_url": f"mxc://{server.name}/avatar{number:020}",
            }
            self.add(user, "m.room.member", user, {"membership": "join", **profile}, self.rules)

    def add(self, sender: str, type: str, state_key: str | None, content: dict, auth: list[str]) -> str:
        """An event at the end; its id."""
        event = {
            "room_id": self.room_id,
            "type": type,
            "sender": sender,
            **({} if state_key is None else {"state_key": state_key}),
            "content": content,
            "prev_events": self.newest,
            "auth_events": auth,
            "depth": len(self.events) + 1,
            "origin_server_ts": BEGAN + len(self.events),
        }
        event["hashes"] = {"sha256": unpadded(hashlib.sha256(canonical(event)).digest())}
        form = canonical(redact(event))
        event_id = "$" + unpadded(hashlib.sha256(form).digest(), url_safe=True)
        event["signatures"] = {self.server.name: {KEY_ID: unpadded(self.key.sign(form))}}
        self.events[event_id] = json.dumps(event).encode()
        self.newest = [event_id]
        return event_id

    def serve(self, omits_members: bool = False):
        """Has the server answer `make_join`, `send_join`, `state` and `state_ids` for this room; if it
        `omits_members`, to joins that ask for it."""
        is_member = {event_id: b'"type": "m.room.member"' in text for event_id, text in self.events.items()}
        brief = {
            "origin": self.server.name,
            "members_omitted": True,
            "servers_in_room": [self.server.name],
            "state": [json.loads(text) for event_id, text in self.events.items() if not is_member[event_id]],
            "auth_chain": [json.loads(list(self.events.values())[1])],
        }
        answer = (
            b'{"origin": %b, "members_omitted": false, "state": [%b], "auth_chain": [%b], "event": %%b}'
            % (
                json.dumps(self.server.name).encode(),
                b",".join(self.events.values()).replace(b"%", b"%%"),
                b",".join(self.events[event_id] for event_id in [*self.rules, list(self.events)[1]]).replace(
                    b"%", b"%%"
                ),
            )
        )

        def make_join(handler, parts, query, body):
            event = {
                "type": "m.room.member",
                "room_id": self.room_id,
                "sender": parts[1],
                "state_key": parts[1],
                "content": {"membership": "join"},
                "prev_events": self.newest,
                "auth_events": self.rules,
                "depth": len(self.events) + 1,
            }
            return 200, {"room_version": self.version, "event": event}

        def send_join(handler, parts, query, body):
            if omits_members and query.get("omit_members") == "true":
                return 200, brief | {"event": body}
            self.server.write(handler, 200, answer % json.dumps(body).encode())
            return "answered"

        def state(handler, parts, query, body):
            events = b",".join(self.events.values())
            self.server.write(handler, 200, b'{"pdus": [%b], "auth_chain": []}' % events)
            return "answered"

        def state_ids(handler, parts, query, body):
            return 200, {"pdu_ids": list(self.events), "auth_chain_ids": []}

        self.server.hooks |= {f.__name__: f for f in (make_join, send_join, state, state_ids)}
