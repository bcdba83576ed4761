"""Lines that a client may send: calls of all that a server says it offers, and what no client should send.

tools        calls of each tool, by its schema
uris         reading, listing and completing, by URIs and paths
prompts      getting them
protocol     methods, ids, notifications and handshakes, right and wrong
mutated      one of these with some of its bytes changed
raw          bytes
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, get_args

from tests.fuzzing.ground import Ground
from tests.fuzzing.offered import Offered
from tests.fuzzing.uris import uri
from tests.fuzzing.values import anything, arguments, string

Kind = Literal["tools", "uris", "prompts", "protocol", "mutated", "raw"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SHARES = {"tools": 30, "uris": 25, "prompts": 8, "protocol": 12, "mutated": 15, "raw": 10}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "fuzz", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "0"}}
_METHODS = (
    "ping", "initialize", "tools/list", "resources/list", "resources/templates/list", "prompts/list",
    "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "server/discover", "tasks/list", "tasks/get",
    "sampling/createMessage", "roots/list", "elicitation/create", "subscriptions/listen", "", "rpc.x", "tools/call",
    "resources/read", "prompts/get", "completion/complete", "notifications/initialized", "__init__", "a" * 9_000,
    "tools/../list", "\u202e",
)  # fmt: skip
_NOTIFIED = tuple(
    f"notifications/{name}" for name in ("initialized", "cancelled", "progress", "roots/list_changed", "x")
)
_WRONG_IDS: tuple[Any, ...] = (
    None, True, False, 1.5, 0.0, [], {}, ["a"], "", " ", "i" * 100_000, -1, 0, 2**63, 10**300, "\ud800", "\x00",
    "null", "1", 1, "e\u0301",
)  # fmt: skip
_PIECES = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"NaN", b"1e999",
    b"null", b"\r", b"//",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Input:
    kind: Kind
    line: bytes


class Lines:
    """Inputs from a seed: the same for the same server. `modern`: as a client of 2026-07-28 says them. `rarely`: tools
    that are called once in so many calls of them."""

    def __init__(self, seed: object, offered: Offered, ground: Ground, modern: bool, rarely: dict[str, int]) -> None:
        self._rng, self._asked = Random(repr(seed)), 0
        self._offered, self._ground, self._modern, self._rarely = offered, ground, modern, rarely
        self._makers: dict[Kind, Callable[[], bytes]] = {
            "tools": lambda: self._request("tools/call", self._tool()),
            "uris": self._uri,
            "prompts": lambda: self._request("prompts/get", self._prompt()),
            "protocol": self._protocol,
            "mutated": self._mutated,
            "raw": self._raw,
        }

    def input(self) -> Input:
        kind = self._rng.choices(KINDS, [_SHARES[kind] for kind in KINDS])[0]
        return Input(kind, self._makers[kind]().replace(b"\n", b" "))

    def _tool(self) -> dict[str, Any]:
        rng = self._rng
        name = rng.choice(list(self._offered.tools))
        while name in self._rarely and rng.randrange(self._rarely[name]):
            name = rng.choice(list(self._offered.tools))
        given: Any = arguments(rng, self._ground, self._offered.tools[name])
        if rng.random() < 0.03:
            return {"name": rng.choice((string(rng, self._ground), anything(rng, self._ground))), "arguments": given}
        return {"name": name, "arguments": anything(rng, self._ground) if rng.random() < 0.03 else given}

    def _uri(self) -> bytes:
        rng, ground = self._rng, self._ground
        draw = rng.random()
        if draw < 0.4:
            return self._request("resources/read", {"uri": uri(rng, ground)})
        if draw < 0.7 and "read" in self._offered.tools:
            return self._request("tools/call", {"name": "read", "arguments": {"uri": uri(rng, ground)}})
        if draw < 0.75:
            return self._request("resources/list", {"cursor": string(rng, ground)})
        if draw < 0.8:
            wanted = {"resourceSubscriptions": [uri(rng, ground)], "resourcesListChanged": rng.random() < 0.5}
            return rng.choice(
                (
                    lambda: self._request("resources/subscribe", {"uri": uri(rng, ground)}),
                    lambda: self._request("resources/unsubscribe", {"uri": uri(rng, ground)}),
                    lambda: self._request("subscriptions/listen", {"notifications": wanted}),
                )
            )()
        return self._request("completion/complete", self._completion())

    def _completion(self) -> dict[str, Any]:
        rng, ground = self._rng, self._ground
        if rng.random() < 0.6:
            ref = {"type": "ref/resource", "uri": rng.choice([*self._offered.templates, uri(rng, ground)])}
            names = ["path", "place"]
        else:
            prompt = rng.choice(list(self._offered.prompts))
            ref, names = {"type": "ref/prompt", "name": prompt}, self._offered.prompts[prompt]
        argument = {"name": rng.choice([*names, "x"]), "value": rng.choice((uri, string))(rng, ground)}
        return {"ref": ref, "argument": argument, "context": {"arguments": {"path": uri(rng, ground)[7:]}}}

    def _prompt(self) -> dict[str, Any]:
        rng, ground = self._rng, self._ground
        name = rng.choice(list(self._offered.prompts))
        given = {one: string(rng, ground, one) for one in self._offered.prompts[name] if rng.random() < 0.8}
        if rng.random() < 0.05:
            return {"name": string(rng, ground), "arguments": anything(rng, ground)}
        return {"name": name, "arguments": given}

    def _protocol(self) -> bytes:
        rng = self._rng
        draw = rng.random()
        if draw < 0.35:
            return self._request(rng.choice(_METHODS), rng.choice(({}, anything(rng, self._ground), INITIALIZE)))
        if draw < 0.55:
            said = {
                "jsonrpc": "2.0",
                "id": rng.choice(_WRONG_IDS),
                "method": rng.choice(("ping", "tools/list", 5, None)),
            }
            return _written(rng, said)
        if draw < 0.75:
            params: Any = {"requestId": rng.choice((*_WRONG_IDS, f"q{self._asked}")), "progressToken": 1, "progress": 2}
            params = params if rng.random() < 0.8 else anything(rng, self._ground)
            return _written(rng, {"jsonrpc": "2.0", "method": rng.choice(_NOTIFIED), "params": params})
        if draw < 0.9:
            said = {"jsonrpc": rng.choice(("2.0", "2.0", "1.0", 2.0, None, "2.0 ")), "id": self._id(), "method": "ping"}
            for _ in range(rng.choice((1, 1, 2))):
                name = rng.choice(("result", "error", "params", "method", "jsonrpc", "id", "x"))
                said[name] = anything(rng, self._ground)
            return _written(rng, said)
        return _written(
            rng, rng.choice(([], [{"jsonrpc": "2.0", "id": 1, "method": "ping"}], anything(rng, self._ground)))
        )

    def _mutated(self) -> bytes:
        rng = self._rng
        line = bytearray(self._makers[rng.choice(("tools", "uris", "prompts", "protocol"))]())
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(line) + 1)
            match rng.randrange(5):
                case 0:
                    line[at : at + 1] = bytes([rng.randrange(256)])
                case 1:
                    line[at:at] = rng.choice(_PIECES)
                case 2:
                    del line[at : at + rng.choice((1, 1, 10))]
                case 3:
                    line[at:at] = line[at : at + rng.choice((5, 50))]
                case _:
                    del line[at:]
        return bytes(line)

    def _raw(self) -> bytes:
        rng = self._rng
        count = rng.choice((0, 1, 5, 100, 1_000)) if rng.random() < 0.998 else 300_000
        match rng.randrange(9):
            case 0:
                return rng.randbytes(count)
            case 1:
                return rng.choice((b"[", b"{", b'{"a":', b'[{"a":[', b'"', b"\\", b"-", b"9")) * count
            case 2:
                return b'{"jsonrpc":"2.0","id":"%b","method":"ping","params":{"a":%b}}' % (
                    self._id().encode(),
                    b"[" * count + b"]" * count,
                )
            case 3:
                return b'{"jsonrpc":"2.0","id":1,"id":"%b","method":"x","method":"ping"}' % self._id().encode()
            case 4:
                return (
                    self._request("ping", {})
                    .decode(errors="ignore")
                    .encode(rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")))
                )
            case 5:
                return rng.choice((b"\r", b"\t \r", b"\x00", b"\x0c", b"\x85")) + self._request("ping", {}) + b"\r"
            case 6:
                return b'{"jsonrpc":"2.0","id":%b,"method":"ping"}' % rng.choice(
                    (b"9" * (count + 1), b"1e5", b"-0", b"1.0", b"NaN", b"Infinity", b"0x1", b"01", b'"\\ud800"')
                )
            case 7:
                return b"Content-Length: 5\r\n\r\n" + b"GET / HTTP/1.1\r\n"
            case _:
                return b'{"jsonrpc":"2.0","id":"%b","method":"ping","params":{"a":"%b"}}' % (
                    self._id().encode(),
                    b"x" * count,
                )

    def _request(self, method: str, params: Any) -> bytes:
        rng = self._rng
        if isinstance(params, dict):
            meta = dict(MODERN) if self._modern != (rng.random() < 0.02) else {}
            if meta and rng.random() < 0.03:
                meta[rng.choice(list(meta))] = anything(rng, self._ground)
            if rng.random() < 0.1:
                meta["progressToken"] = rng.choice((self._id(), self._asked, anything(rng, self._ground)))
            if rng.random() < 0.02:
                meta["traceparent"] = string(rng, self._ground)
            params = {**params, "_meta": meta} if meta else params
        return _written(rng, {"jsonrpc": "2.0", "id": self._id(), "method": method, "params": params})

    def _id(self) -> str:
        self._asked += 1
        return f"q{self._asked}"


def _written(rng: Random, value: Any) -> bytes:
    """As some clients write it: escaped, or as UTF-8, in which half a surrogate pair is no character."""
    return json.dumps(value, ensure_ascii=rng.random() < 0.7).encode(errors="surrogatepass")
