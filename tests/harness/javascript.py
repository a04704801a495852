"""Node.js and what the tests in tests/js need: matrix-js-sdk."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "js"


def install() -> Path:
    """The program `node`, with the packages of tests/js installed."""
    programs = Path(sys.executable).parent
    installed = FOLDER / "node_modules/.package-lock.json"
    with (FOLDER / ".installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (
            not installed.exists()
            or installed.stat().st_mtime < (FOLDER / "package-lock.json").stat().st_mtime
        ):
            environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
            subprocess.run(
                [programs / "npm", "ci", "--no-progress", "--ignore-scripts"],
                cwd=FOLDER,
                env=environment,
                check=True,
            )
    return programs / "node"


def run(file: str, nodes: list, **environment: str):
    """Runs the tests of a file against nodes (or servers apart), and fails with what Node.js printed."""
    finished = subprocess.run(
        # The client's timers outlive it; without a forced exit they would be waited for.
        [install(), "--test", "--test-force-exit", "--test-reporter=spec", file],
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], "NODE_URLS": ",".join(node.url for node in nodes), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
    )
    assert finished.returncode == 0, finished.stdout
