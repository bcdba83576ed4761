"""compose/*.yaml, read as Docker Compose reads them, held to what README.md says of them. No engine is needed."""

import re
import stat
import subprocess
from ipaddress import ip_address
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from bridge.settings import _NAMES as SETTINGS  # pyright: ignore[reportPrivateUsage]
from bridge.settings import load
from tests.compose.reading import COMPOSE, ROOT, STACKS, every_service, missing, raw, resolved, schema, variables

FILES = sorted(file.name for file in COMPOSE.glob("*.yaml"))
ONE_SHOT = {"ollama-model", "queue-files", "pair", "join"}
# What writes into its own root, or has no user but root; the files say why.
WRITABLE = {"worker", "worker-1"}
# name -> the port that may be open to others
OPEN = {"redis": 6379}
# What a vendor's program knows by the environment: of Tandem's own, bridge/settings.py is asked.
VENDORS = {
    "qdrant": r"QDRANT__SERVICE__ENABLE_CORS|QDRANT__TELEMETRY_DISABLED|QDRANT__STORAGE__SNAPSHOTS_PATH|"
    r"QDRANT_INIT_FILE_PATH|QDRANT__GPU__INDEXING|NVIDIA_DRIVER_CAPABILITIES",
    "ollama": r"OLLAMA_HOST",
    "grafana": r"GF_[A-Z]+(_[A-Z]+)+(__FILE)?",
    "worker": r"HF_TOKEN_PATH|HF_HUB_DISABLE_TELEMETRY|VLLM_NO_USAGE_STATS|DO_NOT_TRACK|CUDA_CACHE_PATH|"
    r"TRITON_CACHE_DIR",
}


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_valid_by_the_compose_specification(file: str) -> None:
    problems = _problems(raw(file))
    assert problems == []


@pytest.mark.slow
@pytest.mark.parametrize("stack", STACKS)
def test_what_compose_makes_of_the_files_is_valid_too(stack: str) -> None:
    assert _problems(resolved(stack)) == []


def _problems(made: Any) -> list[str]:
    try:
        from jsonschema import Draft7Validator
    except ModuleNotFoundError:
        missing("jsonschema")
    return [f"{error.json_path}: {error.message}" for error in Draft7Validator(schema()).iter_errors(made)]


def test_every_file_is_in_a_stack_that_is_tested() -> None:
    assert {file for files, _ in STACKS.values() for file in files} == set(FILES)


def test_each_profile_starts_what_its_page_says() -> None:
    started = {stack: set(resolved(stack)["services"]) for stack in STACKS}
    cpu, gpu = {"qdrant", "ollama", "ollama-model", "phoenix"}, {"qdrant-gpu", "ollama-gpu", "ollama-model", "phoenix"}
    queue = {"queue-files", "redis"}
    assert started == {
        "laptop, no GPU": cpu,
        "laptop, GPU": gpu,
        "laptop, daemon too": cpu | {"tandem"},
        "laptop, figures too": cpu | {"tandem", "prometheus", "grafana"},
        "laptop, figures of a native daemon": cpu | {"prometheus", "grafana"},
        "traces alone": {"phoenix"},
        "queue alone": queue,
        "GPU box with the queue": queue | {"worker"},
        "GPU box, queue elsewhere": {"worker"},
        "two GPUs": {"worker", "worker-1"},
        "worker without a GPU": {"worker-cpu"},
        "worker that embeds": {"worker-embed"},
        "a code for a machine": queue | {"pair"},
        "a machine that is let in": {"join"},
        "one machine, no GPU": cpu | queue | {"worker-cpu"},
        "one machine, GPU": gpu | queue | {"worker"},
    }


def test_nothing_can_be_reached_from_another_machine_but_redis_by_tls() -> None:
    for stack, name, service in every_service():
        for port in service.get("ports", []):
            if port["target"] == OPEN.get(name):
                continue
            assert ip_address(port.get("host_ip", "0.0.0.0")).is_loopback, (stack, name, port)
        assert service.get("network_mode", "none") in ("none", "service:redis"), (stack, name)
        assert not {"privileged", "devices", "pid", "ipc", "cap_add"} & set(service), (stack, name)
    conf = (COMPOSE / "redis.conf").read_text()
    assert re.search(r"^port 0$", conf, re.MULTILINE)
    assert re.search(rf"^tls-port {OPEN['redis']}$", conf, re.MULTILINE)


