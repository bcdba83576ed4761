"""`tandem workers` and `tandem dead`, as an operator types them: against a real Redis, with no daemon."""

import json
import uuid
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.processes import Ended, Place, place
from wire import Job, WorkerCard, embedding
from wire.redis import RedisWire

EVIL = "\x1b[2J\x9b31m\u202eab\nquestion   forged"
REQUEST = uuid.uuid4().hex
DATA = {
    "request_id": REQUEST,
    "prompt": f"why? {EVIL}",
    "context": [{"id": "1", "path": f"/notes/{EVIL}.md", "text": f"because {EVIL}"}],
}


@pytest.fixture(scope="module")
def here() -> Generator[Place]:
    with place() as made:
        yield made


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def settings(redis_url: str, key: str) -> dict[str, str]:
    return {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": key}


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Any]:
    async with Redis.from_url(redis_url) as redis:
        yield redis


async def give_up(redis: Any, key: str, data: str = json.dumps(DATA, ensure_ascii=False)) -> str:
    """As a worker leaves it; its id."""
    told = {"reason": f"it died {EVIL}", "failures": 3, "consumers": f"gpu-1 {EVIL}", "stream": key}
    return (await redis.xadd(f"{key}:inference_dead", {"data": data, "request_id": REQUEST, **told})).decode()


def tame(ended: Ended, lines: int | None = None) -> str:
    """What was said: nothing in it moves a cursor, turns letters round or begins a line of its own."""
    assert ended.status == 0, ended.err
    assert all(c.isprintable() or c == "\n" for c in ended.out + ended.err), (ended.out, ended.err)
    assert not any(line.startswith("question   forged") for line in ended.out.splitlines())
    assert lines in (None, len(ended.out.splitlines())), ended.out
    return ended.out


async def test_the_queue_and_its_workers_are_told_in_words_and_as_json(
    here: Place, redis_url: str, key: str, settings: dict[str, str]
) -> None:
    none = await here.tandem("workers", settings=settings)
    assert "workers    none: on the GPU box, `tandem worker`" in tame(none)
    card = WorkerCard("echo", "small", 4)
    async with RedisWire(redis_url, key, patience_s=0.05) as wire, wire.attach(card) as inbox:
        for request_id in ("a", "b"):
            async with wire.send(Job(request_id, "why?")):
                pass
        await inbox.take(1)
        told = (await here.tandem("workers", "--json", settings=settings)).json
        words = tame(await here.tandem("workers", settings=settings))
    assert [told[name] for name in ("depth", "waiting", "in_flight", "dead")] == [2, 1, 1, 0]
    (worker,) = told["workers"]
    assert [worker[name] for name in ("engine", "model", "slots", "in_flight")] == ["echo", "small", 4, 1]
    assert worker["state"] == "ready"
    assert told["counters"]["admitted"] == 2
    assert f"queue      {key}: 1 waiting, 1 under way\n" in words
    heads, row = words.splitlines()[-2:]
    # Aligned: each cell begins where its head does.
    for head, cell in {"STATE": "ready", "ENGINE": "echo", "MODEL": "small", "JOBS": "1 of 4"}.items():
        assert row[heads.index(head) :].startswith(cell), words


@pytest.mark.slow
async def test_the_queue_of_texts_to_embed_is_told_where_it_is_used(
    here: Place, redis: Any, redis_url: str, key: str, settings: dict[str, str]
) -> None:
    assert (await here.tandem("workers", "--json", settings=settings)).json["embedding"] is None
    other = embedding.queue(key)
    async with RedisWire(redis_url, other, patience_s=0.05) as wire, wire.attach(WorkerCard("onnx", None, 1)) as inbox:
        await inbox.take(1)
        words = tame(await here.tandem("workers", settings=settings))
    assert f"queue      {key}: 0 waiting" in words and f"queue      {other}: 0 waiting" in words
    died = await give_up(redis, other)
    (row,) = (await here.tandem("dead", "ls", "--json", settings=settings)).lines
    assert (row["id"], row["stream"]) == (died, other)
    await here.tandem("dead", "retry", died, settings=settings)
    assert await redis.xlen(other) == 1


