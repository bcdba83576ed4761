"""Bytes become a document: one file a format.

`Unreadable` is the only error: a file that gives no text says why, and never stops the others.
"""

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Literal, cast

from indexer.parse.document import Document, Heading, Kind, Unreadable, line_starts, refuse_longer

__all__ = [
    "SUFFIXES", "SUPPORTED", "UNSUPPORTED", "VERSION",
    "Document", "Heading", "Kind", "Unreadable", "line_starts", "parse",
]  # fmt: skip

# Part of the index's signature: raise it when a parser's text, headings, tables or pages change.
VERSION = 3

# Each but `text` is the name of the module that reads it.
_Format = Literal[
    "text", "markdown", "rst", "code", "delimited", "jsontext",
    "html", "pdf", "docx", "pptx", "xlsx", "notebook", "epub", "eml", "rtf",
]  # fmt: skip
_SUFFIXES: dict[_Format, str] = {
    "markdown": "md markdown mdx mkd",
    "rst": "rst",
    "text": "txt text adoc org tex log yaml yml toml ini cfg conf env properties xml srt vtt diff patch",
    "delimited": "csv tsv",
    "jsontext": "json jsonl ndjson",
    "code": "py pyi pyw js mjs cjs jsx ts mts cts tsx vue svelte go rs java kt kts scala c h cc cpp cxx hpp hh cs"
    " swift m mm rb php pl pm lua r jl dart ex exs erl hs clj ml fs sh bash zsh fish ps1 bat sql graphql proto"
    " tf css scss less cmake mk nix zig",
    "html": "html htm xhtml",
    "pdf": "pdf",
    "docx": "docx",
    "pptx": "pptx",
    "xlsx": "xlsx xlsm xls",
    "notebook": "ipynb",
    "epub": "epub",
    "eml": "eml mbox mht mhtml",
    "rtf": "rtf",
}
_FORMATS: dict[str, _Format] = {
    f".{suffix}": found for found, suffixes in _SUFFIXES.items() for suffix in suffixes.split()
}
SUFFIXES = {found: tuple(f".{suffix}" for suffix in suffixes.split()) for found, suffixes in _SUFFIXES.items()}
"""What reads them -> suffixes, lower case with their dot."""
# What is read as text first; the others get the bytes.
_WRITTEN = ("text", "markdown", "rst", "code", "delimited", "jsontext")
_NAMES: dict[_Format, str] = {
    "html": "HTML",
    "pdf": "a PDF",
    "docx": "a DOCX",
    "pptx": "a PPTX",
    "xlsx": "an Excel workbook",
    "notebook": "a Jupyter notebook",
    "epub": "an EPUB",
    "eml": "a mail",
    "rtf": "an RTF document",
}
_READABLE = "text, Markdown, code, HTML, PDF, Office, EPUB, mail or a notebook"
_HALVES = re.compile("[\ud800-\udfff]")

SUPPORTED = frozenset(_FORMATS)
"""Suffixes, lower case with their dot, that have a parser. Any other file is read if its content can be."""

_REFUSED = {
    ("a picture", "run text recognition (OCR) over it and keep the text"): "png jpg jpeg gif webp bmp ico tif tiff heic"
    " psd",
    ("a sound", "keep a transcript beside it"): "mp3 m4a wav flac ogg",
    ("a film", "keep a transcript beside it"): "mp4 m4v mov avi mkv webm",
    ("a ZIP archive", "unpack it"): "zip",
    ("an archive", "unpack it"): "gz tgz bz2 xz zst 7z rar tar jar whl deb rpm dmg iso",
    ("a program", "leave it out"): "exe dll so dylib class pyc pyd wasm",
    ("a database", "export what matters as CSV"): "sqlite sqlite3",
    ("a table for programs", "export it as CSV"): "parquet npy npz",
    ("a model's weights", "leave them out"): "pt pth onnx safetensors gguf",
    ("a font", "leave it out"): "woff woff2 ttf otf eot",
    ("a Kindle book", "convert it to EPUB"): "mobi",
    ("an Outlook data file", "export its messages as .eml files"): "pst",
}
_REASONS = {f".{suffix}": reason for reason, suffixes in _REFUSED.items() for suffix in suffixes.split()}

UNSUPPORTED = frozenset(_REASONS)
"""Suffixes, lower case with their dot, that are refused unread."""


def refuse(path: Path) -> None:
    """Raises Unreadable where the name alone tells that no parser reads the file."""
    suffix = path.suffix.lower()
    if suffix in UNSUPPORTED:
        name, advice = _REASONS[suffix]
        raise Unreadable(f"unsupported: expected {_READABLE}, found a {suffix} file, {name}: {advice}")


def parse(path: Path, data: bytes) -> Document:
    """The document that a file's bytes hold: what they are where they say so beyond doubt, else what its suffix says.

    Raises:
        Unreadable: no text is to be had, and why.
    """
    refuse(path)
    named = _FORMATS.get(path.suffix.lower())
    format_ = _format(named, data)
    try:
        document = _read(format_, path, data)
    except Unreadable as error:
        if format_ == named or format_ == "text":
            raise
        expected = _NAMES.get(named, "text") if named else _READABLE
        raise Unreadable(f"expected {expected}, found {_NAMES[format_]}, and in it: {error}") from error
    except RecursionError as error:
        raise Unreadable("expected a document, found one nested too deep: open it and save it anew") from error
    refuse_longer(len(document.text))
    return document


def _format(named: _Format | None, data: bytes) -> _Format:
    from indexer.parse import sniff

    found = sniff.container(data)
    if found is None and named not in _WRITTEN:
        found = sniff.text(data)
    if found is None or (found.format is None and named in _WRITTEN):
        return named or "text"
    if found.format is None:
        unsupported = "unsupported: " if named is None else ""
        expected = _NAMES[named] if named else _READABLE
        raise Unreadable(f"{unsupported}expected {expected}, found {found.name}: {found.advice}")
    return found.format


def _read(format_: _Format, path: Path, data: bytes) -> Document:
    if format_ not in _WRITTEN:
        # Parsers load what they need on first use: a folder of notes never pays for the PDF library.
        return _whole(cast(Document, import_module(f"indexer.parse.{format_}").parse(data)))
    written = _decoded(path, data)
    if format_ == "text":
        return Document(written, None, "text", has_lines=True)
    if format_ == "code":
        from indexer.parse import code

        return code.parse(written, path.suffix.lower())
    return cast(Document, import_module(f"indexer.parse.{format_}").parse(written))


def _decoded(path: Path, data: bytes) -> str:
    from indexer.parse import text

    try:
        return text.decode(data)
    except Unreadable as error:
        if path.suffix.lower() in SUPPORTED:
            raise
        name = f"a {path.suffix} file" if path.suffix else "a file without a suffix"
        raise Unreadable(
            f"unsupported: expected {_READABLE}, found {name} with binary data: save it as one of them"
        ) from error


def _whole(document: Document) -> Document:
    """Halves of characters, which JSON and RTF can hold but no other text, become the sign for a bad character."""
    if not _HALVES.search(f"{document.text}{document.title}"):
        return document
    headings = (replace(heading, title=_HALVES.sub("\ufffd", heading.title)) for heading in document.headings)
    return replace(
        document,
        text=_HALVES.sub("\ufffd", document.text),
        title=document.title and _HALVES.sub("\ufffd", document.title),
        headings=tuple(headings),
    )
