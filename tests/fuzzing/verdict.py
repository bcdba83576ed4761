"""What was heard is held against what was said: every line is JSON-RPC, every request has its answer, no canary is in
it, and an error tells who made it what was expected."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.fuzzing.ground import Ground

# What only a program's insides say, and no input has in it.
_INSIDES = re.compile(
    r'Traceback \(|File "[^"]+", line \d|<\w+ object at 0x|For further information visit|errors\.pydantic\.dev'
    r"|\b[A-Za-z]+(?:Error|Exception)\(|codec can't|set_int_max_str_digits|Handler returned|^$"
)
_MASKED = re.compile(
    r"Internal (server )?error|Error executing tool \w+|Error completing argument .*|Error rendering .*"
)

MOST_PROBLEMS = 100


@dataclass
class Verdict:
    """Of one session. `open`: requests that wait for their answer. `problems`: what is wrong, with what shows it."""

    ground: Ground
    open: Counter[str] = field(default_factory=Counter[str])
    asked: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])
    answered: Counter[str] = field(default_factory=Counter[str])
    counts: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])

    def said(self, line: bytes) -> None:
        """A line that goes to the server."""
        try:
            message = json.loads(line.decode())
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        if _is_id(message.get("id")):
            request = _key(message["id"])
            self.asked.setdefault(request, []).append(line)
            if message.get("jsonrpc") == "2.0" and isinstance(message.get("method"), str):
                self.open[request] += 1
        match message:
            case {"method": "notifications/cancelled", "params": {"requestId": request}}:
                # It may have been answered before that came, or never is. The SDK takes 1 and "1" for one.
                for name in (request, str(request), int(request) if str(request).isdecimal() else request):
                    self.open.pop(_key(name), None)
            case _:
                pass

    def heard(self, line: bytes) -> None:
        """A line of its stdout, without its LF."""
        for canary in self.ground.escapes(line):
            self.wrong("escapes", f"{canary!r} came out", repr(line[:3000]))
        try:
            message = json.loads(line.decode(), parse_constant=_refused, object_pairs_hook=_once)
            line.decode().encode()
            problem = _shape(message)
        except (ValueError, RecursionError) as error:
            message, problem = {}, f"no JSON: {error}"
        if problem:
            return self.wrong("no JSON-RPC", problem, repr(line[:1000]))
        if "method" in message:
            self.counts["notifications"] += 1
            if message["method"] == "notifications/subscriptions/acknowledged":
                # A stream of news, which has no other answer as long as it lasts.
                del self.open[_key(message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"])]
            return None
        return self._judge(message)

    def ended(self) -> None:
        """Nothing more comes."""
        for request in self.open:
            self.wrong("unanswered", "a request was never answered", self._what(request))

    def _judge(self, message: dict[str, Any]) -> None:
        if message["id"] is None:
            self.counts["refused without an id"] += 1
        else:
            self._closed(_key(message["id"]), message)
        words = _words(message)
        if words is None:
            self.counts["results"] += 1
            return
        self.counts["refusals"] += 1
        if _INSIDES.search(words) or _MASKED.fullmatch(words):
            self.wrong("unexplained", f"this explains nothing: {words[:300]!r}", self._what(_key(message["id"])))

    def _closed(self, request: str, message: dict[str, Any]) -> None:
        self.answered[request] += 1
        if self.answered[request] > len(self.asked.get(request, ())):
            self.wrong("answers too many", "an answer that nobody waits for", repr(message)[:500])
        if request in self.open:
            self.open[request] -= 1
            if not self.open[request]:
                del self.open[request]

    def _what(self, request: str) -> str:
        return repr([line[:1500] for line in self.asked.get(request, [])])

    def wrong(self, kind: str, what: str, shown: str) -> None:
        self.counts[kind] += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(f"{kind}: {what}: {shown}")


def _is_id(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    return not isinstance(value, str) or value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value)


def _key(request: Any) -> str:
    return json.dumps(request)


def _shape(message: Any) -> str | None:
    match message:
        case {"jsonrpc": "2.0", "method": str() as method} if "id" not in message and method.startswith(
            "notifications/"
        ):
            return None
        case {"jsonrpc": "2.0", "id": str() | int(), "result": dict()} if "error" not in message:
            return None
        case {"jsonrpc": "2.0", "id": None | str() | int(), "error": {"code": int(), "message": str()}} if (
            "result" not in message
        ):
            return None
        case _:
            return "no JSON-RPC 2.0 object"


def _words(message: dict[str, Any]) -> str | None:
    """Of an error, in either way."""
    if "error" in message:
        return message["error"]["message"]
    result = message["result"]
    if result.get("isError"):
        return "\n".join(part.get("text", "") for part in result["content"])
    return None


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    if len(pairs) != len(dict(pairs)):
        raise ValueError("a name stands twice in an object")
    return dict(pairs)


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
