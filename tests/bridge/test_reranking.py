"""What the settings ask for reranks every search; what cannot be opened keeps nobody from searching."""

from dataclasses import replace
from pathlib import Path

import pytest

from bridge.settings import Settings, WrongSetting, load
from bridge.tandem import opened
from observability.traces import Off
from tests.bridge.doctored import one
from tests.fake_reranker import fake_reranker
from tests.indexer.models import Model


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "much.txt").write_text("The kiln. " * 30)
    (notes / "more.txt").write_text("A note of the yard, where a kiln is fired on mondays and cools slowly.")
    return load(str(tmp_path / "data"), {}, tmp_path)


async def first(settings: Settings, query: str = "kiln fired mondays slowly") -> tuple[str, tuple[str, ...]]:
    async with opened(settings, Off()) as tandem:
        await tandem.index([str(settings.data.parent / "notes")])
        found = await tandem.search(query)
    return Path(found.hits[0].path).name, found.degraded


async def test_an_endpoint_reranks_each_search_and_without_it_nobody_does(settings: Settings) -> None:
    async with fake_reranker() as server:
        reranked = replace(settings, rerank="endpoint", rerank_url=server.url)
        assert await first(reranked) == ("more.txt", ())
        assert len(server.asked) == 1
        await first(replace(reranked, rerank="off"))
        assert len(server.asked) == 1


async def test_a_model_in_a_folder_reranks_here(settings: Settings, tmp_path: Path) -> None:
    model = Model(tmp_path / "cross", "bert", "bert.", head=True)
    _, degraded = await first(replace(settings, rerank="onnx", rerank_model=str(model.folder), rerank_limit_s=30))
    assert degraded == ()


async def test_a_folder_without_a_model_is_said_by_each_search_and_stops_none(
    settings: Settings, tmp_path: Path
) -> None:
    name, (told,) = await first(replace(settings, rerank="onnx", rerank_model=str(tmp_path / "nothing")))
    assert name in ("much.txt", "more.txt")
    assert told.startswith(f"not reranked: {tmp_path}/nothing was expected to hold a cross-encoder")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"TANDEM_RERANK": "onnx"}, "TANDEM_RERANK=onnx needs TANDEM_RERANK_MODEL"),
        ({"TANDEM_RERANK": "endpoint"}, "TANDEM_RERANK=endpoint needs TANDEM_RERANK_URL"),
        ({"TANDEM_RERANK": "on"}, "one of off, onnx, endpoint"),
    ],
)
def test_a_setting_that_is_missing_is_told(tmp_path: Path, environment: dict[str, str], told: str) -> None:
    with pytest.raises(WrongSetting, match=told):
        load(str(tmp_path), environment, tmp_path)


async def test_the_doctor_asks_what_reranks(settings: Settings, tmp_path: Path) -> None:
    model = Model(tmp_path / "cross", "bert", "bert.", head=True)
    here = replace(settings, rerank="onnx", rerank_model=str(model.folder))
    assert (await one(settings, "reranker")).state == "off"
    assert (await one(here, "reranker")).state == "ok"
    (model.folder / "model.safetensors").unlink()
    assert "was expected to hold a cross-encoder" in (await one(here, "reranker")).found
    async with fake_reranker() as server:
        there = replace(settings, rerank="endpoint", rerank_url=server.url)
        assert (await one(there, "reranker")).state == "ok"
        server.status = 401
        check = await one(there, "reranker")
        assert (check.state, "refused the key" in check.found) == ("failed", True)


async def test_an_address_that_cannot_be_one_is_told_at_the_start(settings: Settings) -> None:
    with pytest.raises(WrongSetting, match="TANDEM_RERANK_URL was expected to be http://host:port"):
        await first(replace(settings, rerank="endpoint", rerank_url="box:8000"))
