"""Tracing as the settings say: to a collector of the user's, or nowhere."""

from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from opentelemetry import trace

from bridge.settings import Settings, worded
from observability.traces import Traces, keeping, tracing, tracing_apart

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from inference_server.telling import Keep

T = TypeVar("T")


@contextmanager
def traced(settings: Settings, service: str) -> Generator[Traces]:
    """Once in a process. Raises WrongSetting for an endpoint or a key that cannot be one."""
    endpoint, key = settings.phoenix_collector_endpoint, settings.phoenix_api_key
    with _entered(tracing(endpoint=endpoint, api_key=key, service=service, hide=settings.hidden)) as traces:
        yield traces


@contextmanager
def tracer(settings: Settings, service: str) -> Generator["Tracer"]:
    """For a process that makes its spans with this alone. Raises WrongSetting likewise."""
    endpoint, key = settings.phoenix_collector_endpoint, settings.phoenix_api_key
    with _entered(tracing_apart(endpoint=endpoint, api_key=key, service=service, hide=settings.hidden)) as tracer:
        yield tracer


@contextmanager
def traced_work(settings: Settings, service: str, *, alone: bool) -> Generator[tuple["Tracer", "Keep | None"]]:
    """Once in a worker's process: its tracer, and where it has no collector what keeps its spans for who asks for them.
    `alone`: spans that others in this process begin stay nothing. Raises WrongSetting as the two above."""
    if settings.phoenix_collector_endpoint is None:
        with keeping(service=service, hide=settings.hidden, alone=alone) as (ours, kept):
            yield ours, kept.of
    elif alone:
        with tracer(settings, service) as ours:
            yield ours, None
    else:
        with traced(settings, service):
            yield trace.get_tracer("tandem"), None


@contextmanager
def _entered(opening: AbstractContextManager[T]) -> Generator[T]:
    """What goes wrong later is no setting's."""
    with ExitStack() as stack:
        with worded():
            opened = stack.enter_context(opening)
        yield opened
