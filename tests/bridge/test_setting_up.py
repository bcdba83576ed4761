"""`tandem setup`: the collections on a Qdrant server, before the first document."""

from collections.abc import AsyncGenerator, Generator

import pytest

from tests.fake_ollama import fake_ollama
from tests.fake_qdrant import FakeQdrant, fake_qdrant
from tests.processes import Ended, Place, place


@pytest.fixture
def here() -> Generator[Place]:
    with place() as made:
        yield made


@pytest.fixture
async def embedding() -> AsyncGenerator[dict[str, str]]:
    """A model that is there at once."""
    async with fake_ollama() as fake:
        yield {"TANDEM_EMBED": "ollama", "OLLAMA_HOST": fake.url}


async def set_up(here: Place, server: FakeQdrant, *words: str, **settings: str) -> Ended:
    return await here.tandem("setup", *words, settings={"QDRANT_URL": server.url} | settings)


@pytest.mark.slow
async def test_setup_makes_what_the_settings_name_once_and_then_only_what_is_missing(
    here: Place, embedding: dict[str, str]
) -> None:
    settings = {"QDRANT_COLLECTION": "notes", "TANDEM_SHARD_NUMBER": "6", "TANDEM_REPLICATION_FACTOR": "2"} | embedding
    async with fake_qdrant() as server:
        first = (await set_up(here, server, "--json", **settings)).json
        index, cache = sorted(server.made, key=lambda name: name.startswith("semantic_cache"))
        assert first["store"] == f"qdrant {server.url}/{index}"
        assert (first["aliases"], first["chunks_left"]) == ({"notes": index, "semantic_cache": cache}, 0)
        assert server.aliases == first["aliases"]
        asked = [(one["shard_number"], one["replication_factor"]) for one in server.made.values()]
        assert asked == [(6, 2), (6, 2)]
        changes = server.changes
        again = await set_up(here, server, **settings)
        assert (again.status, set(server.made), server.changes - changes) == (0, {index, cache}, 1)  # the cache's alias
        assert [line.split() for line in again.out.splitlines()[1:]] == [["notes", index], ["semantic_cache", cache]]
        server.aliases.clear()
        assert (await set_up(here, server, "--json", **settings)).json == first
        assert server.aliases == first["aliases"]


@pytest.mark.slow
async def test_setup_with_a_daemon_under_way_looks_at_what_it_has_made(here: Place, embedding: dict[str, str]) -> None:
    async with fake_qdrant() as server, here.daemon(settings={"QDRANT_URL": server.url} | embedding):
        assert set((await set_up(here, server, "--json")).json["aliases"].values()) == set(server.made)
        other = await here.tandem("setup", settings={"QDRANT_URL": "http://127.0.0.1:9"})
        assert (other.status, "expected at qdrant http://127.0.0.1:9: a daemon" in other.err) == (1, True)


@pytest.mark.slow
async def test_setup_names_a_server_that_is_away_or_refuses_the_key(
    here: Place, embedding: dict[str, str], port: int
) -> None:
    away = await here.tandem("setup", settings={"QDRANT_HOST": "127.0.0.1", "QDRANT_PORT": str(port)} | embedding)
    assert (away.status, f"127.0.0.1:{port}" in away.err, "check that it runs" in away.err) == (1, True, True)
    async with fake_qdrant(key="right") as server:
        wrong = await set_up(here, server, QDRANT_API_KEY="wrong-secret", **embedding)
        assert (wrong.status, f"{server.url} did not do what was asked: Unauthorized" in wrong.err) == (1, True), wrong
        assert ("QDRANT_API_KEY" in wrong.err, "secret" in wrong.err) == (True, False)
        assert (await set_up(here, server, QDRANT_API_KEY="right", **embedding)).status == 0


async def test_setup_without_a_server_has_nothing_to_do_and_says_so(here: Place) -> None:
    told = await here.tandem("setup")
    assert (told.status, "no QDRANT_URL or QDRANT_HOST is set" in told.out) == (0, True)
    assert (await here.tandem("setup", "--json")).json == {"store": "embedded", "aliases": {}, "chunks_left": 0}
    assert not here.data.exists()
