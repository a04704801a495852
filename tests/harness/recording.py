"""A scripted server that takes transactions and remembers what was in them."""

import json
import time

from .remote_server import RemoteServer, adopt


class RecordingServer(RemoteServer):
    """`on_send(txn_id, body)` gives the status and the body that transactions are answered with."""

    def __init__(self, authority):
        super().__init__(authority)
        self.transactions: list[tuple[str, dict]] = []
        self.on_send = self.take

    def take(self, txn_id: str, body: dict):
        """Records a transaction."""
        self.transactions.append((txn_id, body))
        return 200, {"pdus": {}}

    def answer_send(self, parts, query, body):
        return self.on_send(parts[0], body)

    @property
    def pdus(self) -> list[dict]:
        """The events that it was sent, in order."""
        return [pdu for _, body in self.transactions for pdu in body.get("pdus", [])]

    @property
    def edus(self) -> list[dict]:
        return [edu for _, body in self.transactions for edu in body.get("edus", [])]

    def set_membership(self, database, room_id: str, user_id: str, membership="join") -> str:
        """Hands a membership event in, as `send_join` and `send_leave` do; its id."""
        room = adopt(database, room_id, [self])
        event = room.make(
            user_id, "m.room.member", {"membership": membership}, user_id, ts=int(time.time() * 1000)
        )
        with database.connect("matriarch_api") as connection:
            status, body = connection.execute(
                "select status, body from matriarch.receive_pdus(%s, null, 'relayed', %s, null, null)",
                [room_id, [event.text]],
            ).fetchone()
        assert status == 200 and json.loads(body)["pdus"][0]["verdict"] == "accepted", body
        return event.event_id
