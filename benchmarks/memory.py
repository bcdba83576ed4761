"""Memory of all of Tandem's processes while 20 000 chunks are indexed, of an idle daemon afterwards, and
once an MCP client has come: with the first one the SDK is imported.

PSS: what several processes share counts once. Linux only.
"""

import argparse
import json
import socket
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import corpus
from benchmarks.daemons import daemon
from benchmarks.processes import family, pss_mb
from bridge.folder import Folder

FILE_SENTENCES = 60  # about 15 chunks a file
IDLE_S = 75  # the process that reads files ends after a minute without work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=20_000)
    wanted: int = parser.parse_args().chunks
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        home = Path(place)
        corpus.write(home / "documents", wanted // 15, FILE_SENTENCES)
        with daemon(home / "data", home / "documents") as (client, pid):
            peak, peak_parts = 0.0, dict[str, float]()
            while True:
                parts = _megabytes(pid)
                if sum(parts.values()) > peak:
                    peak, peak_parts = sum(parts.values()), parts
                status = client.get("/status").json()
                if status["as_of"] and not status["pending"] and status["state"] == "idle":
                    break
                time.sleep(0.25)
            time.sleep(IDLE_S)
            client.post("/search", json={"query": "anything"})
            idle = _megabytes(pid)
            with _mcp_client(home / "data"):
                served = _megabytes(pid)
    result = {
        "chunks": status["chunks"],
        "indexing_peak_mb": {"all": round(peak), **peak_parts},
        "idle_mb": {"all": round(sum(idle.values())), **idle},
        "idle_with_an_mcp_client_mb": {"all": round(sum(served.values())), **served},
    }
    print(json.dumps(result))


@contextmanager
def _mcp_client(data: Path) -> Generator[None]:
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "0"},
    }
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(Folder(data).mcp_socket))
        client.sendall(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode() + b"\n"
        )
        assert b"serverInfo" in client.recv(1 << 16)
        yield


def _megabytes(pid: int) -> dict[str, float]:
    """PSS of a process and of each one beneath it."""
    return {f"{_name(one)} {n}": pss_mb(one) for n, one in enumerate(family(pid))}


def _name(pid: int) -> str:
    try:
        return "daemon" if "bridge.cli" in Path(f"/proc/{pid}/cmdline").read_text() else "reader"
    except OSError:
        return "gone"


if __name__ == "__main__":
    main()
