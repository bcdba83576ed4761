"""How far a sentence stands on a passage, by its words alone (pure, no model).

What a made-up sentence gets wrong is looked at one by one: words that are not there, numbers and their units, names,
quoted strings, negations, opposites, and names or numbers that stand elsewhere than in the sentence's own context.
"""

import re
from collections.abc import Iterable, Sequence
from math import log

from bridge.reading import NEGATIONS, Read, Token, read, stems

# What is left of a sentence's support where one of these is wrong.
MISSING_NUMBER = 0.25
OTHER_UNIT = 0.3
MISSING_NAME = 0.35
MISSING_QUOTE = 0.3
OTHER_NEGATION = 0.3
OPPOSITE = 0.35
MISPLACED = 0.45
REPLACED = 0.4
ELSEWHERE = 0.75

_REACH = 4  # tokens around a word in which a negation counts as its own
_MOVED = 4  # tokens by which two neighbours may stand further apart than in the sentence
_PREFIX = 5  # letters that two forms of a word share at least

_QUOTED = re.compile(r"\"([^\"\n]{2,200})\"|(?<!\w)'([^'\n]{3,200})'(?!\w)")
_YES = frozenset("yes no true false correct right indeed ja nein oui non sí si sim はい いいえ 是 不是".split())
# Who says it is none of what is said.
_FRAME = re.compile(
    r"^\W*(?:(?:according to|based on|as (?:stated|described|mentioned|shown|reported) in|in) (?:the|these|this|your) "
    r"(?:given |provided )?(?:passage|document|text|source|file|note|context)s?(?: \d+)?,?\s|"
    r"(?:the|these|this|your) (?:passage|document|text|source|file|note)s?(?: \d+)? "
    r"(?:say|state|report|show|mention|indicate|note|explain|describe)s? that\s)",
    re.IGNORECASE,
)
_OPPOSITES_LINES = (
    "increase increased increases increasing rise rises rose rising raise raises raised grow grew / decrease decreased "
    "decreases decreasing fall falls fell falling reduce reduces reduced reducing decline declined drop dropped",
    "higher high highest / lower low lowest", "more most / less least fewer fewest", "larger large largest "
    "bigger big / "
    "smaller small smallest", "longer long longest / shorter short shortest", "before earlier prior / after later",
    "above over / below under", "positive positively / negative negatively", "first / last", "early / late",
    "better best / worse worst", "faster fast / slower slow", "strong stronger / weak weaker", "minimum minimal "
    "/ maximum "
    "maximal", "include includes included including / exclude excludes excluded excluding", "allow allows "
    "allowed permit "
    "permitted / forbid forbids forbidden prohibit prohibited prevent prevents prevented", "accept accepted / reject "
    "rejected refuse refused", "enable enables enabled / disable disables disabled", "always / never", "all "
    "every / none",
    "open opens opened / close closes closed", "start starts started begin begins / stop stops stopped end ends ended",
    "add adds added / remove removes removed delete deletes deleted", "import imports / export exports",
    "upper / lower", "inside internal / outside external", "present / absent", "true / false", "same / different",
    "gain gains gained / lose loses lost loss", "common / rare", "safe / unsafe dangerous", "old older / young "
    "younger new",
    "hot hotter warm / cold colder cool", "left / right", "north northern / south southern", "east eastern / "
    "west western",
    "buy buys bought / sell sells sold", "succeed succeeds succeeded / fail fails failed", "activate activates "
    "activated "
    "/ inhibit inhibits inhibited block blocks blocked", "male men / female women", "acute / chronic", "likely "
    "/ unlikely",
    "sufficient / insufficient", "able / unable", "effective / ineffective", "possible / impossible",
)  # fmt: skip


def _opposites() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for line in _OPPOSITES_LINES:
        one, other = (frozenset(side.split()) for side in line.split("/"))
        for side, against in ((one, other), (other, one)):
            for word in side:
                found[word] = found.get(word, frozenset()) | against
    return found


_OPPOSITES = _opposites()


