"""compose/terraform as it stands: what HCL's parser reads in it, and what Terraform makes of it."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent / "compose" / "terraform"
_REFERENCE = re.compile(r"(?<![\w.\"-])(var|local|module|data|digitalocean_\w+|each|count|path)((?:\.\w+|\[[^\]]*\])+)")


@dataclass(frozen=True, slots=True)
class Module:
    """One folder. `blocks`: kind -> what is in its files, names and labels as keys."""

    folder: Path
    files: Mapping[Path, Any]

    def all(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for told in self.files.values():
            for name, one in (told.get(kind, {}) if isinstance(told.get(kind), dict) else {}).items():
                found[name] = {**found[name], **one} if name in found else one
        return found

    @property
    def variables(self) -> dict[str, Any]:
        return {name: one for name, (one,) in self.all("variable").items()}

    @property
    def outputs(self) -> dict[str, Any]:
        return {name: one for name, (one,) in self.all("output").items()}

    @property
    def calls(self) -> dict[str, Any]:
        return {name: one for name, (one,) in self.all("module").items()}

    @property
    def locals(self) -> dict[str, Any]:
        return {
            name: value for told in self.files.values() for one in told.get("locals", []) for name, value in one.items()
        }

    def resources(self) -> Iterator[tuple[str, str, str, Any]]:
        """(resource or data, type, name, body)."""
        for kind in ("resource", "data"):
            for type_, named in self.all(kind).items():
                for name, bodies in named.items():
                    for body in bodies:
                        yield kind, type_, name, body

    def references(self) -> set[tuple[str, ...]]:
        """("var", "name"), ("module", "network", "vpc_id"), ("digitalocean_tag", "all", "name")."""
        found: set[tuple[str, ...]] = set()
        for told in self.files.values():
            for expression in expressions(told):
                for root, rest in _REFERENCE.findall(expression):
                    found.add((root, *re.findall(r"\.(\w+)", re.sub(r"\[[^\]]*\]", "", rest))))
                found |= {("local", name) for name in re.findall(r"\blocal\.(\w+)", expression)}
                found |= {("var", name) for name in re.findall(r"\bvar\.(\w+)", expression)}
        return found


def expressions(told: Any) -> Iterator[str]:
    if isinstance(told, str):
        if "${" in told:
            yield told
    elif isinstance(told, dict):
        for one in told.values():
            yield from expressions(one)
    elif isinstance(told, list):
        for one in told:
            yield from expressions(one)


def files() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.tf") if ".terraform" not in path.parts)


def parsed(node: str) -> dict[Path, Any]:
    """File -> {"json": …, "formatted": …}."""
    words = [node, str(HERE / "hcl.cjs"), *map(str, [*files(), ROOT / "terraform.tfvars.example", *HERE.glob("*.hcl")])]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, cwd=HERE)
    assert not ended.returncode, ended.stderr
    return {Path(file): one for file, one in json.loads(ended.stdout).items()}


def modules(told: Mapping[Path, Any]) -> dict[Path, Module]:
    read = {file: one["json"] for file, one in told.items() if file.suffix == ".tf"}
    folders = sorted({file.parent for file in read})
    return {
        folder: Module(folder, {file: one for file, one in read.items() if file.parent == folder}) for folder in folders
    }
