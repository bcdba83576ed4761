"""What a check says, and questions that end in time."""

import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.from_thread
import httpx
from anyio.lowlevel import current_token

ANSWER_S = 3.0  # of a server that is asked one thing

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Check:
    """`off`: not in use. `found`: what was expected, where it is not there, and what came. `remedy`: what to do."""

    part: str
    state: Literal["ok", "warning", "failed", "off"]
    found: str
    remedy: str | None = None


class NoAnswer(Exception):
    """A server gave no answer; the message says what came instead."""


async def in_thread(work: Callable[[], _T]) -> _T:
    """Raises what `work` raises. Unlike with anyio.to_thread, a thread that hangs (a disk of the network that is away)
    holds up neither who cancels this nor the end of the process."""
    done, token = anyio.Event(), current_token()
    outcome: list[Callable[[], _T]] = []

    def run() -> None:
        try:
            value = work()
        except Exception as error:  # noqa: BLE001 (raised again below)
            outcome.append(partial(_raise, error))
        else:
            outcome.append(lambda: value)
        with suppress(RuntimeError):  # nobody waits any more
            anyio.from_thread.run_sync(done.set, token=token)

    threading.Thread(target=run, daemon=True).start()
    await done.wait()
    return outcome[0]()


def _raise(error: Exception) -> Any:
    raise error


async def asked(url: str, method: str = "GET", **options: Any) -> httpx.Response:
    """One request, whatever the status of its answer. Raises NoAnswer."""
    try:
        with anyio.fail_after(ANSWER_S):
            await resolved(url)
            async with httpx.AsyncClient(timeout=ANSWER_S) as client:
                return await client.request(method, url, **options)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise NoAnswer(f"no answer within {ANSWER_S:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from error


async def resolved(url: str) -> None:
    """Its name is asked for here, where that may hang: whoever else resolves it does so in a thread that the process
    would wait for at its end."""
    with suppress(OSError, ValueError):
        await in_thread(partial(socket.getaddrinfo, urlsplit(url).hostname, None))


def json_of(response: httpx.Response) -> Any:
    """Raises NoAnswer where it is none."""
    try:
        return response.json()
    except ValueError as error:
        raise NoAnswer(f"status {response.status_code}, and no JSON, which was expected") from error


def existing(path: Path) -> Path:
    """The path itself, or the nearest of its parents that is there."""
    return next((one for one in (path, *path.parents) if _exists(one)), path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def size(count: float) -> str:
    """Bytes for people: 12 MB."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def shown(place: str) -> str:
    """Fit to be shown: without a user's name and password."""
    url, _, rest = place.partition(" ")
    parts = urlsplit(url)
    return " ".join(filter(None, [parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), rest]))


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
