"""Whatever the budget, the words and the data each fit it, and nothing is lost without a word."""

from typing import Any

import msgspec
import pytest

from bridge.citing import found_text
from bridge.excerpt import tokens
from bridge.offers.fitting import fitted
from bridge.offers.links import linked
from indexer.hits import Found, Freshness, Hit

FRESHNESS = Freshness("2025-11-03T17:02:11Z", 3)


def hits(count: int, text: str) -> tuple[Hit, ...]:
    return tuple(
        Hit(
            f"/notes/{n}/vpn.md",
            f"file:///notes/{n}/vpn.md",
            1 / (n + 1),
            text,
            3,
            90,
            None,
            "VPN",
            "ab" * 32,
            "m" * 20,
        )
        for n in range(count)
    )


PLAIN = "The key is renewed each May. " * 40
TEXTS = {
    "prose": PLAIN,
    "lines": "renew\n" * 200,
    "quotes": '"\\' * 600,
    "wide": "鍵は毎年五月に更新される。" * 60,
    "unbroken": "x" * 1200,
    "none": "",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("max_tokens", [300, 700, 1_500, 4_000, 20_000])
def test_the_words_with_their_links_and_the_data_each_fit(max_tokens: int, text: str) -> None:
    fit = fitted(Found(hits(12, text), FRESHNESS, ("only the lexical side searched",)), max_tokens)
    links = "".join(link.model_dump_json(by_alias=True, exclude_none=True) for link in linked(fit.found.hits))
    assert tokens(found_text(fit.found, fit.shortened, fit.left_out) + links) <= max_tokens
    assert tokens(msgspec.json.encode(fit.data).decode()) <= max_tokens
    assert len(fit.found.hits) + fit.left_out == 12
    assert fit.found.hits


def test_the_best_stay_whole_and_later_ones_say_where_the_rest_is() -> None:
    fit = fitted(Found(hits(8, PLAIN), FRESHNESS), 2_000)
    lengths = [len(hit.text) for hit in fit.found.hits]
    assert lengths[0] == len(PLAIN)
    assert lengths == sorted(lengths, reverse=True)
    assert 0 < lengths[-1] < len(PLAIN)
    assert PLAIN.startswith(fit.found.hits[-1].text)
    last = "file:///notes/7/vpn.md#L3-L90"
    assert fit.data.hits[-1].shortened == last
    assert fit.data.hits[0].shortened is None
    assert f"(shortened; all of it: read {last})" in found_text(fit.found, fit.shortened)


def test_what_fits_no_more_is_counted() -> None:
    fit = fitted(Found(hits(100, PLAIN), FRESHNESS), 600)
    assert 0 < len(fit.found.hits) < 10
    assert fit.left_out == fit.data.left_out == 100 - len(fit.found.hits)
    assert f"{fit.left_out} more did not fit" in found_text(fit.found, fit.shortened, fit.left_out)


def test_where_everything_fits_nothing_is_changed() -> None:
    found = Found(hits(3, PLAIN), FRESHNESS)
    fit = fitted(found, 20_000)
    assert (fit.found, fit.shortened, fit.left_out) == (found, {}, 0)


def test_a_search_without_hits_tells_the_same_as_data() -> None:
    told: dict[str, Any] = msgspec.to_builtins(fitted(Found((), FRESHNESS), 300).data)
    assert told == {"hits": (), "freshness": {"as_of": FRESHNESS.as_of, "pending": 3}, "degraded": (), "left_out": 0}
