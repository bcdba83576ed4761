"""`tracing` starts the OpenTelemetry SDK for one process; the rooms use the API and never see this module."""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the SDK and its HTTP client cost 0.3 s; a process without traces does not pay
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

    from observability.annotations import Annotation
    from observability.kept import Kept
    from observability.outbox import Outbox

PROJECT = "tandem"

# The SDK's 128 would silently cut the passages of a search with more than 30 hits.
MOST_ATTRIBUTES = 4_096


@dataclass(frozen=True, slots=True)
class Asked:
    """A job of ours, below whose `span` in `trace` others' spans may stand: `since` it was sent, `until` it had ended,
    in nanoseconds since the epoch."""

    trace: int
    span: int
    since: int
    session: str | None = None
    until: int = 0


class Traces(Protocol):
    """How tracing fares. `problem`: one sentence with its remedy while spans do not get through, else None;
    `dropped`: spans that will never arrive; `refused`: what others told as spans and was not taken. `shown_at`: the
    Phoenix where people look at them, else None. `annotations_problem`: why what is said of a trace goes nowhere, with
    its remedy, else None."""

    @property
    def problem(self) -> str | None: ...

    @property
    def dropped(self) -> int: ...

    @property
    def refused(self) -> int: ...

    @property
    def shown_at(self) -> str | None: ...

    @property
    def annotations_problem(self) -> str | None: ...

    def annotate(self, annotation: "Annotation") -> None:
        """Sends what a person says of a trace, where nothing stands in its way."""
        ...

    def arrived(self, data: bytes, asked: Asked) -> None:
        """Sends what another machine tells in OTLP of a job that was asked of it, as far as it can be believed."""
        ...


@dataclass(frozen=True, slots=True)
class Off:
    """No traces were asked for, so none can fail."""

    problem: None = None
    dropped: int = 0
    refused: int = 0
    shown_at: None = None
    annotations_problem: str = (
        "traces are off; `tandem up --phoenix` keeps them, or PHOENIX_COLLECTOR_ENDPOINT where a Phoenix runs already"
    )

    def annotate(self, annotation: "Annotation") -> None:
        pass

    def arrived(self, data: bytes, asked: Asked) -> None:
        pass


@contextmanager
def tracing(
    *,
    endpoint: str | None,
    api_key: str | None = None,
    project: str = PROJECT,
    service: str,
    hide: Collection[str] = (),
) -> Generator[Traces]:
    """Sends this process's spans to `endpoint` (OTLP over HTTP); None starts nothing and costs nothing. What `hide`
    names (`redaction.HIDEABLE`) leaves with none of them.

    Once in a process, at its entry point: the provider becomes OpenTelemetry's global one. Whatever the
    collector does, no span waits for it, and leaving takes 1.5 s at most. Raises ValueError for an endpoint
    that is no URL.
    """
    if endpoint is None:
        yield Off()
        return
    from observability.collector import address

    where = address(endpoint, api_key)
    with exporting(project=project, service=service, hide=hide) as (provider, outbox):
        outbox.send_to(where)
        become_global(provider)
        yield outbox


@contextmanager
def tracing_apart(
    *,
    endpoint: str | None,
    api_key: str | None = None,
    project: str = PROJECT,
    service: str,
    hide: Collection[str] = (),
) -> Generator["Tracer"]:
    """As `tracing`, for a tracer that is the caller's alone: spans that others in this process begin stay nothing."""
    from opentelemetry.trace import NoOpTracer

    if endpoint is None:
        yield NoOpTracer()
        return
    from observability.collector import address

    where = address(endpoint, api_key)
    with exporting(project=project, service=service, hide=hide) as (provider, outbox):
        outbox.send_to(where)
        yield provider.get_tracer("tandem")


@contextmanager
def keeping(*, service: str, hide: Collection[str] = (), alone: bool = False) -> Generator[tuple["Tracer", "Kept"]]:
    """For a process without a collector: its spans of the traces that somebody asks for are kept for them, and no other
    is made. `alone`: by this tracer's use only; else the provider becomes OpenTelemetry's global one."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider

    from observability.kept import Kept

    kept = Kept(hide)
    resource, limits = Resource({"service.name": service}), SpanLimits(max_span_attributes=MOST_ATTRIBUTES)
    provider = TracerProvider(sampler=kept, resource=resource, span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(kept)
    if not alone:
        become_global(provider)
    yield provider.get_tracer("tandem"), kept


@contextmanager
def exporting(
    *, project: str = PROJECT, service: str, every_s: float = 0.5, hide: Collection[str] = ()
) -> Generator[tuple["TracerProvider", "Outbox"]]:
    """A provider of its own and the outbox its spans go to; they wait there until `outbox.send_to`."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider

    from observability.outbox import Outbox

    resource = Resource.create({"openinference.project.name": project, "service.name": service})
    limits = SpanLimits(max_span_attributes=MOST_ATTRIBUTES)
    outbox = Outbox(every_s=every_s, hide=hide)
    provider = TracerProvider(resource=resource, span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(outbox)
    try:
        yield provider, outbox
    finally:
        outbox.close()


def become_global(provider: "TracerProvider") -> None:
    from opentelemetry import trace

    trace.set_tracer_provider(provider)
