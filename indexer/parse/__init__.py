"""Bytes become a document: one file a format.

`Unreadable` is the only error: a file that gives no text says why, and never stops the others.
"""

from pathlib import Path

from indexer.parse.document import Document, Heading, Kind, Unreadable, line_starts

__all__ = ["SUPPORTED", "UNSUPPORTED", "VERSION", "Document", "Heading", "Kind", "Unreadable", "line_starts", "parse"]

# Part of the index's signature: raise it when a parser's text, headings or pages change.
VERSION = 1

_SUFFIXES: dict[Kind, str] = {
    "markdown": "md markdown mdx mkd",
    "text": "txt text rst adoc org tex log csv tsv json jsonl ndjson yaml yml toml ini cfg conf env properties xml"
    " srt vtt diff patch",
    "code": "py pyi pyw js mjs cjs jsx ts mts cts tsx vue svelte go rs java kt kts scala c h cc cpp cxx hpp hh cs"
    " swift m mm rb php pl pm lua r jl dart ex exs erl hs clj ml fs sh bash zsh fish ps1 bat sql graphql proto"
    " tf css scss less cmake mk nix zig",
    "html": "html htm xhtml",
    "pdf": "pdf",
    "docx": "docx",
}
_KINDS: dict[str, Kind] = {f".{suffix}": kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}

_FORMATS = "text, Markdown, code, HTML, PDF or DOCX"
SUPPORTED = frozenset(_KINDS)
"""Suffixes, lower case with their dot, that have a parser. Any other file is read if it turns out to be text."""

UNSUPPORTED = frozenset(
    f".{suffix}"
    for suffix in (
        "png jpg jpeg gif webp bmp ico tif tiff heic psd mp3 m4a wav flac ogg mp4 m4v mov avi mkv webm zip gz tgz bz2"
        " xz zst 7z rar tar jar whl deb rpm dmg iso exe dll so dylib class pyc pyd wasm sqlite sqlite3 parquet npy npz"
        " pt pth onnx safetensors gguf woff woff2 ttf otf eot doc rtf xls xlsx ppt pptx odt ods odp pages numbers key"
        " epub mobi msg pst"
    ).split()
)
"""Suffixes, lower case with their dot, that are refused unread."""


def refuse(path: Path) -> None:
    """Raises Unreadable where the name alone tells that no parser reads the file."""
    suffix = path.suffix.lower()
    if suffix in UNSUPPORTED:
        raise Unreadable(f"unsupported: expected {_FORMATS}, found a {suffix} file: save it as one of them")


def parse(path: Path, data: bytes) -> Document:
    """The document that a file's bytes hold; its suffix picks the format, its content where none fits.

    Raises:
        Unreadable: no text is to be had, and why.
    """
    refuse(path)
    kind = _KINDS.get(path.suffix.lower())
    # Parsers load what they need on first use: a folder of notes never pays for the PDF library.
    if kind == "pdf":
        from indexer.parse import pdf

        return pdf.parse(data)
    if kind == "docx":
        from indexer.parse import docx

        return docx.parse(data)
    return _parse_text(path, kind, data)


def _parse_text(path: Path, kind: Kind | None, data: bytes) -> Document:
    from indexer.parse import code, html, markdown, text

    if kind == "html":
        return html.parse(data)
    try:
        decoded = text.decode(data)
    except Unreadable as error:
        if kind is not None:
            raise
        name = f"a {path.suffix} file" if path.suffix else "a file without a suffix"
        raise Unreadable(
            f"unsupported: expected {_FORMATS}, found {name} with binary data: save it as one of them"
        ) from error
    if kind == "markdown":
        return markdown.parse(decoded)
    if kind == "code":
        return code.parse(decoded, path.suffix.lower())
    return Document(decoded, None, "text", has_lines=True)
