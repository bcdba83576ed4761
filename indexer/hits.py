"""What a search gives: hits, and as of when they speak."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk (or several neighbours merged) with its score for a query.

    Lines count from 1 and are null where a format has none (PDF, HTML, DOCX); `page` is set for PDF only.
    `modified` is ISO 8601 in UTC; `sha256` is the file's, as it was when it was indexed.
    """

    path: str
    uri: str
    score: float
    text: str
    start_line: int | None = None
    end_line: int | None = None
    page: int | None = None
    heading: str | None = None
    sha256: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Freshness:
    """As of when the index speaks (ISO 8601 in UTC, null before the first run) and how many files wait."""

    as_of: str | None
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, best first. `degraded` says in words what was missing, e.g. that only the lexical side searched."""

    hits: tuple[Hit, ...]
    freshness: Freshness
    degraded: tuple[str, ...] = ()
