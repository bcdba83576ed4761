"""An answer's markers become citations, and each sentence is held against the passage it cites (pure)."""

import re
from collections.abc import Sequence

from bridge.service import Citation
from indexer.hits import Hit

_MARKER = re.compile(r"\s*((?:\[\d+\])+)")
_QUOTE_CHARS = 240


def citations(answer: str, hits: Sequence[Hit]) -> tuple[Citation, ...]:
    """One for each passage that the answer cites, in order of first mention; markers beyond the passages are not."""
    cited = {n: sentence for sentence, numbers in reversed(_sentences(answer)) for n in numbers if 0 < n <= len(hits)}
    return tuple(_citation(n, sentence, hits[n - 1]) for n, sentence in reversed(cited.items()))


def grounded(answer: str, hits: Sequence[Hit]) -> bool | None:
    """True: every sentence stands word for word in a passage it cites. False: one cites a passage that was never
    given. None: nothing was claimed, or the words are the model's own and nothing here can judge them."""
    sentences = _sentences(answer)
    if any(not 0 < n <= len(hits) for _, numbers in sentences for n in numbers):
        return False
    if not sentences or _MARKER.sub("", answer).strip() == "":
        return None
    verbatim = all(any(sentence in hits[n - 1].text for n in numbers) for sentence, numbers in sentences)
    return True if verbatim and _ends_cited(answer) else None


def _sentences(answer: str) -> list[tuple[str, list[int]]]:
    """(what stands before a run of markers, the run's numbers)."""
    found: list[tuple[str, list[int]]] = []
    start = 0
    for marker in _MARKER.finditer(answer):
        numbers = [int(n) for n in re.findall(r"\d+", marker[1])]
        found.append((answer[start : marker.start()].strip(), numbers))
        start = marker.end()
    return found


def _ends_cited(answer: str) -> bool:
    return bool(re.search(r"\[\d+\]\s*$", answer))


def _citation(n: int, sentence: str, hit: Hit) -> Citation:
    quote = sentence if sentence and sentence in hit.text else hit.text[:_QUOTE_CHARS]
    return Citation(n, hit.path, hit.uri, quote, hit.heading, hit.start_line, hit.end_line, hit.page)
