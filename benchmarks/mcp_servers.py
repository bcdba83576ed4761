# pyright: reportUnknownMemberType=false
"""The MCP servers that `mcp_clients` measures: how each is started, and one client's end of it over stdio or HTTP."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.processes import environment

PEERS = Path(os.environ.get("TANDEM_BENCH_PEERS", "~/.cache/tandem-bench")).expanduser()
_VERSION = "2025-06-18"
_INITIALIZE = {"protocolVersion": _VERSION, "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "0"}}
_BARE = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("bare")
@server.tool()
async def search(query: str) -> str:
    "Gives the query back."
    return query
server.run()
"""


@dataclass(frozen=True)
class Server:
    """`environment(n)`: of its n-th process, where each client has one of its own."""

    name: str
    command: Sequence[str]
    environment: Callable[[int], Mapping[str, str]]
    tool: str = "search"
    words: str = "query"


class Client(Protocol):
    def open(self) -> dict[str, Any]: ...
    def call(self, tool: str, arguments: Mapping[str, str]) -> dict[str, Any]: ...
    def close(self) -> None: ...


class Stdio:
    """A server's process, as a host starts it. `began`: just before; `cpu_s`: what it took, once closed."""

    def __init__(self, server: Server, n: int = 0) -> None:
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            server.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(server.environment(n)),
        )
        self.pid = self._process.pid
        self.cpu_s = 0.0
        self._asked = 0

    def open(self) -> dict[str, Any]:
        answer = self._ask("initialize", _INITIALIZE)
        self._say({"method": "notifications/initialized"})
        return answer

    def call(self, tool: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        return self._ask("tools/call", {"name": tool, "arguments": arguments})

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.read()
        _, _, usage = os.wait4(self.pid, 0)
        self._process.returncode = 0
        self.cpu_s = usage.ru_utime + usage.ru_stime

    def _ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdout
        self._asked += 1
        self._say({"id": self._asked, "method": method, "params": params})
        while line := self._process.stdout.readline():
            message = json.loads(line)
            if message.get("id") == self._asked:
                return _result(message)
        raise EOFError(f"the server ended, status {self._process.poll()}")

    def _say(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()


class Http:
    """Streamable HTTP over one connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        self._asked = 0

    def open(self) -> dict[str, Any]:
        answer = self._ask("initialize", _INITIALIZE)
        self._headers["Mcp-Protocol-Version"] = _VERSION
        self._post({"method": "notifications/initialized"})
        return answer

    def call(self, tool: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        return self._ask("tools/call", {"name": tool, "arguments": arguments})

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self._asked += 1
        body = self._post({"id": self._asked, "method": method, "params": params})
        lines = (line.removeprefix(b"data:") for line in body.splitlines() if line.startswith((b"data:", b"{")))
        messages = [json.loads(line) for line in lines if line.strip()]
        return _result(next(message for message in messages if message.get("id") == self._asked))

    def _post(self, message: Mapping[str, Any]) -> bytes:
        self._connection.request("POST", "/mcp", json.dumps({"jsonrpc": "2.0", **message}), self._headers)
        response = self._connection.getresponse()
        if session := response.getheader("Mcp-Session-Id"):
            self._headers["Mcp-Session-Id"] = session
        return response.read()


def tandem(data: Path) -> Server:
    command = str(Path(sys.executable).with_name("tandem"))
    return Server("tandem mcp", [command, "mcp", "--data", str(data)], lambda n: environment(os.cpu_count() or 1))


def bare() -> Server:
    """What no server on the SDK can be lighter than: it has one tool, which does nothing."""
    return Server("a bare server on the SDK", [sys.executable, "-c", _BARE], lambda n: environment(1))


def qdrant(home: Path, passages: Sequence[str], copies: int) -> Server | None:
    """mcp-server-qdrant with the same weights and a store of its own in each process, which one alone can open; None
    where it is not installed."""
    command = PEERS / "peers-mcp-server-qdrant/bin/mcp-server-qdrant"
    if not command.exists():
        return None
    _fastembed_weights(home / "fastembed")
    settings = environment(os.cpu_count() or 1) | {
        "FASTEMBED_CACHE_PATH": str(home / "fastembed"),
        "COLLECTION_NAME": "notes",
        "FASTMCP_LOG_LEVEL": "ERROR",
    }
    server = Server(
        "mcp-server-qdrant",
        [str(command)],
        lambda n: settings | {"QDRANT_LOCAL_PATH": str(home / f"store-{n}")},
        tool="qdrant-find",
    )
    filling = Stdio(server)
    filling.open()
    for passage in passages:
        filling.call("qdrant-store", {"information": passage})
    filling.close()
    for n in range(1, copies):
        shutil.copytree(home / "store-0", home / f"store-{n}", ignore=shutil.ignore_patterns(".lock"))
    return server


def _fastembed_weights(cache: Path) -> None:
    """Our own installation's MiniLM as FastEmbed would have downloaded it: a graph that gives each token's vector."""
    import onnx

    from indexer.embed import graph, weights

    found = weights.find("all-MiniLM-L6-v2", None)
    made = graph.opened(found.folder, "fp32")
    made.output(made.encoded(), "last_hidden_state")
    model = made.model(("ids", "mask"), "last_hidden_state", made.architecture.hidden)
    model.graph.output[0].type.tensor_type.shape.dim.insert(1, onnx.TensorShapeProto.Dimension(dim_param="tokens"))
    names = {"ids": "input_ids", "mask": "attention_mask"}
    for taken in model.graph.input:
        taken.name = names[taken.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    repository = cache / "models--Qdrant--all-MiniLM-L6-v2-onnx"
    place = repository / "snapshots/local"
    place.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("local")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(found.folder / name, place)
    onnx.save(model, place / "model.onnx")


def _result(message: Mapping[str, Any]) -> dict[str, Any]:
    result = message.get("result")
    if result is None or result.get("isError"):
        raise RuntimeError(f"a call failed: {json.dumps(message)[:500]}")
    return result
