"""A small synchronous Matrix client. Its methods return parsed JSON and fail the test on any other answer
than the expected one; `request` returns the bare response."""

import itertools
import json as jsonlib
import secrets
import time
from urllib.parse import quote

import httpx

PREFIX = "/_matrix/client/v3"
PASSWORD = "correct horse battery staple"
TXN_IDS = itertools.count(1)


def expect(response: httpx.Response, status: int, errcode: str | None = None) -> dict:
    """Asserts a response's status and, for errors, its `errcode`; returns the body."""
    shown = (
        f"{response.request.method} {response.request.url} gave {response.status_code} {response.text[:500]}"
    )
    assert response.status_code == status, shown
    body = response.json()
    if errcode is not None:
        assert body.get("errcode") == errcode, shown
        assert isinstance(body.get("error"), str), shown
    return body


def path(*parts: str) -> str:
    """A path below the client API from parts, each percent-encoded: path("rooms", room_id, "send")."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def new_txn_id() -> str:
    return f"txn{next(TXN_IDS)}.{secrets.token_hex(4)}"


class Client:
    """One user's device, or nobody, at one node. Paths without /_matrix or /_synapse are below the client API
    v3."""

    def __init__(self, url: str, access_token: str | None = None):
        self.url = url
        self.access_token = access_token
        self.user_id: str | None = None
        self.device_id: str | None = None
        self.password: str | None = None
        self.since: str | None = None
        self.http = httpx.Client(base_url=url, timeout=60)

    # Requests

    def request(self, method: str, where: str, json=None, **options) -> httpx.Response:
        """Sends a request. `json` may be any JSON value but null; `content` sends bytes as they are."""
        headers = options.pop("headers", {})
        if self.access_token is not None:
            headers = {"Authorization": f"Bearer {self.access_token}", **headers}
        if json is not None:
            options["content"] = jsonlib.dumps(json)
            headers = {"Content-Type": "application/json", **headers}
        if not where.startswith(("/_", "/.well-known", "/health", "/metrics")):
            where = PREFIX + where
        return self.http.request(method, where, headers=headers, **options)

    def call(
        self, method: str, where: str, json=None, status: int = 200, errcode: str | None = None, **options
    ):
        """Sends a request, and expects 200, or the status and errcode given."""
        return expect(self.request(method, where, json, **options), status, errcode)

    def get(self, where: str, **options):
        return self.call("GET", where, **options)

    def put(self, where: str, json=None, **options):
        return self.call("PUT", where, {} if json is None else json, **options)

    def post(self, where: str, json=None, **options):
        return self.call("POST", where, {} if json is None else json, **options)

    def delete(self, where: str, **options):
        return self.call("DELETE", where, **options)

    # Accounts

    def register(self, prefix: str = "user", password: str = PASSWORD, **body) -> "Client":
        """Registers a new user with the dummy stage, and logs in as it."""
        body = {"username": f"{prefix}-{secrets.token_hex(4)}", "password": password, **body}
        stage = expect(self.request("POST", "/register", body), 401)
        body["auth"] = {"type": "m.login.dummy", "session": stage["session"]}
        return self.adopt(self.post("/register", body), password)

    def login(self, user: str, password: str = PASSWORD, **body) -> "Client":
        """Logs in with a password as a user id or localpart."""
        identifier = {"type": "m.id.user", "user": user}
        answer = self.post(
            "/login", {"type": "m.login.password", "identifier": identifier, "password": password, **body}
        )
        return self.adopt(answer, password)

    def adopt(self, answer: dict, password: str | None = None) -> "Client":
        self.user_id = answer["user_id"]
        self.access_token = answer.get("access_token")
        self.device_id = answer.get("device_id")
        self.password = password
        return self

    def another_device(self, url: str | None = None) -> "Client":
        """The same user, logged in again, at this node or another."""
        return Client(url or self.url).login(self.user_id, self.password)

    def at(self, node) -> "Client":
        """The same device, at another node."""
        twin = Client(node.url, self.access_token)
        twin.user_id, twin.device_id, twin.password = self.user_id, self.device_id, self.password
        return twin

    # Rooms

    def create_room(self, **body) -> str:
        """Creates a room and returns its id."""
        return self.post("/createRoom", body)["room_id"]

    def join(self, room: str, **options) -> dict:
        return self.post(path("join", room), **options)

    def invite(self, room: str, user: "Client | str", **options) -> dict:
        return self.post(path("rooms", room, "invite"), {"user_id": user_id(user)}, **options)

    def leave(self, room: str, **options) -> dict:
        return self.post(path("rooms", room, "leave"), **options)

    def send(
        self,
        room: str,
        content: "dict | str" = "hello",
        type: str = "m.room.message",
        txn_id: str | None = None,
    ) -> str:
        """Sends an event, a string being a text message; returns its id."""
        if isinstance(content, str):
            content = {"msgtype": "m.text", "body": content}
        return self.put(path("rooms", room, "send", type, txn_id or new_txn_id()), content)["event_id"]

    def send_state(self, room: str, type: str, content: dict, state_key: str = "") -> str:
        """Sets state; returns the event's id."""
        return self.put(path("rooms", room, "state", type, state_key), content)["event_id"]

    def redact(self, room: str, event_id: str, **body) -> str:
        return self.put(path("rooms", room, "redact", event_id, new_txn_id()), body)["event_id"]

    def state(self, room: str, type: str, state_key: str = "", **options) -> dict:
        """The content of a state event."""
        return self.get(path("rooms", room, "state", type, state_key), **options)

    def event(self, room: str, event_id: str, **options) -> dict:
        return self.get(path("rooms", room, "event", event_id), **options)

    def messages(self, room: str, dir: str = "b", **params) -> dict:
        """A page of history; `from_` is the query parameter `from`."""
        if "from_" in params:
            params["from"] = params.pop("from_")
        return self.get(path("rooms", room, "messages"), params={"dir": dir, **params})

    def history(self, room: str, limit: int = 50) -> list[dict]:
        """All events of a room that the user may see, oldest first, by paging back."""
        events, params = [], {"limit": limit}
        while True:
            page = self.messages(room, **params)
            events += page["chunk"]
            if "end" not in page:
                return events[::-1]
            params["from_"] = page["end"]

    # Sync

    def sync(self, since: str | None = None, timeout: int = 0, **params) -> dict:
        """One sync, from `since` or else from the beginning; a dict as filter is encoded. Unless told
        otherwise it is by somebody who is not seen to be there, so that presence is no news in tests of other
        things."""
        if since is not None:
            params["since"] = since
        if isinstance(params.get("filter"), dict):
            params["filter"] = jsonlib.dumps(params["filter"])
        return self.get("/sync", params={"timeout": timeout, "set_presence": "offline", **params})

    def next(self, timeout: int = 0, **params) -> dict:
        """The next sync after the last one of this method."""
        answer = self.sync(self.since, timeout, **params)
        self.since = answer["next_batch"]
        return answer

    def sync_until(self, seen, seconds: float = 20, **params) -> dict:
        """Syncs on until `seen(answer)` is true of an answer, and returns that answer."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.next(timeout=0 if self.since is None else 2000, **params)
            if seen(answer):
                return answer
        raise AssertionError(f"sync did not bring what was waited for within {seconds} s")


def user_id(user: "Client | str") -> str:
    return user.user_id if isinstance(user, Client) else user


def timeline(answer: dict, room: str) -> list[dict]:
    """The timeline events of a joined room in a sync answer."""
    return answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])


def bodies(events: list[dict]) -> list[str]:
    """The bodies of the messages among events."""
    return [event["content"].get("body") for event in events if event["type"] == "m.room.message"]
