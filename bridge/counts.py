"""What searches, answers and their readers did since this process began, as `/metrics` tells it.

Each label is of a closed set: nothing that a person, a file or a worker said stands here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import get_args

from bridge.answers import Outcome
from bridge.cache import Decided
from bridge.draft import Draft
from bridge.exposition import Histogram, family, histograms
from bridge.service import Answer
from indexer.search import Looked

_STAGE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_SEARCH_S = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_ANSWER_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_SHARES = tuple(n / 10 for n in range(1, 11))
_VERDICTS: Mapping[bool | None, str] = {True: "grounded", False: "ungrounded", None: "unclaimed"}
_MAKERS = ("cache", "engine")


class Counts:
    """Told by whoever did it; told on by `lines`."""

    def __init__(self) -> None:
        self._searches = Counter[str]()
        self._answers = Counter[str]()
        self._verdicts = Counter[str]()
        self._decisions = Counter[str]()
        self._ratings = Counter[str]()
        self._degraded = Counter[str]()
        self._search_s = Histogram(_SEARCH_S)
        self._stages_s: dict[str, Histogram] = {}
        self._relevance = Histogram(_SHARES)
        self._first_s = {maker: Histogram(_ANSWER_S) for maker in _MAKERS}
        self._answer_s = {maker: Histogram(_ANSWER_S) for maker in _MAKERS}

    def searched(self, looked: Looked, seconds: float) -> None:
        found = looked.found
        self._searches["found" if found.hits else "nothing"] += 1
        self._degraded["searches"] += bool(found.degraded)
        self._search_s.add(seconds)
        for stage, took_ms in looked.stages.items():
            self._stages_s.setdefault(stage, Histogram(_STAGE_S)).add(took_ms / 1000)
        if found.hits and found.hits[0].relevance is not None:
            self._relevance.add(found.hits[0].relevance)

    def not_searched(self) -> None:
        """A part that it needs is away."""
        self._searches["failed"] += 1

    def ended(self, draft: Draft, answer: Answer | None, outcome: Outcome) -> None:
        """`answer`: none where the question was refused."""
        self._answers[outcome] += 1
        if draft.cache:
            self._decisions[draft.cache] += 1
        if not answer or outcome != "answered":
            return
        self._verdicts[_VERDICTS[answer.grounded]] += 1
        self._degraded["answers"] += bool(answer.degraded)
        maker = "cache" if answer.cache_hit else "engine"
        times = answer.timings
        if times and times.first_ms is not None:
            self._first_s[maker].add(times.first_ms / 1000)
        if times and times.total_ms is not None:
            self._answer_s[maker].add(times.total_ms / 1000)

    def rated(self, up: bool) -> None:
        self._ratings["up" if up else "down"] += 1

    def lines(self) -> Iterator[str]:
        searches, answers = self._searches, self._answers
        found = ("found", "nothing", "failed")
        yield from _counted("tandem_searches", "Searches, those for an answer too.", "outcome", found, searches)
        yield from _one("tandem_searches_degraded", "Searches that went without a part.", self._degraded["searches"])
        yield from histograms("tandem_search_seconds", "From a query to its hits.", [({}, self._search_s)])
        stages = [({"stage": stage}, took) for stage, took in self._stages_s.items()]
        yield from histograms("tandem_search_stage_seconds", "Where a search's time goes.", stages)
        likely = "How likely the first hit holds what was asked for, 0 to 1."
        yield from histograms("tandem_search_relevance", likely, [({}, self._relevance)])
        yield from _counted("tandem_answers", "Answers that ended.", "outcome", get_args(Outcome), answers)
        yield from _one("tandem_answers_degraded", "Answers that went without a part.", self._degraded["answers"])
        held = "Answers by whether their passages bear out every sentence."
        yield from _counted("tandem_answers_checked", held, "verdict", tuple(_VERDICTS.values()), self._verdicts)
        first = [({"by": maker}, took) for maker, took in self._first_s.items()]
        yield from histograms("tandem_answer_first_token_seconds", "From a question to its answer's first word.", first)
        whole = [({"by": maker}, took) for maker, took in self._answer_s.items()]
        yield from histograms("tandem_answer_seconds", "From a question to its answer's end.", whole)
        decided = "What the cache decided: an answer given again, or why none was."
        yield from _counted("tandem_cache_decisions", decided, "decision", get_args(Decided), self._decisions)
        yield from _counted("tandem_ratings", "What people said of answers.", "rating", ("up", "down"), self._ratings)


def _counted(name: str, help_: str, label: str, values: tuple[str, ...], counter: Counter[str]) -> list[str]:
    """All values from the start: a rate does not see how a sample comes to be."""
    return family(f"{name}_total", help_, [({label: value}, counter[value]) for value in values], "counter")


def _one(name: str, help_: str, count: int) -> list[str]:
    return family(f"{name}_total", help_, [({}, count)], "counter")
