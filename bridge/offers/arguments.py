"""What the tools take. A model reads these words in every conversation: each has to help it."""

from typing import Annotated

from pydantic import Field

from bridge.service import MAX_COMMENT_CHARS, MAX_LIMIT, MAX_QUERY_CHARS
from indexer.filters import KINDS

LEAST_TOKENS, MOST_TOKENS = 300, 20_000

# Documented in the schema, checked by the service: its words say what to do, a validator's do not.
Words = Field(json_schema_extra={"minLength": 1, "maxLength": MAX_QUERY_CHARS})
Query = Annotated[str, Words, Field(description="A question or key words, in any language.")]
Question = Annotated[str, Words, Field(description="The question, in full: it is understood on its own.")]
Limit = Annotated[
    int,
    Field(description="How many passages at most.", json_schema_extra={"minimum": 1, "maximum": MAX_LIMIT}),
]
MaxTokens = Annotated[
    int,
    Field(
        description="How long the result may be; a token is counted for every 4 bytes.",
        json_schema_extra={"minimum": LEAST_TOKENS, "maximum": MOST_TOKENS},
    ),
]
# `in` is a keyword of Python; a plain alias would make the SDK call us with it.
Within = Annotated[
    str | None,
    Field(validation_alias="in", description="Only files whose path fits this glob: **/*.pdf or /home/ana/notes/**"),
]
# Not `type`, nor an alias of it, for the same reason.
Types = Annotated[
    str | None,
    Field(
        validation_alias="type",
        description=f"Only files of these types, commas between: {', '.join(KINDS)}, or suffixes such as md.",
    ),
]
Since = Annotated[
    str | None, Field(description="Only files modified since: a date such as 2026-01-31 (UTC), or 12h, 7d, 2w, 1y ago.")
]
Uri = Annotated[
    str,
    Field(
        description="The uri or path of a hit, a citation or a resource. A place after # says where to begin: #L120, "
        "#page=3; `next` of the last result goes on."
    ),
]
Around = Annotated[
    str | int | None,
    Field(
        description="Where to centre: a line, the page of a PDF, or words that stand there, such as a heading.",
        json_schema_extra={"type": "string", "anyOf": None},
    ),
]
AnswerId = Annotated[str, Field(description="The answer's `request`, as `ask` returned it.")]
After = Annotated[str, Field(description="The place up to which the answer is known, as the last result named it.")]
Session = Annotated[str | None, Field(description="Any id: questions that share it are one conversation.")]
TraceId = Annotated[str, Field(description="The answer's trace_id, as `ask` returned it.")]
Up = Annotated[bool, Field(description="true: good; false: bad.")]
Comment = Annotated[
    str | None,
    Field(
        description="Why, in the user's own words, where they said so.",
        json_schema_extra={"maxLength": MAX_COMMENT_CHARS},
    ),
]


def filtered(within: str | None, types: str | None, since: str | None) -> dict[str, str]:
    """What a trace shows of the filters: those that were given."""
    return {name: word for name, word in (("in", within), ("type", types), ("since", since)) if word is not None}
