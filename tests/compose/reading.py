"""compose/'s files as they are and as Docker Compose resolves them, and the tools that read them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
LOCAL, SERVER, TWO_GPUS, NATIVE = (f"{name}.yaml" for name in ("local", "server", "two-gpus", "native"))
REQUIRED = "TANDEM_TEST_COMPOSE_REQUIRED"
# What is started together, and with which profiles: each way of README.md, and all that a file has.
STACKS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "laptop, no GPU": ((LOCAL,), ("cpu",)),
    "laptop, GPU": ((LOCAL,), ("gpu",)),
    "laptop, daemon too": ((LOCAL,), ("cpu", "indexer")),
    "laptop, figures too": ((LOCAL,), ("cpu", "indexer", "metrics")),
    "laptop, figures of a native daemon": ((LOCAL, NATIVE), ("cpu", "metrics")),
    "traces alone": ((LOCAL,), ()),
    "queue alone": ((SERVER,), ("queue",)),
    "GPU box with the queue": ((SERVER,), ("queue", "gpu")),
    "GPU box, queue elsewhere": ((SERVER,), ("gpu",)),
    "two GPUs": ((SERVER, TWO_GPUS), ("gpu",)),
    "worker without a GPU": ((SERVER,), ("cpu",)),
    "worker that embeds": ((SERVER,), ("embed",)),
    "a code for a machine": ((SERVER,), ("queue", "pair")),
    "a machine that is let in": ((SERVER,), ("join",)),
    "one machine, no GPU": ((SERVER, LOCAL), ("queue", "cpu")),
    "one machine, GPU": ((SERVER, LOCAL), ("queue", "gpu")),
}


def missing(what: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, and there is no {what}")
    pytest.skip(f"no {what}: `make test-all` fetches it")


def tool(name: str) -> str:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or missing(name)


@cache
def schema() -> Any:
    """Of the compose specification, as the package check-jsonschema bundles it."""
    package = find_spec("check_jsonschema")
    if not package or not package.origin:
        missing("check-jsonschema")
    file = Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    return json.loads(file.read_text("utf-8"))


@cache
def raw(file: str) -> Any:
    """With Compose's own tags (`!override`) taken off."""

    class Tagless(yaml.SafeLoader):
        pass

    Tagless.add_multi_constructor("!", _plain)
    return yaml.load((COMPOSE / file).read_text("utf-8"), Tagless)


def _plain(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)  # pyright: ignore


@cache
def resolved(stack: str, settings: tuple[tuple[str, str], ...] = ()) -> Any:
    """As Docker Compose understands it: merged, interpolated, with its profiles. `settings`: of the caller's."""
    files, profiles = STACKS[stack]
    words = [word for file in files for word in ("--file", str(COMPOSE / file))]
    words += [word for profile in profiles for word in ("--profile", profile)]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere", **dict(settings)}
    # No .env of whoever runs the tests.
    ended = subprocess.run(
        [tool("docker-compose"), "--env-file", "/dev/null", *words, "config", "--format", "json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # A variable that is neither set nor has a default is a warning of its.
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    return json.loads(ended.stdout)


def every_service() -> list[tuple[str, str, Any]]:
    """(stack, name, service), each as it is in each stack."""
    return [(stack, name, made) for stack in STACKS for name, made in resolved(stack)["services"].items()]


def variables(text: str) -> set[str]:
    """Those that Compose fills in: `$$` is a dollar of the container's own."""
    return set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", text))
