"""2 000 files: one edit embeds only its changed chunks and is soon found; a run with nothing changed embeds nothing.

Real embedder, real command, real daemon.
"""

import json
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks import corpus
from benchmarks.daemons import daemon, percentile, settled, tandem

FILES, EDITS = 2_000, 20
SHORT, LONG = 2, 60  # sentences: one chunk, and about 15 in the files that are edited


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        home = Path(place)
        data, documents = home / "data", home / "documents"
        corpus.write(documents, FILES - EDITS, SHORT)
        edited = corpus.write(documents / "long", EDITS, LONG, seed=1)
        first = json.loads(tandem(data, "index", str(documents), "--json"))
        second = json.loads(tandem(data, "index", "--json"))
        _edit(edited[0], "xylographer")
        third = json.loads(tandem(data, "index", "--json"))
        of_file = next(
            row["chunks"]
            for row in map(json.loads, tandem(data, "ls", "--json").splitlines())
            if row["path"] == str(edited[0])
        )
        with daemon(data) as (client, _):
            settled(client)
            seconds = [_until_found(client, path, f"marker{n}word") for n, path in enumerate(edited)]
    result = {
        "files": first["added"],
        "first_run": {"embedded_chunks": first["embedded_chunks"], "seconds": first["seconds"]},
        "nothing_changed": {"embedded_chunks": second["embedded_chunks"], "seconds": second["seconds"]},
        "one_edit": {"chunks_of_the_file": of_file, "embedded_chunks": third["embedded_chunks"]},
        "edit_until_found_s": {"median": round(percentile(seconds, 50), 2), "max": round(max(seconds), 2)},
    }
    print(json.dumps(result))


def _edit(path: Path, word: str) -> None:
    sentences = path.read_text().split(". ")
    sentences[len(sentences) // 2] = f"The {word} stands here"
    path.write_text(". ".join(sentences))


def _until_found(client: httpx.Client, path: Path, word: str) -> float:
    start = time.monotonic()
    _edit(path, word)
    while time.monotonic() - start < 60:
        hits = client.post("/search", json={"query": word, "limit": 1}).json()["hits"]
        if hits and word in hits[0]["text"]:
            return time.monotonic() - start
        time.sleep(0.02)
    raise SystemExit(f"{path} was edited and not found within 60 s")


if __name__ == "__main__":
    main()