def support(sentence: str, passage: str) -> float:
    """0..1: how far `passage` says what `sentence` says. 1 where it stands there word for word; 0 where the sentence
    has no word that carries meaning."""
    claim, evidence = read(_FRAME.sub("", sentence)), read(passage)
    wanted = [place for place, token in enumerate(claim.tokens) if token.keys]
    if not wanted:
        return 0.0
    if _stands(claim.text, evidence):
        return 1.0
    weights = _weights(claim, evidence, wanted)
    window = _window(claim, evidence, weights)
    near, anywhere = _covered(claim, evidence, weights, window)
    covered = near + 0.5 * (anywhere - near)
    wrongs = [
        *_numbers(claim, evidence, window),
        *_names(claim, evidence, window),
        *_quotes(claim, evidence),
        *_misplaced(claim, evidence, wanted),
        *_replaced(claim, evidence, wanted),
        *_exchanged(claim, evidence, weights),
        *_negated(claim, evidence, window),
        *_opposed(claim, evidence, window),
    ]
    return min(0.99, covered) * min(wrongs, default=1.0)


_TELLING = 400  # characters, of which one word at least tells, where any does


def tells(sentence: str) -> bool:
    """Whether it has a word that carries meaning beyond yes and no."""
    return any(token.keys and token.raw.lower() not in _YES for token in read(sentence[:_TELLING]).tokens)


def _stands(text: str, evidence: Read) -> bool:
    """Word for word, and not as the rest of a sentence that says no."""
    text = text.strip(" .;:,!?-•")
    start = evidence.text.find(text) if text else -1
    while start >= 0:
        end = start + len(text)
        before = evidence.text[max(0, start - 30) : start]
        inside = _joined(evidence.text[max(0, start - 2) : start] + text[:2], min(2, start))
        inside = inside or _joined(text[-2:] + evidence.text[end : end + 2], len(text[-2:]))
        said_before = re.split(r"[.!?;:,]\s", before)[-1].split()[-3:]
        if not inside and not any(word.strip("\"'(") in NEGATIONS or word.endswith("n't") for word in said_before):
            return True
        start = evidence.text.find(text, start + 1)
    return False


def _joined(text: str, at: int) -> bool:
    """Whether a word or number of a script with spaces goes on over `at`: 1,|450 or tea|pot."""
    before, after = text[:at], text[at:]
    if before[-1:].isalnum() and after[:1].isalnum():
        return before[-1:].isascii() or after[:1].isascii()
    number = before[-1:].isdigit() and after[:1] in (".", ",") and after[1:2].isdigit()
    return number or (before[-2:-1].isdigit() and before[-1:] in (".", ",") and after[:1].isdigit())


def _weights(claim: Read, evidence: Read, wanted: Sequence[int]) -> dict[int, float]:
    """By place in the claim: words that the passage seldom has count more, names and numbers too."""
    size = len(evidence.tokens) + 1
    weights: dict[int, float] = {}
    for place in wanted:
        token = claim.tokens[place]
        often = max(len(evidence.places.get(key, ())) for key in token.keys)
        weights[place] = log(2 + size / (1 + often)) * (1.3 if token.name or token.number else 1.0)
    return weights


def _window(claim: Read, evidence: Read, weights: dict[int, float]) -> tuple[int, int]:
    """The stretch of the passage, about twice as long as the claim, that holds most of it."""
    width = max(20, 2 * len(claim.tokens))
    worth: dict[int | str, float] = {}
    for place, weight in weights.items():
        for key in claim.tokens[place].keys:
            worth[key] = max(worth.get(key, 0.0), weight / len(claim.tokens[place].keys))
    at = sorted((place, key) for key in worth for place in evidence.places.get(key, ()))
    held: dict[int | str, int] = {}
    best, span, total, left = 0.0, (0, 0), 0.0, 0
    for right, (place, key) in enumerate(at):
        total += worth[key] if not held.get(key) else 0.0
        held[key] = held.get(key, 0) + 1
        while place - at[left][0] > width or held[at[left][1]] > 1:
            gone = at[left][1]
            held[gone] -= 1
            total -= worth[gone] if not held[gone] else 0.0
            left += 1
        if total > best + 1e-9 or (total > best - 1e-9 and place - at[left][0] < span[1] - span[0]):
            best, span = total, (at[left][0], at[right][0])
    return span


