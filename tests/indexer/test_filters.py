"""Filters over paths: the same as the plain way, only sooner."""

import random
import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from pathspec import GitIgnoreSpec

from indexer.filters import KINDS, BadFilter, Filters, Reach, moment, passing
from indexer.parse import SUPPORTED

ROOTS = ("/home/ana/notes", "/home/ana/work", "/srv")
NOW = 1_790_000_000.0


def plainly(paths: Sequence[str], glob: str) -> list[str]:
    """As pathspec itself decides, for each of the names that a path has."""
    spec = GitIgnoreSpec.from_lines([glob.removeprefix("./")])

    def names(path: str) -> set[str]:
        root = max((root for root in ROOTS if path.startswith(f"{root}/")), key=len, default="")
        above = root[: root.rfind("/") + 1]
        return {path.removeprefix("/"), path.removeprefix(f"{root}/"), path.removeprefix(above).removeprefix("/")}

    return [path for path in paths if any(spec.match_file(name) for name in names(path))]


def chosen(paths: Sequence[str], filters: Filters, modified: Sequence[float] | None = None) -> list[str]:
    times = modified or [0.0] * len(paths)
    files = [(n, path, int(at * 1e9)) for n, (path, at) in enumerate(zip(paths, times, strict=True))]
    return [paths[n] for n in passing(files, ROOTS, filters, NOW)]


def test_any_glob_chooses_what_the_plain_way_chooses() -> None:
    chance = random.Random(11)
    parts = ("a", "b", "ab", "a.md", "b.md", "x y", "[a]", "a*", "été", "ana", "notes", "!b", "#a", "A", ".md", "a\nb")
    paths = [f"{chance.choice(ROOTS)}/{'/'.join(chance.choices(parts, k=chance.randint(1, 4)))}" for _ in range(300)]
    paths += [f"/srv/srv/{part}" for part in parts]
    pieces = (
        *parts,
        *"/*?ab.",
        "//",
        "**",
        "/**/",
        "**/",
        "*.md",
        "[ab]",
        "[!a]",
        "[a-b",
        "\\",
        "\\*",
        " ",
        "./",
        "]",
        "home",
    )
    agreed = 0
    for _ in range(3000):
        glob = "".join(chance.choices(pieces, k=chance.randint(1, 5)))
        try:
            expected = plainly(paths, glob)
        except ValueError:
            with pytest.raises(BadFilter, match=r"pattern as in \.gitignore"):
                chosen(paths, Filters(glob))
            continue
        assert chosen(paths, Filters(glob)) == expected, glob
        agreed += 0 < len(expected) < len(paths)
    assert agreed > 300


@pytest.mark.parametrize(
    "glob",
    ["*a" * 40 + "x", "a*" * 25 + "b", "*a?" * 20 + "x", "*[a]" * 30 + "x", "[!b]*" * 30 + "x", "*?" * 200 + "z"],
)
def test_a_pattern_of_many_stars_does_not_try_every_share_of_a_name_among_them(glob: str) -> None:
    fits, fits_not = f"/srv/{'a' * 200}{glob[-1]}", f"/srv/{'a' * 200}.y"
    began = time.process_time()
    assert chosen([fits, fits_not], Filters(glob)) == [fits]
    assert time.process_time() - began < 1


def test_a_pattern_that_leaves_folders_out_all_over_is_refused() -> None:
    with pytest.raises(BadFilter, match=r"have \*\* at most 5 times; got 'a/\*\*/a/"):
        chosen(["/srv/a"], Filters("a/" + "**/a/" * 6))
    assert chosen(["/srv/a/b/a"], Filters("a/" + "**/a/" * 5 + "x")) == []


def test_ten_thousand_paths_take_a_fraction_of_the_plain_ways_time() -> None:
    chance = random.Random(3)
    paths = [f"{chance.choice(ROOTS)}/{n % 97}/{n}.{chance.choice(('md', 'pdf', 'py'))}" for n in range(10_000)]
    files = [(n, path, 0) for n, path in enumerate(paths)]

    def took(choose: Callable[[], object]) -> float:
        choose()  # what it imports is not its time
        began = time.process_time()
        assert choose()
        return time.process_time() - began

    for glob in ("*.md", "13/", "/home/ana/work", "work/**/*.py"):
        ours = took(partial(passing, files, ROOTS, Filters(glob), NOW))
        assert ours < took(partial(plainly, paths, glob)) / 3, glob


def test_types_are_kinds_and_suffixes_in_any_case() -> None:
    paths = [
        f"/srv/{name}" for name in ("a.PDF", "b.md", "c.markdown", "d.py", "e.rs", "f", "g.foo", "h.docx", "i.htm")
    ]

    def of(*types: str) -> str:
        return "".join(path[5] for path in chosen(paths, Filters.asked(types=types)))

    assert of("pdf") == "a"
    assert (of("md"), of(".md"), of("markdown")) == ("b", "b", "bc")
    assert of("code") == "de"
    assert (of("html"), of(".html")) == ("i", "")
    assert of("other") == "fg"
    assert of("pdf", "word", "Code ") == "adeh"
    assert Filters.asked(types="md, PDF,md") == Filters(types=("md", "pdf"))


