"""Where the functions, classes and the like of a source file begin, and what they are called."""

import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module

import numpy as np
from tree_sitter import Language, Node, Parser, Tree

from indexer.parse.document import Heading
from indexer.parse.grammars import BY_SUFFIX, FUNCTION_VALUES, ONLY_WITH_BODY, Grammar

_MAX_CHARS = 1_000_000
# Minified or generated: nobody writes such lines, and their names say little.
_SMALL_CHARS = 10_000
_MINIFIED_LINE_CHARS = 200
_MAX_DEPTH = 50
_TITLE_CHARS = 200
_SIGNATURE_BYTES = 400

# An ambiguous text (`a<a<a<…` as C#) costs the parser memory by the square and then its stack. Of 3 000 real files
# none took 2 steps a byte and 500 more; counted in steps, a file has the same headings on every machine.
_STEPS_PER_BYTE = 2
_STEPS_AHEAD = 5_000
_STEPS_PER_CALL = 100
# Real code takes 0.3 s per MB: this is for what is slow without many steps.
_PARSE_S = 5.0
_PIECE_BYTES = 65_536

_NAMES = ("name", "property", "left")
_VALUES = ("value", "right", "type")
_LISTS = frozenset(("expression_list", "argument_list", "variable_list"))
_PREFIXES = frozenset(("modifiers", "modifier", "attribute_list", "annotation"))
_BRACKETS = frozenset((b"{", b"(", b"[", b";"))
_HEAD_END = re.compile(r"[{;\r\n]|=>")
_RECEIVER = re.compile(r"(\w+)\s*(?:\[[^\]]*\])?\s*\)$")

_Section = tuple[int, int, str, str]


def symbols(text: str, suffix: str) -> tuple[Heading, ...]:
    """The definitions of a source file in reading order, each from the first comment, decorator or attribute right
    above it; an empty title where other code goes on after one. Nothing where no grammar reads the suffix, or the
    text is huge, minified or too ambiguous to parse."""
    grammar = BY_SUFFIX.get(suffix)
    if grammar is None or len(text) > _MAX_CHARS or _is_minified(text):
        return ()
    source = text.encode(errors="replace")
    tree = _tree(source, grammar)
    if tree is None:
        return ()
    character = _characters(text, source)
    sections = _Reader(source, grammar).sections(tree.root_node, 1)
    return tuple(Heading(character(at), level, title, signature) for at, level, title, signature in sections)


def _is_minified(text: str) -> bool:
    return len(text) > _SMALL_CHARS and len(text) > _MINIFIED_LINE_CHARS * (text.count("\n") + text.count("\r") + 1)


@cache
def _language(grammar: Grammar) -> Language:
    pointer: object = getattr(import_module(grammar.module), grammar.load)()
    return Language(pointer)


def _tree(source: bytes, grammar: Grammar) -> Tree | None:
    steps, until = 0, time.monotonic() + _PARSE_S
    # tree-sitter 0.26.1 never lets go of what a read returned: so it is one object, and emptied in the end.
    piece = bytearray()

    def read(at: int, _point: object) -> bytearray:
        piece[:] = source[at : at + _PIECE_BYTES]
        return piece

    def is_too_much(at: int, _has_error: bool) -> bool:
        nonlocal steps
        steps += _STEPS_PER_CALL
        return steps > _STEPS_PER_BYTE * at + _STEPS_AHEAD or time.monotonic() > until

    try:
        # A parser of its own: one that was stopped would go on with the file before.
        return Parser(_language(grammar)).parse(read, progress_callback=is_too_much)
    except ValueError:  # stopped
        return None
    finally:
        piece.clear()


def _characters(text: str, source: bytes) -> Callable[[int], int]:
    """Byte offset in the UTF-8 of a text -> offset in the text."""
    if len(text) == len(source):
        return lambda at: at
    starts = (np.frombuffer(source, np.uint8) & 0xC0) != 0x80
    before = np.concatenate(([0], np.cumsum(starts, dtype=np.int32)))
    return lambda at: int(before[at])


