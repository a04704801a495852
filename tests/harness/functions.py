"""Matriarch's SQL functions, called as an API node calls them: users without HTTP."""

import hashlib
import itertools
import json
import secrets

from .cluster import SERVER_NAME, Database

TXN_IDS = itertools.count(1)
ROOM_VERSIONS = [str(version) for version in range(1, 13)]


class Refused(Exception):
    """A Matrix error, returned or raised."""

    def __init__(self, status: int, body: dict):
        super().__init__(f"{status} {body}")
        self.status = status
        self.errcode = body["errcode"]
        self.error = body["error"]


class Answer(dict):
    """A body, with the rooms and users to be woken."""

    wake_rooms: list[int]
    wake_users: list[int]


def answer_of(row) -> Answer:
    status, body, wake_rooms, wake_users = row
    if status != 200:
        raise Refused(status, json.loads(body))
    answer = Answer(json.loads(body))
    answer.wake_rooms, answer.wake_users = wake_rooms or [], wake_users or []
    return answer


def initialize(database: Database):
    """Makes the database that of the tests' server."""
    database.query("select matriarch.initialize(%s)", [SERVER_NAME])


class User:
    """A user's device, made without registration. A user id may be given for users who have none."""

    def __init__(self, database: Database, name: str = "user", connection=None):
        self.database = database
        self.connection = connection or database.connect("matriarch_api", prepare_threshold=2)
        token = secrets.token_hex(16)
        self.token_hash = hashlib.sha256(token.encode()).digest()
        self.user_id = f"@{name}-{secrets.token_hex(4)}:{SERVER_NAME}"
        statement = """
            with u as (insert into matriarch.users (user_id) values (%s) returning user_nid),
            a as (insert into matriarch.accounts (user_nid) select user_nid from u returning user_nid),
            d as (insert into matriarch.devices (user_nid, device_id) select user_nid, 'DEVICE' from a
                returning user_nid, device_nid)
            insert into matriarch.access_tokens (token_hash, user_nid, device_nid)
            select %s, user_nid, device_nid from d"""
        self.connection.execute(statement, [self.user_id, self.token_hash])

    def on(self, connection) -> "User":
        """The same device on another connection."""
        twin = object.__new__(User)
        twin.__dict__.update(self.__dict__, connection=connection)
        return twin

    def call(self, function: str, *arguments) -> Answer:
        import psycopg

        places = ", ".join(["%s"] * (len(arguments) + 1))
        try:
            cursor = self.connection.execute(
                f"select status, body, wake_rooms, wake_users from matriarch.{function}({places})",
                [self.token_hash, *(json.dumps(a) if isinstance(a, dict) else a for a in arguments)],
            )
            return answer_of(cursor.fetchone())
        except psycopg.errors.ExternalRoutineException as error:
            raise Refused(int(error.diag.message_detail), json.loads(error.diag.message_primary)) from None

    def set_profile(self, **fields):
        for key, value in fields.items():
            statement = """
                insert into matriarch.profiles (user_nid, key, value)
                select user_nid, %s, %s from matriarch.users where user_id = %s
                on conflict (user_nid, key) do update set value = excluded.value"""
            self.connection.execute(statement, [key, json.dumps(value), self.user_id])

    # Rooms

    def create_room(self, **body) -> str:
        return self.call("create_room", body, [], "12", ROOM_VERSIONS)["room_id"]

    def join(self, room: str, **body) -> Answer:
        return self.call("join", room, body)

    def act(self, room: str, action: str, **body) -> Answer:
        """invite, leave, kick, ban, unban or knock."""
        return self.call("set_membership", room, action, body)

    def invite(self, room: str, user: "User | str", **body) -> Answer:
        return self.act(room, "invite", user_id=id_of(user), **body)

    def forget(self, room: str) -> Answer:
        return self.call("forget", room)

    def send(
        self, room: str, content="hello", type: str = "m.room.message", txn_id: str | None = None
    ) -> str:
        if isinstance(content, str):
            content = {"msgtype": "m.text", "body": content}
        txn_id = txn_id or f"txn{next(TXN_IDS)}"
        return send(self.connection, room, [Request(self, type, content, txn_id=txn_id)])[0]["event_id"]

    def send_state(self, room: str, type: str, content, state_key: str = "") -> str:
        return send(self.connection, room, [Request(self, type, content, state_key=state_key)])[0]["event_id"]

    def redact(self, room: str, event_id: str, txn_id: str | None = None, **body) -> str:
        txn_id = txn_id or f"txn{next(TXN_IDS)}"
        request = Request(self, "m.room.redaction", body, txn_id=txn_id, redacts=event_id)
        return send(self.connection, room, [request])[0]["event_id"]


class Request:
    """A send, state put or redaction. `content` may be JSON text."""

    def __init__(self, user: User, type: str, content, *, state_key=None, txn_id=None, redacts=None):
        text = content if isinstance(content, str) else json.dumps(content)
        self.arguments = (user.token_hash, type, state_key, txn_id, text, redacts)


def try_send(connection, room: str | list[str], requests: list[Request]) -> list[Answer | Refused]:
    """Sends several requests in one call, to one room or to one each."""
    rooms = [room] * len(requests) if isinstance(room, str) else room
    columns = [list(column) for column in zip(*(request.arguments for request in requests), strict=True)]
    statement = """
        select status, body, wake_rooms, wake_users
        from matriarch.send(%s::text[], %s::bytea[], %s::text[], %s::text[], %s::text[], %s::text[],
        %s::text[])"""
    answers = []
    for row in connection.execute(statement, [rooms, *columns]).fetchall():
        try:
            answers.append(answer_of(row))
        except Refused as refused:
            answers.append(refused)
    return answers


def send(connection, room: str, requests: list[Request]) -> list[Answer]:
    """The same, where none may be refused."""
    answers = try_send(connection, room, requests)
    for answer in answers:
        if isinstance(answer, Refused):
            raise answer
    return answers


def id_of(user: "User | str") -> str:
    return user if isinstance(user, str) else user.user_id


def stored_event(database: Database, event_id: str) -> dict:
    """The event's JSON as signed."""
    return json.loads(
        database.query("select json from matriarch.events where event_id = %s", [event_id])[0][0]
    )


def state_content(database: Database, room: str, type: str, state_key: str = "") -> dict | None:
    """The content of an event of the current state."""
    statement = """
        select e.json
        from matriarch.rooms r
        join matriarch.room_state_keys k using (room_nid)
        join matriarch.events e on e.event_nid = k.current_event_nid
        where r.room_id = %s and k.type = %s and k.state_key = %s"""
    rows = database.query(statement, [room, type, state_key])
    return json.loads(rows[0][0])["content"] if rows else None
