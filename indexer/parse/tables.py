"""Which row of a table names its columns."""

from collections.abc import Sequence

BAR = " | "
"""Stands between the cells of a row."""

# Longer cells are no names.
_NAME_CHARS = 80
_YEARS = ("19", "20")


def header(rows: Sequence[str]) -> str:
    """The first of some rows where each of its cells looks like a name and another row follows, else nothing."""
    if len(rows) < 2:
        return ""
    cells = [cell for cell in rows[0].split(BAR) if cell.strip()]
    return rows[0] if len(cells) > 1 and all(map(names_a_column, cells)) else ""


def names_a_column(cell: str) -> bool:
    """A word does, and a year: the columns of most accounts are years."""
    cell = cell.strip()
    if len(cell) == 4 and cell.isdecimal():
        return cell.startswith(_YEARS)
    return len(cell) <= _NAME_CHARS and any(letter.isalpha() for letter in cell) and not cell[:1].isdigit()
