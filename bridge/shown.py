"""Hits and answers for a person at a terminal: where they stand in colour, the file a link, the words asked for marked.

Text out of files is put in as text, never as markup, and what could steer a terminal is taken out before.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from bridge.citing import current, place
from bridge.service import Answer, Citation
from bridge.terminal import on_one_line, printable
from indexer.hits import Found, Hit

LINES = 10  # of a hit; the rest is a click away
_WORDS = re.compile(r"\w+")
_SHORT = 3
_VERDICT = {
    True: ("every sentence is supported by the passage it cites", "green"),
    False: ("not every sentence is supported by what it cites", "yellow"),
}


def show_found(console: Console, found: Found, query: str) -> None:
    for n, hit in enumerate(found.hits, 1):
        console.print(_head(n, hit).append(f"  {hit.score:.3f}", "dim"), soft_wrap=True)
        console.print(Padding(_marked(hit.text, query), (0, 2, 1, 4)))
    if not found.hits:
        console.print("nothing found", style="bold")


def show_sources(console: Console, answer: Answer) -> None:
    if answer.citations:
        console.print("\nSources", style="bold")
    for citation in answer.citations:
        console.print(_head(citation.n, citation), soft_wrap=True)
        console.print(Padding(Text(printable(citation.quote), "dim italic"), (0, 2, 0, 4)))
    console.print()
    if answer.grounded is not None and not answer.error:
        words, colour = _VERDICT[answer.grounded]
        console.print(f"{'✓' if answer.grounded else '!'} {words}", style=colour)
    for note in answer.degraded:
        console.print(Text(f"! {printable(note)}", "yellow"))
    console.print(Text(" · ".join(_how(answer)), "dim"))


@contextmanager
def searching() -> Generator[None]:
    """A sign of life on stderr until it is left."""
    with Console(stderr=True).status("searching…"):
        yield


def _how(answer: Answer) -> list[str]:
    told = [f"answered by {printable(answer.engine)}"]
    if answer.cache_hit:
        told.append("reused: its passages are unchanged")
    if answer.timings and answer.timings.total_ms is not None:
        told.append(f"{answer.timings.total_ms / 1000:.1f} s")
    return [*told, current(answer.freshness)]


def _head(n: int, at: Hit | Citation) -> Text:
    path = on_one_line(at.path)
    linked = at.uri.isascii() and " " not in at.uri
    head = Text(f"[{n}] ", "bold").append(path, f"bold cyan link {at.uri}" if linked else "bold cyan")
    return head.append(on_one_line(place(at)).removeprefix(path), "dim")


def _marked(text: str, query: str) -> Text:
    lines = printable(text).strip("\n").splitlines()
    more = len(lines) - LINES
    shown = Text("\n".join(lines[:LINES]))
    words = [re.escape(word) for word in _WORDS.findall(query) if len(word) >= _SHORT]
    if words:
        shown.highlight_regex(rf"(?i)\b(?:{'|'.join(words)})\w{{0,3}}\b", "bold yellow")
    if more > 0:
        shown.append(f"\n… {more} more lines", "dim")
    return shown
