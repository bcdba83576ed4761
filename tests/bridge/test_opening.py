"""The settings change from start to start; what was begun under others is never gone on with as if nothing had been."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.settings import Settings, load
from bridge.tandem import Tandem, opened
from indexer.points import GROUP
from observability.traces import Off
from tests.fake_ollama import FakeOllama, fake_ollama
from tests.indexer.models import HIDDEN, Model

FILES = GROUP + 30  # more than one step of growth


@pytest.fixture
async def ollama() -> AsyncGenerator[FakeOllama]:
    async with fake_ollama() as fake:
        yield fake


class Home:
    """A folder of notes and the data folder beside it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.notes = folder / "notes"
        self.notes.mkdir()
        for n in range(FILES):
            self.write(n)
        first = load(str(folder / "data"), {"TANDEM_EMBED": "ollama", "OLLAMA_HOST": url}, folder)
        self.first = replace(first, embedding_model="first")
        self.second = replace(first, embedding_model="second")

    def write(self, n: int) -> None:
        (self.notes / f"{n:04}.txt").write_text(
            f"The lantern number{n} hangs in the barn with word{n} and word{n + 1}."
        )

    def second_at(self, url: str) -> Settings:
        return replace(self.second, ollama_host=url)


@asynccontextmanager
async def life(settings: Settings) -> AsyncGenerator[Tandem]:
    async with opened(settings, Off()) as tandem:
        yield tandem


@pytest.fixture
async def home(ollama: FakeOllama) -> AsyncGenerator[Home]:
    ollama.models[:] = ["first:latest", "second:latest"]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        home = Home(Path(folder), ollama.url)
        async with life(home.first) as tandem:
            await tandem.index([str(home.notes)])
        yield home


async def found(tandem: Tandem, n: int) -> str | None:
    hits = (await tandem.search(f"number{n}", 1)).hits
    return Path(hits[0].path).name if hits else None


async def test_an_index_that_grew_half_way_goes_on_from_there(home: Home, ollama: FakeOllama) -> None:
    async with life(home.second) as tandem:
        assert await tandem.indexer.grow() == GROUP
    async with life(home.second) as tandem:
        assert tandem.indexer.growth
        assert tandem.indexer.growth.left == FILES - GROUP
        assert await tandem.grown() == FILES - GROUP
        assert (await tandem.status()).embedding.startswith("ollama:second@")
        assert await found(tandem, 7) == "0007.txt"


async def test_what_it_missed_while_it_was_not_open_is_in_it_when_it_answers(home: Home, ollama: FakeOllama) -> None:
    async with life(home.second) as tandem:
        await tandem.indexer.grow()
    for between in (home.first, home.second_at("http://127.0.0.1:9")):
        async with life(between) as tandem:
            number = FILES + len(list(home.notes.iterdir()))
            home.write(number)
            (home.notes / f"{number - FILES - FILES:04}.txt").unlink(missing_ok=True)
            await tandem.index([])
            assert await found(tandem, number) == f"{number:04}.txt"
        async with life(home.second) as tandem:
            await tandem.indexer.grow()
    async with life(home.second) as tandem:
        await tandem.grown()
        assert await tandem.indexer.index.store.count() == (await tandem.status()).chunks
        for path in home.notes.iterdir():
            assert await found(tandem, int(path.stem)) == path.name


async def test_settings_that_are_set_back_leave_the_index_as_it_was(home: Home, ollama: FakeOllama) -> None:
    async with life(home.second) as tandem:
        await tandem.indexer.grow()
    texts = len(ollama.texts)
    async with life(home.first) as tandem:
        assert (await tandem.index([])).unchanged == FILES
        assert (await tandem.status()).growing is None
        assert await found(tandem, 7) == "0007.txt"
    documents = [text for text in ollama.texts[texts:] if text.startswith("The lantern")]
    assert documents == []


async def test_there_and_back_again_ends_in_a_store_of_its_own(home: Home, ollama: FakeOllama) -> None:
    for settings in (home.second, home.first, home.second):
        async with life(settings) as tandem:
            await tandem.grown()
            assert await found(tandem, 7) == "0007.txt"
    folders = list((home.first.data / "store").iterdir())
    assert len(folders) <= 2


async def test_a_model_that_is_away_leaves_the_former_one_answering_and_says_so(home: Home) -> None:
    async with life(home.second_at("http://127.0.0.1:9")) as tandem:
        assert tandem.problem
        assert any("cannot be reached" in warning for warning in (await tandem.status()).warnings)
        # The former one is away too, for both are asked at that address: words alone are left.
        assert (await tandem.search("number7", 1)).degraded
        assert await found(tandem, 7) == "0007.txt"


async def test_another_prefix_is_another_index_and_the_one_that_was_goes_on_with_its_own(
    home: Home, ollama: FakeOllama
) -> None:
    prefixed = replace(home.first, embed_document_prefix="note: ")
    async with life(prefixed) as tandem:
        before = len(ollama.texts)
        assert (await tandem.search("number7 lantern")).degraded == ()
        assert [text.startswith("note: ") for text in ollama.texts[before:]] == [False]
        assert await tandem.grown() == FILES
        assert ollama.texts[-1].startswith("note: ")
    async with life(prefixed) as tandem:
        assert tandem.indexer.growth is None
        assert await tandem.grown() == 0


async def test_a_prefix_that_is_new_while_ollama_is_away_waits_for_it(home: Home) -> None:
    prefixed = replace(home.first, embed_document_prefix="note: ", ollama_host="http://127.0.0.1:9")
    async with life(prefixed) as tandem:
        found = await tandem.search("number7 lantern")
        assert (found.hits[0].path.endswith("0007.txt"), len(found.degraded)) == (True, 1)
        assert tandem.indexer.growth is not None
    async with life(home.first) as tandem:
        assert tandem.indexer.growth is None
        assert (await tandem.search("number7 lantern")).degraded == ()


async def test_a_folder_with_any_small_model_makes_an_index_of_its_own_dimensions(tmp_path: Path) -> None:
    model, notes = Model(tmp_path / "tiny-e5", "xlm-roberta"), tmp_path / "notes"
    notes.mkdir()
    for n in range(3):
        (notes / f"{n}.txt").write_text(f"The kiln in house {n} is fired on mondays and cools slowly in a yard.")
    settings = load(str(tmp_path / "data"), {"TANDEM_EMBED_MODEL": str(model.folder)}, tmp_path)
    async with life(settings) as tandem:
        assert (await tandem.index([str(notes)])).embedded_chunks == 3
        assert tandem.indexer.index.embedder.signature.startswith("onnx-int8:tiny-e5@")
        assert tandem.indexer.index.embedder.dimensions == HIDDEN
        found = await tandem.search("slowly fired kiln")
        assert (len(found.hits), found.degraded) == (3, ())
    async with life(replace(settings, embed_query_prefix="query ")) as tandem:
        assert (await tandem.search("slowly fired kiln")).degraded == ()
        assert await tandem.grown() == 3
