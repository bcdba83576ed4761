"""`tandem search`, `ask` and `rate`: what is found and answered, and whether it was good."""

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack

from bridge.citing import also_in, current, made_of, place, time_spent
from bridge.reached import reached
from bridge.service import Answer, Part, Unavailable, asking
from bridge.settings import Settings
from bridge.terminal import printable, say, say_json
from indexer.filters import Filters


async def search(arguments: argparse.Namespace, settings: Settings) -> None:
    async with reached(settings) as service:
        found = await service.search(arguments.query, arguments.k, _filters(arguments), arguments.explain)
    if arguments.json:
        say_json(found)
        return
    if sys.stdout.isatty():
        from rich.console import Console

        from bridge.shown import show_found

        show_found(Console(), found)
    else:
        for n, hit in enumerate(found.hits, 1):
            say(f"[{n}] {printable(place(hit))}  {hit.score:.3f}")
            for line in (*also_in(hit), *made_of(hit)):
                say(f"    ({printable(line)})")
            say(f"{_indented(hit.text)}\n")
        if not found.hits:
            say("nothing found")
        if found.explained:
            say(f"({time_spent(found.explained)})")
    _notes(found.degraded, current(found.freshness))


async def ask(arguments: argparse.Namespace, settings: Settings) -> None:
    async with reached(settings) as service, asking(service, arguments.question, _filters(arguments)) as parts:
        if arguments.json:
            async for part in parts:
                if isinstance(part, Answer):
                    say_json({"chunk": "", "is_final": True})
                say_json(part)
                _raise_for(part)
            return
        _raise_for(await _streamed(parts))


async def rate(arguments: argparse.Namespace, settings: Settings) -> None:
    up = arguments.rating == "up"
    async with reached(settings) as service:
        await service.rate(arguments.trace_id, up, arguments.comment)
    if arguments.json:
        say_json({"trace_id": arguments.trace_id, "rating": arguments.rating})
    else:
        say(f"sent to the answer's trace: thumbs {arguments.rating}")


def _filters(arguments: argparse.Namespace) -> Filters:
    return Filters.asked(arguments.within, arguments.type, arguments.since)


async def _streamed(parts: AsyncIterator[Part]) -> Answer:
    at_terminal = sys.stdout.isatty()
    with ExitStack() as waiting:
        if at_terminal:
            from bridge.shown import searching

            waiting.enter_context(searching())
        async for part in parts:
            waiting.close()
            if isinstance(part, Answer):
                say("")
                _say_sources(part, at_terminal)
                return part
            print(printable(part.chunk), end="", flush=True)  # noqa: T201
    raise Unavailable("the answer stopped without its end: ask again")


def _say_sources(answer: Answer, at_terminal: bool) -> None:
    if at_terminal:
        from rich.console import Console

        from bridge.shown import show_sources

        return show_sources(Console(), answer)
    if answer.citations:
        say("\nSources:")
    for citation in answer.citations:
        say(f"[{citation.n}] {printable(place(citation))}")
    return _notes(answer.degraded, f"answered by {answer.engine}; {current(answer.freshness)}")


def _raise_for(part: Part) -> None:
    if isinstance(part, Answer) and part.error:
        raise Unavailable(f"the answer stops short: {part.error}")


def _notes(degraded: tuple[str, ...], freshness: str) -> None:
    for note in degraded:
        print(f"note: {note}", file=sys.stderr)  # noqa: T201
    print(f"({freshness})", file=sys.stderr)  # noqa: T201


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in printable(text).splitlines())
