"""server.json, by which the MCP registry lists us, against the registry's own schema."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVER = json.loads((ROOT / "server.json").read_text())


def test_its_versions_are_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (package,) = SERVER["packages"]
    assert SERVER["version"] == package["version"] == project["version"]
    assert package["identifier"] == project["name"]
    assert package["identifier"] in project["scripts"]  # what `uvx` runs


def test_its_arguments_are_those_of_the_command(tmp_path: Path) -> None:
    (package,) = SERVER["packages"]
    first, *named = package["packageArguments"]
    words = [first["value"], *(word for one in named for word in (one["name"], str(tmp_path)))]
    said = subprocess.run(
        [sys.executable, "-m", "bridge.cli", *words, "--help"], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("usage: tandem mcp")
    assert all(re.search(rf"^  {one['name']} ", said.stdout, re.MULTILINE) for one in named)


@pytest.mark.slow
def test_it_is_valid_by_the_schema_that_it_names() -> None:
    """The schema is the published one, as a linter for such files brings it: `make lint` installs that."""
    import jsonschema

    day = SERVER["$schema"].split("/")[-2]
    schema = json.loads(
        (files(f"skillsaw.schemas.mcp_registry.v{day.replace('-', '_')}") / "server.schema.json").read_text()
    )
    assert schema["$id"] == SERVER["$schema"]
    jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker()).validate(SERVER)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({**SERVER, "name": "no namespace"})
