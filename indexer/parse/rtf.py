"""RTF: its text; pictures, styles and notes to the program left out."""

# striprtf has half of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import re

from striprtf.striprtf import rtf_to_text

from indexer.parse.document import Document, Unreadable

_PAGE = re.compile(rb"\\ansicpg(\d{1,5})")
# A long one is a picture; striprtf would look at each digit.
_DIGITS = re.compile(rb"[0-9a-fA-F\s]+")
_FEWEST_DIGITS = 800
_BLANKS = re.compile(r"\n{3,}")
# The link of a field is sought again and again from the field's beginning to the end of its line.
_FIELD = re.compile(rb"(\\\*\\fldinst)")


def parse(data: bytes) -> Document:
    if not data:
        return Document("", None, "rtf")
    if not data.startswith(b"{\\rtf"):
        raise Unreadable("expected an RTF document, found something else: open it in a word processor and save it anew")
    plain = _FIELD.sub(rb"\n\1", _DIGITS.sub(_without_pictures, data))
    try:
        text: str = rtf_to_text(plain.decode(_encoding(data), "replace"), errors="replace")
    except (ValueError, LookupError, TypeError) as error:
        raise Unreadable("expected an RTF document, found a broken one: open it and save it anew") from error
    # A letter beyond 16 bits is written as two halves.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")
    return Document(_BLANKS.sub("\n\n", text).strip(), None, "rtf")


def _without_pictures(digits: re.Match[bytes]) -> bytes:
    return digits[0] if digits.end() - digits.start() < _FEWEST_DIGITS else b""


def _encoding(data: bytes) -> str:
    named = _PAGE.search(data[:4096])
    try:
        name = f"cp{int(named[1])}" if named else "cp1252"
        b"".decode(name)
    except LookupError:
        return "cp1252"
    return name
