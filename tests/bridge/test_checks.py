"""What cannot be meant is refused at once, with what was expected: by each call that takes words."""

from pathlib import Path

import pytest

from bridge.checks import SESSION_CHARS
from bridge.service import MAX_QUERY_CHARS, BadInput
from bridge.settings import load
from bridge.tandem import opened
from indexer.filters import Filters
from observability.traces import Off

WORDS = {" \n": "is empty", "w" * (MAX_QUERY_CHARS + 1): f"at most {MAX_QUERY_CHARS:,}", "\ud800": "surrogate pair"}
GLOBS = {" ": "is empty or too long", "g" * (MAX_QUERY_CHARS + 1): "is empty or too long", "\ud800": "surrogate pair"}


async def test_words_and_globs_that_cannot_be_meant_are_refused_by_search_ask_and_ls(tmp_path: Path) -> None:
    async with opened(load(str(tmp_path), {}, tmp_path), Off()) as tandem:
        for words, why in WORDS.items():
            with pytest.raises(BadInput, match=why):
                await tandem.search(words)
            with pytest.raises(BadInput, match=why):
                await tandem.begin(words)
        for glob, why in GLOBS.items():
            with pytest.raises(BadInput, match=why):
                await tandem.search("lantern", filters=Filters(glob))
            with pytest.raises(BadInput, match=why):
                await tandem.begin("lantern", Filters(glob))
            with pytest.raises(BadInput, match=why):
                await tandem.documents(glob)
        assert not tandem.questions.are_open


async def test_a_sessions_id_is_short_and_printable(tmp_path: Path) -> None:
    async with opened(load(str(tmp_path), {}, tmp_path), Off()) as tandem:
        for session in ("", "a\nb", "s" * (SESSION_CHARS + 1)):
            with pytest.raises(BadInput, match=f"1 to {SESSION_CHARS} printable"):
                await tandem.begin("lantern", session=session)
        request = await tandem.begin("lantern", session="s" * SESSION_CHARS)
        assert await tandem.cancel(request)