async def test_a_worker_with_an_evil_name_cannot_write_on_the_operators_terminal(
    here: Place, redis: Any, key: str, settings: dict[str, str]
) -> None:
    seconds, _ = await redis.time()
    await redis.zadd(f"{key}:workers", {EVIL: seconds * 1000})
    await redis.hset(f"{key}:worker:{EVIL}", mapping={"engine": EVIL, "model": EVIL, "state": EVIL})
    tame(await here.tandem("workers", settings=settings))
    told = await here.tandem("workers", "--json", settings=settings)
    assert not any("\x7f" <= c <= "\x9f" or c < " " for c in told.out.rstrip("\n"))
    assert told.json["workers"][0]["engine"] == EVIL


@pytest.mark.slow
async def test_the_dead_are_listed_and_shown_without_obeying_what_they_say(
    here: Place, redis: Any, key: str, settings: dict[str, str]
) -> None:
    assert tame(await here.tandem("dead", "ls", settings=settings)) == "no job was given up\n"
    first, second = await give_up(redis, key), await give_up(redis, key, "{torn \x1b[2J")
    listed = tame(await here.tandem("dead", "ls", settings=settings), lines=3)
    assert [line.split()[0] for line in listed.splitlines()] == ["ID", second, first]
    assert "older ones: `tandem dead ls -n 2`" in tame(await here.tandem("dead", "ls", "-n", "1", settings=settings))
    rows = (await here.tandem("dead", "ls", "--json", settings=settings)).lines
    assert [(row["id"], row["request_id"], row["failures"]) for row in rows] == [
        (second, REQUEST, 3),
        (first, REQUEST, 3),
    ]
    shown = tame(await here.tandem("dead", "show", first, settings=settings))
    assert "question   why?" in shown and "passage 1  /notes/" in shown and "because" in shown
    assert "data       {torn" in tame(await here.tandem("dead", "show", REQUEST, settings=settings))
    whole = (await here.tandem("dead", "show", "--json", first, settings=settings)).json
    assert (whole["job"]["prompt"], whole["data"]) == (DATA["prompt"], None)


@pytest.mark.slow
async def test_a_dead_job_is_sent_again_or_dropped_and_a_second_time_is_told_so(
    here: Place, redis: Any, key: str, settings: dict[str, str]
) -> None:
    first, second = await give_up(redis, key), await give_up(redis, key)
    assert f"the request {REQUEST} is in the queue again" in tame(
        await here.tandem("dead", "retry", first, settings=settings)
    )
    assert await redis.xlen(key) == 1
    told = (await here.tandem("dead", "drop", REQUEST, "--json", settings=settings)).json
    assert told == {"id": second, "request_id": REQUEST, "action": "drop"}
    assert await redis.xlen(f"{key}:inference_dead") == 0
    again = await here.tandem("dead", "drop", second, settings=settings)
    assert (again.status, again.err) == (
        1,
        f"tandem: no dead job '{second}': `tandem dead ls` lists them\n",
    )


async def test_a_job_that_nobody_can_read_is_not_sent_again(
    here: Place, redis: Any, key: str, settings: dict[str, str]
) -> None:
    torn = await give_up(redis, key, "{torn \x1b[2J")
    refused = await here.tandem("dead", "retry", torn, settings=settings)
    assert refused.status == 1 and "cannot be read by any worker" in refused.err and "\x1b" not in refused.err
    assert await redis.xlen(f"{key}:inference_dead") == 1


async def test_a_redis_that_is_away_is_said_in_words(here: Place, port: int) -> None:
    away = {"REDIS_URL": f"redis://127.0.0.1:{port}"}
    for words in (("workers",), ("dead", "ls")):
        ended = await here.tandem(*words, settings=away)
        assert (ended.status, ended.out) == (1, "")
        assert f"Redis at 127.0.0.1:{port} cannot be reached" in ended.err


async def test_an_action_without_its_id_is_wrong_usage(here: Place) -> None:
    for words in (("dead",), ("dead", "show"), ("dead", "bury", "1-0"), ("workers", "--all")):
        ended = await here.tandem(*words)
        assert (ended.status, ended.out) == (2, "")
        assert "usage: tandem" in ended.err
