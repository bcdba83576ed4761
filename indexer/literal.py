"""What a query asks for to the letter (pure): a quoted phrase, one identifier, the name of a file."""

import re
import unicodedata

from indexer.lexical import PAIRED

# What opens a quotation stands in none, else each that is never closed is looked for to the query's end.
_QUOTED = re.compile(
    r'"([^"]+)"|“([^“”]+)”|„([^„“”]+)[“”]|«([^«»]+)»|»([^»«]+)«|「([^「」]+)」|『([^『』]+)』|`([^`]+)`'
)
_STRETCH = re.compile(r"[^\s\"'`<>|*?]+")
_SUFFIX = re.compile(r"(?<=[^/\\])\.[A-Za-z][A-Za-z0-9]{0,9}")
_STOPS = ".,;:!/"
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MOST_NAMES = 8  # each is looked for among all paths
_SPACE = re.compile(r"\s+")
_LEAST_CHARS = 3
_INNER = re.compile(rf"[^\W{PAIRED}]{{2}}")  # two letters between which no word ends


def phrases(query: str) -> tuple[str, ...]:
    """The quoted phrases of a query; of a query without spaces all of it (`QX-4471`, `max_batch_size`)."""
    quoted = [next(filter(None, found.groups())) for found in _QUOTED.finditer(query)]
    if not quoted and not _SPACE.search(query.strip()):
        quoted = [query]
    return tuple(phrase for phrase in map(_plain, quoted) if len(phrase) >= _LEAST_CHARS)


def names(query: str) -> tuple[str, ...]:
    """What may name a file in a query: words with a suffix (`answer.py`) or with slashes (`bridge/answer.py`), the
    first few."""
    found = dict.fromkeys(name for stretch in _STRETCH.findall(query) if (name := _name(stretch)))
    return tuple(found)[:_MOST_NAMES]


def _name(stretch: str) -> str:
    """The name in what stands between blanks, without the signs around it."""
    bare = stretch.rstrip(_STOPS)
    end = max((suffix.end() for suffix in _SUFFIX.finditer(bare)), default=0)
    name = bare[:end] if end and "/" not in bare[end:] else bare if "/" in bare else ""
    # [id].tsx and (shop)/page.tsx are names.
    return name[1:] if name and _CLOSING.get(name[0], name) not in name else name


def holds(text: str, phrases: tuple[str, ...]) -> bool:
    """Whether all of the phrases stand in a text as words, whatever their case and the line breaks between them."""
    plain = _plain(text)
    return all(_stands(phrase, plain) for phrase in phrases)


def is_named(path: str, name: str) -> bool:
    """Whether a name is a path's end, whole parts of it: `answer.py` is no name of `my_answer.py`."""
    end = name.lstrip("./").casefold()
    return bool(end) and f"/{path.casefold()}".endswith(f"/{end}")


def _stands(phrase: str, plain: str) -> bool:
    """As words of its own: `art` does not stand in `start`, nor `max` in `max_size`."""
    at = plain.find(phrase)
    while at >= 0:
        after = at + len(phrase)
        if not _INNER.match(plain[max(0, at - 1) : at + 1]) and not _INNER.match(plain[after - 1 : after + 1]):
            return True
        at = plain.find(phrase, at + 1)
    return False


def _plain(text: str) -> str:
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
