"""Bytes become text: byte order marks, UTF-8, UTF-16, and what older programs wrote."""

import codecs
import re

from indexer.parse import encodings
from indexer.parse.document import Unreadable

_MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SIGNATURES = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or an Office file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"RIFF", "a sound, film or WebP picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
# Bytes that no text holds; \t \n \v \f \r, backspace and escape (terminal logs) may stand in one.
_CONTROL = bytes({*range(32), 127} - {8, 9, 10, 11, 12, 13, 27})
_HIGH = re.compile(rb"[\x80-\xff]+")
# How Japanese mail and old Unix files switch to kanji, in seven bits.
_KANJI_IN = (b"\x1b$B", b"\x1b$@")
_SAMPLE_BYTES = 32_768
_MANY_CONTROLS = 0.01
_NOTE_BYTES = 512  # so small a file, valid UTF-8 without a NUL, is text whatever signs it holds


def decode(data: bytes) -> str:
    """The text in `data`, its newlines untouched, its byte order mark dropped.

    Raises:
        Unreadable: `data` is no text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if b"\0" in data and (encoding := _latin_utf16(data)):
        return data.decode(encoding, "replace")
    # A log holds a block of NULs after a power cut: some are forgiven where the rest is valid.
    controls = _share_of_controls(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _decode_older(data, controls)
    if (controls > 0.05 and (len(data) > _NOTE_BYTES or b"\0" in data)) or _named(data):
        return _decode_utf16(data)
    return _seven_bit_japanese(data) or text


def _share_of_controls(data: bytes) -> float:
    return 1 - len(data.translate(None, _CONTROL)) / len(data) if data else 0.0


def _latin_utf16(data: bytes) -> str | None:
    """Latin text in UTF-16 has a NUL in nearly every other byte, and always on the same side."""
    sample = data[: _SAMPLE_BYTES & ~1]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = max(1, len(sample) // 2)
    if odd > 0.4 * half and even < 0.01 * half:
        encoding = "utf-16-le"
    elif even > 0.4 * half and odd < 0.01 * half:
        encoding = "utf-16-be"
    else:
        return None
    # Little integers in a binary table look the same; as text they are mostly control characters.
    text = sample.decode(encoding, "replace")
    return encoding if _share_of_controls(text.encode()) < 0.02 else None


def _decode_older(data: bytes, controls: float) -> str:
    if controls <= _MANY_CONTROLS and _is_broken_utf8(data):
        return data.decode(errors="replace")
    if controls > _MANY_CONTROLS or (encodings.utf16(data) and not _named(data)):
        return _decode_utf16(data)
    return encodings.decode(data)


def _is_broken_utf8(data: bytes) -> bool:
    """Few bad bytes among many good sequences: UTF-8 that was cut or glued, not another encoding."""
    bad = good = 0
    for word in _HIGH.finditer(data):
        text = word[0].decode(errors="replace")
        broken = text.count("\ufffd")
        bad += broken
        good += len(word[0]) - len(text)
        if bad + good > _SAMPLE_BYTES:
            break
    return bad * 10 <= good


def _decode_utf16(data: bytes) -> str:
    """Chinese has a NUL only where a line ends; to programs that expect bytes it is binary."""
    encoding = encodings.utf16(data)
    if encoding is None or _named(data):
        raise Unreadable(_binary(data))
    return data.decode(encoding, "replace")


def _seven_bit_japanese(data: bytes) -> str | None:
    if not any(mark in data for mark in _KANJI_IN):
        return None
    try:
        return data.decode("iso2022_jp_ext")
    except UnicodeDecodeError:
        return None


def _named(data: bytes) -> str | None:
    """What a file that holds NULs or begins like a PDF really is, by its first bytes."""
    if not (b"\0" in data or data.startswith(b"%PDF-")):
        return None
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)


def _binary(data: bytes) -> str:
    name = next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)
    found = f"binary data that begins like {name}" if name else "binary data"
    return f"expected text, found {found}: give the file its right suffix, or leave it out"
