"""Tracing as the settings say: to a collector of the user's, or nowhere."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from bridge.settings import Settings, WrongSetting
from observability.traces import Traces, tracing


@contextmanager
def traced(settings: Settings, service: str) -> Generator[Traces]:
    """Once in a process. Raises WrongSetting for an endpoint or a key that cannot be one."""
    with ExitStack() as stack:
        endpoint, key = settings.phoenix_collector_endpoint, settings.phoenix_api_key
        try:
            traces = stack.enter_context(tracing(endpoint=endpoint, api_key=key, service=service))
        except ValueError as error:
            raise WrongSetting(str(error)) from error
        yield traces
