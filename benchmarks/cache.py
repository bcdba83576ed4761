"""The cache of answers: what it gives again, what it must not, what kills an entry, and how long a hit takes.

Pairs of questions (`cache_pairs`) go through the whole cache, embedder and store included, with the same evidence on
both sides: the one is kept, the other asked, each pair in a scope of its own. Every second pair was held out while
the guard was written. Edits, deletions and better files are real ones: written, synced, searched for.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np

from benchmarks.cache_pairs import pairs
from benchmarks.cache_pairs.pairs import Pair
from benchmarks.daemons import percentile
from bridge.cache import Cache, Missed, Recorded, Reused, Scope, open_cache
from bridge.cache_rows import Entry, Rows, evidence
from bridge.opening import models_folder
from bridge.service import Answer, Citation
from indexer.catalog import Catalog
from indexer.embed import Embedder, onnx
from indexer.embed.onnx import OnnxEmbedder
from indexer.embed.weights import tokenizer
from indexer.filters import Filters
from indexer.hits import Freshness, Hit
from indexer.pipeline import CHUNK_TOKENS, OVERLAP_TOKENS, Indexer
from indexer.records import COMPLETE
from indexer.sandbox import reading
from indexer.search import Index, Looked, look
from indexer.store.edge import open_edge

THRESHOLD = 0.92
FILES, EACH = 220, 70  # edits, deletions and forgettings
ENTRIES = 10_000
TIMED = 200
_THINGS = "ledger archive snapshot invoice parcel sample recipe permit contract map".split()
_PLACES = (
    "Alder Birch Cedar Dogwood Elm Fir Ginkgo Hazel Ivy Juniper Larch Maple Nutmeg Oak Pine Quince Rowan Spruce Teak "
    "Willow Yew Zelkova"
).split()
EVIDENCE = (Hit("/d/a.md", "file:///d/a.md", 1.0, "It is so.", 1, 1, sha256="a"),)


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        print(json.dumps(anyio.run(measure, Path(place))))


async def measure(home: Path) -> dict[str, object]:
    embedder = onnx.load("all-MiniLM-L6-v2", None, models_folder(), 2)
    same = await _asked(home / "same", embedder, pairs.same())
    different = await _asked(home / "different", embedder, pairs.different())
    return {
        "different": _told(different),
        "different_kinds_over": dict(Counter(pair.kind for pair, near, _ in different if near)),
        "paraphrases": _told(same),
        **await _killed(home / "killed", embedder),
    }


def _told(asked: Sequence[tuple[Pair, bool, bool]]) -> dict[str, object]:
    def part(rows: Sequence[tuple[Pair, bool, bool]]) -> dict[str, object]:
        over = sum(near for _, near, _ in rows)
        served = sum(hit for _, _, hit in rows)
        return {"pairs": len(rows), "over_threshold": over, "served": served, "share": round(served / max(1, over), 3)}

    return {
        **part(asked),
        "tuned": part([row for row in asked if not row[0].held_out]),
        "held_out": part([row for row in asked if row[0].held_out]),
    }


async def _asked(home: Path, embedder: OnnxEmbedder, all_pairs: Sequence[Pair]) -> list[tuple[Pair, bool, bool]]:
    """(pair, over the threshold, given again in one direction or the other)."""
    home.mkdir()
    found: list[tuple[Pair, bool, bool]] = []
    async with _cache(home, embedder, lambda paths: dict.fromkeys(paths, ("a", 0.0))) as cache:
        for n, pair in enumerate(all_pairs):
            one, other = await embedder.query(pair.first), await embedder.query(pair.second)
            hits: list[bool] = []
            for way, (kept, asked) in enumerate((((pair.first, one), (pair.second, other)),) * 2):
                if way:
                    kept, asked = asked, kept
                scope = _scope(embedder, f"{n} {way}")
                assert await cache.keep(*kept, EVIDENCE, scope, _answer(EVIDENCE), asked_at=time.time()) is None
                hits.append(isinstance(await cache.find(*asked, EVIDENCE, scope), Reused))
            # A paraphrase counts where it is served as it was asked; a false hit counts in either direction.
            found.append((pair, float(one @ other) >= THRESHOLD, hits[0] if pair.kind == "same" else any(hits)))
    return found


async def _killed(home: Path, embedder: OnnxEmbedder) -> dict[str, object]:
    documents = home / "documents"
    documents.mkdir(parents=True)
    facts = [(thing, place) for place in _PLACES for thing in _THINGS][:FILES]
    paths = [documents / f"{place}-{thing}.md".lower() for thing, place in facts]
    for n, ((thing, place), path) in enumerate(zip(facts, paths, strict=True)):
        _write(path, _text(thing, place, n + 2))
    catalog = Catalog(home / "catalog.sqlite3")
    catalog.add_roots([str(documents)])
    catalog.begin_generation(embedder.signature, embedder.dimensions, "embedded", "answers", COMPLETE)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_edge(home / "store", embedder.dimensions))
        reader = await stack.enter_async_context(reading(tokenizer(None), size=CHUNK_TOKENS, overlap=OVERLAP_TOKENS))
        index = Index(catalog, store, embedder)
        indexer = Indexer(index, reader.read)
        await indexer.sync()
        await anyio.sleep(11)  # what was recorded in the last ten seconds counts as new
        with_many = home / "many"
        with_many.mkdir()
        hit_ms = await _timed(with_many, index, facts)
        cache = await stack.enter_async_context(_cache(home, embedder, catalog.recorded))
        told = await _changes(cache, index, indexer, facts, paths)
    catalog.close()
    return {**told, **hit_ms}


async def _changes(
    cache: Cache, index: Index, indexer: Indexer, facts: Sequence[tuple[str, str]], paths: Sequence[Path]
) -> dict[str, object]:
    """Each file's entry is given again before the change and not after it, first by its passages alone (the purge held
    back), then it is purged, text and all."""
    counts: Counter[str] = Counter()
    changed: set[str] = set()

    async def note(some: Collection[str], listing: Collection[str]) -> None:
        changed.update(some)

    indexer.changed = note
    for n, ((thing, place), path) in enumerate(zip(facts, paths, strict=True)):
        question, again = _questions(thing, place)
        looked = await _kept(cache, index, question)
        assert looked.found.hits[0].path == str(path)
        counts["given_again_before"] += isinstance(await _ask(cache, index, question), Reused)
        counts["paraphrase_given_again_before"] += isinstance(await _ask(cache, index, again), Reused)
        kind = ("edited", "deleted", "forgotten")[n // EACH] if n < 3 * EACH else "better"
        if kind == "edited":
            _write(path, _text(thing, place, 400 + n))
        elif kind == "deleted":
            path.unlink()
        elif kind == "better":
            text = f"# New\n\nThe {place} {thing} is kept for {900 + n} days: how long the {place} {thing} is kept.\n"
            _write(path.with_name(f"new-{n}.md"), text)
        changed.clear()
        if kind == "forgotten":
            await indexer.forget(str(path))
        else:
            await indexer.sync()
        missed = all([isinstance(await _ask(cache, index, asked), Missed) for asked in (question, again)])
        counts[f"{kind}"] += 1
        counts[f"{kind}_not_given_again"] += missed
        if kind != "better":
            await cache.purge(changed)
            counts[f"{kind}_purged"] += question not in [entry.question for entry in await cache.entries()]
    dead = sum(counts[f"{kind}_not_given_again"] for kind in ("edited", "deleted", "forgotten"))
    return {"changes": dict(counts), "killed": f"{dead} of {3 * EACH}"}


async def _timed(home: Path, index: Index, facts: Sequence[tuple[str, str]]) -> dict[str, object]:
    """A hit among many entries: embedding, search, the look into the cache."""
    embedder = index.embedder
    scope = _scope(embedder, "many")
    rows = Rows(home / "cache.db")
    random = np.random.default_rng(0).normal(size=(ENTRIES - TIMED, embedder.dimensions)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    entry = Entry(0, embedder.signature, scope.key, "?", random[0], "extractive", b"{}", time.time(), ())
    on = (evidence(EVIDENCE[0], True),)
    for n, vector in enumerate(random):
        rows.put(replace(entry, id=n + 1, question=f"question {n}", vector=vector, evidence=on))
    rows.close()
    recorded = index.catalog.recorded
    async with _cache(home, embedder, lambda paths: {"/d/a.md": ("a", 0.0), **recorded(paths)}) as cache:
        asked = [_questions(*fact) for fact in facts[:TIMED]]
        for question, _ in asked:
            await _kept(cache, index, question, scope)
        entries = (await cache.stats()).entries
        whole: list[float] = []
        finding: list[float] = []
        for _, again in asked:
            began = time.perf_counter()
            looked = await look(index, again, 5)
            between = time.perf_counter()
            decision = await cache.find(again, looked.vector, looked.found.hits, scope)
            ended = time.perf_counter()
            if isinstance(decision, Reused):
                whole.append((ended - began) * 1000)
                finding.append((ended - between) * 1000)
    return {
        "entries": entries,
        "timed_hits": len(whole),
        "hit_p50_ms": round(percentile(whole, 50), 2),
        "hit_p99_ms": round(percentile(whole, 99), 2),
        "find_p50_ms": round(percentile(finding, 50), 2),
    }


def _cache(home: Path, embedder: Embedder, recorded: Recorded) -> AbstractAsyncContextManager[Cache]:
    return open_cache(
        home / "cache.db",
        lambda name, dimensions: open_edge(home / "cache" / name, dimensions),
        recorded,
        name="semantic_cache",
        dimensions=embedder.dimensions,
        signature=embedder.signature,
        ttl_s=86_400,
        most=ENTRIES,
        threshold=THRESHOLD,
    )


def _scope(embedder: Embedder, within: str | None = None) -> Scope:
    return Scope(Filters(within), "extractive", "p", embedder.signature, 5)


def _answer(hits: Sequence[Hit]) -> Answer:
    best = hits[0]
    cited = Citation(1, best.path, best.uri, best.text[:100], start_line=best.start_line, end_line=best.end_line)
    return Answer(f"{best.text[:100]} [1]", (cited,), Freshness(None), "extractive", grounded=True)


async def _kept(cache: Cache, index: Index, question: str, scope: Scope | None = None) -> Looked:
    looked = await look(index, question, 5)
    hits = looked.found.hits
    scope = scope or _scope(index.embedder)
    reason = await cache.keep(question, looked.vector, hits, scope, _answer(hits), asked_at=looked.began)
    assert reason is None, reason
    return looked


async def _ask(cache: Cache, index: Index, question: str) -> Reused | Missed:
    looked = await look(index, question, 5)
    return await cache.find(question, looked.vector, looked.found.hits, _scope(index.embedder))


def _questions(thing: str, place: str) -> tuple[str, str]:
    return f"How long is the {place} {thing} kept?", f"for how long is the {place} {thing} kept"


def _text(thing: str, place: str, days: int) -> str:
    return f"# {place}\n\nThe {place} {thing} is kept for {days} days. After that it goes to the {place} store.\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text)


if __name__ == "__main__":
    main()
