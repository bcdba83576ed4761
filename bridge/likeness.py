"""Do two questions ask the same? (pure) In doubt they do not: a wrong answer is worse than an answer made twice.

Each question is read into what it says, in one order: the kind of question, then word by word who does what to whom.
Only a few ways of asking are known to be the same and are brought into that order: what is asked for last comes first
("what port does X use", "what port is used by X", "X uses what port"), "the Y of X" is "X's Y", what was put in front
of the question goes behind it. After that the two must say the same words in the same order, all but those that carry
no meaning: whatever stands in one of them alone (a number, a "not", a unit, a name, an opposite) is a difference.
"""

from collections import Counter
from collections.abc import Sequence

from bridge import wording as w
from bridge.asked import bare_words, is_foreign, is_word, read, tidied
from bridge.clause import Asked

_LONGEST = 600  # characters; longer ones are compared word by word
_NEGATIVE = frozenset("not no never without none nobody nothing neither nor cannot hardly".split())
_OTHER_LINKS = ({"'s", "gap"}, {"for", "gap"}, {"'s", "for"})
_LIKE_HOW_TO = frozenset(("to", "is", "should"))


def difference(first: str, second: str) -> str | None:
    """Why an answer to the one may be none to the other, in words; none where they ask the same."""
    one, other = tidied(first), tidied(second)
    if one == other:
        return None
    if is_foreign(one) or is_foreign(other) or max(len(one), len(other)) > _LONGEST:
        return _listed(bare_words(one), bare_words(other))
    return _compared(read(one), read(other))


def _compared(one: Asked, other: Asked) -> str | None:
    words = _listed([word.text for word in one.words], [word.text for word in other.words])
    if words:
        return words
    if one.kind != other.kind:
        return f"asks something else: {one.kind} / {other.kind}"
    if one.modals != other.modals and not (
        one.kind in ("how", "where")
        and _LIKE_HOW_TO.issuperset([*one.modals, *other.modals])
        and ["to"] in (one.modals, other.modals)
    ):
        return f"asks something else: {_shown(one.modals)} / {_shown(other.modals)}"
    if one.past != other.past:
        return "asks of another time"
    if {one.frame, other.frame} == {"be", "do"}:
        return "is built in another way"
    return _unlike(one, other)


def _unlike(one: Asked, other: Asked) -> str | None:
    """What tells two words apart that are spelt alike."""
    for a, b in zip(one.words, other.words, strict=True):
        if a.form != b.form and not (one.past and {a.form, b.form} == {"ed", ""}):
            return f"differs in a word: {a.raw} / {b.raw}"
        if {a.link, b.link} in _OTHER_LINKS:
            return f"differs in what belongs to what: {a.raw} / {b.raw}"
        if a.cased != b.cased and None not in (a.cased, b.cased):
            lazy = one.lower or other.lower
            if not lazy or a.text in w.CASED:
                return f"differs in a name: {a.raw} / {b.raw}"
    return None


def _listed(one: Sequence[str], other: Sequence[str]) -> str | None:
    """The first kind of difference between two lists of words."""
    if list(one) == list(other):
        return None
    missing, extra = list((Counter(one) - Counter(other)).elements()), list((Counter(other) - Counter(one)).elements())
    if not missing and not extra:
        return "differs in the order of its words"
    both = f"{_shown(missing)} / {_shown(extra)}"
    unlike = [*missing, *extra]
    if any(word in _NEGATIVE for word in unlike):
        return f"differs in a negation: {both}"
    if any(word[0].isdigit() for word in unlike):
        return f"differs in a number: {both}"
    if any(word.startswith('"') for word in unlike):
        return f"differs in what is quoted: {both}"
    if not all(is_word(word) for word in unlike):
        return f"differs in a name: {both}"
    return f"differs in a word: {both}"


def _shown(words: Sequence[str]) -> str:
    return " ".join(words) or "nothing"
