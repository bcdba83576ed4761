"""Mail (.eml, .mht) and mailboxes (.mbox): who, when, about what, the body, and the names of what is attached.

A message's subject is its heading; a message within a message is a section of it.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from typing import TypeAlias, cast

from indexer.parse import html
from indexer.parse.document import Document, Draft, Unreadable
from indexer.parse.text import decode

# A line of its own before each message; within messages it is written ">From ".
_MBOX = re.compile(rb"^From [^\r\n]*\d{4}[^\r\n]*\r?\n", re.MULTILINE)
_FIELDS = ("From", "To", "Cc", "Date")
# The addresses of a list's thousand members are no text.
_FIELD_CHARS = 1_000
_RAW_CHARS = 8_000
# The email package takes time in the square of such a header's length.
_ENDLESS = re.compile(rb"^content-[a-z-]+:(?:[^\n]|\n[ \t]){20000}", re.IGNORECASE | re.MULTILINE)

_Mail: TypeAlias = "Message[str, str]"


def parse(data: bytes) -> Document:
    if not data.strip():
        return Document("", None, "email")
    if _ENDLESS.search(data):
        raise Unreadable("expected a mail, found one with a header without end: save its text alone")
    draft = Draft()
    try:
        mails = [message_from_bytes(raw) for raw in _messages(data)]
        for mail in mails:
            _add(draft, mail, 1)
    except RecursionError as error:
        raise Unreadable("expected a mail, found one with parts nested too deep: save its text alone") from error
    title = _field(mails[0], "Subject") if len(mails) == 1 else None
    return draft.document(title, "email")


def _messages(data: bytes) -> Iterator[bytes]:
    if not data.startswith(b"From "):
        yield data
        return
    starts = list(_MBOX.finditer(data))
    ends = [*(start.start() for start in starts[1:]), len(data)]
    for start, end in zip(starts, ends, strict=True):
        yield data[start.end() : end]


def _add(draft: Draft, mail: _Mail, level: int) -> None:
    draft.heading(level, _field(mail, "Subject") or "(no subject)")
    fields = [f"{name}: {value}" for name in _FIELDS if (value := _field(mail, name))]
    if fields:
        draft.add("\n".join(fields))
    _add_part(draft, mail, level)


def _add_part(draft: Draft, part: _Mail, level: int) -> None:
    kind = part.get_content_type()
    inner = _parts(part)
    if kind == "message/rfc822":
        for mail in inner:
            _add(draft, mail, level + 1)
    elif kind == "multipart/alternative":
        _add_part(draft, _best(inner), level) if inner else None
    elif kind == "multipart/related":
        # The page comes first, then its pictures.
        _add_part(draft, inner[0], level) if inner else None
    elif inner:
        for one in inner:
            _add_part(draft, one, level)
    elif part.get_content_disposition() == "attachment" or part.get_content_maintype() != "text":
        if name := _words(part.get_filename() or ""):
            draft.add(f"Attachment: {name}")
    elif kind == "text/html":
        draft.include(html.read(_text(part), main=False), deeper=level)
    elif body := _text(part).replace("\r\n", "\n").strip():
        draft.add(body)


def _parts(part: _Mail) -> list[_Mail]:
    return cast(list[_Mail], part.get_payload()) if part.is_multipart() else []


def _best(parts: list[_Mail]) -> _Mail:
    """Plain text, but where it is empty: then what comes last, which is the richest."""
    plain = (part for part in parts if part.get_content_type() == "text/plain" and _text(part).strip())
    return next(plain, parts[-1])


def _text(part: _Mail) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    named = part.get_content_charset()
    try:
        return payload.decode(named or "utf-8").replace("\0", "")
    except (LookupError, UnicodeError):
        return decode(payload)


def _field(mail: _Mail, name: str) -> str:
    found = next((value for key, value in mail.raw_items() if key.lower() == name.lower()), "")
    return _words(str(found))[:_FIELD_CHARS]


def _words(raw: str) -> str:
    """A header as a person reads it: `=?utf-8?q?Gr=C3=BC=C3=9Fe?=` is Grüße."""
    raw = raw[:_RAW_CHARS]
    # The parser keeps bytes that it should not have got as surrogates.
    if not raw.isascii():
        raw = decode(raw.encode("utf-8", "surrogateescape"))
    with suppress(LookupError, ValueError, MessageError):  # it is not always written in what it names
        raw = str(make_header(decode_header(raw)))
    return " ".join(raw.split())