def test_every_service_is_confined() -> None:
    for stack, name, service in every_service():
        where = (stack, name)
        assert service["cap_drop"] == ["ALL"], where
        assert service["security_opt"] == ["no-new-privileges:true"], where
        assert service.get("pids_limit"), where
        assert service.get("read_only", False) is (name not in WRITABLE), where
        assert service["logging"]["options"]["max-size"], where


def test_every_service_is_started_again_and_tells_whether_it_lives_or_ends_by_itself() -> None:
    for stack, name, service in every_service():
        where = (stack, name)
        if name in ONE_SHOT:
            assert service["restart"] in ("no", "on-failure:3"), where
            continue
        assert service["restart"] == "unless-stopped", where
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), where
        assert service["healthcheck"]["start_period"], where


def test_a_worker_is_given_the_time_that_it_takes_to_finish_what_it_has() -> None:
    from inference_server.worker import GRACE_S

    for stack, name, service in every_service():
        if name.startswith("worker"):
            assert _seconds(service["stop_grace_period"]) >= GRACE_S + 15, (stack, name)


def _seconds(words: str) -> float:
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", words)
    assert found, words
    return int(found[1] or 0) * 60 + int(found[2] or 0)


def test_every_image_is_pinned() -> None:
    for stack, name, service in every_service():
        reference, _, digest = service["image"].partition("@")
        tag = reference.rpartition("/")[2].partition(":")[2]
        assert re.search(r"\d+\.\d+\.\d+", tag), (stack, name, service["image"])
        assert not digest or re.fullmatch(r"sha256:[0-9a-f]{64}", digest), (stack, name)
        if "build" not in service and not digest:
            assert "digest" in _comment_above((COMPOSE / _file_of(stack, name)).read_text(), service["image"]), name


def _file_of(stack: str, name: str) -> str:
    return next(file for file in STACKS[stack][0] if name in raw(file)["services"])


def _comment_above(text: str, image: str) -> str:
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.strip() == f"image: {image}")
    return " ".join(takewhile(lambda line: "#" in line, reversed(lines[:at])))


@pytest.mark.parametrize("file", FILES)
def test_every_file_that_is_mounted_or_built_from_is_there(file: str) -> None:
    made = raw(file)
    text = (COMPOSE / file).read_text()
    sources = set(re.findall(r"^\s*- (\.[^:\s]+):", text, re.MULTILINE))
    sources |= set(re.findall(r":-(\.\.?/[^}]+)\}", text))
    for source in sources:
        assert (COMPOSE / source).exists(), source
    for service in made["services"].values():
        if build := service.get("build"):
            assert (COMPOSE / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize("file", FILES)
def test_a_gpu_is_asked_for_where_one_is_used_and_nowhere_else(file: str) -> None:
    for name, service in raw(file)["services"].items():
        devices = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
        uses = "gpu" in service.get("profiles", ["gpu"] if file == "two-gpus.yaml" else [])
        assert bool(devices) is (uses and name != "ollama-model")
        for device in devices:
            assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
            assert ("count" in device) is not ("device_ids" in device)


def test_two_workers_have_a_gpu_each() -> None:
    services = resolved("two GPUs")["services"]
    devices = {name: one["deploy"]["resources"]["reservations"]["devices"] for name, one in services.items()}
    assert {name: [one["device_ids"] for one in found] for name, found in devices.items()} == {
        "worker": [["0"]],
        "worker-1": [["1"]],
    }


def test_qdrants_gpu_is_switched_on_by_what_the_doctor_asks_for() -> None:
    service = resolved("laptop, GPU")["services"]["qdrant-gpu"]
    assert service["image"].endswith("-gpu-nvidia")
    assert service["environment"]["QDRANT__GPU__INDEXING"] == "1"
    assert service["environment"]["NVIDIA_DRIVER_CAPABILITIES"] == "all"


def test_every_variable_in_a_service_is_known_to_its_program() -> None:
    for stack, name, service in every_service():
        for variable in service.get("environment", {}):
            ours = "tandem" in service["image"] and variable in SETTINGS
            vendor = next((names for kind, names in VENDORS.items() if name.startswith(kind)), "-")
            assert ours or re.fullmatch(vendor, variable) or (name == "phoenix" and _phoenix_knows(variable)), (
                stack,
                name,
                variable,
            )


def _phoenix_knows(variable: str) -> bool:
    """As the Phoenix of our tests has it, where it is installed."""
    (file, *_) = [*(ROOT / ".venv-phoenix").glob("lib/python*/site-packages/phoenix/config.py"), None]
    known = file.read_text() if file else variable
    return variable == "HOME" or variable in known


def test_no_secret_stands_in_a_file_or_an_environment() -> None:
    for stack, name, service in every_service():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"(KEY|TOKEN|SECRET|PASSWORD)(_|$)", variable) and variable != "REDIS_STREAM_KEY":
                assert value.startswith("/run/secrets/"), (stack, name, variable)
        for secret in service.get("secrets", []):
            assert resolved(stack)["secrets"][secret["source"]]["file"], (stack, name)
    for file in FILES:
        assert not re.search(r"\b[0-9a-f]{32,}\b", re.sub(r"sha256:[0-9a-f]{64}", "", (COMPOSE / file).read_text()))


