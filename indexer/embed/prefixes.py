"""What stands before a document and before a query: as the model was trained, or as somebody wants it."""

import hashlib
import json
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prefixes:
    document: str = ""
    query: str = ""

    @property
    def digest(self) -> str:
        """In a signature, which is parted at its colons: not the words themselves."""
        words = json.dumps([self.document, self.query])
        return hashlib.blake2b(words.encode(), digest_size=4).hexdigest()


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants instead of the model's own; none: the model's own."""

    document: str | None = None
    query: str | None = None

    def over(self, own: Prefixes) -> Prefixes:
        return Prefixes(
            own.document if self.document is None else self.document, own.query if self.query is None else self.query
        )


NOTHING = Prefixes()
NOTHING_ASKED = Asked()

_SEARCHING = Prefixes(query="Represent this sentence for searching relevant passages: ")
_SEARCH = Prefixes("search_document: ", "search_query: ")
_PASSAGE = Prefixes("passage: ", "query: ")
_QUERY = Prefixes(query="query: ")
_INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
# By the beginning of a name without its owner and tag, as the model cards say. A family that is not here wants nothing
# (all-*, gte-*, paraphrase-*, granite-embedding), or says what it wants in its folder.
_FAMILIES = tuple(
    (re.compile(pattern), prefixes)
    for pattern, prefixes in (
        (r"nomic-embed-text|modernbert-embed", _SEARCH),
        (r"mxbai-embed-(large|xsmall)|uae-large", _SEARCHING),
        (r"bge-m3", NOTHING),
        (r"bge-(small|base|large)-zh", Prefixes(query="为这个句子生成表示以用于检索相关文章：")),
        (r"bge-", _SEARCHING),
        (r"(multilingual-)?e5-.*instruct|qwen3-embedding", Prefixes(query=_INSTRUCT)),
        (r"(multilingual-)?e5-", _PASSAGE),
        (r"snowflake-arctic-embed2|snowflake-arctic-embed-[ml]-v2", _QUERY),
        (r"snowflake-arctic-embed", _SEARCHING),
        (r"embeddinggemma", Prefixes("title: none | text: ", "task: search result | query: ")),
    )
)


def of(name: str) -> Prefixes:
    """`name`: as a hub or Ollama has it, with or without owner and tag."""
    stem = name.rpartition("/")[2].partition(":")[0].lower()
    return next((prefixes for pattern, prefixes in _FAMILIES if pattern.match(stem)), NOTHING)


def tagged(signature: str, prefixes: Prefixes, always: Prefixes) -> str:
    """`signature`: <kind>:<name>@<digest>:<dimensions>, with or without a tag; `always`: what has none stands for."""
    start, _, weights = signature.rpartition("@")
    tag = "" if prefixes == always else f":{prefixes.digest}"
    return f"{start}@{':'.join(weights.split(':')[:2])}{tag}"
