"""What searches and answers did, counted for Prometheus."""

from bridge.counts import Counts
from bridge.draft import Draft
from bridge.service import Answer, Timings
from indexer.hits import Found, Freshness, Hit
from indexer.search import Looked
from tests.bridge.test_metrics import samples

FRESH = Freshness("2026-01-31T12:00:00+00:00")


def told(counts: Counts) -> dict[str, float]:
    return samples("".join(f"{line}\n" for line in counts.lines()).encode())


def looked(*relevances: float | None, degraded: tuple[str, ...] = (), **stages: float) -> Looked:
    hits = tuple(Hit("/kiln.md", "file:///kiln.md", 1.0, "It cools.", relevance=one) for one in relevances)
    return Looked(Found(hits, FRESH, degraded), None, "minilm", 0.0, stages)


def draft(cache: str | None = None) -> Draft:
    return Draft("a1", "why?", cache=cache)


def answer(grounded: bool | None, cache_hit: bool = False, first_ms: int | None = 200, total_ms: int = 3_000) -> Answer:
    timings = Timings(10, first_ms, total_ms)
    return Answer("Because.", (), FRESH, "echo", cache_hit=cache_hit, grounded=grounded, timings=timings)


def test_all_that_is_counted_is_there_before_it_happens() -> None:
    before = told(Counts())
    assert set(before.values()) == {0}
    assert {"tandem_searches_total failed", "tandem_answers_total refused", "tandem_ratings_total down"} <= set(before)
    assert {"tandem_cache_decisions_total reused", "tandem_answers_checked_total unclaimed"} <= set(before)


def test_a_search_tells_what_it_found_how_likely_and_where_its_time_went() -> None:
    counts = Counts()
    counts.searched(looked(0.83, 0.1, embed=4.0, store=1.5), 0.012)
    counts.searched(looked(0.2, degraded=("lexical search only",), embed=40.0), 0.06)
    counts.searched(looked(), 0.003)
    counts.searched(looked(None), 0.003)
    counts.not_searched()
    now = told(counts)
    assert [now[f"tandem_searches_total {outcome}"] for outcome in ("found", "nothing", "failed")] == [3, 1, 1]
    assert now["tandem_searches_degraded_total"] == 1
    assert (now["tandem_search_seconds_count"], now["tandem_search_seconds_sum"]) == (4, 0.078)
    assert [now[f"tandem_search_seconds_bucket {le}"] for le in ("0.0025", "0.005", "0.025", "0.1")] == [0, 2, 3, 4]
    assert now["tandem_search_stage_seconds_sum embed"] == 0.044
    assert [now[f"tandem_search_stage_seconds_bucket embed {le}"] for le in ("0.0025", "0.005", "+Inf")] == [0, 1, 2]
    assert now["tandem_search_stage_seconds_count store"] == 1
    assert (now["tandem_search_relevance_count"], now["tandem_search_relevance_sum"]) == (2, 1.03)
    assert [now[f"tandem_search_relevance_bucket {le}"] for le in ("0.1", "0.2", "0.8", "0.9", "1")] == [0, 1, 1, 2, 2]


def test_an_answer_tells_who_made_it_how_fast_and_whether_it_is_borne_out() -> None:
    counts = Counts()
    counts.ended(draft("nothing near"), answer(True), "answered")
    counts.ended(draft("reused"), answer(True, cache_hit=True, first_ms=20, total_ms=30), "answered")
    counts.ended(draft("nothing near"), answer(False), "answered")
    counts.ended(draft(), answer(None, first_ms=None), "answered")
    now = told(counts)
    assert now["tandem_answers_total answered"] == 4
    verdicts = [now[f"tandem_answers_checked_total {verdict}"] for verdict in ("grounded", "ungrounded", "unclaimed")]
    assert verdicts == [2, 1, 1]
    assert now["tandem_cache_decisions_total nothing near"] == 2
    assert now["tandem_cache_decisions_total reused"] == 1
    assert (now["tandem_answer_seconds_count engine"], now["tandem_answer_seconds_sum engine"]) == (3, 9)
    assert (now["tandem_answer_seconds_count cache"], now["tandem_answer_seconds_sum cache"]) == (1, 0.03)
    assert now["tandem_answer_first_token_seconds_count engine"] == 2
    assert [now[f"tandem_answer_seconds_bucket engine {le}"] for le in ("2.5", "5")] == [0, 3]


def test_what_did_not_come_to_its_end_is_counted_and_not_judged() -> None:
    counts = Counts()
    for outcome in ("failed", "cancelled", "refused"):
        counts.ended(draft("unfit"), answer(False) if outcome != "refused" else None, outcome)
    now = told(counts)
    assert [now[f"tandem_answers_total {one}"] for one in ("answered", "failed", "cancelled", "refused")] == [
        0,
        1,
        1,
        1,
    ]
    assert now["tandem_answers_checked_total ungrounded"] == now["tandem_answer_seconds_count engine"] == 0


def test_thumbs_are_counted() -> None:
    counts = Counts()
    for up in (True, False, True):
        counts.rated(up)
    assert (told(counts)["tandem_ratings_total up"], told(counts)["tandem_ratings_total down"]) == (2, 1)
