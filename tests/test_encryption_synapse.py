"""End-to-end encryption between devices of matrix-js-sdk whose users are of two servers: one of ours, and a
Synapse."""

import pytest

from harness import javascript

SCENARIOS = ["devices.test.js", "rooms.test.js", "verification.test.js"]


@pytest.mark.parametrize("first", ["matriarch", "synapse"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_matrix_js_sdk(matriarch, synapse, scenario, first):
    homes = [matriarch.node, synapse] if first == "matriarch" else [synapse, matriarch.node]
    javascript.run(f"encryption/{scenario}", homes, SERVERS_APART="1")
