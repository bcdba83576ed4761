"""The catalog's file."""

import sqlite3
from pathlib import Path

import pytest

from indexer.catalog import SCHEMA, Catalog
from indexer.store import StoreUnusable


def test_a_catalog_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite3"
    Catalog(file).close()
    with sqlite3.connect(file) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    before = file.read_bytes()
    with pytest.raises(StoreUnusable, match=r"another version of Tandem.*--data"):
        Catalog(file)
    assert file.read_bytes() == before


def test_a_catalog_is_opened_again_as_it_was(tmp_path: Path) -> None:
    first = Catalog(tmp_path / "catalog.sqlite3")
    first.add_roots(["/notes"])
    first.close()
    again = Catalog(tmp_path / "catalog.sqlite3")
    assert again.roots() == ["/notes"]
    again.close()
