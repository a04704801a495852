"""What tests of hostile input share: attackers with addresses of their own, and a look at the node."""

import contextlib
import os
import re
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from .client import Client
from .waiting import metric

MEBIBYTE = 1024 * 1024
# How many times larger than usual each attack is.
SCALE = int(os.environ.get("MATRIARCH_HOSTILE_SCALE", "1"))
OBJECTS = b'{"":0},'


def rss(node) -> int:
    """The memory of a node, in bytes."""
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s*(\d+) kB", status)[1]) * 1024


def reached(node, limit: str) -> float:
    """How often a limit of a node was reached."""
    lines = httpx.get(f"{node.url}/metrics").text.splitlines()
    prefix = f'matriarch_limits_total{{limit="{limit}"}} '
    return sum(float(line.removeprefix(prefix)) for line in lines if line.startswith(prefix))


def in_flight(node) -> float:
    return metric(node.url, "matriarch_memory_in_flight_bytes")


def client_at(node, address: str) -> Client:
    """A client whose requests come from another address of the loopback interface."""
    client = Client(node.url)
    client.http = httpx.Client(
        base_url=node.url, timeout=60, transport=httpx.HTTPTransport(local_address=address)
    )
    return client


def connect(node, address: str = "127.0.0.1") -> socket.socket:
    """A connection of somebody at this address."""
    where = urlsplit(node.url)
    return socket.create_connection((where.hostname, where.port), timeout=30, source_address=(address, 0))


def head(method: str, path: str, length: int, token: str | None = None) -> bytes:
    """The head of a request with a body of this length."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: {length}\r\n\r\n"
    ).encode()


def is_closed(connection: socket.socket) -> bool:
    """Whether the node has closed the connection, after whatever it answered."""
    connection.settimeout(0.01)
    with contextlib.suppress(TimeoutError):
        try:
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass
        return True
    return False


def many(count: int, work) -> list:
    """Runs `work` with 0, 1, … at the same time; what each gave."""
    with ThreadPoolExecutor(count) as executor:
        return list(executor.map(work, range(count)))


def latency(client: Client, times: int = 10) -> float:
    """The median time of a request that reads the database, in seconds."""

    def measure():
        began = time.perf_counter()
        client.get("/account/whoami")
        return time.perf_counter() - began

    return statistics.median(measure() for _ in range(times))


def is_served(client: Client, before: float):
    """Another user's requests are answered, and in not so much more time than before the attack."""
    assert latency(client) < 20 * before + 1
