"""Hits as users see them, over both stores."""

import json
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from indexer.filters import BadFilter, Filters
from indexer.search import look, search
from tests.indexer.conftest import Library


async def test_both_sides_together_beat_either(library: Library) -> None:
    library.write("exact.txt", "Part number QX-4471 is the gasket of the pump.")
    library.write("other.txt", "The weather was fine and the harvest was good.")
    await library.sync()
    hit = (await library.find("which part is QX-4471")).hits[0]
    assert Path(hit.path).name == "exact.txt"
    assert hit.lexical_score is not None
    assert hit.dense_score is not None


async def test_neighbouring_chunks_become_one_hit_whose_text_is_the_files(library: Library) -> None:
    sentences = [
        f"The lantern of keeper number {n} hung in the barn by the western gate of the yard." for n in range(60)
    ]
    path = library.write("long.txt", " ".join(sentences))
    await library.sync()
    hits = (await library.find("lantern keeper barn", limit=3)).hits
    assert len(hits[0].text) > 1500
    assert hits[0].text in path.read_text()
    starts = [path.read_text().index(hit.text) for hit in hits]
    assert len(set(starts)) == len(hits)


async def test_a_glob_keeps_to_files_folders_and_absolute_paths(library: Library) -> None:
    for name in ("a.md", "b.txt", "papers/c.md", "papers/deep/d.txt"):
        library.write(name, "The lantern hangs in the barn.")
    await library.sync()

    async def within(glob: str) -> set[str]:
        return set(await library.names("lantern", within=glob))

    assert await within("*.md") == {"a.md", "c.md"}
    assert await within("papers/") == {"c.md", "d.txt"}
    assert await within("papers/*.md") == {"c.md"}
    assert await within("papers/**/*.txt") == {"d.txt"}
    assert await within(str(library.folder / "papers")) == {"c.md", "d.txt"}
    assert await within(str(library.folder / "b.txt")) == {"b.txt"}
    assert await within(f"{library.folder.name}/papers/*.md") == {"c.md"}
    found = await library.find("lantern", within="*.pdf")
    assert found.hits == ()
    assert "no document lies within '*.pdf'" in found.degraded


async def test_filters_of_type_and_time_keep_to_the_files_that_are_there_now(library: Library) -> None:
    library.write("new.md", "The lantern hangs in the barn.", old=False)
    library.write("old.md", "The lantern hangs in the barn.")
    library.write("old.txt", "The lantern hangs in the barn.")
    await library.sync()
    half_an_hour = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()

    async def names(filters: Filters) -> set[str]:
        hits = (await search(library.index, "lantern", 5, filters=filters)).hits
        return {Path(path).name for hit in hits for path in (hit.path, *hit.also_in)}

    markdown = Filters(types=("md",))
    assert await names(markdown) == {"new.md", "old.md"}
    assert await names(Filters(since=half_an_hour)) == {"new.md"}
    assert await names(Filters(types=("text",), since="1d")) == {"old.txt"}
    library.write("later.md", "The lantern hangs in the barn.")
    (library.folder / "old.md").unlink()
    await library.sync()
    assert await names(markdown) == {"new.md", "later.md"}
    nothing = await search(library.index, "lantern", 5, filters=Filters("*.txt", ("pdf",), "7d"))
    assert nothing.degraded == ("no document lies within '*.txt' and is of type pdf and was modified since 7d",)


async def test_an_empty_index_finds_nothing(library: Library) -> None:
    found = await library.find("lantern")
    assert (found.hits, found.freshness.as_of) == ((), None)


async def test_freshness_says_as_of_when(library: Library) -> None:
    library.write("a.txt", "lantern")
    await library.sync()
    assert (await library.find("lantern")).freshness.as_of is not None


async def test_the_same_query_gives_the_same_hits(library: Library) -> None:
    for n in range(30):
        library.write(f"{n}.txt", "The lantern hangs in the barn.")
    await library.sync()
    first = await library.names("lantern barn")
    assert all([await library.names("lantern barn") == first for _ in range(5)])


async def test_naughty_queries_find_or_do_not_find_but_never_fail(library: Library) -> None:
    library.write("a.txt", "The lantern hangs in the barn. 灯笼挂在谷仓里。")
    await library.sync()
    for query in ("\0", "'; DROP TABLE chunks;--", "🏮" * 500, "\u202e\u200b", "%s%n", "a" * 9000, "-", "{}", "灯笼"):
        found = await library.find(query)
        assert json.dumps([hit.text for hit in found.hits])
    assert (await library.find("谷仓")).hits[0].lexical_score is not None


async def test_the_only_file_with_a_rare_word_comes_first(library: Library) -> None:
    for n in range(30):
        library.write(f"{n}.txt", f"Note {n}: the order of the spare parts came in with the morning post.")
    library.write("odd.txt", "Where the workshop keeps its keys and tins, and what to do about ZX81B.")
    await library.sync()
    assert (await library.names("ZX81B"))[0] == "odd.txt"


async def test_a_neighbour_that_says_nothing_of_the_query_stays_out_of_the_hit(library: Library) -> None:
    paragraphs = [" ".join(f"Matter {n}-{i} concerns the ledger of the parish." for i in range(20)) for n in range(9)]
    paragraphs[4] = " ".join(f"The lantern number {i} hangs in the barn." for i in range(25))
    path = library.write("long.txt", "\n\n".join(paragraphs))
    await library.sync()
    hit = (await library.find("lantern in the barn", limit=1)).hits[0]
    assert "lantern" in hit.text
    assert len(hit.text) < len(path.read_text()) / 3


