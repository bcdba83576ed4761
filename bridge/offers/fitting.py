"""Hits become a result that fits a budget (pure): the first whole, later ones shortened, and what is left out said.

The words and the data each fit by themselves, for a host may show a model either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from bridge.citing import found_text, hit_text
from bridge.excerpt import forward, shown_tokens, tokens
from bridge.offers.links import linked
from bridge.uris import passage_uri
from indexer.hits import Found, Freshness, Hit

_LEAST = 32  # tokens of a passage that say what it is about


@dataclass(frozen=True, slots=True)
class Passage:
    """`shortened`: where `text` ends early, the URI at which `read` gives all of it."""

    path: str
    uri: str
    score: float
    text: str
    start_line: int | None
    end_line: int | None
    page: int | None
    heading: str | None
    sha256: str
    modified: str
    shortened: str | None
    also_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passages:
    """`left_out`: how many more hits there were than fit."""

    hits: tuple[Passage, ...]
    freshness: Freshness
    degraded: tuple[str, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Fitted:
    """`shortened`: the URIs of those hits, by their number from 1."""

    found: Found
    shortened: dict[int, str]
    left_out: int
    data: Passages


def fitted(found: Found, max_tokens: int) -> Fitted:
    room = max_tokens - _around(found)
    heads = [_head(n, hit) for n, hit in enumerate(found.hits, start=1)]
    wanted = [shown_tokens(hit.text) for hit in found.hits]
    count = _kept([head + min(want, _LEAST) for head, want in zip(heads, wanted, strict=True)], room)
    spare = room - sum(heads[:count]) - sum(min(want, _LEAST) for want in wanted[:count])
    hits: list[Hit] = []
    shortened: dict[int, str] = {}
    for hit, want in zip(found.hits[:count], wanted, strict=False):
        more = max(0, min(want - _LEAST, spare))
        spare -= more
        text = forward(hit.text, _LEAST + more) if want > _LEAST + more else hit.text
        if len(text) < len(hit.text):
            shortened[len(hits) + 1] = passage_uri(hit)
        hits.append(replace(hit, text=text))
    kept, left_out = replace(found, hits=tuple(hits)), len(found.hits) - count
    return Fitted(kept, shortened, left_out, _data(kept, shortened, left_out))


def _kept(least: Sequence[int], room: int) -> int:
    """How many of the hits fit at their shortest; the first one is always there."""
    for count, cost in enumerate(least):
        room -= cost
        if room < 0:
            return max(count, 1)
    return len(least)


def _around(found: Found) -> int:
    """What is told once, with room for how many are left out."""
    bare = replace(found, hits=())
    said = tokens(found_text(replace(found, hits=found.hits[:1]), {}, 999)) if found.hits else 0
    said -= tokens(hit_text(1, found.hits[0])) if found.hits else 0
    return max(said + 1, tokens(msgspec.json.encode(_data(bare, {}, 999)).decode()))


def _head(n: int, hit: Hit) -> int:
    """What a hit costs beside its text: its place, its link, and the word that it is shortened."""
    bare = replace(hit, text="")
    said = hit_text(n, bare, passage_uri(hit))
    link = linked([hit])[0].model_dump_json(by_alias=True, exclude_none=True)
    data = msgspec.json.encode(_passage(bare, passage_uri(hit))).decode()
    return max(tokens(said) + tokens(link), tokens(data)) + 1


def _data(found: Found, shortened: dict[int, str], left_out: int) -> Passages:
    hits = (_passage(hit, shortened.get(n)) for n, hit in enumerate(found.hits, start=1))
    return Passages(tuple(hits), found.freshness, found.degraded, left_out)


def _passage(hit: Hit, shortened: str | None) -> Passage:
    return Passage(
        path=hit.path,
        uri=hit.uri,
        score=hit.score,
        text=hit.text,
        start_line=hit.start_line,
        end_line=hit.end_line,
        page=hit.page,
        heading=hit.heading,
        sha256=hit.sha256,
        modified=hit.modified,
        shortened=shortened,
        also_in=hit.also_in,
    )
