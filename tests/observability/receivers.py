"""What takes spans and shows them: the small collector and a real Phoenix, in one form for the same tests."""

import json
from collections.abc import AsyncGenerator, Callable, Generator, Sequence, Set
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

import anyio.to_thread

from observability.phoenix import phoenix
from tests.observability import read_back
from tests.observability.collector import Collector, Request, collecting
from tests.processes import until

KEY = "the key"

# Of each span: its name, its kind, and the name of its parent.
Tree = Set[tuple[str, str, str | None]]


@dataclass(frozen=True, slots=True)
class Span:
    """`service`: the process it comes from; null from Phoenix, which keeps no resource. `exceptions`: their types.

    Attributes have flat names, those inside a document's metadata too.
    """

    trace: str
    id: str
    parent: str | None
    name: str
    kind: str
    status: str
    service: str | None
    attributes: dict[str, Any]
    exceptions: list[str]


@dataclass(frozen=True, slots=True)
class Receiver:
    """`spans`: those that have come so far, in any order."""

    endpoint: str
    api_key: str
    spans: Callable[[], list[Span]]

    async def once_there(self, count: int, wanted: Callable[[Span], bool]) -> list[Span]:
        """The wanted spans, as soon as there are so many."""

        async def look() -> list[Span] | None:
            found = [span for span in await anyio.to_thread.run_sync(self.spans) if wanted(span)]
            return found if len(found) >= count else None

        return await until(look, 180) or []  # Phoenix is slow on a busy machine


def tree(spans: Sequence[Span]) -> Tree:
    names: dict[str | None, str | None] = {span.id: span.name for span in spans}
    # A parent that is not among them stays an id, and is noticed.
    return {(span.name, span.kind, names.get(span.parent, span.parent)) for span in spans}


@contextmanager
def at_collector(host: str = "127.0.0.1") -> Generator[Receiver]:
    with collecting(host=host) as collector:
        yield Receiver(collector.url, KEY, _gathering(collector))


@asynccontextmanager
async def at_phoenix(data: Path) -> AsyncGenerator[Receiver]:
    """Skips the test where no Python has Phoenix."""
    async with phoenix(data, port=0, python=read_back.phoenix_python()) as collector:
        yield in_phoenix(*collector)


def in_phoenix(endpoint: str, api_key: str) -> Receiver:
    """A Phoenix that runs already."""
    return Receiver(endpoint, api_key, partial(_shown, endpoint, api_key))


def _gathering(collector: Collector) -> Callable[[], list[Span]]:
    spans: list[Span] = []

    def so_far() -> list[Span]:
        with suppress(Empty):
            while True:
                request = collector.requests.get_nowait()
                assert request.authorization == f"Bearer {KEY}"
                assert request.resource["openinference.project.name"] == "tandem"
                spans.extend(_sent(span, request) for span in request.spans)
        return list(spans)

    return so_far


def _sent(span: Any, request: Request) -> Span:
    attributes = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}
    for name in [name for name in attributes if name.endswith(".document.metadata")]:
        attributes |= {f"{name}.{key}": value for key, value in json.loads(attributes[name]).items()}
    events = [{pair.key: pair.value.string_value for pair in event.attributes} for event in span.events]
    return Span(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex() or None,
        name=span.name,
        kind=attributes.pop("openinference.span.kind", "UNKNOWN"),
        status={0: "UNSET", 1: "OK", 2: "ERROR"}[span.status.code],
        service=request.resource["service.name"],
        attributes=attributes,
        exceptions=[event["exception.type"] for event in events if "exception.type" in event],
    )


def _shown(endpoint: str, api_key: str) -> list[Span]:
    return [
        Span(
            trace=span["context"]["trace_id"],
            id=span["context"]["span_id"],
            parent=span["parent_id"],
            name=span["name"],
            kind=span["span_kind"],
            status=span["status_code"],
            service=None,
            attributes=span["attributes"],
            exceptions=[each["attributes"]["exception.type"] for each in span["events"] if each["name"] == "exception"],
        )
        for span in read_back.spans(endpoint, api_key)
    ]
