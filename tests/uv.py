"""uv: what users run us with, and what builds the wheel and the bundle."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

_VARIABLE = "TANDEM_TEST_UV_REQUIRED"


def uv() -> str:
    """The one that `make test-all` has installed, else the system's; else the test is skipped."""
    spec = find_spec("uv")
    if spec and spec.origin:
        from uv import find_uv_bin  # pyright: ignore

        return str(find_uv_bin())
    beside = Path(__file__).parent.parent / ".venv-vllm" / "bin" / "uv"
    if found := shutil.which("uv") or (str(beside) if beside.exists() else None):
        return found
    if os.environ.get(_VARIABLE):
        pytest.fail(f"{_VARIABLE} is set, and there is no uv")
    pytest.skip("no uv: `make test-all` installs it")
