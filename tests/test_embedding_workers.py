"""A laptop whose files are embedded by workers, which come and go: by the real commands, through a real Redis."""

import signal
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from anyio import fail_after

from tests.observability.collector import collecting
from tests.points import points
from tests.processes import Place, place, until
from wire import Final, Job, Metadata
from wire.embedding import Batch, encode_batch, queue
from wire.redis import RedisWire

ROOMS = ["wood room", "metal corner", "kiln room", "laser room", "yard", "kitchen"]
FILES = 70


@pytest.fixture
async def notes() -> AsyncGenerator[Place]:
    with place() as here:
        for n in range(FILES):
            room, next_room = ROOMS[n % 6], ROOMS[(n + n // 6 + 1) % 6]
            text = f"# Machine {n}\n\nMachine {n} stands in the {room}. It was oiled {n} days ago.\n\n"
            text += f"## Moving it\n\nIt goes to the {next_room} when {n + 3} people want it there; its keeper signs.\n"
            here.write(f"docs/machine-{n}.md", text)
        yield here


@pytest.fixture
def remote(redis_url: str) -> dict[str, str]:
    """The settings of both machines."""
    return {
        "REDIS_URL": redis_url,
        "REDIS_STREAM_KEY": f"test-{uuid.uuid4().hex}",
        "TANDEM_EMBED": "remote",
        "TANDEM_LEASE_S": "3",
    }


WORKER = ("worker", "--engine", "onnx", "--task", "embed", "--slots", "2")


@pytest.mark.slow
async def test_an_index_whose_workers_are_killed_holds_the_same_points_as_a_local_one(
    notes: Place, remote: dict[str, str], tmp_path: Path
) -> None:
    async with anyio.create_task_group() as tasks:
        indexed = anyio.Event()

        async def index() -> None:
            ended = await notes.tandem("index", "--json", notes.docs, settings=remote)
            assert (ended.status, ended.json["added"]) == (0, FILES), ended.err
            assert ended.json["embedded_chunks"] >= FILES
            indexed.set()

        tasks.start_soon(index)
        for _ in range(2):
            async with notes.program(*WORKER, settings=remote) as worker:
                await worker.says("finished after")
                worker.process.send_signal(signal.SIGKILL)
                await worker.process.wait()
        assert not indexed.is_set(), "the workers were killed too late"
        async with notes.program(*WORKER, settings=remote):
            with fail_after(120):
                await indexed.wait()
    made_there = points(notes.data)
    notes.data = tmp_path / "local"
    local = await notes.tandem("index", "--json", notes.docs, settings={"TANDEM_EMBED_PRECISION": "fp32"})
    made_here = points(notes.data)
    assert local.json["embedded_chunks"] == len(made_here.vectors)
    assert made_there.signature == made_here.signature
    assert made_there.lexical == made_here.lexical
    assert made_there.with_vector == made_here.with_vector == made_here.vectors.keys()
    assert made_there.cosine_to(made_here) > 0.99999


@pytest.mark.slow
async def test_what_workers_have_embedded_is_searched_without_them_and_gone_on_with_alone(
    notes: Place, remote: dict[str, str]
) -> None:
    for path in list(notes.docs.iterdir())[3:]:
        path.unlink()
    async with notes.program(*WORKER, settings=remote):
        first = await notes.tandem("index", "--json", notes.docs, settings=remote)
    assert first.json["added"] == 3
    found = await notes.tandem("search", "--json", "Who keeps the machine?", settings=remote)
    assert found.json["hits"][0]["score"] > 0
    assert "note:" not in found.err, "nothing is missing: the query is embedded here"
    # The same vectors are what this machine makes itself, and none is made again.
    alone = await notes.tandem("index", "--json", settings={"TANDEM_EMBED_PRECISION": "fp32"})
    assert (alone.json["unchanged"], alone.json["embedded_chunks"]) == (3, 0)


@pytest.mark.slow
async def test_a_batch_leaves_one_span_in_the_trace_of_who_asked(notes: Place, remote: dict[str, str]) -> None:
    traceparent = f"00-{0xA:032x}-{0xB:016x}-01"
    job = Job("batch", encode_batch(Batch(("a", "b", "c"))), metadata=Metadata(traceparent=traceparent))
    with collecting() as collector:
        settings = {**remote, "PHOENIX_COLLECTOR_ENDPOINT": collector.url}
        async with notes.program(*WORKER, settings=settings) as worker:
            async with RedisWire(remote["REDIS_URL"], queue(remote["REDIS_STREAM_KEY"])) as wire:
                with fail_after(30):
                    await until(wire.workers)
                    async with wire.send(job) as replies:
                        *_, final = [reply async for reply in replies]
            await worker.says("finished after")
        spans = (await anyio.to_thread.run_sync(collector.request)).spans
    assert isinstance(final, Final) and final.error is None
    assert [(span.name, span.trace_id[-1], span.parent_span_id[-1]) for span in spans] == [("embed", 0xA, 0xB)]
    told = {one.key: one.value.string_value or one.value.int_value for one in spans[0].attributes}
    assert (told["openinference.span.kind"], told["tandem.texts"]) == ("EMBEDDING", 3)
    assert told["embedding.model_name"] == final.model


async def test_only_engines_that_embed_take_batches(notes: Place, remote: dict[str, str]) -> None:
    for words, told in (
        (("--engine", "echo", "--task", "embed"), "vllm, sentence-transformers or onnx"),
        (("--engine", "onnx"), "add --task embed"),
    ):
        ended = await notes.tandem("worker", *words, settings=remote)
        assert ended.status == 1
        assert told in ended.err
