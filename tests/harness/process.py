"""Processes that end with the tests, whatever ends the tests."""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def profile() -> str:
    """The cargo profile whose programs are tested: `dev`, or what MATRIARCH_TEST_PROFILE says."""
    return os.environ.get("MATRIARCH_TEST_PROFILE", "dev")


def target() -> Path:
    """The folder that cargo builds into."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def binary() -> Path:
    """The program `matriarch`."""
    path = target() / ("debug" if profile() == "dev" else profile()) / "matriarch"
    if not path.exists():
        raise RuntimeError(f"{path} is missing: run `make build` first")
    return path


def unprivileged() -> pwd.struct_passwd | None:
    """The user that PostgreSQL runs as, or None when that is the present one: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no unprivileged user to run PostgreSQL as")


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def spawn(
    command, *, log: Path, env=None, user: pwd.struct_passwd | None = None, stop=signal.SIGTERM, cwd=None
):
    """Starts a process that gets the signal `stop` when this one dies; its output is appended to `log`."""
    identity = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            # One call into the kernel, which takes no lock that another thread could hold.
            preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, stop),  # noqa: PLW1509
            **identity,
        )


class Folder:
    """A temporary folder that the unprivileged user can read; its path is short enough for a Unix socket."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="matriarch-", dir="/tmp"))
        self.path.chmod(0o755)

    def owned(self, name: str) -> Path:
        """A subfolder that belongs to the unprivileged user."""
        path = self.path / name
        path.mkdir(mode=0o700)
        if user := unprivileged():
            os.chown(path, user.pw_uid, user.pw_gid)
        return path

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)
