"""Who asks for something to the letter gets that first: a quoted phrase, an identifier, a file by its name."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from indexer import bm25, lexical, literal
from indexer.catalog import Catalog
from indexer.presenting import Ranked
from indexer.records import Candidate
from indexer.store import Store

_DEPTH = 500  # chunks with the words of a phrase that are looked at for the phrase itself
_FILES = 20  # files of one name
_BEGINNING = 3  # chunks of a file that is named


async def to_the_letter(
    catalog: Catalog, store: Store, query: str, documents: Collection[int] | None, ranked: Sequence[Ranked]
) -> list[Ranked]:
    """`ranked` with those first that hold what the query asks for to the letter, or stand in the file that it names;
    such as were not found are added. `documents`: no others are."""
    wanted, names = literal.phrases(query), literal.names(query)
    if not wanted and not names:
        return list(ranked)
    known = {one.candidate.chunk.id: one for one in ranked}
    held = await _held(catalog, store, wanted, documents) if wanted and " " in query.strip() else {}
    named = _named(catalog, names, documents)
    files = {one.document for one in named.values()}
    exact = [
        one
        for one in (*ranked, *(_found(one) for id_, one in (held | named).items() if id_ not in known))
        if one.candidate.document in files or (wanted and literal.holds(one.candidate.chunk.text, wanted))
    ]
    first = {one.candidate.chunk.id for one in exact}
    return [
        *(replace(one, score=1 + one.score, parts={**one.parts, "exact": 1.0}) for one in exact),
        *(one for one in ranked if one.candidate.chunk.id not in first),
    ]


async def _held(
    catalog: Catalog, store: Store, phrases: tuple[str, ...], documents: Collection[int] | None
) -> dict[int, Candidate]:
    """Best first."""
    words = bm25.query_vector(lexical.asked(" ".join(phrases), catalog.languages()))
    only = None if documents is None else list(documents)
    best = [id_ for id_, _ in (await store.search(None, words, _DEPTH, only)).lexical]
    found = catalog.candidates(best)
    return {id_: found[id_] for id_ in best if id_ in found and literal.holds(found[id_].chunk.text, phrases)}


def _named(catalog: Catalog, names: Sequence[str], documents: Collection[int] | None) -> dict[int, Candidate]:
    """The beginnings of the files that are named, where they are few."""
    ids = dict.fromkeys(id_ for name in names for id_, path in catalog.ending(name) if literal.is_named(path, name))
    among = None if documents is None or not ids else frozenset(documents)
    within = [id_ for id_ in ids if among is None or id_ in among]
    if len(within) > _FILES:
        return {}
    beginnings = (catalog.neighbours(id_, 0, _BEGINNING - 1) for id_ in within)
    return {one.chunk.id: one for beginning in beginnings for one in beginning}


def _found(candidate: Candidate) -> Ranked:
    return Ranked(0.0, None, None, candidate, 0.0, {})
