"""What each machine is started with: cloud-init's own schema, shellcheck, systemd, and no secret in it.

Where Terraform is not installed, what it would make of the module `machine` is made here of the parsed files.
"""

import base64
import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bridge.cli import _parser  # pyright: ignore[reportPrivateUsage]
from bridge.services import COMMANDS
from tests.terraform.configuration import ROOT, Module
from tests.terraform.conftest import lacking

MACHINES = {
    "queue": "module.queue.digitalocean_droplet.this",
    "gateway": "module.gateway.digitalocean_droplet.this[0]",
    "gpu_worker": "module.gpu_worker.digitalocean_droplet.this[0]",
}
# The machine's package lists and its own address come from there; nothing else may.
_SECRET = re.compile(r"password|secret_?key|dop_v1|BEGIN [A-Z ]*PRIVATE|redis_key *=|Bearer", re.IGNORECASE)
_ALLOWED = ("PasswordAuthentication no", "prohibit-password", "Bearer {place.token}")


def rendered(modules: Mapping[Path, Module], name: str) -> str:
    """By hand: texts of files as they are, what is a variable's as its name."""
    call = modules[ROOT / "modules" / name].calls["machine"]
    machine = modules[ROOT / "modules" / "machine"]
    files = {path: _content(told) for path, told in {**call["files"], **_common(machine)}.items()}
    values = {
        "packages": ["python3-venv", "unattended-upgrades", *call.get("packages", [])],
        "start": [call["start"]],
        "files": [
            {"path": "/etc/tandem/machine", "permissions": "0644", "encoding": "text/plain", "content": "X='x'\n"},
            *(
                {"path": path, "permissions": "0755", "encoding": "gz+b64", "content": _packed(one)}
                for path, one in files.items()
            ),
        ],
    }
    template = (machine.folder / "cloud-config.yaml.tftpl").read_text()
    return re.sub(r"\$\{jsonencode\((\w+)\)\}", lambda found: json.dumps(values[found[1]]), template)


def _common(machine: Module) -> dict[str, str]:
    (text,) = [told for name, told in machine.locals.items() if name == "files"]
    return {path: f"${{file({where})}}" for path, where in re.findall(r'"(/[^"]+)"\s*=\s*file\(("[^"]+")\)', text)}


def _content(told: str) -> str:
    found = re.fullmatch(r'\$\{file\("\$\{[\w.]+\}/(.+)"\)\}', told)
    if not found:
        return f"{told}\n"
    (file,) = {path for path in ROOT.rglob("*") if path.is_file() and str(path).endswith(found[1].replace("../", ""))}
    return file.read_text()


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode())).decode()


def unpacked(user_data: str) -> dict[str, str]:
    """Path -> content."""
    told = yaml.safe_load(user_data)["write_files"]
    return {
        one["path"]: gzip.decompress(base64.b64decode(one["content"])).decode()
        if one["encoding"] == "gz+b64"
        else one["content"]
        for one in told
    }


@pytest.mark.parametrize("name", MACHINES)
def test_cloud_init_takes_it(modules: Mapping[Path, Module], cloud_init_schema: Any, name: str) -> None:
    user_data = rendered(modules, name)
    assert user_data.startswith("#cloud-config\n")
    _check(cloud_init_schema, user_data)


def _check(schema: Any, user_data: str) -> None:
    told = yaml.safe_load(user_data)
    jsonschema.Draft4Validator(schema).validate(told)
    # It lets every module have its keys, and so lets a mistyped one pass.
    known = {key for one in schema["$defs"].values() for key in one.get("properties", {})}
    if unknown := set(told) - known:
        raise jsonschema.ValidationError(f"cloud-init knows no {unknown}")


