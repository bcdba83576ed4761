"""JSON: the text as it stands, but that letters written as numbers (\\u00fc) are letters, or nobody would find them."""

import json
import re

from indexer.parse.document import Document

# Every escape is looked at, so that the second backslash of two begins none.
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.")


def parse(text: str) -> Document:
    if "\\u" in text:
        text = _ESCAPES.sub(_letters, text)
    return Document(text, None, "text", has_lines=True)


def _letters(escapes: re.Match[str]) -> str:
    """Controls, quotes, half characters and whatever ends a line stay as they are written."""
    written = escapes[0]
    if len(written) == 2:
        return written
    letters = str(json.loads(f'"{written}"'))
    return letters if letters.isprintable() and not any(letter < "\xa0" for letter in letters) else written
