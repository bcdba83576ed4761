"""An answer as server-sent events: from any place on, at the client's own pace."""

import logging
from collections.abc import Sequence
from contextlib import suppress

import anyio
import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bridge import sse
from bridge.answers import INTERNAL
from bridge.guard import TooLarge
from bridge.service import Answer, BadInput, Numbered, Part, Place, Reader, Service, Unavailable

logger = logging.getLogger(__name__)


class Events(Response):
    """A client that goes away may come back for the rest: `Service.follow` says how long.

    The status waits for the first part or the first heartbeat: what is refused before is refused in HTTP.
    """

    def __init__(self, service: Service, request: str, after: Place, heartbeat_s: float) -> None:
        # no-transform, no buffering: a proxy that gathers events would hold tokens back.
        headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
        if request.isascii() and request.isalnum():  # else there is no such answer
            headers["Tandem-Answer"] = request
        super().__init__(media_type=sse.MEDIA_TYPE, headers=headers)
        del self.headers["content-length"]
        self._service, self._request, self._after = service, request, after
        self._heartbeat_s = heartbeat_s
        self._begun = self._read = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
            try:
                async with self._service.follow(self._request, self._after) as reader:
                    await self._stream(reader, send)
            except Exception as error:  # noqa: BLE001 (the gateway turns it into a status)
                refused = error  # Raised in here a task group would wrap it.
            tasks.cancel_scope.cancel()
        if refused and not self._begun:
            raise refused
        if refused and not self._read:
            await self._send_refusal(refused, send)
        # Else the stream just stops, and who reads it reads on.

    async def _stream(self, reader: Reader, send: Send) -> None:
        over = False
        while not over:
            some: Sequence[Numbered] | None = None
            with anyio.move_on_after(self._heartbeat_s):
                some = await reader.read()
            over = some is not None and (not some or isinstance(some[-1].part, Answer))
            if not self._begun:
                self._begun = True
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            self._read = self._read or bool(some)
            frames = [_event(self._request, one) for one in some] if some is not None else [sse.HEARTBEAT]
            await send({"type": "http.response.body", "body": b"".join(frames), "more_body": True})
        await send({"type": "http.response.body", "body": sse.DONE, "more_body": False})

    async def _send_refusal(self, refused: Exception, send: Send) -> None:
        """Heartbeats are out: it is too late for a status."""
        if not isinstance(refused, BadInput | Unavailable):
            logger.error("an answer failed before its first word", exc_info=refused)
        words = str(refused) if isinstance(refused, BadInput | Unavailable) else INTERNAL
        end = msgspec.json.encode({"chunk": "", "is_final": True, "error": words})
        await send({"type": "http.response.body", "body": sse.event(end) + sse.DONE, "more_body": False})


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    with suppress(TooLarge):  # a body that nobody asked for
        while (await receive())["type"] != "http.disconnect":
            pass
    scope.cancel()


def _event(request: str, numbered: Numbered) -> bytes:
    epoch, seq = numbered.place
    return sse.event(_payload(numbered.part), f"{request}:{epoch}-{seq}")


def _payload(part: Part) -> bytes:
    if not isinstance(part, Answer):
        return msgspec.json.encode(part)
    fields = {name: getattr(part, name) for name in Answer.__slots__ if name != "error" or part.error}
    return msgspec.json.encode({"chunk": "", "is_final": True, **fields})