async def test_a_glob_that_is_none_is_refused_in_words(library: Library) -> None:
    library.write("a.txt", "lantern")
    await library.sync()
    for glob in ("!", "a\\", "[z-a]"):
        with pytest.raises(BadFilter, match=r"pattern as in \.gitignore"):
            await library.find("lantern", within=glob)


async def test_a_word_is_found_however_its_accents_are_stored(library: Library) -> None:
    library.write("a.txt", unicodedata.normalize("NFD", "Das Café am Tor öffnet um neun."))
    await library.sync()
    assert (await library.find(unicodedata.normalize("NFC", "Café"))).hits[0].lexical_score is not None


async def test_a_quoted_phrase_is_served_to_the_letter(library: Library) -> None:
    for n in range(150):
        library.write(f"near{n:03}.txt", f"The yard always, always the yard; number {n} is always the yard, always.")
    library.write(
        "exact.txt", "Long after midnight the lantern hangs in\nthe yard as it always did, whoever came to see."
    )
    await library.sync()
    assert "exact.txt" not in await library.names("the yard as it always did")
    hits = (await library.find('who sees "in the yard as it always did"')).hits
    assert Path(hits[0].path).name == "exact.txt"
    assert hits[0].score > 1 > hits[1].score


async def test_an_identifier_is_served_to_the_letter(library: Library) -> None:
    library.write("parts.txt", "QX 4471, QX and 4471, 4471 and QX: the gasket, the QX gasket, the 4471 gasket.")
    library.write(
        "whole.txt", "All of last year nobody asked the store for a single one, but today they want a QX-4471."
    )
    await library.sync()
    whole, parts = (await library.find("QX-4471")).hits
    assert [Path(hit.path).name for hit in (whole, parts)] == ["whole.txt", "parts.txt"]
    assert whole.score > 1 > parts.score
    assert (await library.names("gasket QX 4471"))[0] == "parts.txt"


async def test_a_file_is_found_by_its_name(library: Library) -> None:
    library.write("bridge/answer.py", "print('nothing of the kind')\n")
    library.write("bridge/my_answer.py", "print('answer, answer: py')\n")
    library.write("notes.md", "What the bridge does: an answer by answer.py and its answer to answer.py.")
    await library.sync()
    assert (await library.names("bridge/answer.py"))[0] == "answer.py"
    assert (await library.names("what does Answer.py print"))[0] == "answer.py"
    assert (await library.names("answer.py", within="*.md")) == ["notes.md"]


async def test_a_word_of_the_path_finds_the_file(library: Library) -> None:
    for year in (2018, 2019, 2020):
        library.write(f"3M_{year}_10K.txt", f"Capital expenditure was {year * 7} in millions of dollars.")
    await library.sync()
    assert (await library.names("capital expenditure of 3M in 2019"))[0] == "3M_2019_10K.txt"


async def test_copies_fold_into_one_hit_and_leave_room_for_the_others(library: Library) -> None:
    for n in range(140):
        library.write(f"copies/{n}.txt", "The lantern hangs in the barn by the western gate.")
    for n in range(6):
        library.write(f"{n}.txt", f"Lantern {n} is for the barn of keeper {n * 7}.")
    await library.sync()
    hits = (await library.find("lantern barn gate", limit=5)).hits
    assert len(hits) == 5
    assert [len(hit.also_in) for hit in hits] == [139, 0, 0, 0, 0]
    assert {Path(path).parent.name for path in hits[0].also_in} == {"copies"}
    judged = (await search(library.index, "lantern barn gate", 5, merge=False)).hits
    assert [hit.also_in for hit in judged] == [()] * 5


async def test_an_explained_search_says_what_each_score_is_made_of_and_where_the_time_went(library: Library) -> None:
    library.write("a.txt", "The lantern hangs in the barn.")
    await library.sync()
    found = (await look(library.index, "lantern", 5, filters=Filters("*.txt"), explain=True)).found
    assert found.explained is not None
    stages = found.explained.stages
    assert {"filter", "embed", "store", "fuse", "merge"} <= stages.keys()
    assert all(took >= 0 for took in stages.values())
    assert sum(stages.values()) == pytest.approx(found.explained.total, abs=0.01)
    assert found.hits[0].scores
    plain = await library.find("lantern")
    assert (plain.explained, plain.hits[0].scores) == (None, None)


async def test_the_words_of_the_query_are_marked_where_they_stand(library: Library) -> None:
    text = "Lanterns hang in the Barn; the lantern's oil is in getLanternOil. 灯笼挂在谷仓里。"
    library.write("a.txt", text)
    await library.sync()
    (hit,) = (await look(library.index, "lantern oil 谷仓", 5, mark=True)).found.hits
    assert [hit.text[start:end] for start, end in hit.marks] == ["Lanterns", "lantern", "oil", "LanternOil", "谷仓"]


async def test_a_month_finds_what_its_date_names(library: Library) -> None:
    for month in ("03", "11"):
        library.write(f"2023-{month}-21.log", "The recovery exercise went wrong, and the lantern was out.")
    await library.sync()
    assert (await library.names("Why did the November exercise go wrong?"))[0] == "2023-11-21.log"
    assert (await library.names("Why did the March exercise go wrong?"))[0] == "2023-03-21.log"
