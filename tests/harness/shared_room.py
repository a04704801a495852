"""A room that a local user shares with a user of a scripted server."""

from .remote_server import adopt
from .waiting import eventually


class Shared:
    """A room of a local user, in which a user of another server is."""

    def __init__(self, home, server, **options):
        self.node, self.server = home[0], server
        self.database = home[0].database
        self.alice = home[0].register("alice")
        self.room_id = self.alice.create_room(preset="public_chat", **options)
        self.room = adopt(self.database, self.room_id, [server])
        server.learn(self.room)
        self.bob = server.user("bob")
        self.join = self.room.join(self.bob)
        self.send([self.join])
        self.wait([self.join])
        self.alice.next()

    def send(self, pdus=(), edus=(), **options):
        return self.server.transaction(self.node, pdus, edus, **options)

    def status(self, event_id):
        rows = self.database.query("select status from matrix.events where event_id = %s", [event_id])
        return rows[0][0] if rows else None

    def wait(self, pdus, status="accepted", seconds=20):
        eventually(lambda: all(self.status(pdu.event_id) == status for pdu in pdus), seconds=seconds)

    def staged(self):
        return self.database.query(
            "select events, last_error from matrix.inbound where room_id = %s", [self.room_id]
        )

    def error(self):
        """Why an event of the room waits."""
        return next((error for _, error in self.staged()), None)

    def stage(self, origin: str, pdus, seconds: int):
        """Stages events of a server, in a queue that nobody works off for a while."""
        statement = """
            with queue as (
                insert into matriarch.inbound_queues (room_nid, origin, leased_until)
                select room_nid, %s, now() + %s * interval '1 second' from matriarch.rooms where room_id = %s
                returning room_nid, origin
            )
            insert into matriarch.inbound_pdus (room_nid, origin, event_id, json)
            select room_nid, origin, event_id, json
            from queue, unnest(%s::text[], %s::text[]) as line (event_id, json)"""
        self.database.query(
            statement,
            [origin, seconds, self.room_id, [pdu.event_id for pdu in pdus], [pdu.text for pdu in pdus]],
        )

    def neighbor(self, remote_servers) -> tuple[str, str]:
        """A user of another server in the room, and that server's name."""
        (other,) = remote_servers()
        self.room.peers[other.name] = other
        carol = other.user("carol")
        join = self.room.join(carol)
        self.send([join])
        self.wait([join])
        return carol, other.name

    def settled(self, seconds=30):
        eventually(lambda: self.staged() == [], seconds=seconds)
