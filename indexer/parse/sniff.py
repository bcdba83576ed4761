"""What bytes are, whatever the file is called."""

import re
from dataclasses import dataclass
from typing import Literal

from indexer.parse import archive, ole

Format = Literal["pdf", "docx", "pptx", "xlsx", "epub", "rtf", "html", "eml"]


@dataclass(frozen=True, slots=True)
class Found:
    """`name`: for people, "a PDF". `format`: what reads it, none where nothing does; then `advice` says what to do."""

    name: str
    format: Format | None = None
    advice: str = "leave it out"


_RENAME = "give the file its right suffix, or leave it out"
_SIGNATURES = (
    (b"%PDF-", Found("a PDF", "pdf")),
    (b"{\\rtf", Found("an RTF document", "rtf")),
    (b"\x89PNG", Found("a PNG picture")),
    (b"\xff\xd8\xff", Found("a JPEG picture")),
    (b"GIF8", Found("a GIF picture")),
    (b"II*\0", Found("a TIFF picture")),
    (b"MM\0*", Found("a TIFF picture")),
    (b"RIFF", Found("a sound, film or WebP picture")),
    (b"OggS", Found("a sound or film")),
    (b"ID3", Found("an MP3 sound")),
    (b"fLaC", Found("a FLAC sound")),
    (b"\x1aE\xdf\xa3", Found("a Matroska or WebM film")),
    (b"\x1f\x8b", Found("a gzip archive", advice="unpack it")),
    (b"BZh", Found("a bzip2 archive", advice="unpack it")),
    (b"\xfd7zXZ\0", Found("an xz archive", advice="unpack it")),
    (b"\x28\xb5\x2f\xfd", Found("a Zstandard archive", advice="unpack it")),
    (b"7z\xbc\xaf\x27\x1c", Found("a 7-Zip archive", advice="unpack it")),
    (b"Rar!\x1a\x07", Found("a RAR archive", advice="unpack it")),
    (b"SQLite format 3\0", Found("an SQLite database")),
    (b"\x7fELF", Found("a program")),
    (b"MZ", Found("a program")),
    (b"\xca\xfe\xba\xbe", Found("a program")),
    (b"\xcf\xfa\xed\xfe", Found("a program")),
    (b"!BDN", Found("an Outlook data file", advice="export its messages as .eml files")),
)
_ZIP = b"PK\x03\x04"
# The streams of an OLE file that tell what it is; a document may hold others, so the order counts.
_STREAMS = (
    ("__nameid_version1.0", Found("an Outlook message", advice="save it as an .eml file")),
    ("EncryptedPackage", Found("an Office file with a password", advice="save a copy without it")),
    ("PowerPoint Document", Found("an old PowerPoint presentation", advice="save it as .pptx")),
    ("WordDocument", Found("an old Word document", advice="save it as .docx")),
    ("Workbook", Found("an Excel workbook", "xlsx")),
    ("Book", Found("an Excel workbook", "xlsx")),
)
_OLD_OFFICE = Found("an old Office file", advice="save it in the current format, or as a PDF")
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
_FIELD = re.compile(
    rb"^(from|date|subject|to|message-id|mime-version|received|return-path|delivered-to):", re.IGNORECASE | re.MULTILINE
)
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_HEADER_BYTES = 65_536
# A mail has at least these many of the fields above.
_FEWEST_FIELDS = 4


def container(data: bytes) -> Found | None:
    """What a file is by its first bytes, where these leave no doubt; none for text and for what is not known."""
    if data.startswith(_ZIP):
        return _zip(archive.names(data))
    if data.startswith(ole.SIGNATURE):
        return _ole(data)
    return next((found for signature, found in _SIGNATURES if data.startswith(signature)), None)


def text(data: bytes) -> Found | None:
    """A page or a message, told by how it begins; to be asked only where the name says nothing."""
    if _HTML_START.match(data[:_HEADER_BYTES]):
        return Found("a web page", "html")
    end = _HEADER_END.search(data, 0, _HEADER_BYTES)
    head = data[: end.start()] if end else b""
    if head[:1].isalpha() and len({field.lower() for field in _FIELD.findall(head)}) >= _FEWEST_FIELDS:
        return Found("a mail", "eml")
    return None


def _zip(names: list[str]) -> Found | None:
    if not names:
        return None  # broken, or too large to be looked into
    members = set(names)
    folders = {name.partition("/")[0] for name in names}
    if "[Content_Types].xml" in members:
        if "word" in folders:
            return Found("a DOCX", "docx")
        if "ppt" in folders:
            return Found("a PPTX", "pptx")
        if "xl/workbook.bin" in members:
            return Found("a binary Excel workbook (.xlsb)", advice="save it as .xlsx")
        if "xl" in folders:
            return Found("an Excel workbook", "xlsx")
        return None
    if "META-INF/container.xml" in members:
        return Found("an EPUB", "epub")
    if "mimetype" in members and "content.xml" in members:
        return Found("an OpenDocument file", advice="save it as DOCX, XLSX or PPTX")
    if any(name.endswith(".iwa") for name in names) or "Index.zip" in members:
        return Found("a Pages, Numbers or Keynote document", advice="export it as a PDF or an Office file")
    if "META-INF/MANIFEST.MF" in members:
        return Found("a Java archive")
    return Found("a ZIP archive", advice="unpack it")


def _ole(data: bytes) -> Found:
    named = (found for name, found in _STREAMS if name.encode("utf-16-le") + b"\0\0" in data)
    return next(named, _OLD_OFFICE)
