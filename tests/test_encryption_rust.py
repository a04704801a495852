"""End-to-end encryption between devices of matrix-sdk, over two nodes: see tests/matrix-sdk."""

import subprocess

import pytest

from harness import process

PROGRAM = process.target() / "matrix-sdk/debug/matriarch-sdk-tests"
SCENARIOS = ("rooms", "verification", "recovery", "devices", "fallback_keys")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_matrix_sdk(nodes, scenario):
    assert PROGRAM.exists(), (
        f"{PROGRAM} is missing: `make test` builds it, and CONTRIBUTING.md says how to by hand"
    )
    finished = subprocess.run(
        [PROGRAM, scenario],
        env={"NODE_URLS": ",".join(node.url for node in nodes), "RUST_BACKTRACE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stdout
