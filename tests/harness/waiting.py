"""Waits for what comes in its own time: instead of a sleep, which is too short on one machine and too long on
another."""

import inspect
import time

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
