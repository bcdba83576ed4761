"""Which documents a search looks at (pure): those within a glob, of some types, modified since a moment; and which
of them who asks may see at all."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from indexer.parse import SUFFIXES, SUPPORTED
from indexer.stars import straight

_KINDS = {
    "text": ("text", "rst"),
    "markdown": ("markdown",),
    "code": ("code",),
    "html": ("html",),
    "pdf": ("pdf",),
    "word": ("docx", "rtf"),
    "slides": ("pptx",),
    "table": ("xlsx", "delimited"),
    "json": ("jsontext",),
    "notebook": ("notebook",),
    "book": ("epub",),
    "mail": ("eml",),
}
_OTHER = "other"  # files whose suffix says nothing, or that have none
KINDS = (*_KINDS, _OTHER)
_AGO = re.compile(r"([0-9]{1,5})\s*([hdwy])", re.IGNORECASE)
_UNIT_S = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_MINUTE_S = 60
_SHOWN = 80  # characters of what came
_ANY_FOLDERS, _MOST_ANY_FOLDERS = "(?:/.+)?", 5
_WILD = re.compile(r"[*?\\\s!]+")

File = tuple[int, str, int]
"""(id, path, when it was modified in nanoseconds since the epoch)."""


class BadFilter(Exception):
    """A filter is none; the message says which, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The files that somebody may see: those beneath one of the `folders` (absolute paths) and those that one of the
    `globs` fits (patterns as in .gitignore, from the root of the file system on: they begin with /). Of nothing
    nothing."""

    folders: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filters:
    """As they were asked for; what is empty or null filters nothing, and what is there must all hold.

    `within`: a pattern as in .gitignore. `types`: kinds (`KINDS`) and suffixes, any of them. `since`: a date or time
    (ISO 8601, UTC unless it says otherwise), or how long ago, as 12h, 7d, 2w, 1y. `reach`: set for who asks, never by.
    """

    within: str | None = None
    types: tuple[str, ...] = ()
    since: str | None = None
    reach: Reach | None = None

    @classmethod
    def asked(
        cls, within: str | None = None, types: str | Sequence[str] | None = None, since: str | None = None
    ) -> "Filters":
        """`types` as people write them: several with commas between, in any order and case."""
        words = types.split(",") if isinstance(types, str) else types or ()
        return cls(within, tuple(sorted({word.strip().lower() for word in words})), since)

    def __str__(self) -> str:
        """What of a document they ask for, in words."""
        told = [f"lies within {self.within!r}"] if self.within is not None else []
        told += [f"is of type {' or '.join(self.types)}"] if self.types else []
        told += [f"was modified since {self.since}"] if self.since is not None else []
        told += ["lies in what you may see"] if self.reach is not None else []
        return " and ".join(told)


EVERYTHING = Filters()


def passing(files: Iterable[File], roots: Iterable[str], filters: Filters, now: float) -> list[int]:
    """The files that pass, by id. `now` in seconds since the epoch. Raises BadFilter."""
    if filters.reach is not None:
        may_see = seen_by(filters.reach)
        files = (file for file in files if may_see(file[1]))
    if filters.since is not None:
        since = moment(filters.since, now) * 10**9
        files = (file for file in files if file[2] >= since)
    if filters.types:
        of_type = _of_types(filters.types)
        files = (file for file in files if of_type(file[1].lower()))
    if filters.within is not None:
        lies_within = _within(filters.within, roots)
        files = (file for file in files if lies_within(file[1]))
    return [id_ for id_, _, _ in files]


def seen_by(reach: Reach) -> Callable[[str], bool]:
    """Of an absolute path: whether it is within reach. Raises BadFilter where a glob is none."""
    folders = tuple(folder.rstrip("/") + "/" for folder in reach.folders)
    fitting = [_from_the_top(glob) for glob in reach.globs]
    return lambda path: path.startswith(folders) or any(fits(path) for fits in fitting)


def _from_the_top(glob: str) -> Callable[[str], bool]:
    if not glob.startswith("/"):
        raise BadFilter(f"expected a pattern that begins with /, e.g. /srv/notes/**/*.md; got {glob[:_SHOWN]!r}")
    fits = _pattern(glob)
    return lambda path: fits(path[1:]) is not None


def moment(since: str, now: float) -> int:
    """In seconds since the epoch; "7d" counts from the last full minute. Raises BadFilter."""
    if ago := _AGO.fullmatch(since.strip()):
        return int(now) // _MINUTE_S * _MINUTE_S - int(ago[1]) * _UNIT_S[ago[2].lower()]
    try:
        at = datetime.fromisoformat(since.strip())
    except ValueError as error:
        raise BadFilter(
            "`since` was expected to be a date like 2026-01-31, a time like 2026-01-31T08:30 (UTC unless it says "
            f"otherwise), or how long ago: 12h, 7d, 2w or 1y; got {since[:_SHOWN]!r}"
        ) from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def _of_types(types: Sequence[str]) -> Callable[[str], bool]:
    """Of a path in lower case."""
    suffixes = tuple({suffix for type_ in types if type_ != _OTHER for suffix in _suffixes(type_)})
    if _OTHER not in types:
        return lambda path: path.endswith(suffixes)
    known = tuple(SUPPORTED.difference(suffixes))
    return lambda path: not path.endswith(known)


def _suffixes(type_: str) -> Iterable[str]:
    if type_ in _KINDS:
        return [suffix for format_ in _KINDS[type_] for suffix in SUFFIXES[format_]]
    suffix = f".{type_.removeprefix('.')}"
    if suffix not in SUPPORTED:
        raise BadFilter(
            f"`type` was expected to be {', '.join(KINDS[:-1])} or {KINDS[-1]}, or a suffix that Tandem knows, like "
            f"md or docx; got {type_[:_SHOWN]!r}. For any other suffix there is `in`: '*.log.1'"
        )
    return [suffix]


def _within(glob: str, roots: Iterable[str]) -> Callable[[str], bool]:
    """Of a path: absolute, or relative to its root or to the folder that the root lies in. Raises BadFilter."""
    fits, literal = _pattern(glob.removeprefix("./")), _literal(glob)
    if "/" not in glob.strip().rstrip("/"):  # fits at any depth: what the shorter paths have, the absolute one has too
        return lambda path: literal in path and fits(path[1:]) is not None
    return partial(_fits, fits, literal, sorted((root.rstrip("/") for root in roots), key=len, reverse=True))


def _pattern(glob: str) -> Callable[[str], object | None]:
    """Of a path without the / that it begins with: None where the pattern does not fit. Raises BadFilter."""
    from pathspec import GitIgnoreSpec  # commands that filter nothing start without it

    try:
        pattern = next(iter(GitIgnoreSpec.from_lines([glob]).patterns), None)
    except (ValueError, re.error) as error:
        raise BadFilter(
            f"`in` was expected to be a pattern as in .gitignore, e.g. '*.md' or docs/; got {glob!r}"
        ) from error
    if not (pattern and pattern.include and pattern.regex):  # pyright: ignore[reportUnknownMemberType]
        return lambda path: None
    regex = str(pattern.regex.pattern)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    if regex.count(_ANY_FOLDERS) > _MOST_ANY_FOLDERS:
        raise BadFilter(f"`in` was expected to have ** at most {_MOST_ANY_FOLDERS} times; got {glob[:_SHOWN]!r}")
    return re.compile(straight(regex)).search  # a spec takes ten times as long as its only pattern


def _fits(fits: Callable[[str], object], literal: str, roots: Sequence[str], path: str) -> bool:
    if literal not in path:
        return False
    root = next((root for root in roots if path.startswith(root + "/")), "")
    starts = {0, len(root), root.rfind("/")} - {-1}
    return any(fits(path[start + 1 :]) for start in starts)


def _literal(glob: str) -> str:
    """Characters that stand in every path that fits."""
    return max(_WILD.split(glob.removeprefix("./").partition("[")[0]), key=len)
