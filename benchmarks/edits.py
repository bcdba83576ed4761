"""Answers that a passage supports, and the same ones spoilt by one small edit, made by rule (pure).

A judge of answers should tell them apart. The paraphrases are there so that it cannot do so by looking for the very
words: they say the same in another order, with other forms and with other words.
"""

import random
import re

_SYNONYMS = {
    one: other
    for pair in (
        "big large", "show demonstrate", "shown demonstrated", "shows demonstrates", "use employ",
        "used employed", "help aid",
        "begin start", "important significant", "common frequent", "rapid fast", "rapidly quickly", "illness disease",
        "children kids", "people persons", "approximately about", "mainly mostly", "primarily mainly", "cause provoke",
        "causes provokes", "caused provoked", "found detected", "need require", "needs requires", "also too",
        "however but",
        "several many", "area region", "areas regions", "method approach", "methods approaches", "result outcome",
        "results outcomes", "study investigation", "reported described", "due owing", "although though", "whole entire",
        "such so-called", "because since", "including with", "many numerous", "obtain get", "main chief",
        "worldwide globally",
    )
    for one, other in (pair.split(),)
}  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*(?![\w])")
_VERB = re.compile(r"\b(is|are|was|were|can|could|may|might|will|would|should|has|have|had|does|do|did)\b(?! not\b)")
_NEGATION = re.compile(r"\b(?:not|no|never|without)\b\s?", re.IGNORECASE)
_NAME = re.compile(
    r"\b(?:[A-Z][A-Za-z0-9]*\d[A-Za-z0-9]*|[A-Z]{2,}[A-Za-z0-9]*(?:-[A-Z0-9][A-Za-z0-9]*)*|[A-Z][a-z]{3,})\b"
)


def reordered(answer: str, chance: random.Random) -> str | None:
    """The last clause first."""
    clauses = re.split(r",\s+|;\s+", answer.rstrip(". "))
    if len(clauses) < 2 or len(answer) < 50:
        return None
    cut = chance.randrange(1, len(clauses))
    return ", ".join([*clauses[cut:], *clauses[:cut]]) + "."


def shortened(answer: str, chance: random.Random) -> str | None:
    """Without one or two of its small words and one adjective or adverb (a word that ends as such)."""
    words = answer.split()
    if len(words) < 8:
        return None
    small = {"the", "a", "an", "of", "that", "which", "also", "very", "these"}
    spare = [n for n, word in enumerate(words) if word.lower() in small]
    spare += [n for n, word in enumerate(words) if re.fullmatch(r"[a-z]+(?:ly|al|ive|ous)", word)]
    gone = set(chance.sample(spare, min(3, len(spare))))
    return " ".join(word for n, word in enumerate(words) if n not in gone) if gone else None


def inflected(answer: str, chance: random.Random) -> str | None:
    """Some nouns and verbs in another form, some words by others of the same meaning."""
    words = answer.split(" ")
    changed = 0
    for n, word in enumerate(words):
        bare = word.strip(".,;:()")
        other = _SYNONYMS.get(bare) or _other_form(bare) if chance.random() < 0.6 else None
        if other and bare:
            words[n] = word.replace(bare, other)
            changed += 1
    return " ".join(words) if changed else None


def _other_form(word: str) -> str | None:
    if not re.fullmatch(r"[a-z]{5,}", word):
        return None
    for ending, other in (("ies", "y"), ("ing", "ed"), ("tion", "tions"), ("ed", "ing"), ("s", "")):
        if word.endswith(ending) and not word.endswith(("ss", "us", "is")):
            return word[: -len(ending)] + other
    return None


def told(answer: str, chance: random.Random) -> str | None:
    """In a frame, as a model answers."""
    frame = chance.choice(("According to the passage, {}", "The documents report that {}", "It was found that {}"))
    return frame.format(answer[0].lower() + answer[1:] if answer[1:2].islower() else answer)


def other_number(answer: str, passage: str, chance: random.Random) -> str | None:
    """One number changed, to another of the passage in half of the cases."""
    numbers = list(_NUMBER.finditer(answer))
    if not numbers:
        return None
    at = chance.choice(numbers)
    others = [n for n in _NUMBER.findall(passage) if n not in answer]
    if others and chance.random() < 0.5:
        new = chance.choice(others)
    else:
        place = chance.randrange(len(at[0]))
        digit = at[0][place]
        other = str((int(digit) + chance.randint(1, 8)) % 10 or 7) if digit.isdigit() else "0"
        new = at[0][:place] + other + at[0][place + 1 :]
    return None if new == at[0] else answer[: at.start()] + new + answer[at.end() :]


def other_negation(answer: str, passage: str, chance: random.Random) -> str | None:
    """A negation taken out where there is one, else put in after a verb."""
    if there := _NEGATION.search(answer):
        return answer[: there.start()] + answer[there.end() :]
    verbs = list(_VERB.finditer(answer))
    if not verbs:
        return None
    at = chance.choice(verbs)
    return f"{answer[: at.end()]} not{answer[at.end() :]}"


def other_name(answer: str, passage: str, chance: random.Random) -> str | None:
    """One name replaced by another of the passage."""
    names = [name for name in _NAME.finditer(answer) if name.start() or not re.fullmatch(r"[A-Z][a-z]+", name[0])]
    sentence_starts = {match[1] for match in re.finditer(r"(?:^|[.!?:]\s+|\n)([A-Z][a-z]+)", passage)}
    others = sorted({name for name in _NAME.findall(passage) if name not in answer} - sentence_starts)
    if not names or not others or len(answer.split()) < 3:
        return None
    at = chance.choice(names)
    return answer[: at.start()] + chance.choice(others) + answer[at.end() :]


PARAPHRASES = {"reordered": reordered, "shortened": shortened, "inflected": inflected, "told": told}
EDITS = {"number": other_number, "negation": other_negation, "name": other_name}
