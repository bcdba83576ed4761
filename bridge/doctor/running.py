"""What runs here: the daemon, its port, and which web pages may ask it."""

import errno
import socket
from functools import partial
from urllib.parse import urlsplit

import anyio
import msgspec

from bridge.client import remote
from bridge.doctor.check import Check, NoAnswer, asked, in_thread
from bridge.doctor.recorded import Recorded
from bridge.folder import Folder
from bridge.service import BadInput, Status, Unavailable
from bridge.settings import Settings

_STATUS_S = 4.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def daemon(settings: Settings, recorded: Recorded) -> list[Check]:
    if recorded.hangs:
        found = f"not known whether one runs: {recorded.problem}"
        return [Check("daemon", "failed", found, "see whether the disk of the data folder answers")]
    if recorded.holder is None:
        return [Check("daemon", "off", "none runs; commands open the index themselves", "start one: `tandem up`")]
    if not recorded.holder.command.startswith("tandem up"):
        return [Check("daemon", "off", f"none runs; {recorded.holder} has the index for the moment")]
    try:
        status = await _status(settings)
    except Unavailable as error:
        log = Folder(settings.data).log
        return [Check("daemon", "failed", f"{recorded.holder}: {error}", f"`tandem down`, then `tandem up`; see {log}")]
    what = f"{recorded.holder} answers: {status.state}, {status.pending} pending, engine {status.engine}"
    if status.growing:
        what += f"; a new index grows, {status.growing.chunks_left} chunks left"
    if status.warnings:
        what += f"; it warns: {status.warnings[0]}"
        return [Check("daemon", "warning", what, f"`tandem status` has all its warnings ({len(status.warnings)})")]
    return [Check("daemon", "ok", what)]


async def _status(settings: Settings) -> Status:
    """Raises Unavailable. Not asked where nobody holds the folder: a long path's socket has a folder to be made."""
    path = str(await in_thread(lambda: Folder(settings.data).http_socket))
    try:
        with anyio.fail_after(_STATUS_S):
            async with remote(path) as service:
                return await service.status()
    except TimeoutError as error:
        raise Unavailable(f"an answer was expected within {_STATUS_S:g} s, and none came") from error
    except BadInput as error:
        raise Unavailable(str(error)) from error


async def port(settings: Settings, recorded: Recorded) -> list[Check]:
    if settings.host not in LOOPBACK and not settings.token:
        found = (
            f"HOST is {settings.host}, which others can reach, and that needs TANDEM_TOKEN: the daemon will not start"
        )
        return [Check("port", "failed", found, "set TANDEM_TOKEN, or leave HOST at 127.0.0.1")]
    where = f"{settings.host}:{settings.port}"
    if settings.port == 0:
        return [Check("port", "ok", f"any free one at {settings.host}")]
    refused = await in_thread(partial(taken, settings.host, settings.port))
    if refused is None:
        return [Check("port", "ok", f"{where} is free")]
    if refused.errno != errno.EADDRINUSE:
        remedy = "the sockets serve all the same; set HOST to an address of this machine and PORT to 1024 or above"
        return [Check("port", "warning", f"{where} is not to be had: {refused.strerror}", remedy)]
    return [await _who(settings, recorded, where)]


def taken(host: str, number: int) -> OSError | None:
    """Why the port is not to be had, as the daemon would find; None where it is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
            probe.listen(1)
        except OSError as error:
            return error
    return None


async def _who(settings: Settings, recorded: Recorded, where: str) -> Check:
    remedy = f"choose another with PORT or --port, or end what has it (`ss -ltnp 'sport = :{settings.port}'`)"
    try:
        theirs = await _over_http(settings)
    except NoAnswer:
        found = f"{where} was expected to be free or our daemon's, and another program has it; the sockets serve on"
        return Check("port", "warning", found, remedy)
    try:
        ours = await _status(settings) if recorded.holder else None
    except Unavailable:
        ours = None
    if theirs and ours and (theirs.roots, theirs.as_of, theirs.store) == (ours.roots, ours.as_of, ours.store):
        return Check("port", "ok", f"{where} is our daemon's")
    found = f"{where} is a Tandem daemon's, but not that of {settings.data}"
    if theirs is None:
        found = f"{where} is a Tandem daemon's that wants another TANDEM_TOKEN"
    return Check("port", "warning", found, remedy)


async def _over_http(settings: Settings) -> Status | None:
    """The status of the daemon that listens there, None where it wants another token. Raises NoAnswer where it is no
    Tandem."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    base = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    if "tandem-version" not in (await asked(f"{base}/health")).headers:
        raise NoAnswer("no Tandem")
    headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
    response = await asked(f"{base}/status", headers=headers)
    if response.status_code == 401:
        return None
    try:
        return msgspec.json.decode(response.content, type=Status)
    except msgspec.DecodeError as error:
        raise NoAnswer("no status of ours") from error


async def origins(settings: Settings, _recorded: Recorded) -> list[Check]:
    allowed = [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]
    if not allowed:
        remedy = "a page that is served elsewhere needs its origin in TANDEM_CORS_ORIGINS, as http://localhost:5173"
        return [Check("origins", "off", "only the daemon's own page may ask it", remedy)]
    odd = [origin for origin in allowed if not _is_origin(origin)]
    if odd:
        found = f"origins were expected as http://host:port, and no browser ever sends {', '.join(odd)}"
        return [Check("origins", "warning", found, "correct TANDEM_CORS_ORIGINS")]
    return [Check("origins", "ok", f"pages of {', '.join(allowed)} may ask")]


def _is_origin(word: str) -> bool:
    try:
        parts = urlsplit(word)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.path.strip("/") and not parts.query
        )
    except ValueError:
        return False