def test_every_suffix_that_has_a_parser_is_of_one_kind() -> None:
    paths = [f"/srv/a{suffix}" for suffix in sorted(SUPPORTED)]
    kinds = [chosen(paths, Filters(types=(kind,))) for kind in KINDS]
    assert sorted(path for kind in kinds for path in kind) == paths


def test_since_takes_dates_times_and_how_long_ago() -> None:
    assert moment("2026-01-31", NOW) == moment("2026-01-31T00:00Z", NOW) == 1_769_817_600
    assert moment("2026-01-31T08:30", NOW) == moment("2026-01-31T10:30+02:00", NOW)
    assert moment("7d", NOW) == moment(" 1 W", NOW) == moment("168h", NOW)
    assert moment("1y", NOW) == moment("365d", NOW)
    assert 0 <= NOW - 3600 - moment("1h", NOW) < 60
    days = [86_400 * day for day in (1, 6, 8, 400)]
    paths = [f"/srv/{ago}" for ago in days]
    assert chosen(paths, Filters(since="7d"), [NOW - ago for ago in days]) == paths[:2]


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        (Filters("[z-a]"), r"`in` was expected to be a pattern as in \.gitignore"),
        (Filters(types=("foo",)), r"`type` was expected to be text, .*, mail or other, or a suffix .* got 'foo'"),
        (Filters(types=("",)), "`type` was expected"),
        (Filters(since="yesterday"), "`since` was expected to be a date like .* got 'yesterday'"),
        (Filters(since="7m"), "12h, 7d, 2w or 1y; got '7m'"),
        (Filters(since="2026-02-30"), "`since` was expected"),
        (Filters(since=""), "`since` was expected"),
    ],
)
def test_a_filter_that_is_none_is_refused_in_words(filters: Filters, words: str) -> None:
    with pytest.raises(BadFilter, match=words):
        chosen(["/srv/a.md"], filters)


def test_filters_together_must_all_hold() -> None:
    paths = ["/srv/a/x.md", "/srv/a/y.py", "/srv/b/x.md", "/srv/a/old.md"]
    modified = [NOW, NOW, NOW, 0.0]
    assert chosen(paths, Filters("a/", ("md",), "1d"), modified) == ["/srv/a/x.md"]
    assert chosen(paths, Filters(), modified) == paths
    told = str(Filters("a/", ("md", "pdf"), "1d"))
    assert told == "lies within 'a/' and is of type md or pdf and was modified since 1d"


FILES = ["/srv/notes/a.md", "/srv/notes/b/c.md", "/srv/notesx/a.md", "/srv/home/notes/a.md", "/srv/[x]/a b.md", "/a.md"]


@pytest.mark.parametrize(
    ("reach", "seen"),
    [
        (Reach(), []),
        (Reach(("/srv/notes",)), [0, 1]),
        (Reach(("/srv/notes/", "/srv/notesx")), [0, 1, 2]),
        (Reach(("/",)), [0, 1, 2, 3, 4, 5]),
        (Reach(globs=("/srv/notes/*.md",)), [0]),
        (Reach(globs=("/srv/**/a.md",)), [0, 2, 3]),
        (Reach(globs=("/notes/**",)), []),
        (Reach(("/srv/[x]",)), [4]),
        (Reach(globs=(r"/srv/\[x\]/*.md",)), [4]),
        (Reach(globs=("!/srv/notes/**",)), None),
        (Reach(globs=("*.md",)), None),
    ],
)
def test_a_reach_is_from_the_root_of_the_file_system_on_whatever_the_indexs_folders_are(
    reach: Reach, seen: list[int] | None
) -> None:
    files = [(n, path, 0) for n, path in enumerate(FILES)]
    if seen is None:
        with pytest.raises(BadFilter, match="begins with /"):
            passing(files, ["/srv"], Filters(reach=reach), 0)
    else:
        assert passing(files, ["/srv", "/"], Filters(reach=reach), 0) == seen


def test_what_is_asked_for_can_only_narrow_a_reach() -> None:
    files = [(n, path, 0) for n, path in enumerate(FILES)]
    within = Reach(("/srv/notes",))
    for glob in ("*.md", "/srv/**", "a.md", "/**", "../**"):
        assert set(passing(files, ["/srv"], Filters(glob, reach=within), 0)) <= {0, 1}
    assert passing(files, ["/srv"], Filters("a.md", reach=within), 0) == [0]
    assert "you may see" in str(Filters(reach=within))
