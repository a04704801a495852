"""What `matrix.verify_room` and `matrix.repair_room` say."""

from .cluster import Database


def verify(database: Database, room_id: str) -> list[tuple]:
    """The disagreements of a room."""
    with database.connect() as connection:
        connection.execute("set role matriarch_readonly")
        statement = 'select "check", event_id, subject, found, expected from matrix.verify_room(%s)'
        return connection.execute(statement, [room_id]).fetchall()


def verify_all(database: Database) -> list[tuple]:
    """Those of all rooms."""
    rooms = database.query("select room_id from matriarch.rooms order by room_nid")
    return [(room_id, *row) for (room_id,) in rooms for row in verify(database, room_id)]


def repair(database: Database, room_id: str, dry_run: bool) -> list[tuple]:
    """What was repaired, or would be."""
    with database.connect() as connection:
        connection.execute("set role matriarch_admin")
        statement = (
            'select "check", event_id, subject, found, expected, action from matrix.repair_room(%s, %s)'
        )
        return connection.execute(statement, [room_id, dry_run]).fetchall()
