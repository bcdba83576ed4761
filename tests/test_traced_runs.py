"""Each run over the folders that finds something to do is one trace: a daemon's, a command's, with its workers'."""

import uuid
from collections.abc import Generator

import pytest

from tests.observability.receivers import Receiver, Span, at_collector, tree
from tests.processes import Place, place

pytestmark = pytest.mark.slow

RUN = {("index", "CHAIN", None), ("embed chunks", "EMBEDDING", "index")}
BROKEN = ("index file", "CHAIN", "index")


@pytest.fixture
def receiver() -> Generator[Receiver]:
    with at_collector() as receiver:
        yield receiver


@pytest.fixture
def here() -> Generator[Place]:
    with place() as here:
        here.write("docs/lease.md", "# The lease\n\nA worker's lease is renewed every five seconds.\n")
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours before anybody opens its door.\n")
        yield here


def sending_to(receiver: Receiver) -> dict[str, str]:
    return {"PHOENIX_COLLECTOR_ENDPOINT": receiver.endpoint, "PHOENIX_API_KEY": receiver.api_key}


async def runs(receiver: Receiver, count: int) -> list[list[Span]]:
    """The traces of that many runs, in the order of their ends."""
    roots = await receiver.once_there(count, lambda span: span.parent is None)
    assert [root.name for root in roots] == ["index"] * count
    return [[span for span in receiver.spans() if span.trace == root.trace and not is_slow(span)] for root in roots]


def is_slow(span: Span) -> bool:
    """On a machine that is busy any file may be."""
    return span.name == "index file" and span.status == "OK"


def root(spans: list[Span]) -> Span:
    return next(span for span in spans if span.parent is None)


async def test_a_daemon_traces_each_run_that_found_something_to_do_and_no_other(
    receiver: Receiver, here: Place
) -> None:
    broken = here.write("docs/broken.pdf", b"%PDF-1.7\nnothing of a PDF follows")
    async with here.daemon(here.docs, settings=sending_to(receiver)) as daemon:
        status = await daemon.in_step(2)
        (first,) = await runs(receiver, 1)
        assert tree(first) == RUN | {BROKEN}
        of = {span.name: span for span in first}
        assert (of["index"].status, of["index file"].status) == ("OK", "ERROR")
        assert of["index file"].attributes["file.path"] == str(broken) == status["failed"][0]["path"]
        assert {of["index"].attributes[f"tandem.{name}"] for name in ("read", "added", "embedded")} == {2}
        assert "MiniLM" in of["embed chunks"].attributes["embedding.model_name"]

        for _ in range(2):
            idle = await here.tandem("index", "--json")
            assert (idle.json["unchanged"], idle.json["embedded_chunks"]) == (2, 0)
        beside = here.write("beside", "# The kiln\n\nThe kiln cools for thirteen hours now, says the potter.\n")
        beside.rename(here.docs / "kiln.md")  # in one step, as editors save
        first, second = await runs(receiver, 2)
        assert tree(second) == RUN
        assert root(second).attributes["tandem.changed"] == root(second).attributes["tandem.embedded"] == 1


async def test_a_command_without_a_daemon_traces_its_run(receiver: Receiver, here: Place) -> None:
    for _ in range(2):
        ended = await here.tandem("index", "--json", here.docs, settings=sending_to(receiver))
        assert ended.status == 0, ended.err
    (here.docs / "lease.md").unlink()
    await here.tandem("index", settings=sending_to(receiver))
    first, last = await runs(receiver, 2)
    assert (tree(first), tree(last)) == (RUN, {("index", "CHAIN", None)})
    assert root(first).service == "tandem"
    assert (root(first).attributes["tandem.added"], root(last).attributes["tandem.deleted"]) == (2, 1)


async def test_another_model_or_store_is_a_trace_of_its_growth(receiver: Receiver, here: Place) -> None:
    await here.tandem("index", here.docs)
    fp32 = {"TANDEM_EMBED_PRECISION": "fp32"} | sending_to(receiver)
    moved = await here.tandem("migrate", "--json", settings=fp32)
    assert (moved.status, moved.json["embedded_chunks"]) == (0, 2), moved.err
    spans = await receiver.once_there(2, lambda span: not is_slow(span))
    assert tree(spans) == {("grow", "CHAIN", None), ("embed chunks", "EMBEDDING", "grow")}
    assert root(spans).attributes["tandem.embedded"] == 2
    assert root(spans).status == "OK"


async def test_what_workers_embed_for_a_run_stands_in_its_trace(
    receiver: Receiver, here: Place, redis_url: str
) -> None:
    remote = {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": f"test-{uuid.uuid4().hex}", "TANDEM_EMBED": "remote"}
    settings = remote | sending_to(receiver)
    async with here.program("worker", "--engine", "onnx", "--task", "embed", settings=settings) as worker:
        ended = await here.tandem("index", "--json", here.docs, settings=settings)
        assert ended.json["embedded_chunks"] == 2, ended.err
        await worker.says("finished after")
    batches = await receiver.once_there(1, lambda span: span.name == "embed chunks")
    embeds = await receiver.once_there(len(batches), lambda span: span.name == "embed")
    (run,) = await runs(receiver, 1)
    assert tree(run) == RUN | {("embed", "EMBEDDING", "embed chunks")}
    assert ({span.service for span in embeds}, root(run).service) == ({"tandem-worker"}, "tandem")
    for spans in (batches, embeds):
        assert sum(span.attributes["tandem.texts"] for span in spans) == root(run).attributes["tandem.embedded"] == 2
