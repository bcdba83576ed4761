"""The catalog's file: opened again, upgraded, refused, full."""

import hashlib
import json
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer import lexical
from indexer.catalog import Catalog
from indexer.records import ChunkRow, Record, Stat, chunk_id, document_id, vector_key
from indexer.schema import EVERY, SCHEMA
from indexer.store import StoreAway, StoreUnusable

SIGNATURE = "words:3"
# The tables of version 1, as its users have them.
VERSION_1 = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE roots(path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE documents(
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('indexed', 'failed')), reason TEXT, title TEXT,
    indexed_at REAL NOT NULL, read_at REAL NOT NULL);
CREATE TABLE chunks(
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, start_line INTEGER, end_line INTEGER,
    page INTEGER, heading TEXT, text TEXT NOT NULL, terms BLOB NOT NULL, vector BLOB NOT NULL);
CREATE UNIQUE INDEX chunks_in_order ON chunks(document, ordinal);
CREATE INDEX chunks_by_vector ON chunks(vector);
CREATE TABLE vectors(key BLOB PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE doubtful(id INTEGER PRIMARY KEY);
PRAGMA user_version = 1;
"""


def record(path: str, text: str) -> Record:
    packed = lexical.pack(lexical.terms(text))
    row = ChunkRow(chunk_id(path, text, 0), 0, text, 0, len(text), 1, 1, None, None, packed, vector_key(text))
    return Record(path, Stat(len(text), 1, 2, 3), "ab", None, [row], 5.0)


def terms(words: str) -> list[int]:
    return lexical.terms(words).tolist()


def test_a_catalog_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite3"
    Catalog(file).close()
    with sqlite3.connect(file) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    before = file.read_bytes()
    with pytest.raises(StoreUnusable, match=r"another version of Tandem.*--data"):
        Catalog(file)
    assert file.read_bytes() == before


def test_a_catalog_of_the_first_version_is_brought_up_to_date_with_its_vectors_and_a_copy_is_kept(
    tmp_path: Path,
) -> None:
    file = tmp_path / "catalog.sqlite3"
    old_key = hashlib.blake2b(f"{SIGNATURE}\0The lantern".encode(), digest_size=16).digest()
    with sqlite3.connect(file) as db:
        db.executescript(VERSION_1)
        db.execute("INSERT INTO meta VALUES ('embedding', ?)", (json.dumps([SIGNATURE, 3]),))
        db.execute("INSERT INTO roots VALUES ('/notes')")
        values = (document_id("/notes/a.txt"), "/notes/a.txt", "ab", 11, 7, 8, 9, "indexed", None, None, 1.0, 2.0)
        db.execute("INSERT INTO documents VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", values)
        chunk = (4711, values[0], 0, 0, 11, 1, 1, None, None, "The lantern", b"", old_key)
        db.execute("INSERT INTO chunks VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", chunk)
        db.execute("INSERT INTO vectors VALUES (?, ?)", (old_key, np.array([1, 0, 0], "<f2").tobytes()))
    db.close()
    catalog = Catalog(file)
    assert catalog.roots() == ["/notes"]
    assert catalog.known()["/notes/a.txt"].stat == Stat(11, 7, 8, 9)
    (candidate,) = catalog.candidates([4711]).values()
    assert candidate.chunk.key == vector_key("The lantern")
    assert catalog.vectors(SIGNATURE, [candidate.chunk.key])[candidate.chunk.key].tolist() == [1, 0, 0]
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite3.v1") as kept:
        assert kept.execute("SELECT key FROM vectors").fetchall() == [(old_key,)]
    kept.close()
    again = Catalog(file)
    assert again.counts() == (1, 1)
    again.close()


def test_a_catalog_of_the_version_before_context_and_frequencies_keeps_its_chunks(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite3"
    catalog = Catalog(file)
    catalog.record([record("/a.txt", "The lantern")], 1.0)
    catalog.close()
    with sqlite3.connect(file) as db:
        db.executescript(
            "ALTER TABLE chunks DROP COLUMN context; ALTER TABLE chunks DROP COLUMN fields; DROP TABLE frequencies"
        )
        db.execute("PRAGMA user_version = 3")
    db.close()
    again = Catalog(file)
    told = replace(record("/b.csv", "kiln,12").chunks[0], context="name,price")
    again.record([replace(record("/b.csv", "kiln,12"), chunks=[told])], 2.0)
    found = again.candidates([chunk_id("/a.txt", "The lantern", 0), told.id])
    assert {(one.chunk.text, one.chunk.context) for one in found.values()} == {
        ("The lantern", ""),
        ("kiln,12", "name,price"),
    }
    assert again.frequencies(terms("lantern kiln boiler")) == {EVERY: 2} | dict.fromkeys(terms("lantern kiln"), 1)
    again.close()


def test_it_is_known_how_many_chunks_hold_a_term(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite3")
    words = terms("lantern kiln barn")
    lantern, kiln, barn = words
    catalog.record([record("/a.txt", "The lantern, the lantern"), record("/b.txt", "The lantern of the kiln")], 1.0)
    assert catalog.frequencies(words) == {EVERY: 2, lantern: 2, kiln: 1}
    catalog.record([record("/b.txt", "The kiln in the barn")], 2.0)
    assert catalog.frequencies(words) == {EVERY: 2, lantern: 1, kiln: 1, barn: 1}
    catalog.forget(["/a.txt"])
    catalog.add_roots(["/"])
    assert catalog.frequencies(words) == {EVERY: 1, kiln: 1, barn: 1}
    catalog.forget_for_good("/b.txt")
    assert catalog.frequencies(words) == {}
    catalog.close()


def test_what_stands_above_a_chunk_counts_once_with_its_text(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite3")
    (lantern, kiln) = terms("lantern kiln")
    plain = record("/a.txt", "The lantern")
    above = replace(plain.chunks[0], fields=lexical.pack(np.array([lantern, kiln], np.uint32)))
    catalog.record([replace(plain, chunks=[above])], 1.0)
    assert catalog.frequencies([lantern, kiln]) == {EVERY: 1, lantern: 1, kiln: 1}
    catalog.close()


def test_the_languages_of_the_documents_are_known(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite3")
    assert catalog.languages() == ["english"]
    catalog.record([replace(record("/a.txt", "Die Laterne"), language="german"), record("/b.txt", "The lantern")], 1.0)
    catalog.record([replace(record("/c.txt", "La lanterne"), language="french")], 1.0)
    assert catalog.languages() == ["english", "french", "german"]
    catalog.close()


def test_a_catalog_is_opened_again_as_it_was(tmp_path: Path) -> None:
    first = Catalog(tmp_path / "catalog.sqlite3")
    first.add_roots(["/notes"])
    first.close()
    again = Catalog(tmp_path / "catalog.sqlite3")
    assert again.roots() == ["/notes"]
    again.close()


def test_a_full_disk_is_named_and_what_was_recorded_before_stays(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite3")
    catalog.record([record("/a.txt", "The lantern")], 1.0)
    (pages,) = catalog._write.execute("PRAGMA page_count").fetchone()  # pyright: ignore[reportPrivateUsage]
    catalog._write.execute(f"PRAGMA max_page_count = {pages}")  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(StoreAway, match=r"full.*stays searchable"):
        catalog.record([record(f"/{n}.txt", "The candle " * 5_000) for n in range(40)], 2.0)
    assert catalog.counts() == (1, 1)
    catalog._write.execute("PRAGMA max_page_count = 1000000")  # pyright: ignore[reportPrivateUsage]
    catalog.record([record("/b.txt", "The candle")], 3.0)
    assert catalog.counts() == (2, 2)
    catalog.close()


def test_indexing_stops_before_the_disk_is_full(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite3")
    catalog.require_room()
    with pytest.raises(StoreAway, match=r"make room"):
        catalog.require_room(least_bytes=1 << 62)
    catalog.close()


def test_what_is_deleted_cannot_be_read_out_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite3"
    catalog = Catalog(file)
    catalog.record([record("/a.txt", "The lantern"), record("/b.txt", "xylophone-secret")], 1.0)
    catalog.forget(["/b.txt"])
    catalog.close()
    assert b"The lantern" in file.read_bytes()
    assert b"xylophone-secret" not in file.read_bytes()


def test_forgetting_takes_what_lies_beneath_and_adding_its_root_again_does_not_bring_it_back(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite3")
    catalog.add_roots(["/notes"])
    catalog.record([record(path, "The lantern") for path in ("/notes/a/1.txt", "/notes/a/2.txt", "/notes/ab.txt")], 1.0)
    assert sorted(catalog.forget_for_good("/notes/a")) == ["/notes/a/1.txt", "/notes/a/2.txt"]
    assert (catalog.forgotten(), catalog.roots(), catalog.counts()) == (["/notes/a"], ["/notes"], (1, 1))
    catalog.add_roots(["/notes"])
    assert catalog.forgotten() == ["/notes/a"]
    catalog.take_in("/notes/a")
    assert catalog.forgotten() == []
    catalog.forget_for_good("/notes")
    assert (catalog.forgotten(), catalog.roots(), catalog.counts()) == ([], [], (0, 0))
    catalog.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_thread_that_has_ended_leaves_no_connection_open(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.sqlite3")

    def opened() -> int:
        """Files of the catalog that a new thread sees this process have open while it reads."""
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(catalog.counts).result() == (0, 0)
            return sum(os.path.realpath(one).startswith(str(tmp_path)) for one in Path("/proc/self/fd").iterdir())

    first, *later = (opened() for _ in range(5))
    assert later == [first] * 4
    catalog.close()
