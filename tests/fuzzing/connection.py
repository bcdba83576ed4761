"""One session: lines go in, cut anywhere, and what comes back is judged."""

import json
from random import Random
from typing import Any, cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, SocketStream
from anyio.streams.stapled import StapledObjectStream

from tests.fuzzing.ground import KILN
from tests.fuzzing.lines import INITIALIZE, MODERN, Lines
from tests.fuzzing.offered import LISTS, Offered, offered
from tests.fuzzing.verdict import Verdict

OPEN_AT_ONCE = 64
_CUT = 0.1  # of the lines
_ANSWERED_S = 40
_SEARCH = {"name": "search", "arguments": {"query": "How long does the kiln cool?"}}


class Connection:
    """Let `listen` run."""

    def __init__(self, verdict: Verdict, to_server: ByteSendStream, from_server: ByteReceiveStream) -> None:
        self.verdict = verdict
        self.has_ended = False
        self._to_server, self._from_server = to_server, from_server
        self._news = anyio.Event()
        self._replies: dict[str, Any] = {}

    async def listen(self) -> None:
        """Until the server leaves."""
        rest = b""
        async for piece in self._from_server:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self.verdict.heard(line)
                if b'"id":"ours ' in line:
                    self._replies[json.loads(line)["id"]] = json.loads(line)
            self._tell()
        self.has_ended = True
        self._tell()

    async def say(self, line: bytes, rng: Random) -> None:
        self.verdict.said(line)
        pieces = [line + b"\n"]
        if rng.random() < _CUT:
            at = rng.randrange(len(line) + 1)
            pieces = [pieces[0][:at], pieces[0][at:]]
        for piece in pieces:
            if not self.has_ended:
                await self._to_server.send(piece)

    async def ask(self, method: str, params: dict[str, Any], modern: bool = False) -> Any:
        """The result; null where there is none."""
        request = f"ours {method}"
        params = {**params, "_meta": MODERN} if modern else params
        asked = {"jsonrpc": "2.0", "id": request, "method": method, "params": params}
        await self.say(json.dumps(asked).encode(), Random(0))
        with anyio.move_on_after(_ANSWERED_S):
            while request not in self._replies and not self.has_ended:
                await self._news.wait()
        return self._replies.pop(request, {}).get("result")

    async def listed(self) -> Offered:
        await self.ask("initialize", INITIALIZE)
        return offered(*[await self.ask(method, {}) for method in LISTS])

    async def fuzzed(self, lines: Lines, rng: Random, inputs: int, modern: bool) -> None:
        """As a client that opens the session as it should, or does not; at its end a plain search must find what is
        there."""
        opens = not modern and rng.random() < 0.8
        if opens:
            await self.ask("initialize", INITIALIZE)
        for _ in range(inputs):
            one = lines.input()
            self.verdict.counts[one.kind] += 1
            await self.say(one.line, rng)
            if not await self._settled(OPEN_AT_ONCE):
                break
        await self._settled(0)
        self.verdict.ended()
        if opens and KILN not in json.dumps(await self.ask("tools/call", _SEARCH)):
            self.verdict.wrong("crashes", "a plain search finds nothing any more", "")
        if self.has_ended:
            self.verdict.wrong("crashes", "the session ended before its client left", "")

    async def close(self) -> None:
        await self._to_server.aclose()

    async def _settled(self, most: int) -> bool:
        """Whether, after a while, at most so many requests are open."""
        with anyio.move_on_after(_ANSWERED_S):
            while len(self.verdict.open) > most and not self.has_ended:
                await self._news.wait()
        return len(self.verdict.open) <= most

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


def in_memory(verdict: Verdict) -> tuple[Connection, SocketStream]:
    """And the server's end of it."""
    to_server, received = anyio.create_memory_object_stream[bytes](16)
    sent, from_server = anyio.create_memory_object_stream[bytes](16)
    ours = Connection(verdict, cast(ByteSendStream, to_server), cast(ByteReceiveStream, from_server))
    return ours, cast(SocketStream, StapledObjectStream(sent, received))
