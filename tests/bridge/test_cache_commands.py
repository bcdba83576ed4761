"""`tandem cache`, as it is typed: over a service that keeps two answers."""

import argparse
import json
from collections.abc import Sequence

import pytest

from bridge.cache_commands import look_after
from bridge.service import CacheEntry, CacheStats
from tests.bridge.fake_service import FakeService

EVIL = "\x1b[2J\x9b31m\u202ewhy?\nreused     forged"
ENTRIES = [
    CacheEntry("How long are snapshots kept?", "extractive", ("/notes/backup.md",), 1.7e9, 1.7e9 + 60, 3),
    CacheEntry(EVIL, "vllm Qwen", ("/notes/\x1b[1m.md", "/notes/b.md"), 1e18, 1e18, 0),
]


class Kept(FakeService):
    def __init__(self, entries: Sequence[CacheEntry] = ENTRIES) -> None:
        super().__init__()
        self.entries = list(entries)

    async def cache_entries(self) -> Sequence[CacheEntry]:
        return self.entries

    async def clear_cache(self) -> int:
        removed, self.entries = len(self.entries), []
        return removed

    async def cache_stats(self) -> CacheStats:
        return CacheStats(len(self.entries), 10_000, 2_500_000, 3, 3, 40, 7200, 0.92, f"away: {EVIL}")


async def said(capsys: pytest.CaptureFixture[str], service: Kept, *words: str) -> str:
    action, *more = [word for word in words if word != "--json"]
    assert not more
    await look_after(argparse.Namespace(action=action, json="--json" in words), service)
    out = capsys.readouterr().out
    # In JSON what turns letters round is data; a control code is spelt out.
    assert all(c.isprintable() or c in "\n\u202e" for c in out)
    assert "--json" in words or "\u202e" not in out
    return out


async def test_what_is_kept_is_listed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    head, first, second = (await said(capsys, Kept(), "ls")).splitlines()
    assert head.split() == ["ASKED", "LAST", "USED", "USES", "ENGINE", "QUESTION", "RESTS", "ON"]
    assert first.split() == [
        *("2023-11-14T22:13:20+00:00", "2023-11-14T22:14:20+00:00", "3", "extractive"),
        *("How", "long", "are", "snapshots", "kept?", "/notes/backup.md"),
    ]
    assert "reused     forged" not in second
    assert (await said(capsys, Kept([]), "ls")).strip() == "no answer is kept"


async def test_it_is_cleared_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    service = Kept()
    assert await said(capsys, service, "clear") == "2 answers removed\n"
    assert json.loads(await said(capsys, service, "clear", "--json")) == {"removed": 0}
    entries, questions, reused, problem = (await said(capsys, Kept(), "stats")).splitlines()
    assert entries == "entries    2 of at most 10000, 2.5 MB, used 3 times"
    assert questions == "questions  3 answered from it since the start, 40 not"
    assert reused == "reused     over a similarity of 0.92, for 2 hours"
    assert problem.startswith("problem    away: ")


async def test_as_json_it_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = map(json.loads, (await said(capsys, Kept(), "--json", "ls")).splitlines())
    assert (first["uses"], first["documents"], second["question"]) == (3, ["/notes/backup.md"], EVIL)
    assert json.loads(await said(capsys, Kept(), "stats", "--json"))["entries"] == 2
