"""Hits and answers for a person at a terminal: where they stand in colour, the file a link, the words asked for marked.

Text out of files is put in as text, never as markup, and what could steer a terminal is taken out before.
"""

from collections.abc import Generator
from contextlib import contextmanager
from itertools import dropwhile

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from bridge.citing import also_in, current, made_of, place, time_spent
from bridge.service import Answer, Citation
from bridge.terminal import on_one_line, printable
from indexer.hits import Found, Hit

LINES = 10  # of a hit; the rest is a click away
_VERDICT = {
    True: ("every sentence is supported by the passage it cites", "green"),
    False: ("not every sentence is supported by what it cites", "yellow"),
}


def show_found(console: Console, found: Found) -> None:
    """A file's passages stand together, beneath its best one's rank."""
    files: dict[str, list[tuple[int, Hit]]] = {}
    for n, hit in enumerate(found.hits, 1):
        files.setdefault(hit.path, []).append((n, hit))
    for passages in files.values():
        console.print(_path(passages[0][1]), soft_wrap=True)
        for n, hit in passages:
            _show_passage(console, n, hit)
    if not found.hits:
        console.print("nothing found", style="bold")
    if found.explained:
        console.print(Text(time_spent(found.explained), "dim"))


def _show_passage(console: Console, n: int, hit: Hit) -> None:
    where = _spot(hit).removeprefix(", ")
    console.print(Text(f"[{n}] ", "bold").append(f"{where}  {hit.score:.3f}".lstrip(), "dim"), soft_wrap=True)
    for line in (*also_in(hit), *made_of(hit)):
        console.print(Text(f"    {on_one_line(line)}", "dim italic"), soft_wrap=True)
    console.print(Padding(_marked(hit), (0, 2, 1, 4)))


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
    return Text(f"[{n}] ", "bold").append(_path(at)).append(_spot(at), "dim")


def _path(at: Hit | Citation) -> Text:
    linked = at.uri.isascii() and " " not in at.uri
    return Text(on_one_line(at.path), f"bold cyan link {at.uri}" if linked else "bold cyan")


def _spot(at: Hit | Citation) -> str:
    return on_one_line(place(at)).removeprefix(on_one_line(at.path))


def _marked(hit: Hit) -> Text:
    shown = Text(printable(hit.text))  # character by character: the marks stay true
    for start, end in hit.marks:
        shown.stylize("bold yellow", start, end)
    lines = list(dropwhile(lambda line: not line.plain.strip(), shown.split()))
    more = len(lines) - LINES
    shown = Text("\n").join(lines[:LINES])
    return shown.append(f"\n… {more} more lines", "dim") if more > 0 else shown
