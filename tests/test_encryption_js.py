"""End-to-end encryption between devices of matrix-js-sdk with its Rust crypto, over two nodes."""

import pytest

from harness import javascript

SCENARIOS = sorted(file.name for file in (javascript.FOLDER / "encryption").glob("*.test.js"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_matrix_js_sdk(nodes, scenario):
    javascript.run(f"encryption/{scenario}", nodes)
