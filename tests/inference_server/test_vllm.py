"""`tandem worker --engine vllm` as it runs on a GPU box: real vLLM in processes of their own, a real Redis between.

What it says is known before: `tests.inference_server.reciter`."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import psutil
import pytest
from anyio import fail_after

from tests.processes import environment, until
from wire import Delta, Final, Job, Metadata, Passage
from wire.redis import RedisWire

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PYTHON = Path(os.environ.get("TANDEM_TEST_VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
START_S = 900  # two of them on a busy machine, where nothing of vLLM is compiled yet
CONFIG = """
model: {model}
served-model-name: reciter
dtype: float32
enforce_eager: true
max_num_seqs: 8
kv_cache_memory_bytes: 67108864
distributed_executor_backend: uni
sampling:
  temperature: 0
  max_tokens: {tokens}
"""


@pytest.fixture(scope="module")
def python() -> Path:
    """One that has vLLM."""
    if PYTHON.exists():
        return PYTHON
    why = (
        f"no vLLM here: make .venv-vllm/.installed (Linux on x86-64), or TANDEM_TEST_VLLM_PYTHON; {PYTHON} is not there"
    )
    if os.environ.get("TANDEM_TEST_VLLM_REQUIRED") == "1":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def folder(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a model and a configuration."""
    made = tmp_path_factory.mktemp("gpu-box")
    (made / "config.yaml").write_text(CONFIG.format(model=made / "model", tokens=1500))
    subprocess.run([python, "-m", "tests.inference_server.reciter", made / "model"], cwd=ROOT, check=True)
    return made


class Worker:
    def __init__(self, process: anyio.abc.Process, log: Path) -> None:
        self.process, self.log = process, log

    @property
    def pid(self) -> int:
        return self.process.pid

    def core(self) -> psutil.Process | None:
        """The process that vLLM generates in."""
        children = psutil.Process(self.pid).children(recursive=True)
        return next((child for child in children if "EngineCore" in "".join(child.cmdline())), None)

    async def says(self, words: str, within_s: float = START_S) -> None:
        async def said() -> bool | None:
            if self.process.returncode is not None:
                pytest.fail(f"the worker ended: {self.log.read_text()}")
            return words in self.log.read_text() or None

        try:
            await until(said, within_s)
        except TimeoutError:
            pytest.fail(f"{words!r} was expected, this was said: {self.log.read_text()}")