@pytest.mark.parametrize("file", FILES)
def test_every_variable_of_a_file_is_explained_in_the_example_with_its_default(file: str) -> None:
    text, example = (COMPOSE / file).read_text(), (COMPOSE / ".env.example").read_text()
    told = dict(re.findall(r"^#([A-Z0-9_]+)=(\S*)", example, re.MULTILINE))
    assert variables(text) <= set(told)
    for name, default in re.findall(r"(?<!\$)\$\{([A-Z0-9_]+):-([^}]*)\}", text):
        # An empty one is left to the program, whose own default is told.
        assert not default or told[name] == default, name


def test_the_example_names_nothing_that_no_file_reads() -> None:
    told = set(re.findall(r"^#([A-Z0-9_]+)=", (COMPOSE / ".env.example").read_text(), re.MULTILINE))
    assert told == {name for file in FILES for name in variables((COMPOSE / file).read_text())}


def test_every_setting_of_the_program_is_explained_in_the_example_beside_the_readme() -> None:
    told = set(re.findall(r"^#([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(SETTINGS) <= told


def test_a_setting_of_the_callers_gets_to_where_it_is_used() -> None:
    made = resolved(
        "queue alone", (("QUEUE_ADDRESS", "queue.example"), ("QUEUE_BIND", "10.0.0.2"), ("QUEUE_PORT", "7000"))
    )
    assert made["services"]["queue-files"]["command"][2:4] == ["--address", "queue.example"]
    assert made["services"]["redis"]["ports"][0]["host_ip"] == "10.0.0.2"
    assert made["services"]["redis"]["ports"][0]["published"] == "7000"
    offer = resolved("a code for a machine", (("QUEUE_PORT", "7000"),))["services"]["pair"]
    # What `run` is given more takes the place of the command alone.
    assert offer["entrypoint"] == ["tandem", "pair", "--port", "7000"] and not offer.get("command")


def test_the_secrets_are_made_once_for_their_owner_and_are_what_the_files_name(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    script.write_bytes((COMPOSE / "secrets.sh").read_bytes())
    folder = tmp_path / "secrets"

    def made() -> dict[str, str]:
        ended = subprocess.run(["sh", script], capture_output=True, text=True, check=True, timeout=60)
        assert ended.stdout + ended.stderr == ""
        return {file.name: file.read_text() for file in folder.iterdir()}

    first = made()
    assert made() == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    wanted = {Path(one["file"]).name for one in raw("local.yaml")["secrets"].values()}
    assert set(first) == wanted | {"laptop.env", "phoenix_key"}
    made_up = [value for name, value in first.items() if "." not in name]
    assert len(set(made_up)) == len(made_up) and all(re.fullmatch(r"[0-9a-f]{48}\n", key) for key in made_up)
    # The daemon reads what it is given, in the container and beside it.
    keys = {name: first[name].strip() for name in first}
    inside = load(str(folder), {})
    assert (inside.token, inside.qdrant_api_key) == (keys["tandem_token"], keys["qdrant_key"])
    (folder / "laptop.env").rename(tmp_path / ".env")
    beside = load(str(tmp_path / "data"), {}, tmp_path)
    assert (beside.qdrant_api_key, beside.phoenix_api_key) == (keys["qdrant_key"], keys["phoenix_key"])
    assert (beside.qdrant, beside.embedding_model) == ("http://127.0.0.1:6333", "nomic-embed-text")
    (folder / "qdrant_key").unlink()
    again = made()
    assert again["qdrant_key"] != first["qdrant_key"] and again["phoenix_key"] == first["phoenix_key"]
    assert again["qdrant_key"].strip() in again["tandem.toml"] and again["qdrant_key"].strip() in again["laptop.env"]
