"""What the index tells: hits, as of when they speak, and what a run over the folders did."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk (or several neighbours merged) with its score for a query.

    Lines count from 1 and are null where a format has none (PDF, HTML, DOCX); `page` is set for PDF only.
    `document` is what the file is known by to `GET /documents/`. `modified` is ISO 8601 in UTC; `sha256` is the file's,
    as it was when it was indexed. `dense_score` (cosine) and `lexical_score` (BM25) are the sides' own, null where the
    embedder was away, a name or a phrase alone led to the chunk, or it has none of the words.

    `relevance`: 0..1, above 0.5 where the passage looks like one that holds what was asked for; unlike `score` it can
    be compared between queries. `also_in`: other files with this passage, or a part of it, word for word. `marks`:
    where in `text` the query's words stand, as (start, end) in Unicode characters. `scores`: what `score` is made of,
    by name, where that was asked for. `span`: the characters of the document's parsed text that led to it.
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
    dense_score: float | None = None
    lexical_score: float | None = None
    relevance: float | None = None
    document: str = ""
    also_in: tuple[str, ...] = ()
    marks: tuple[tuple[int, int], ...] = ()
    scores: dict[str, float] | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """Where a search's time went: `stages`, in their order, and all of it, in milliseconds."""

    stages: dict[str, float]
    total: float


@dataclass(frozen=True, slots=True)
class Freshness:
    """As of when the index speaks (ISO 8601 in UTC, null before the first run) and how many files wait."""

    as_of: str | None
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, best first. `degraded` says in words what was missing, e.g. that only the lexical side searched.
    `explained`: where that was asked for."""

    hits: tuple[Hit, ...]
    freshness: Freshness
    degraded: tuple[str, ...] = ()
    explained: Explained | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What one run over the folders did. `moved` are counted neither as added nor as deleted; `pending` kept changing
    while they were read; wall seconds."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0
    embedded_chunks: int = 0
    pending: int = 0
    seconds: float = 0.0
