"""A kept answer over HTTP and in the shell: given again while its evidence stands, gone with it."""

import json
from functools import partial

import pytest

from tests.processes import Daemon, Place, place, until

pytestmark = pytest.mark.slow

ASKED = "How long does the kiln cool?"
AGAIN = "How long does the kiln cool, please?"
KILN = "# The kiln\n\nThe kiln cools for twelve hours.\n"


async def test_an_answer_is_given_again_until_its_passage_is_edited_or_gone() -> None:
    with place() as here:
        here.write("docs/kiln.md", KILN)
        here.write("docs/loom.md", "# The loom\n\nThe loom has eight shafts.\n")
        async with here.daemon(here.docs) as daemon:
            await daemon.in_step(2)
            first = await daemon.answer(ASKED)
            assert (first["cache_hit"], first["answer"]) == (False, "The kiln cools for twelve hours. [1]")
            await until(partial(_listed, here))
            again = await daemon.answer(AGAIN)
            assert again["cache_hit"] is True
            assert (again["answer"], again["citations"]) == (first["answer"], first["citations"])
            assert again["request"] != first["request"]
            (kept,) = await _listed(here)
            assert (kept["question"], kept["uses"], kept["documents"]) == (ASKED, 1, [str(here.docs / "kiln.md")])

            here.write("docs/kiln.md", KILN.replace("twelve", "thirty"))

            async def anew() -> bool:
                return "thirty" in (await daemon.answer(ASKED))["answer"]

            await until(anew)
            (here.docs / "kiln.md").unlink()

            async def purged() -> bool:
                return not await _listed(here)

            await until(purged)
            assert "kiln" not in (await daemon.answer(ASKED))["answer"]


async def test_the_cache_is_emptied_by_name_and_switched_off_by_a_setting() -> None:
    with place() as here:
        here.write("docs/kiln.md", KILN)
        async with here.daemon(here.docs) as daemon:
            await daemon.in_step(1)
            await daemon.answer(ASKED)
            await until(partial(_listed, here))
            cleared = await here.tandem("cache", "clear", "--json")
            assert json.loads(cleared.out) == {"removed": 1}
            assert (await daemon.answer(ASKED))["cache_hit"] is False
        async with here.daemon(here.docs, settings={"TANDEM_CACHE_MAX": "0"}) as daemon:
            assert [await _is_reused(daemon) for _ in range(2)] == [False, False]


async def test_another_scope_or_engine_is_another_question(redis_url: str) -> None:
    wired = {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": "reused", "TANDEM_NO_WORKER": "refuse"}
    with place() as here:
        here.write("docs/kiln.md", KILN)
        async with here.daemon(here.docs) as daemon:
            await daemon.in_step(1)
            await _is_reused_in_time(daemon)
            await _is_reused_in_time(daemon, within="*.md")
        async with (
            here.program("worker", "--engine", "extractive", settings=wired) as worker,
            here.daemon(here.docs, settings=wired) as daemon,
        ):
            await worker.says("takes jobs")

            async def manned() -> bool:
                return (await daemon.status())["workers"] == 1

            await until(manned)
            await _is_reused_in_time(daemon)


async def _is_reused(daemon: Daemon, within: str | None = None) -> bool:
    response = await daemon.http.post("/build-context", json={"text": ASKED, "in": within})
    *_, final, _ = response.text.removesuffix("\n\n").split("\n\n")
    return json.loads(final.partition("data: ")[2])["cache_hit"]


async def _is_reused_in_time(daemon: Daemon, within: str | None = None) -> None:
    """Not at first. An answer is kept after its end was told: who asks at once may be too early."""
    assert not await _is_reused(daemon, within)
    await until(partial(_is_reused, daemon, within))


async def _listed(here: Place) -> list[dict[str, object]]:
    return (await here.tandem("cache", "ls", "--json")).lines
