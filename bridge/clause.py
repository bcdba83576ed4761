"""One clause, put in order (pure): who does what to whom, as a statement would say it.

Passives become active, "the Y of X" is "X's Y", and what is asked for stands where its answer would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bridge import wording as w
from bridge.endings import lemma

AUXILIARY = w.BE | w.DO | frozenset(w.MODALS)
_SUBJECTS = frozenset("i we you they it he she people".split())


@dataclass(frozen=True, slots=True)
class Word:
    """`text` as it is compared; `form` says which ending was taken off. `link`: what joins it to the word before it, a
    possessive, a "for" that stood the other way round, nothing, or dropped words ("gap"). `cased`: begins with a
    capital inside the question; none where that tells nothing."""

    text: str
    form: str = ""
    link: str = ""
    cased: bool | None = None
    comma: bool = False
    raw: str = ""


@dataclass(slots=True)
class Asked:
    kind: str
    frame: str = ""
    past: bool = False
    modals: list[str] = field(default_factory=list[str])
    words: list[Word] = field(default_factory=list[Word])
    lower: bool = False


def order(asked: Asked, words: list[Word]) -> None:
    """Finds the kind of question and brings its words into the order: who does what."""
    head, rest, embedded = _head(asked, words)
    auxiliaries = [word.text for word in rest if word.text in AUXILIARY]
    asked.modals += [w.MODALS[word] for word in auxiliaries if word in w.MODALS]
    asked.past = any(word.text in w.PAST for word in rest)
    be, do = not w.BE.isdisjoint(auxiliaries), not w.DO.isdisjoint(auxiliaries)
    asked.frame = "do" if do else "be" if be else ""
    negated, rest = _negation_first(asked, rest)
    passive = _participle(rest) if be else None
    body = [word for word in rest if word.text not in AUXILIARY]
    if passive is not None:
        asked.frame = "do"
        if asked.kind in ("how", "where") and not asked.modals and not any(word.text == "by" for word in body):
            asked.modals = ["is"]
        found = _active(head, body, next(n for n, word in enumerate(body) if word is passive))
    elif be and (verb := _progressive(head, body)) is not None:
        asked.frame = "do"
        body[verb] = infinitive(body[verb])
        found = [*head, *body] if verb == 0 else [*body, *head]
    elif do and len(head) > 1 and asked.kind == "what" and (at := _have(body)) is not None:
        # "What effects does it have", "what are its effects".
        asked.frame, owner = "be", _owned(body[:at])
        found = [*owner, replace(head[1], link="'s"), *head[2:], *body[at + 1 :]]
    elif len(body) > 1 and body[0].text in _SUBJECTS and (do or asked.modals):
        if do and (body[0].text == "you" or (body[0].text == "they" and asked.past)):
            body[0] = replace(body[0], text="i")
        found = [*body[:2], *head, *_object(body[1], body[2:])]
    elif asked.modals == ["to"]:
        found = [*body[:1], *(_object(body[0], body[1:]) if body else [])]
    elif be and len(head) > 1 and body and _is_most(body):
        # "Which animal is the fastest", "what is the fastest animal".
        most = [word for word in body if word.text not in w.ARTICLES]
        found = [most[0], *head[1:], *most[1:]]
    elif do or embedded or (asked.modals and not be and _has_subject(rest)):
        found = [*body, *head]
    elif asked.kind in ("what", "who", "where", "when") and not asked.modals and (be or not head):
        # "What is the port" and "the port" ask the same.
        found = [*(head if asked.kind != "what" or len(head) > 1 else []), *_owned(body)]
    else:
        found = [*head, *body]
    if len(found) > 2 and found[-2].text.endswith("ly") and found[-2].text not in w.UNENDING:
        found[-2:] = found[:-3:-1]  # "automatically renew", "renew automatically"
    asked.words = [*negated, *(_based(word) for word in found)]
    if not auxiliaries and asked.modals != ["to"] and any(word.form == "ed" for word in asked.words):
        asked.past = True


def _head(asked: Asked, words: list[Word]) -> tuple[list[Word], list[Word], bool]:
    """(what is asked for, the rest, whether the rest is a clause with what is asked for as its object)."""
    if not words:
        return [], [], False
    first, rest = words[0].text, words[1:]
    if first in AUXILIARY:
        asked.kind = "whether"
        return [], _with_main_do(_with_one(words)), False
    if first not in w.WH or asked.kind == "whether":
        return [], _with_main_do(words), False
    asked.kind = "who" if first == "whom" else first
    if first == "how" and rest and rest[0].text in w.DEGREES:
        asked.kind, rest = f"how {rest[0].text}", rest[1:]
    elif first in ("how", "where") and rest and rest[0].text == "to":
        rest, asked.modals = rest[1:], ["to"]
    rest = _with_main_do(_with_one(rest))
    if asked.kind not in ("what", "who", "whose", "how many", "how much"):
        return [], rest, False
    asked_for = [Word("WH", raw=words[0].raw)]
    auxiliary = next((n for n, word in enumerate(rest) if word.text in AUXILIARY), None)
    if auxiliary is None:
        return asked_for, rest, bool(rest) and rest[0].text in w.DETERMINERS
    return [*asked_for, *_owned(rest[:auxiliary])], rest[auxiliary:], False


def _with_main_do(words: list[Word]) -> list[Word]:
    """ "What does it do": the last one is a verb like others."""
    if len(words) > 1 and words[-1].text in w.DO and any(word.text in AUXILIARY for word in words[:-1]):
        return [*words[:-1], replace(words[-1], text="perform")]
    return words


def _with_one(words: list[Word]) -> list[Word]:
    """ "When should one plant it": the pronoun, not the number."""
    ones = [n for n, word in enumerate(words[1:3], 1) if word.text == "one" and words[n - 1].text in AUXILIARY]
    return [replace(word, text="i") if n in ones else word for n, word in enumerate(words)]


def _negation_first(asked: Asked, rest: list[Word]) -> tuple[list[Word], list[Word]]:
    """ "Why don't birds fly", "why do birds not fly": the clause as a whole is denied."""
    at = next((n for n, word in enumerate(rest) if word.text == "not"), None)
    if at is None or not rest or rest[0].text not in AUXILIARY:
        return [], rest
    between = [word for word in rest[1:at] if word.text not in w.ARTICLES]
    pronoun = all(word.text in ("i", "we", "you", "they", "it", "he", "she") for word in between)
    if len(between) > 1 or not (pronoun or asked.kind not in ("what", "who", "whose", "how many", "how much")):
        return [], rest
    if at + 1 < len(rest) and rest[at + 1].text == "to":
        return [], rest
    return [Word("not", raw="not")], [*rest[:at], *rest[at + 1 :]]


def _participle(rest: Sequence[Word]) -> Word | None:
    """The verb of a passive."""
    for n, word in enumerate(rest):
        if word.cased or not n or lemma(word.text)[1] != "ed":
            continue
        before, after = rest[n - 1].text, rest[n + 1].text if n + 1 < len(rest) else ""
        if before in ("be", "been", "being"):
            return word
        ends = not after or after in w.RELATORS or after.endswith("ly")
        if ends and before not in w.DETERMINERS | w.RELATORS:
            return word
    return None


def _is_most(body: Sequence[Word]) -> bool:
    words = [word.text for word in body if word.text not in w.ARTICLES]
    most = words[0].endswith("est") or words[0] in ("best", "worst") if words else False
    return most and (len(words) == 1 or words[1] in w.RELATORS)


def _have(body: Sequence[Word]) -> int | None:
    """Where a clause says that its subject has what is asked for."""
    at = next((n for n, word in enumerate(body) if word.text == "have"), 0)
    return at if at and (at + 1 == len(body) or body[at + 1].text in w.RELATORS) else None


def _progressive(head: Sequence[Word], body: Sequence[Word]) -> int | None:
    for n, word in enumerate(body):
        if word.cased or lemma(word.text)[1] != "ing":
            continue
        after = body[n + 1].text if n + 1 < len(body) else ""
        ends = not after or after in w.DETERMINERS | w.RELATORS
        if ends and (head if n == 0 else body[n - 1].text not in w.DETERMINERS | w.RELATORS):
            return n
    return None


def _active(head: list[Word], body: list[Word], verb: int) -> list[Word]:
    """What is done to the subject is done by the agent, where one is named."""
    subject = [replace(word, text="us") if word.text in ("i", "we") else word for word in body[:verb]]
    after = body[verb + 1 :]
    said = infinitive(body[verb])
    by = next((n for n, word in enumerate(after) if word.text == "by"), None)
    if by is None:
        return [said, *subject, *head, *after] if not subject else [said, *subject, *after, *head]
    if by + 1 == len(after):  # "who was it written by"
        return [*head, said, *subject, *after[:by]]
    end = next((n for n, word in enumerate(after) if n > by and word.text in w.RELATORS), len(after))
    return [*after[by + 1 : end], said, *subject, *after[:by], *after[end:], *head]


def _has_subject(rest: Sequence[Word]) -> bool:
    after = next((word.text for word in rest[1:] if word.text != "not"), "")
    return after in w.DETERMINERS or after in _SUBJECTS


def _owned(words: list[Word], fors: bool = True) -> list[Word]:
    """ "The period of the backup" becomes "the backup's period"; a most or least of it stays in front. `fors`: and
    "the rules for overtime" become the "overtime rules"."""
    at = next((n for n in range(len(words) - 1, -1, -1) if words[n].text == "of" or _is_of(words, n, fors)), None)
    if at is None:
        return words
    begin = next((n + 1 for n in range(at - 1, -1, -1) if words[n].text in w.RELATORS and words[n].text != "of"), 0)
    before = next((n + 1 for n in range(at - 1, begin - 1, -1) if words[n].text == "of"), begin)
    end = next((n for n in range(at + 1, len(words)) if words[n].text in w.RELATORS), len(words))
    of, owner = words[before:at], words[at + 1 : end]
    while of and of[0].text in w.ARTICLES:
        of = of[1:]
    ambiguous = end < len(words) and words[end].text in ("and", "or")
    if not of or not owner or ambiguous or of[0].text in w.DETERMINERS:
        return words
    limit: list[Word] = []
    if len(of) > 1 and w.SAME.get(of[0].text, of[0].text) in ("maximum", "minimum"):
        limit, of = of[:1], of[1:]
    link = "'s" if words[at].text == "of" or _is_of(words, at, False) else "for"
    owned = [*limit, *owner, replace(of[0], link=link), *of[1:]]
    return _owned([*words[:before], *owned, *words[end:]], fors)


def _object(verb: Word, words: list[Word]) -> list[Word]:
    return words if lemma(verb.text)[0] in w.OF_VERBS else _owned(words, fors=False)


def _is_of(words: Sequence[Word], n: int, fors: bool) -> bool:
    """ "The limit for it" is the limit of it; the letter for Anna is not Anna's."""
    return n > 0 and words[n].text == "for" and (fors or lemma(words[n - 1].text)[0] in w.ATTRIBUTES)


def linked(words: Sequence[Word]) -> list[Word]:
    found: list[Word] = []
    dropped = False
    for word in words:
        if word.text in w.DROPPED:
            dropped = True
            continue
        if word.text == "'s":
            continue
        link = word.link or ("gap" if dropped else "")
        found.append(replace(word, link=link if found else ""))
        dropped = False
    return found


def _based(word: Word) -> Word:
    if word.cased or word.form or not word.text.islower() or not word.text.isalpha():
        return word
    text, form = lemma(word.text)
    return replace(word, text=text, form=form)


def infinitive(verb: Word) -> Word:
    return replace(verb, text=lemma(verb.text)[0])
