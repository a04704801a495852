"""An API node: one `matriarch serve`."""

import re
import signal
import subprocess
import time
from pathlib import Path

import httpx

from . import process
from .client import Client
from .cluster import Database

ALL_APIS = '["client", "federation", "admin", "health", "metrics"]'
RATES = (
    "WRONG_PASSWORDS",
    "WRONG_PASSWORDS_OF_ACCOUNT",
    "REGISTRATIONS",
    "REGISTRATION_ATTEMPTS",
    "UNSIGNED_FEDERATION",
    "FEDERATION",
)
SHARED_SECRET = "shared secret of the tests"

# What no log may show, except in a test that provokes it.
TROUBLE = re.compile(r"panicked at|\"status\":\s*\"?500\b|\bstatus=500\b")


class Node:
    """A process that serves a database on a port of the loopback interface."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        name: str = "node",
        port: int | None = None,
        user: str = "matriarch_api",
        **settings,
    ):
        self.database = database
        self.port = port or process.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{database.name}-{name}-{self.port}.log"
        self.log.touch()
        self.seen = 0
        self.process = None
        self.environment = {
            **database.environment(user),
            "MATRIARCH_DATA_DIR": str(folder / f"{name}-{self.port}"),
            "MATRIARCH_LISTENERS": f'[{{address = "127.0.0.1", port = {self.port}, apis = {ALL_APIS}}}]',
            "MATRIARCH_REGISTRATION__MODE": "open",
            # All tests come from one address.
            **{f"MATRIARCH_RATE_LIMITS__{name}": "{per_minute = 0, burst = 1}" for name in RATES},
            "MATRIARCH_REGISTRATION__SHARED_SECRET": SHARED_SECRET,
            "MATRIARCH_LOG__FORMAT": "json",
            "MATRIARCH_LOG__LEVEL": "info,matriarch::http=debug",
            "MATRIARCH_DEBUG__STATEMENTS_HEADER": "true",
            "RUST_BACKTRACE": "1",
            **settings,
        }

    def start(self, timeout: float = 30) -> "Node":
        """Starts the process and waits until it is ready."""
        self.process = process.spawn([process.binary(), "serve"], log=self.log, env=self.environment)
        deadline = time.monotonic() + timeout
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the node did not start:\n{self.log.read_text()}")
            time.sleep(0.03)
        return self

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, timeout: float = 30) -> int:
        """Sends SIGTERM, and returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the node did not stop within {timeout} s of SIGTERM") from None

    def kill(self):
        """SIGKILL: what a machine's power cut looks like from outside."""
        self.process.kill()
        self.process.wait()

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def client(self) -> Client:
        """A client without an account."""
        return Client(self.url)

    def register(self, prefix: str = "user", **options) -> Client:
        """A client logged in as a new user, whose localpart starts with `prefix`."""
        return Client(self.url).register(prefix, **options)

    def new_log(self) -> str:
        """What was logged since the last call."""
        with self.log.open("rb") as log:
            log.seek(self.seen)
            text = log.read()
        self.seen += len(text)
        return text.decode(errors="replace")