class _Reader:
    """Reads one syntax tree. Offsets are bytes."""

    def __init__(self, source: bytes, grammar: Grammar) -> None:
        self._source = source
        self._grammar = grammar

    def sections(self, body: Node, level: int) -> Iterator[_Section]:
        """(offset, level, title, signature) of each definition in a body, and an empty title where other code goes
        on."""
        after_definition = False
        for start, node in self._statements(body, None, 0):
            title = self._title(node)
            if title or after_definition:
                yield start, level, title, self._signature(node) if title else ""
            after_definition = bool(title)
            if title and node.type in self._grammar.scopes and level < _MAX_DEPTH:
                for inside in node.named_children:
                    if inside.type in self._grammar.within:
                        yield from self.sections(inside, level + 1)

    def _statements(self, body: Node, start: int | None, depth: int) -> Iterator[tuple[int, Node]]:
        """(offset, node) of each statement, wrappers looked through; what stands right above one is part of it.

        `start`: where the first statement starts, if it is wrapped from there on.
        """
        row = body.start_point.row
        for node in body.named_children:
            if start is not None and node.start_point.row > row + 1:
                start = None
            if node.type in self._grammar.above:
                if start is None and self._begins_line(node):
                    start = node.start_byte
                row = self._last_row(node)
                continue
            first, start = node.start_byte if start is None else start, None
            if node.type in self._grammar.within and depth < _MAX_DEPTH:
                is_bracket = self._source[node.start_byte : node.start_byte + 1] in _BRACKETS
                yield from self._statements(node, None if is_bracket else first, depth + 1)
            else:
                yield first, node

    def _begins_line(self, node: Node) -> bool:
        line = self._source.rfind(b"\n", 0, node.start_byte) + 1
        return not self._source[line : node.start_byte].strip()

    def _last_row(self, node: Node) -> int:
        # Some comments hold the end of their line.
        return node.end_point.row - (node.end_point.column == 0)

    def _title(self, node: Node) -> str:
        """What a definition is called; empty for any other code."""
        grammar, body = self._grammar, node.child_by_field_name("body")
        if node.type in ONLY_WITH_BODY and body is None:
            return ""
        value = _value(node) if node.type in grammar.values else None
        if value is None and node.type not in grammar.leaves and node.type not in grammar.scopes:
            return ""
        name = _name(node) or (value and _name(value))
        title = self._text(name) if name else self._head(node, body)
        receiver = node.child_by_field_name("receiver")
        if receiver and (of := _RECEIVER.search(self._text(receiver))):
            title = f"{of[1]}.{title}"
        return title.strip("\"'")[:_TITLE_CHARS]

    def _signature(self, node: Node) -> str:
        """What stands before the body of a definition, or where a grammar names none, in its first line."""
        body = (_value(node) or node).child_by_field_name("body")
        end = body.start_byte if body else self._source.find(b"\n", node.start_byte, node.end_byte)
        said = self._source[node.start_byte : end if end >= 0 else node.end_byte][:_SIGNATURE_BYTES]
        return " ".join(said.decode(errors="ignore").split()).removesuffix("{").rstrip()

    def _head(self, node: Node, body: Node | None) -> str:
        """The first line of what has no name of its own, without its body: "impl Display for Boiler"."""
        end = body.start_byte if body else node.end_byte
        start = max((part.end_byte for part in node.children if part.type in _PREFIXES), default=node.start_byte)
        words = _HEAD_END.split(self._source[start:end].decode(errors="replace").strip(), maxsplit=1)[0]
        return " ".join(words.split())

    def _text(self, node: Node) -> str:
        return " ".join(self._source[node.start_byte : node.end_byte].decode(errors="replace").split())


def _name(node: Node) -> Node | None:
    for field in _NAMES:
        if found := node.child_by_field_name(field):
            return found
    found = node.child_by_field_name("declarator")
    # C's declarators wrap the name: *name(int), (&name)[3].
    while found is not None and found.type.endswith("_declarator"):
        found = found.child_by_field_name("declarator") or (found.named_children or [None])[0]
    if found is None and node.named_children and node.named_children[0].type in _LISTS:
        return _name(node.named_children[0])
    return found


def _value(node: Node) -> Node | None:
    """The function that a name is given, if it is one."""
    found = next((found for field in _VALUES if (found := node.child_by_field_name(field))), None)
    found = found or (node.named_children or [None])[-1]
    while found is not None and found.type in _LISTS:
        found = (found.named_children or [None])[0]
    if found is None or found.type not in FUNCTION_VALUES:
        return None
    return None if found.type in ONLY_WITH_BODY and found.child_by_field_name("body") is None else found
