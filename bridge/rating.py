"""A person's thumb on an answer, as an annotation of the answer's trace (pure)."""

import re

from bridge.service import MAX_COMMENT_CHARS, BadInput
from observability.annotations import Annotation

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")


def rating(trace_id: str, up: bool, comment: str | None = None) -> Annotation:
    """Said again of the same trace it replaces what was said before, its comment too. Raises BadInput."""
    known = trace_id.lower()
    if not _TRACE_ID.fullmatch(known):
        raise BadInput(
            f"`trace_id` was expected to be 32 hex digits, as the end of an answer names it; it is {trace_id[:80]!r}"
        )
    label = "up" if up else "down"
    return Annotation(known, "rating", float(up), label, _checked(comment), kind="HUMAN", place="trace")


def _checked(comment: str | None) -> str | None:
    if comment is None or not (words := comment.strip()):
        return None
    if len(words) > MAX_COMMENT_CHARS:
        raise BadInput(f"the comment has {len(words):,} characters; at most {MAX_COMMENT_CHARS:,} are taken")
    try:
        words.encode()
    except UnicodeEncodeError as error:
        raise BadInput("the comment was expected to be Unicode text; it holds half a surrogate pair") from error
    return words.replace("\0", "")  # PostgreSQL, where a Phoenix may keep it, takes none
