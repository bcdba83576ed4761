"""ZIP archives in which documents come: unpacked under limits, and never further than they say.

The libraries that read Office files unpack a member at once and whole, and believe what it says about its size. They
are given a copy that is unpacked already.
"""

import struct
import zipfile
import zlib
from io import BytesIO

from indexer.parse.document import Unreadable

BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    LookupError,
    ValueError,
    AttributeError,
    TypeError,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)
"""What zipfile and the libraries above it let out for archives that are broken in their several ways."""

# Sheets of a million cells are 40 MB of XML, the text of a long book 10 MB.
_MOST_BYTES = 100 << 20
_ALWAYS_BYTES = 50 << 20
_MOST_RATIO = 100
_MOST_MEMBERS = 10_000
# lxml takes 120 bytes for each, and a second for a million. A book of 1 000 pages has 500 000.
_MOST_TAGS = 1_500_000
_PIECE_BYTES = 1 << 16
_ENTRY = b"PK\x01\x02"
_SUFFIXES = (".xml", ".rels", ".vml", ".xhtml", ".html", ".htm", ".opf", ".ncx")


def names(data: bytes) -> list[str]:
    """The members' names; none where this is no archive, or a broken one."""
    if data.count(_ENTRY) > _MOST_MEMBERS:
        return []
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return archive.namelist()
    except BROKEN:
        return []


def unpack(data: bytes, expected: str) -> dict[str, bytes]:
    """Every member by name: with its content where that is text or says how others belong together, else empty.

    `expected`: as in "a DOCX".

    Raises:
        Unreadable: there are too many, or they are too large.
        BROKEN: the archive is damaged.
    """
    count = data.count(_ENTRY)
    if count > _MOST_MEMBERS:
        raise Unreadable(f"expected {expected} of at most {_MOST_MEMBERS} parts, found {count}: split it")
    left = most = min(_MOST_BYTES, max(_ALWAYS_BYTES, _MOST_RATIO * len(data)))
    with zipfile.ZipFile(BytesIO(data)) as archive:
        # Pictures and fonts stay packed, but a part that is missing altogether makes a file a broken one.
        members = dict.fromkeys(archive.namelist(), b"")
        wanted = [entry for entry in archive.infolist() if entry.filename.lower().endswith(_SUFFIXES)]
        for entry in wanted:
            if entry.flag_bits & 1:
                raise Unreadable(f"expected {expected}, found one with a password: save a copy without it")
            # Other methods unpack a piece whole, however large it becomes.
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise zipfile.BadZipFile(f"{entry.filename} is packed by method {entry.compress_type}")
        declared = sum(entry.file_size for entry in wanted)
        for entry in wanted if declared <= most else ():
            members[entry.filename] = _read(archive, entry, left)
            left -= len(members[entry.filename])
    if declared > most:
        raise Unreadable(
            f"expected {expected} of at most {most >> 20} MB unpacked, found {declared >> 20} MB: split it"
        )
    return members


def trees(data: bytes, expected: str) -> BytesIO:
    """As `unpack`, packed anew without compression, for a library that makes trees in memory of all the XML.

    Raises:
        Unreadable: also where these trees would be too large.
    """
    members = unpack(data, expected)
    tags = sum(content.count(b"<") for content in members.values())
    if tags > _MOST_TAGS:
        raise Unreadable(f"expected {expected} of at most {_MOST_TAGS:,} tags, found {tags:,}: split it")
    return packed(members)


def packed(members: dict[str, bytes]) -> BytesIO:
    """An archive of these members, not compressed, for a library that wants a file."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    made.seek(0)
    return made


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    pieces: list[bytes] = []
    with archive.open(entry) as member:
        while piece := member.read(_PIECE_BYTES):
            most -= len(piece)
            if most < 0:
                raise zipfile.BadZipFile(f"{entry.filename} is larger than it says")
            pieces.append(piece)
    return b"".join(pieces)