def _covered(claim: Read, evidence: Read, weights: dict[int, float], window: tuple[int, int]) -> tuple[float, float]:
    """Shares of the claim's weight within the window (and a little around it) and in the whole passage."""
    near = anywhere = 0.0
    for place, weight in weights.items():
        token = claim.tokens[place]
        share = 1.0 / len(token.keys) if not token.number else 1.0
        for key in token.keys if not token.number else (_present(token, evidence),):
            where = evidence.places.get(key, ())
            if where:
                anywhere += weight * share
                near += weight * share * _within(where, window)
            elif not token.number and not token.name and _other_form(token.raw, evidence):
                anywhere += 0.6 * weight * share
                near += 0.6 * weight * share
    total = sum(weights.values())
    return near / total, anywhere / total


def _present(token: Token, evidence: Read) -> int | str:
    return next((key for key in token.keys if key in evidence.places), token.keys[0])


def _within(where: Sequence[int], window: tuple[int, int]) -> bool:
    return any(window[0] - 3 <= place <= window[1] + 3 for place in where)


def _other_form(raw: str, evidence: Read) -> bool:
    """Transmission stands for transmitted, also where the stemmer sees two words."""
    word = raw.lower()
    start = word[: max(_PREFIX, round(0.6 * len(word)))]
    return len(word) > _PREFIX and any(other.startswith(start) and len(other) > _PREFIX for other in evidence.lower)


def _numbers(claim: Read, evidence: Read, window: tuple[int, int]) -> Iterable[float]:
    for token in claim.tokens:
        if not token.number:
            continue
        where = [place for key in token.keys for place in evidence.places.get(key, ())]
        if not where:
            yield MISSING_NUMBER
            continue
        units = {evidence.tokens[place].unit for place in where}
        if token.unit and None not in units and token.unit not in units:
            yield OTHER_UNIT
        elif not _within(where, window):
            yield ELSEWHERE


def _names(claim: Read, evidence: Read, window: tuple[int, int]) -> Iterable[float]:
    for place, token in enumerate(claim.tokens):
        before = claim.tokens[place - 1] if place else None
        joined = before is not None and token.glued and bool(token.keys) and (before.name or token.name)
        if joined and before is not None and not _adjoin(before, token, evidence):
            yield MISSING_NAME
        elif token.name and token.keys:
            where = [found for key in token.keys for found in evidence.places.get(key, ())]
            if not where and not any(token.raw.lower() in word for word in evidence.lower if len(token.raw) > 3):
                yield MISSING_NAME
            elif where and not _within(where, window):
                yield ELSEWHERE


def _adjoin(first: Token, second: Token, evidence: Read) -> bool:
    """HIV-1 stands as HIV-1, HIV 1 or HIV1."""
    if (first.raw + second.raw).lower() in evidence.lower:
        return True
    after = {place + 1 for place in evidence.lower.get(first.raw.lower(), ())}
    return any(place in after for place in evidence.lower.get(second.raw.lower(), ()))


def _quotes(claim: Read, evidence: Read) -> Iterable[float]:
    for match in _QUOTED.finditer(claim.text):
        quoted = (match[1] or match[2]).strip(" .,;:!?")
        if quoted and quoted not in evidence.text:
            yield MISSING_QUOTE


def _misplaced(claim: Read, evidence: Read, wanted: Sequence[int]) -> Iterable[float]:
    """A name or number of the passage that stands near none of its neighbours in the claim."""
    for n, place in enumerate(wanted):
        token = claim.tokens[place]
        if not (token.name or token.number):
            continue
        where = [found for key in token.keys for found in evidence.places.get(key, ())]
        others = [other for other in (*wanted[max(0, n - 2) : n], *wanted[n + 1 : n + 3]) if place != other]
        near: list[bool] = []
        for other in others:
            stands = [found for key in claim.tokens[other].keys for found in evidence.places.get(key, ())]
            if stands and where:
                reach = abs(place - other) + _MOVED
                near.append(any(abs(one - two) <= reach for one in where for two in stands))
        if near and not any(near):
            yield MISPLACED


