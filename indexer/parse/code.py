"""Source code: the text as it stands, with its functions, classes and the like as headings."""

from indexer.parse.document import Document
from indexer.parse.symbols import symbols


def parse(text: str, suffix: str) -> Document:
    """`suffix`: lower case with its dot; it names the language."""
    return Document(text, None, "code", symbols(text, suffix), has_lines=True)
