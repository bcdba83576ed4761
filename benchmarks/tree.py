"""10 000 files: a restart, a renamed top folder, edits and 1 000 deletions, with the real embedder and the real daemon.

What was embedded is what the daemon itself says in its log. Linux only.
"""

import argparse
import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks import corpus
from benchmarks.daemons import daemon, log, percentile, settled, tandem

EDITS, DELETED = 20, 1_000
SENTENCES = 2
_EMBEDDED = re.compile(r"(\d+) chunks? embedded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    files: int = parser.parse_args().files
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        home = Path(place)
        data, documents = home / "data", home / "documents"
        paths = corpus.write(documents / "top", files, SENTENCES)
        first = json.loads(tandem(data, "index", str(documents), "--json"))
        result = {"files": first["added"], "first_run_s": first["seconds"]}
        start = time.time()
        with daemon(data) as (client, pid):
            _until(lambda: (status := client.get("/status").json())["state"] == "idle" and _after(status, start))
            ready_s, cpu_s = round(time.time() - start, 2), _cpu_s(pid)
            result["restart"] = {"ready_s": ready_s, "cpu_s": cpu_s, "embedded": _embedded(data)}

            start = time.time()
            (documents / "top").rename(documents / "moved")
            _until(lambda: _idle(client) and not _hits(client, "top/"), 300, every_s=0.5)  # such a search costs 0.2 s
            assert len(_hits(client, "moved/")) == 10
            result["rename"] = {"seconds": round(time.time() - start, 2), "embedded": _embedded(data)}

            moved = [documents / "moved" / path.relative_to(documents / "top") for path in paths]
            edits = [_until_found(client, path, f"marker{n}word") for n, path in enumerate(moved[:: files // EDITS])]
            result["edit_until_found_s"] = {"p50": percentile(edits, 50), "p95": percentile(edits, 95)}
            settled(client)

            start = time.time()
            for folder in sorted((documents / "moved").iterdir())[: DELETED // 100]:
                shutil.rmtree(folder)
            _until(lambda: client.get("/status").json()["documents"] == files - DELETED)
            result["delete"] = {"files": DELETED, "seconds": round(time.time() - start, 2)}
    print(json.dumps(result))


def _after(status: dict[str, str], start: float) -> bool:
    """Whether a run has ended that began after `start`; the index tells whole seconds."""
    as_of = status["as_of"]
    return bool(as_of) and time.mktime(time.strptime(as_of[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone >= int(start)


def _idle(client: httpx.Client) -> bool:
    status = client.get("/status").json()
    return status["state"] == "idle" and not status["pending"]


def _cpu_s(pid: int) -> float:
    """What a process has computed; on a machine with other work this tells more than a clock."""
    _, fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _hits(client: httpx.Client, within: str) -> list[dict[str, object]]:
    return client.post("/search", json={"query": "some words", "in": within}).json()["hits"]


def _embedded(data: Path) -> int:
    return sum(int(count) for count in _EMBEDDED.findall(log(data).read_text()))


def _until(reached, limit_s: float = 120, every_s: float = 0.02) -> None:
    until = time.monotonic() + limit_s
    while not reached():
        if time.monotonic() > until:
            raise SystemExit(f"not reached within {limit_s} s")
        time.sleep(every_s)


def _until_found(client: httpx.Client, path: Path, word: str) -> float:
    start = time.monotonic()
    path.write_text(f"The {word} stands here. {path.read_text()}")

    def found() -> bool:
        hits = client.post("/search", json={"query": word, "limit": 1}).json()["hits"]
        return bool(hits) and word in hits[0]["text"]

    _until(found)
    return round(time.monotonic() - start, 2)


if __name__ == "__main__":
    main()
