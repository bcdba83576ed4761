"""An answer's markers become citations, and each sentence is held against the passages it cites (pure).

answer -> blocks (paragraphs, items, rows, code) -> sentences with the markers that stand behind them -> claims
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.claims import Said, claiming, sentences
from bridge.reading import read
from bridge.service import Citation
from bridge.support import support
from indexer.hits import Hit

# Of its cited passages' support a claim needs so much to count as grounded. Measured: benchmarks/answers.py.
THRESHOLD = 0.6
QUOTE_CHARS = 300
_SENTENCE_CHARS = 3_000  # what is longer without an end is judged by its beginning


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the answer without its markers. `support`: 0..1, by the passages it cites together."""

    text: str
    numbers: tuple[int, ...]
    support: float


@dataclass(frozen=True, slots=True)
class Checked:
    """`grounded`: True where each claim is cited and supported; False where one is not, or cites a passage that was
    never given; None where nothing is claimed. `supports` are the citations', by the sentence each is quoted for."""

    grounded: bool | None
    citations: tuple[Citation, ...]
    supports: tuple[float, ...]
    claims: tuple[Claim, ...]


def is_evidence(hit: Hit, threshold: float) -> bool:
    """Whether an answer may rest on it. `threshold`: the cosine from which the dense side alone may say so."""
    return hit.lexical_score is not None or hit.dense_score is None or hit.dense_score >= threshold


def checked(answer: str, hits: Sequence[Hit]) -> Checked:
    """`hits` in the order in which the answer counts them, from 1."""
    said = list(sentences(answer))
    claims = tuple(_judged(one, hits) for one in claiming(said))
    cited: dict[int, str] = {}
    for one in said:
        for n in one.numbers:
            cited.setdefault(n, one.text[:_SENTENCE_CHARS])
    given = {n: text for n, text in cited.items() if 0 < n <= len(hits)}
    return Checked(
        grounded=_verdict(claims, all(n in given for n in cited)),
        citations=tuple(_citation(n, text, hits[n - 1]) for n, text in given.items()),
        supports=tuple(round(support(text, hits[n - 1].text), 3) for n, text in given.items()),
        claims=claims,
    )


def _verdict(claims: Sequence[Claim], all_given: bool) -> bool | None:
    if not all_given:
        return False
    return all(claim.numbers and claim.support >= THRESHOLD for claim in claims) if claims else None


def _judged(said: Said, hits: Sequence[Hit]) -> Claim:
    text = said.text[:_SENTENCE_CHARS]
    texts = [hits[n - 1].text for n in said.numbers if 0 < n <= len(hits)]
    together = ["\n\n".join(texts)] if len(texts) > 1 else []
    best = max((support(text, passage) for passage in texts + together), default=0.0)
    return Claim(said.text, said.numbers, round(best, 3))


def _citation(n: int, sentence: str, hit: Hit) -> Citation:
    return Citation(
        n, hit.path, hit.uri, quote(sentence, hit.text), hit.heading, hit.start_line, hit.end_line, hit.page
    )


def quote(sentence: str, passage: str) -> str:
    """What of the passage supports the sentence best: exact, whole sentences where they fit, at most QUOTE_CHARS."""
    if sentence and sentence in passage:
        return _cut(sentence, 0)
    places = read(sentence)
    spans = [(match.start(), match.end()) for match in _SENTENCE.finditer(passage) if match[0].strip()]
    if not spans:
        return passage[:QUOTE_CHARS].strip()
    shares = [_share(places.places.keys(), passage[start:end]) for start, end in spans]
    best = max(range(len(spans)), key=lambda n: (shares[n], -n))
    start, end = spans[best]
    for other in (best + 1, best - 1):
        if 0 <= other < len(spans):
            first, last = min(start, spans[other][0]), max(end, spans[other][1])
            wider = _share(places.places.keys(), passage[first:last])
            if len(passage[first:last].strip()) <= QUOTE_CHARS and wider >= 1.2 * max(shares[best], 0.01):
                start, end = first, last
                break
    whole = passage[start:end].strip()
    return whole if len(whole) <= QUOTE_CHARS else _best_part(places.places.keys(), whole)


_SENTENCE = re.compile(
    r"(?:[^.!?。！？\n]|[.!?](?!\s+[\"'“‘(\[]*[^\W_a-zß-ÿ])|\n(?!\s*(?:\n|[-*+•|#]|\d{1,3}[.)]\s)))+(?:[.!?。！？][\"'”’)\]」』]*)?"
)


def _share(keys: Iterable[int | str], text: str) -> float:
    wanted = set(keys)
    return len(wanted & read(text).places.keys()) / max(1, len(wanted))


def _best_part(keys: Iterable[int | str], text: str) -> str:
    wanted = set(keys)
    starts = [match.end() for match in re.finditer(r"^|\s+", text)][:200]
    best = max(
        starts[:: max(1, len(starts) // 25)], key=lambda start: _share(wanted, text[start : start + QUOTE_CHARS])
    )
    return _cut(text, best)


def _cut(text: str, start: int) -> str:
    """At most QUOTE_CHARS from `start`, to the end of a word where there is one."""
    if len(text) - start <= QUOTE_CHARS:
        return text[start:].strip()
    part = text[start : start + QUOTE_CHARS]
    at = max(part.rfind(" "), part.rfind("\n"))
    return part[:at].strip() if at > QUOTE_CHARS // 2 else part.strip()