@pytest.mark.parametrize(
    "wrong", ["package_updates: true", "packages: {a: b}", "write_files: [{content: x}]", "runcmd: 3"]
)
def test_cloud_init_would_refuse_what_is_wrong(cloud_init_schema: Any, wrong: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        _check(cloud_init_schema, f"#cloud-config\n{wrong}\n")


@pytest.mark.parametrize("name", MACHINES)
def test_terraform_makes_the_same_of_it(
    applied: Mapping[str, Any], modules: Mapping[Path, Module], cloud_init_schema: Any, name: str
) -> None:
    user_data = applied[MACHINES[name]]["user_data"]
    _check(cloud_init_schema, user_data)
    mine, its = unpacked(rendered(modules, name)), unpacked(user_data)
    assert set(mine) == set(its)
    assert {path for path in its if mine[path] != its[path]} <= {
        "/etc/tandem/machine",
        "/etc/tandem/worker.yaml",
        "/etc/tandem/scaling.json",
        "/etc/tandem/scaled.yaml",
    }
    assert yaml.safe_load(user_data)["runcmd"][-1][0] in its
    assert len(user_data) < 65536, "DigitalOcean takes no more"


@pytest.mark.parametrize("name", MACHINES)
def test_no_secret_is_in_what_a_machine_is_started_with(modules: Mapping[Path, Module], name: str) -> None:
    for path, text in unpacked(rendered(modules, name)).items():
        for allowed in _ALLOWED:
            text = text.replace(allowed, "")
        assert not _SECRET.search(text), f"{path}: {_SECRET.search(text)}"


def test_the_machines_that_the_queue_makes_differ_by_its_key_alone(applied: Mapping[str, Any]) -> None:
    kept = unpacked(applied[MACHINES["queue"]]["user_data"])
    theirs, fixed = kept["/etc/tandem/scaled.yaml"], applied[MACHINES["gpu_worker"]]["user_data"]
    assert theirs.count("@QUEUE_KEY@") == 1
    assert theirs.replace("@QUEUE_KEY@", "") == fixed
    told = json.loads(kept["/etc/tandem/scaling.json"])
    assert told["scaled"]["tags"][-1] == "tandem-gpu-scaled"
    assert told["limits"]["most"] == 3
    # A key as ssh-keygen writes it ends neither the YAML nor the shell's quotes.
    keyed = theirs.replace("@QUEUE_KEY@", "ssh-ed25519 AAAAC3+/x== tandem-scaling")
    assert "QUEUE_KEY='ssh-ed25519 AAAAC3+/x== tandem-scaling'\n" in unpacked(keyed)["/etc/tandem/machine"]


def test_settings_are_what_the_shell_reads_them_as(applied: Mapping[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "machine"
    file.write_text(unpacked(applied[MACHINES["gpu_worker"]]["user_data"])["/etc/tandem/machine"])
    said = subprocess.run(
        ["bash", "-c", f'. {file}; echo "$PACKAGE|$QUEUE_CIDR|$QUEUE_KEY"'], capture_output=True, text=True, check=True
    )
    assert said.stdout == "tandem-rag[server]==0.1.0|10.77.0.0/20|\n"


@pytest.mark.parametrize("file", sorted((ROOT / "boot").glob("*.sh")), ids=lambda file: file.name)
def test_shellcheck_has_nothing_to_say(file: Path) -> None:
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
    if not found:
        lacking("shellcheck is not installed: make .venv/.lint-installed")
    assert found
    ended = subprocess.run([found, str(file)], capture_output=True, text=True, check=False)
    assert not ended.returncode, ended.stdout


def test_what_the_first_starts_ask_of_tandem_is_what_it_takes() -> None:
    seen = set[str]()
    for file in sorted((ROOT / "boot").glob("*.sh")):
        for line in re.findall(r"^ *tandem (.*)$", file.read_text(), re.MULTILINE):
            words, _, behind = line.partition(" > ")[0].partition(" -- ")
            if words.startswith("worker --print"):
                with pytest.raises(SystemExit) as ended:
                    _parser().parse_args(words.split())
                assert not ended.value.code, words
                continue
            told = _parser().parse_args(words.split())
            if told.command == "service":
                places = [word for word in behind.split() if "$" not in word]
                _parser().parse_args([COMMANDS[told.kind], *places])
            seen.add(f"{told.command} {getattr(told, 'kind', '')}".strip())
    assert seen == {"service queue", "service worker", "service daemon", "pair"}
    (words,) = re.findall(r"^words=\((--\S+) ", (ROOT / "boot" / "queue.sh").read_text(), re.MULTILINE)
    assert _parser().parse_args(["queue", words, "10.77.0.2"]).address == ["10.77.0.2"]


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        lacking("no systemd-analyze on PATH: apt install systemd")
    assert analyze
    python = tmp_path / "python"
    python.symlink_to("/bin/true")
    for unit in (ROOT / "scaling").glob("tandem-scaling.*"):
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/tandem/bin/python", str(python)))
    words = [
        analyze,
        "verify",
        "--man=no",
        str(tmp_path / "tandem-scaling.timer"),
        str(tmp_path / "tandem-scaling.service"),
    ]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not ended.returncode, ended.stderr
    assert str(tmp_path) not in ended.stderr, ended.stderr


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [("", 2, "expected ready, join or drain"), ("rm -rf /", 2, "expected ready, join or drain"), ("ready", 0, "")],
)
def test_the_queues_key_can_ask_for_three_things_only(asked: str, status: int, said: str) -> None:
    told = {"SSH_ORIGINAL_COMMAND": asked, "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(
        ["bash", str(ROOT / "boot" / "told.sh")], env=told, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr.strip()) == (status, said)
