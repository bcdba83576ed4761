"""What the command says without any index."""

import subprocess
import sys
import tomllib
from pathlib import Path


def test_the_version_is_the_packages() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    done = subprocess.run([sys.executable, "-m", "bridge.cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"tandem {project['version']}\n"
