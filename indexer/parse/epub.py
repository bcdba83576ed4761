"""EPUB: the chapters in reading order, each read as the page that it is, under its name in the table of contents."""
# lxml has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import posixpath
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from indexer.parse import archive, html
from indexer.parse.document import TITLE_CHARS, Document, Draft, Unreadable

_BROKEN = (*archive.BROKEN, etree.LxmlError)
_PROTECTED = "META-INF/rights.xml"

_Element = Any


def parse(data: bytes) -> Document:
    if not data:
        return Document("", None, "epub")
    try:
        members = archive.unpack(data, "an EPUB")
        if _PROTECTED in members:
            raise Unreadable("expected an EPUB that can be read, found one with copy protection: leave it out")
        return _read(members)
    except _BROKEN as error:
        raise Unreadable(
            "expected an EPUB, found a broken or incomplete one: open it in an editor and save it anew"
        ) from error


def _read(members: dict[str, bytes]) -> Document:
    container = _tree(members["META-INF/container.xml"])
    at = container.find(".//{*}rootfile").get("full-path")
    package = _tree(members[at])
    folder = posixpath.dirname(at)
    items = {item.get("id"): item for item in package.iterfind(".//{*}manifest/{*}item")}
    names = _contents(members, folder, items.values(), package)
    draft = Draft()
    read: set[str] = set()
    for reference in package.iterfind(".//{*}spine/{*}itemref"):
        item = items.get(reference.get("idref"))
        path = _path(folder, item.get("href")) if item is not None else ""
        if "nav" not in _words_of(item, "properties") and members.get(path) and path not in read:
            read.add(path)
            _add(draft, html.parse(members[path], main=False), names.get(path))
    title = package.find(".//{http://purl.org/dc/elements/1.1/}title")
    return draft.document("".join(title.itertext()) if title is not None else None, "epub")


def _add(draft: Draft, chapter: Document, name: str | None) -> None:
    if not chapter.text.strip():
        return  # a cover
    if not chapter.headings:
        # Without a name it still is no part of the chapter before.
        draft.heading(1, name or "")
    draft.include(chapter)


def _contents(members: dict[str, bytes], folder: str, items: Any, package: _Element) -> dict[str, str]:
    """What the table of contents (that of EPUB 3, else that of EPUB 2) calls each chapter's file."""
    spine = package.find(".//{*}spine")
    older = spine.get("toc") if spine is not None else None
    names: dict[str, str] = {}
    for item in items:
        path = _path(folder, item.get("href"))
        if path in members and ("nav" in _words_of(item, "properties") or item.get("id") == older):
            for href, label in _labels(_tree(members[path])):
                names.setdefault(_path(posixpath.dirname(path), href), label)
    return names


def _labels(contents: _Element) -> Iterator[tuple[str, str]]:
    for point in contents.iter("{*}navPoint"):
        target, label = point.find("{*}content"), point.find("{*}navLabel")
        if target is not None and label is not None:
            yield target.get("src", ""), _label(label)
    for link in contents.iter("{*}a"):
        if link.get("href"):
            yield link.get("href"), _label(link)


def _label(element: _Element) -> str:
    return " ".join("".join(element.itertext()).split())[:TITLE_CHARS]


def _words_of(item: _Element, attribute: str) -> list[str]:
    return item.get(attribute, "").split() if item is not None else []


def _path(folder: str, href: str | None) -> str:
    return posixpath.normpath(posixpath.join(folder, unquote((href or "").partition("#")[0])))


def _tree(xml: bytes) -> _Element:
    # Entities stay unresolved: nested ones unfold to gigabytes, outer ones read other files.
    return etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))
