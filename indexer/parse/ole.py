"""The container of old Office files: a small file system, whose chains of sectors can lead in circles.

calamine follows a chain until it ends, and makes room for as much as a file says that it holds.
"""

import struct
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_HEADER_BYTES = 512
_ENTRY_BYTES = 128
# Shorter streams lie in the small sectors, whose table is a stream itself.
_MINI_BELOW = 4096
_LAST = 0xFFFFFFFA
_MINI_BYTES = 64
_STREAM, _ROOT = 2, 5


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    kind: int
    start: int
    length: int


def stream(data: bytes, names: Collection[str]) -> bytes:
    """The content of the first stream that has one of these names; empty where none has.

    Raises:
        ValueError: a chain, of any stream, leads back into itself, or something is larger than the whole file.
    """
    if len(data) < _HEADER_BYTES:
        raise ValueError("the header is cut off")
    shift, tables, first_entry, first_mini, minis, first_more, more = _header(data)
    if shift not in (9, 12) or max(tables, minis, more) << shift > len(data):
        raise ValueError("the tables are larger than the file")
    size = 1 << shift
    table = _joined(data, size, _table_sectors(data, size, first_more, more))
    mini_table = _joined(data, size, _chain(table, first_mini))
    content, small = b"", b""
    known, known_mini = set[int](), set[int]()
    for entry in _entries(b"".join(_sector(data, size, number) for number in _chain(table, first_entry)), shift):
        if entry.length > len(data):
            raise ValueError("a stream is larger than the file")
        mini = entry.kind == _STREAM and entry.length < _MINI_BELOW
        if entry.kind == _ROOT:
            small = b"".join(_sector(data, size, number) for number in _chain(table, entry.start))
        elif entry.name in names and not content:
            if mini:
                sectors = (small[at * _MINI_BYTES : (at + 1) * _MINI_BYTES] for at in _chain(mini_table, entry.start))
            else:
                sectors = (_sector(data, size, number) for number in _chain(table, entry.start))
            content = b"".join(sectors)[: entry.length]
        elif mini:
            known_mini.update(_chain(mini_table, entry.start, known_mini))
        else:
            known.update(_chain(table, entry.start, known))
    return content


def _header(data: bytes) -> tuple[int, int, int, int, int, int, int]:
    shift = struct.unpack_from("<H", data, 30)[0]
    tables, first_entry = struct.unpack_from("<II", data, 44)
    first_mini, minis, first_more, more = struct.unpack_from("<IIII", data, 60)
    return shift, tables, first_entry, first_mini, minis, first_more, more


def _entries(folder: bytes, shift: int) -> Iterator[_Entry]:
    for at in range(0, len(folder) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        start, low, high = struct.unpack_from("<III", folder, at + 116)
        kind = folder[at + 66]
        if kind in (_STREAM, _ROOT):
            name = folder[at : at + 64].decode("utf-16-le", "replace").partition("\0")[0]
            # Only large sectors come with lengths of 64 bits; elsewhere the upper half is noise.
            yield _Entry(name, kind, start, low | (high << 32 if shift == 12 else 0))


def _table_sectors(data: bytes, size: int, first_more: int, more: int) -> Iterator[int]:
    """The sectors of the table of chains: 109 in the header, and more in sectors of which each names the next."""
    yield from struct.unpack_from("<109I", data, 76)
    number = first_more
    for _ in range(more):
        numbers = _numbers(_sector(data, size, number))
        if not numbers:
            return
        yield from numbers[:-1]
        number = numbers[-1]


def _joined(data: bytes, size: int, sectors: Iterator[int]) -> "array[int]":
    joined = array("I")
    for number in sectors:
        if number < _LAST:
            joined.extend(_numbers(_sector(data, size, number)))
    return joined


def _chain(table: Sequence[int], start: int, known: "set[int] | None" = None) -> Iterator[int]:
    """A stream's sectors in order, as far as they are not `known` to end."""
    passed: set[int] = set()
    number = start
    while number < len(table) and not (known and number in known):
        if number in passed:
            raise ValueError("a chain of sectors leads in a circle")
        passed.add(number)
        yield number
        number = table[number]


def _sector(data: bytes, size: int, number: int) -> bytes:
    return data[(number + 1) * size : (number + 2) * size]


def _numbers(sector: bytes) -> "array[int]":
    numbers = array("I")
    numbers.frombytes(sector[: len(sector) // numbers.itemsize * numbers.itemsize])
    return numbers
