"""What somebody typed is refused before anything is done with it."""

from bridge.service import MAX_QUERY_CHARS, BadInput

SESSION_CHARS = 200


def check_words(text: str, within: str | None) -> None:
    """Of a query or question, and of the glob for its documents. Raises BadInput."""
    if not text.strip():
        raise BadInput("the query is empty; expected a question or some words to look for")
    if len(text) > MAX_QUERY_CHARS:
        raise BadInput(f"the query has {len(text):,} characters; at most {MAX_QUERY_CHARS:,} are taken")
    if within is not None and (not within.strip() or len(within) > MAX_QUERY_CHARS):
        raise BadInput("`in` was expected to be a glob such as docs/*.md or a folder; it is empty or too long")
    try:
        (text + (within or "")).encode()
    except UnicodeEncodeError as error:
        raise BadInput("the query was expected to be Unicode text; it holds half a surrogate pair") from error


def check_session(session: str) -> None:
    """Raises BadInput."""
    if not session.isprintable() or not 0 < len(session) <= SESSION_CHARS:
        raise BadInput(
            f"`session` was expected to be an id of 1 to {SESSION_CHARS} printable characters; it has {len(session)}"
        )
