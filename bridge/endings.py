"""A word without its ending (pure): "kept" is keep, "policies" policy, "seven" 7."""

import re

from bridge import wording as w

_VOWEL = re.compile(r"[aeiouy]")
_DOUBLED = re.compile(r"([bdgmnprt])\1$")
_SILENT = re.compile(
    r"^[^aeiouy]*[aeiouy][^aeiouywx]$|(?:[^s]s|[cvzu]|[^n]g|[^aeiou][lr]|quir|[^aeiou](?:at|iz|ir|ur|ar|id|ad|ud|in|um|am|ul|il|ut)|"
    r"rit|vit|let|vok|ak)$"
)


def lemma(text: str) -> tuple[str, str]:
    """(the word without its ending, the ending); what it is called in NUMBERS and SAME."""
    if text in w.NUMBERS:
        return w.NUMBERS[text], ""
    if text in w.ORDINALS:
        return w.ORDINALS[text], ""
    if text in ("has", "had"):
        return "have", "ed" if text == "had" else ""
    base, form = _without_ending(text)
    return w.SAME.get(text) or w.SAME.get(base, base), form


def _without_ending(text: str) -> tuple[str, str]:
    if text in w.IRREGULAR:
        return w.IRREGULAR[text], "ed"
    if text in w.SAME or text in w.UNENDING or text in w.RELATORS or len(text) < 4:
        return text, ""
    for ending in ("ed", "ing"):
        stem = text.removesuffix(ending)
        if stem != text and len(stem) > 1 and _VOWEL.search(stem) and not text.endswith("eed"):
            return _verb(stem), ending
    if text.endswith("ies") and len(text) > 4:
        return text[:-3] + "y", ""
    if text.endswith(("sses", "xes", "zes", "ches", "shes")):
        return text[:-2], ""
    if text.endswith("s") and not text.endswith(("ss", "us", "is")):
        return text[:-1], ""
    return text, ""


def _verb(stem: str) -> str:
    """ "stopp" is stop, "stor" store: a short stem with one consonant at its end would have doubled it."""
    if stem.endswith("i"):
        return stem[:-1] + "y"
    if _DOUBLED.search(stem):
        return stem[:-1]
    return stem + "e" if _SILENT.search(stem) else stem
