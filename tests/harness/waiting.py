"""Waits for what comes in its own time: instead of a sleep, which is too short on one machine and too long on
another."""

import contextlib
import functools
import inspect
import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

# What `eventually` waits for when no value is named: anything that is true.
TRUE = object()


def eventually(found, expected=TRUE, seconds: float = 20):
    """Waits until `found()` is `expected`, or anything true where nothing is named, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        value = found()
        if bool(value) if expected is TRUE else value == expected:
            return value
        if time.monotonic() > deadline:
            wanted = "" if expected is TRUE else f" did not become {expected!r}"
            raise AssertionError(
                f"within {seconds:g} s, `{source(found)}`{wanted}: it was {value!r} at the end"
            )
        time.sleep(0.02)


def eventually_passes(check, seconds: float = 30):
    """Tries `check` until none of its assertions fails and its node can be reached, and returns what it
    returns."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except (AssertionError, httpx.TransportError) as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"within {seconds:g} s, `{source(check)}` did not pass") from error
            time.sleep(0.05)


def source(function) -> str:
    """A function as the test wrote it, on one line."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        return repr(function)
    return " ".join(text.split())[:500]


def metric(url: str, name: str) -> float:
    """A metric of a node: the sum over its labels, 0 where there is none yet."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[ {{]", line))


@contextlib.contextmanager
def long_poll(client, request, *arguments, **options):
    """Runs a request of a client which waits for news. Its future, once it waits at the client's node."""
    waiters = functools.partial(metric, client.url, "matriarch_sync_waiters")
    before = waiters()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(request, *arguments, **options)
        eventually(lambda: future.done() or waiters() > before)
        assert not future.done(), f"it did not wait: {future.result()}"
        yield future
