"""Bytes become text: byte order marks, UTF-8, UTF-16, and what older programs wrote."""

import codecs
import re

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
_WESTERN = ["cp1252", "cp1250"]
_DENSE = ["cp932", "euc_jp", "gb18030", "big5", "cp949", "cp1251", "koi8_r", "iso8859_7", "cp1253", "cp1252", "cp1250"]
_SAMPLE_BYTES = 32_768


def decode(data: bytes) -> str:
    """The text in `data`, its newlines untouched, its byte order mark dropped.

    Raises:
        Unreadable: `data` is no text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if b"\0" in data and (encoding := _utf16_without_mark(data)):
        return data.decode(encoding, "replace")
    # A log holds a block of NULs after a power cut: some are forgiven where the rest is valid.
    controls = _share_of_controls(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        if controls > 0.01:
            raise Unreadable(_binary(data)) from None
        return _decode_older(data)
    if controls > 0.05 or _named(data):
        raise Unreadable(_binary(data))
    return text


def _share_of_controls(data: bytes) -> float:
    return 1 - len(data.translate(None, _CONTROL)) / len(data) if data else 0.0


def _utf16_without_mark(data: bytes) -> str | None:
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


def _decode_older(data: bytes) -> str:
    text = data.decode(errors="replace")
    # Few bad bytes among many good sequences: UTF-8 that was cut or glued, not another encoding.
    if text.count("\ufffd") * 10 <= len(data) - len(text):
        return text
    return data.decode(_guess(data), "replace")


def _guess(data: bytes) -> str:
    from charset_normalizer import from_bytes

    first = _HIGH.search(data)
    begin = max(0, first.start() - 1_000) if first else 0
    sample = data[begin : begin + _SAMPLE_BYTES]
    high = sum(map(len, _HIGH.findall(sample))) / max(1, len(sample.translate(None, b" \t\r\n")))
    matches = from_bytes(sample, cp_isolation=_WESTERN if high < 0.25 else _DENSE)
    best = matches.best()
    if best is None:
        return "cp1252"
    # Ties are broken by name over there; of the western ones cp1252 is by far the most written.
    tied = [match for match in matches if (match.chaos, match.coherence) == (best.chaos, best.coherence)]
    names = {name for match in tied for name in match.could_be_from_charset}
    return "cp1252" if "cp1252" in names else best.encoding


def _named(data: bytes) -> str | None:
    """What a file that holds NULs or begins like a PDF really is, by its first bytes."""
    if not (b"\0" in data or data.startswith(b"%PDF-")):
        return None
    return next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)


def _binary(data: bytes) -> str:
    name = next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)
    found = f"binary data that begins like {name}" if name else "binary data"
    return f"expected text, found {found}: give the file its right suffix, or leave it out"