@asynccontextmanager
async def worker(python: Path, folder: Path, redis_url: str, key: str) -> AsyncGenerator[Worker]:
    log = folder / f"{uuid.uuid4().hex}.log"
    settings = {
        "REDIS_URL": redis_url,
        "REDIS_STREAM_KEY": key,
        "TANDEM_LEASE_S": "2",
        "TANDEM_DATA": str(folder / "data"),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with log.open("wb") as out:
        process = await anyio.open_process(
            [str(python), "-m", "bridge.cli", "worker", "--engine", "vllm"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment(settings),
        )
    async with process:
        try:
            yield Worker(process, log)
        finally:
            if process.returncode is None:
                process.kill()


class Place:
    """Two workers, a queue, and what they share."""

    def __init__(self, wire: RedisWire, key: str, workers: list[Worker]) -> None:
        self.wire, self.key, self.workers = wire, key, workers

    async def owner(self, job: Job) -> Worker:
        redis = self.wire.steps._server.redis
        name = (await redis.hget(f"{self.key}:job:{job.request_id}", "owner")).decode()
        (found,) = (one for one in self.workers if f"-{one.pid}-" in name)
        return found


@pytest.fixture(scope="module")
async def place(python: Path, folder: Path, redis_url: str) -> AsyncIterator[Place]:
    key = uuid.uuid4().hex
    async with (
        worker(python, folder, redis_url, key) as one,
        worker(python, folder, redis_url, key) as other,
        RedisWire(redis_url, key, lease_s=2) as wire,
    ):
        for each in (one, other):
            await each.says("the vllm engine takes jobs")
        yield Place(wire, key, [one, other])


def asked(prompt: str = "why?", **more: object) -> Job:
    return Job(uuid.uuid4().hex, prompt, (Passage(text="The kiln is warm."),), metadata=Metadata(**more))


def text_of(replies: list[Delta | Final]) -> str:
    return "".join(reply.chunk for reply in replies)


async def answer(wire: RedisWire, job: Job) -> list[Delta | Final]:
    with fail_after(300):
        async with wire.send(job) as replies:
            return [reply async for reply in replies]


# In this order: the last two tests cost a worker each.


async def test_an_answer_comes_token_by_token_through_the_queue(place: Place) -> None:
    replies = await answer(place.wire, asked(max_tokens=600))
    final = replies[-1]
    assert isinstance(final, Final) and final.usage
    assert [reply.seq for reply in replies] == list(range(1, len(replies) + 1)) and len(replies) > 20
    assert (final.error, final.engine, final.model, final.finish_reason) == (None, "vllm", "reciter", "length")
    assert final.usage.completion_tokens == 600
    assert len({token for reply in replies if isinstance(reply, Delta) for token in reply.tokens}) >= 100


async def test_a_job_that_names_the_model_finds_its_worker(place: Place) -> None:
    *_, final = await answer(place.wire, asked(max_tokens=3, model="reciter"))
    assert isinstance(final, Final)
    assert (final.error, final.model) == (None, "reciter")


async def test_a_cancelled_answer_stops_and_makes_room(place: Place) -> None:
    async def cancelled() -> None:
        job = asked("and then?" * 3)
        async with place.wire.send(job) as replies:
            await anext(replies)
            assert await place.wire.cancel(job.request_id)
            *_, final = [reply async for reply in replies]
        assert isinstance(final, Final)
        assert final.error_code == "cancelled"

    began = anyio.current_time()
    await answer(place.wire, asked("and then?" * 3))
    one_takes_s = anyio.current_time() - began
    with fail_after(300):
        async with anyio.create_task_group() as asking:
            for _ in range(16):
                asking.start_soon(cancelled)
    with fail_after(one_takes_s):  # each of them had 1 500 tokens to go
        await answer(place.wire, asked(max_tokens=1))


async def test_an_answer_whose_engine_is_killed_goes_on_in_the_same_words(place: Place) -> None:
    whole = text_of(await answer(place.wire, asked("what next?")))
    job = asked("what next?")
    async with place.wire.send(job) as replies:
        with fail_after(300):
            heard = [await anext(replies) for _ in range(30)]
            owner = await place.owner(job)
            core = owner.core()
            assert core
            core.kill()
            heard += [reply async for reply in replies]
    assert text_of(heard) == whole
    assert isinstance(heard[-1], Final)
    assert heard[-1].error is None
    await owner.says("the engine died")

    async def again() -> bool | None:
        new = owner.core()
        return True if new and new.pid != core.pid else None

    await until(again, within_s=START_S)


async def test_a_worker_killed_in_mid_answer_is_taken_over_without_a_token_lost_or_doubled(place: Place) -> None:
    job = asked("what else?")
    whole = text_of(await answer(place.wire, asked("what else?")))
    async with place.wire.send(job) as replies:
        with fail_after(300):
            heard = [await anext(replies) for _ in range(30)]
            owner = await place.owner(job)
            core = owner.core()
            assert core
            owner.process.kill()
            heard += [reply async for reply in replies]
    assert text_of(heard) == whole
    final = heard[-1]
    assert isinstance(final, Final)
    assert final.error is None and final.usage and final.usage.completion_tokens == 1500
    tokens = [token for reply in heard if isinstance(reply, Delta) for token in reply.tokens]
    assert len(set(tokens)) >= 100
    assert len({reply.epoch for reply in heard}) == 2, "somebody else took over"

    async def gone() -> bool | None:
        return None if core.is_running() and core.status() != psutil.STATUS_ZOMBIE else True

    await until(gone, 60)  # the GPU's memory is free for who comes next


async def test_a_worker_that_is_told_to_stop_ends_well(place: Place) -> None:
    (alive,) = (one for one in place.workers if one.process.returncode is None)
    core = alive.core()
    alive.process.send_signal(signal.SIGTERM)
    with fail_after(120):
        assert await alive.process.wait() == 0, alive.log.read_text()
    assert core is None or not core.is_running()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("model: m\ngpu_memory: 0.5\n", "gpu_memory is no key that vLLM knows; did you mean gpu_memory_utilization?"),
        ("model: /nowhere/at-all\n", "/nowhere/at-all"),
        ("model: {model}\ndtype: float33\n", "float33"),
    ],
)
async def test_a_worker_that_cannot_start_says_why_in_a_line(
    python: Path, folder: Path, tmp_path: Path, redis_url: str, config: str, words: str
) -> None:
    (tmp_path / "config.yaml").write_text(config.format(model=folder / "model"))
    async with worker(python, tmp_path, redis_url, uuid.uuid4().hex) as started:
        with fail_after(START_S):
            assert await started.process.wait() == 1
        *_, last = started.log.read_text().splitlines()
        assert last.startswith("tandem: ") and words in last


async def test_without_vllm_a_worker_says_how_to_install_it(tmp_path: Path, redis_url: str) -> None:
    async def said() -> str:
        async with worker(Path(sys.executable), tmp_path, redis_url, uuid.uuid4().hex) as started:
            with fail_after(120):
                assert await started.process.wait() == 1
            return started.log.read_text()

    assert "pip install 'tandem-rag[server]'" in await said()
    (tmp_path / "config.yaml").write_text("model: m\n")
    assert "pip install 'tandem-rag[server]'" in await said()
