"""What people have: files of many formats, strings that break programs, and bombs. By the real command.

`--formats DIR`: each file that phrases.tsv names must be found by its phrase; the others must be listed with a reason.
`--strings FILE.json`: a list of strings; each becomes a file's content, a query and, where the file system takes it, a
file's name. The bombs are made on the spot.
"""

import argparse
import csv
import json
import os
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from benchmarks.daemons import daemon, settled, tandem

PHRASES = Path(__file__).with_name("phrases.tsv")
FOUND_IN_FIRST = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--formats", type=Path)
    parser.add_argument("--strings", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"bombs": bombs()}
    if arguments.formats:
        result["formats"] = formats(arguments.formats)
    if arguments.strings:
        result["strings"] = strings(json.loads(arguments.strings.read_text("utf-8")))
    print(json.dumps(result, ensure_ascii=False))


def formats(folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        data = Path(place) / "data"
        tandem(data, "index", str(folder.resolve()), "--json")
        rows = [json.loads(line) for line in tandem(data, "ls", "--json").splitlines()]
        failed = {
            Path(one["path"]).name: one["reason"] for one in json.loads(tandem(data, "status", "--json"))["failed"]
        }
        with PHRASES.open(encoding="utf-8") as file:
            phrases = {row["file"]: row["phrase"] for row in csv.DictReader(file, delimiter="\t")}
        missed: list[str] = []
        for name, phrase in phrases.items():
            hits = json.loads(tandem(data, "search", phrase, "--json", "-k", str(FOUND_IN_FIRST)))["hits"]
            if name not in {Path(hit["path"]).name for hit in hits}:
                missed.append(name)
    return {
        "files": len(rows),
        "found": len(phrases) - len(missed),
        "missed": missed,
        "refused": failed,
        "neither": [name for row in rows if (name := Path(row["path"]).name) not in phrases.keys() | failed.keys()],
    }


def strings(all_of_them: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        home = Path(place)
        documents, names = home / "documents", 0
        documents.mkdir()
        for n, text in enumerate(all_of_them):
            (documents / f"{n:04}.txt").write_text(text, "utf-8", errors="surrogatepass")
            name = text.replace("/", "∕").encode("utf-8", "surrogatepass")
            # Hidden names are left out on purpose.
            if name and not name.startswith(b".") and b"\0" not in name:
                with suppress(OSError), open(os.fsencode(documents) + b"/" + name + b".md", "xb") as file:  # noqa: PTH123
                    file.write(b"A file of an odd name.")
                    names += 1
        with daemon(home / "data", documents) as (client, _):
            settled(client)
            status = client.get("/status").json()
            as_query, found = _asked(client, all_of_them)
    return {
        "strings": len(all_of_them),
        "names_the_file_system_takes": names,
        "documents": status["documents"],
        "failed": [(Path(one["path"]).name, one["reason"]) for one in status["failed"]],
        "queries": as_query,
        "found_by_themselves": found,
    }


def _asked(client: httpx.Client, texts: list[str]) -> tuple[dict[str, int], dict[str, Any]]:
    replies: dict[str, int] = {}
    missed: list[str] = []
    for n, text in enumerate(texts):
        reply = client.post("/search", content=json.dumps({"query": text, "limit": 20}).encode())
        replies[str(reply.status_code)] = replies.get(str(reply.status_code), 0) + 1
        if reply.status_code == 200 and any(c.isalnum() for c in text):
            same = {Path(hit["path"]).name for hit in reply.json()["hits"]}
            if f"{n:04}.txt" not in same:
                missed.append(text)
    return replies, {"not_among_the_first_20": missed}


def bombs() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        home = Path(place)
        documents = home / "documents"
        documents.mkdir()
        with zipfile.ZipFile(documents / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as bomb:
            bomb.writestr("[Content_Types].xml", b"<Types/>")
            bomb.writestr("word/document.xml", b" " * (1 << 30))
        (documents / "deep.html").write_text("<div>" * 200_000 + "deep")
        (documents / "deep.json").write_text("[" * 200_000)
        (documents / "entities.xml").write_text(_LAUGHS)
        (documents / "line.txt").write_text("lantern " * (10 * 2**20 // 8))
        (documents / "bomb.pdf").write_bytes(_pdf(b"q " * 2_000_000))
        with (documents / "sparse.txt").open("wb") as sparse:
            sparse.truncate(1 << 30)
        (documents / "good.md").write_text("The zeppelin flies on Sundays.")
        start = time.monotonic()
        tandem(home / "data", "index", str(documents), "--json")
        seconds = round(time.monotonic() - start, 1)
        status = json.loads(tandem(home / "data", "status", "--json"))
        hit = json.loads(tandem(home / "data", "search", "zeppelin", "--json", "-k", "1"))["hits"][0]
    return {
        "seconds": seconds,
        "indexed": status["documents"],
        "refused": {Path(one["path"]).name: one["reason"] for one in status["failed"]},
        "the_good_file_is_found": hit["path"].endswith("good.md"),
    }


_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {name} "{f"&{of};" * 10}">' for of, name in zip("abcdefghi", "bcdefghij", strict=True))
    + "]><l>&j;</l>"
)


def _pdf(content: bytes) -> bytes:
    return (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj "
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>endobj "
        b"4 0 obj<</Length "
        + str(len(content)).encode()
        + b">>stream\n"
        + content
        + b"\nendstream endobj trailer<</Root 1 0 R>>\n%%EOF"
    )


if __name__ == "__main__":
    main()
