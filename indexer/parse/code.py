"""Source code: the text as it stands; for Python also its classes and functions as headings."""

import ast
import warnings
from collections.abc import Iterator, Sequence

from indexer.parse.document import Document, Heading, line_starts

# The syntax tree of 1 MB takes a second and 100 MB: more than that is generated, and its names say little.
_MAX_TREE_CHARS = 1_000_000
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def parse(text: str, suffix: str) -> Document:
    headings = tuple(_python(text)) if suffix in (".py", ".pyi", ".pyw") else ()
    return Document(text, None, "code", headings, has_lines=True)


def _python(text: str) -> Iterator[Heading]:
    if len(text) > _MAX_TREE_CHARS:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in somebody's file is not ours to report
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    starts = line_starts(text)
    for level, line, title in _sections(tree.body, 1):
        begin = starts[line - 1]
        row = text[begin : starts[line] if line < len(starts) else len(text)]
        yield Heading(begin + len(row) - len(row.lstrip()), level, title)


def _sections(body: Sequence[ast.stmt], level: int) -> Iterator[tuple[int, int, str]]:
    """(level, line, title) of each class and function, and an empty title where other code goes on after one."""
    after_definition = False
    for statement in body:
        if isinstance(statement, _Definition):
            first = statement.decorator_list[0] if statement.decorator_list else statement
            yield level, first.lineno, statement.name
            # Functions within functions belong to their function: only a class opens a further level.
            if isinstance(statement, ast.ClassDef):
                yield from _sections(statement.body, level + 1)
            after_definition = True
        elif after_definition:
            yield level, statement.lineno, ""
            after_definition = False