def _replaced(claim: Read, evidence: Read, wanted: Sequence[int]) -> Iterable[float]:
    """Where the neighbours of a name or number stand in the passage, another one has its place."""
    ours = {key for place in wanted for key in claim.tokens[place].keys}
    for n, place in enumerate(wanted):
        token = claim.tokens[place]
        if not (token.name or token.number):
            continue
        taken: list[bool] = []
        for other in (*wanted[max(0, n - 1) : n], *wanted[n + 1 : n + 2]):
            stands = [found for key in claim.tokens[other].keys for found in evidence.places.get(key, ())]
            if stands:
                taken.append(_taken(token, place - other, stands, evidence, ours))
        if taken and all(taken):
            yield REPLACED


def _taken(token: Token, offset: int, stands: Sequence[int], evidence: Read, ours: set[int | str]) -> bool:
    taken = False
    for found in stands:
        around = evidence.tokens[max(0, found + offset - 1) : found + offset + 2]
        if any(set(one.keys) & set(token.keys) for one in around):
            return False
        there = evidence.tokens[found + offset] if 0 <= found + offset < len(evidence.tokens) else None
        taken |= bool(
            there and (there.name or there.number) and there.number == token.number and not ours & set(there.keys)
        )
    return taken


def _exchanged(claim: Read, evidence: Read, weights: dict[int, float]) -> Iterable[float]:
    """Where the rest of the claim stands in the passage, there is another name or number, and this one is not."""
    ours = {key for place in weights for key in claim.tokens[place].keys}
    for place in weights:
        token = claim.tokens[place]
        if not (token.name or token.number) or len(weights) < 4:
            continue
        rest = {other: weight for other, weight in weights.items() if other != place}
        low, high = _window(claim, evidence, rest)
        where = [found for key in token.keys for found in evidence.places.get(key, ())]
        if where and not any(low - 2 <= found <= high + 2 for found in where):
            there = evidence.tokens[max(0, low - 1) : high + 2]
            if any((one.name, one.number) == (token.name, token.number) and not ours & set(one.keys) for one in there):
                yield REPLACED


def _negated(claim: Read, evidence: Read, window: tuple[int, int]) -> Iterable[float]:
    """A word that is negated on one side only."""
    low, high = window[0] - _REACH, window[1] + _REACH
    inside = [place for place in evidence.negations if low <= place <= high]
    yield from (OTHER_NEGATION for _ in _unmatched(claim, claim.negations, evidence, inside, window))
    within = (0, len(claim.tokens))
    yield from (OTHER_NEGATION for _ in _unmatched(evidence, inside, claim, claim.negations, within))


def _unmatched(
    one: Read, negations: Sequence[int], other: Read, others: Sequence[int], window: tuple[int, int]
) -> Iterable[int]:
    for place in negations:
        scope = [token for token in one.tokens[place + 1 : place + 2 + _REACH] if token.keys][:2]
        scope = scope or [token for token in one.tokens[max(0, place - _REACH) : place] if token.keys][-1:]
        where = next((found for token in scope if (found := _stands_in(token, other, window))), ())
        if where and not any(-_REACH - 1 <= negation - found <= 2 for found in where for negation in others):
            yield place


def _stands_in(token: Token, text: Read, window: tuple[int, int]) -> list[int]:
    places = [place for key in token.keys for place in text.places.get(key, ())]
    return [place for place in places if window[0] - 3 <= place <= window[1] + 3]


def _opposed(claim: Read, evidence: Read, window: tuple[int, int]) -> Iterable[float]:
    for word in claim.lower:
        if word in _OPPOSITES and not _within(evidence.lower.get(word, ()), window):
            said = [place for other in _OPPOSITES[word] - claim.lower.keys() for place in evidence.lower.get(other, ())]
            alike = [place for key in stems(word) for place in evidence.places.get(key, ())]
            if _within(said, window) and not _within(alike, window):
                yield OPPOSITE
