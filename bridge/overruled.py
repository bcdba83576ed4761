"""What is set elsewhere and counts instead of a pairing, which is the settings' lowest layer."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bridge.paired import Paired
from bridge.services import Kind
from bridge.services.command import everywhere
from bridge.services.installed import naming_a_queue
from bridge.settings import origin


def overruling(data: Path, role: str, entry: Paired) -> list[str]:
    """Each such setting with its place: of a command that is called as this one is, and of services."""
    return [*_here(data, role, entry), *_in_services(data, "worker" if role == "worker" else "daemon")]


def _in_services(data: Path, kind: Kind) -> Iterator[str]:
    with suppress(RuntimeError):  # a user without a home has no services
        for name, file in naming_a_queue(everywhere(), kind, data):
            yield f"REDIS_URL in {file} (service {name})"


def _here(data: Path, role: str, entry: Paired) -> Iterator[str]:
    if url := origin("redis_url", data):
        yield f"REDIS_URL in {url[1]}"
        if key := origin("redis_key", data):  # without the other it does not count
            yield f"REDIS_KEY in {key[1]}"
    if role == "bridge" and (engine := origin("engine", data)) and engine[0].strip() not in ("", "redis"):
        yield f"TANDEM_ENGINE in {engine[1]}"
    if (stream := origin("redis_stream_key", data)) and stream[0].strip() != entry.stream_key:
        yield f"REDIS_STREAM_KEY in {stream[1]}"
