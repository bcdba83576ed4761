"""What of a folder belongs in the index: ignore files as git reads them, hidden things, secrets.

Who decides, the strongest first: the deepest folder's `.tandemignore`, its `.gitignore`, those of the folder above, and
so on up to the top of the repository (the folder with `.git`), there also `.git/info/exclude`. In one file the last
line that fits wins. What an ignored folder holds cannot be taken in again: nobody enters it.

Hidden things, SKIPPED_FOLDERS and secrets (see `secret`) are left out unless a line of a `.tandemignore` takes them
in by name: `!.notes/`, `!node_modules`, `!.env`. `!*/` names nothing, and `!.*` names no secret. A `.gitignore`
takes nothing of the kind in, as git holds files that a search should not show.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
import logging
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from indexer.secret import head, secret
from indexer.stars import straight

logger = logging.getLogger("tandem.index")

IGNORE_FILES = (".gitignore", ".tandemignore")
SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
_REPOSITORIES = frozenset({".git", ".hg", ".svn"})

_MAX_BYTES = 128 << 10
_MAX_LINES = 2000
_MAX_LINE = 500
# Each makes matching a path slower by one order; more than three do not occur in earnest.
_MAX_DEEP_STARS = 3
_ANYWHERE = "(?:.+/)?"  # how pathspec begins a line without a slash
_ODD_BRACKET = re.compile(r"\[[^]]*(\[|--|&&|~~|\|\|)")  # `re` warns of these on stderr
# Names that nobody means: a line that fits them fits everything.
_ANYTHING, _ANYTHING_HIDDEN = "-", ".-"
_CLASSES = {"alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": " \t"}


@dataclass(frozen=True, slots=True)
class _Lines:
    """An ignore file's lines, the strongest first; group n of `any_of` is line n - 1."""

    any_of: re.Pattern[str]
    each: tuple[str, ...]
    take_in: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class _Layer:
    """`below`: the way from the ignore file's folder to the folder whose entries are judged, "" or "a/b/"."""

    lines: _Lines
    ours: bool
    below: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds in one folder. `layers`: the strongest first."""

    layers: tuple[_Layer, ...] = ()

    def inside(self, folder: str, names: Collection[str] | None = None) -> "Rules":
        """What holds in a folder that lies where these hold. `names`: what it holds, if that is known already."""
        found = {name for name in (".git", *IGNORE_FILES) if _has(folder, name, names)}
        if not found and not self.layers:
            return self
        step = folder.rpartition("/")[2] + "/"
        layers = [_Layer(layer.lines, layer.ours, layer.below + step) for layer in self.layers]
        own: list[_Layer] = []
        if ".git" in found:
            # A repository of its own: what an outer one ignores is not its matter.
            layers = [layer for layer in layers if layer.ours]
            own += _layer(f"{folder}/.git/info/exclude")
        for name in IGNORE_FILES:
            own += _layer(f"{folder}/{name}") if name in found else ()
        return Rules((*reversed(own), *layers))

    def leave_out(self, path: str, name: str, is_folder: bool) -> str | None:
        """None: it belongs in the index. "": the user's choice. Else the reason, in words: it is taken for a secret."""
        default = _by_default(path, name, is_folder)
        if not self.layers:
            return default
        entry = name + "/" if is_folder else name
        if default is not None:
            taken_in = self._taken_in(entry, wary=bool(default) or name in _REPOSITORIES)
            if not taken_in:
                return default if taken_in is None else ""
        return "" if self.ignore(entry) else None

    def ignore(self, entry: str) -> bool:
        """Whether the ignore files name an entry; a folder's name ends in "/"."""
        line = self._line(entry)
        return line is not None and not line[0].lines.take_in[line[1]]

    def _line(self, entry: str) -> tuple[_Layer, int] | None:
        for layer in self.layers:
            if fits := layer.lines.any_of.match(layer.below + entry):
                assert fits.lastindex
                return layer, fits.lastindex - 1
        return None

    def _taken_in(self, entry: str, wary: bool) -> bool | None:
        """Whether a `.tandemignore` takes in what is left out by default; None: no line speaks of it by name."""
        end = "/" if entry.endswith("/") else ""
        anything = [name + end for name in ((_ANYTHING, _ANYTHING_HIDDEN) if wary else (_ANYTHING,))]
        for layer in self.layers:
            for regex, take_in in zip(layer.lines.each, layer.lines.take_in, strict=True) if layer.ours else ():
                broad = take_in and any(re.match(regex, layer.below + name) for name in anything)
                if not broad and re.match(regex, layer.below + entry):
                    return take_in
        return None


def above(root: str) -> Rules:
    """What a root's own rules start from: the ignore files of the folders above it, up to the repository's top."""
    way: list[Path] = []
    for folder in (Path(root), *Path(root).parents):
        way.append(folder)
        if os.path.lexists(folder / ".git"):
            break
    else:
        return Rules()
    rules = Rules()
    for folder in reversed(way[1:]):
        rules = rules.inside(str(folder))
    # Who names an ignored folder as a root wants it: the rules that ignore it are not asked about what it holds.
    return Rules() if rules.ignore(Path(root).name + "/") else rules


def by_default(name: str, is_folder: bool) -> bool:
    """Whether the name alone leaves it out, where no `.tandemignore` takes it in."""
    return name.startswith(".") or (is_folder and name in SKIPPED_FOLDERS)


def _by_default(path: str, name: str, is_folder: bool) -> str | None:
    return secret(path, name, is_folder) or ("" if by_default(name, is_folder) else None)


def _has(folder: str, name: str, names: Collection[str] | None) -> bool:
    return os.path.lexists(f"{folder}/{name}") if names is None else name in names


def _layer(path: str) -> list[_Layer]:
    """An ignore file as git takes it: a regular file, not a link to one. None where it says nothing."""
    raw = head(path, _MAX_BYTES + 1)
    if not raw:
        return []
    if len(raw) > _MAX_BYTES:
        logger.warning("%r: only its first %d KiB are read", path, _MAX_BYTES >> 10)
        raw = raw[:_MAX_BYTES].rpartition(b"\n")[0]
    # As file names are decoded, so that a name that is not UTF-8 fits the line that was copied from it.
    lines = _compiled(raw.decode("utf-8-sig", "surrogateescape"))
    return [_Layer(lines, path.endswith(".tandemignore"))] if lines else []


@lru_cache(256)
def _compiled(text: str) -> _Lines | None:
    """A scan finds the same files each time, and copies of one in many folders."""
    each: list[str] = []
    take_in: list[bool] = []
    for line in reversed(text.split("\n")[:_MAX_LINES]):
        found = _regex(line)
        if found:
            each.append(found[0])
            take_in.append(found[1])
    if not each:
        return None
    runs = [_run([f"({_name(regex) or regex})" for regex in run], by_name) for by_name, run in groupby(each, _is_name)]
    return _Lines(re.compile("|".join(runs)), tuple(each), tuple(take_in))


def _run(lines: list[str], by_name: bool) -> str:
    """Lines that speak of a name wherever it lies go to the name once, and not each by itself."""
    return rf"(?:[\s\S]*/(?=[^/]))?+(?:{'|'.join(lines)})" if by_name else "|".join(lines)


def _is_name(regex: str) -> bool:
    return _name(regex) is not None


def _name(regex: str) -> str | None:
    """What fits a name by itself, of a line without a folder."""
    rest = regex.removeprefix(_ANYWHERE)
    inner = rest.removesuffix(r"?\Z").removesuffix(r"\Z").removesuffix("/").replace("[^/]", "")
    return rest if rest != regex and "/" not in inner else None


def _regex(line: str) -> tuple[str, bool] | None:
    """(the regular expression that fits a path, "/" at a folder's end, from its start; whether it takes in).
    None for a line that says nothing or cannot be understood."""
    if len(line) > _MAX_LINE or line.count("**") > _MAX_DEEP_STARS:
        return None
    for name, characters in _CLASSES.items():
        line = line.replace(f"[:{name}:]", characters)
    if line.rstrip().endswith("/**/"):
        line = line.rstrip() + "*/"  # the folders in it, which pathspec takes for the folder itself
    if _ODD_BRACKET.search(line):
        return None
    try:
        pattern = GitIgnoreSpecPattern(line)
        if pattern.include is None or not pattern.regex:
            return None
        regex = _exact(str(pattern.regex.pattern))
        re.compile(regex)
    except (ValueError, re.error, RecursionError, OverflowError):
        return None
    return regex, not pattern.include


def _exact(regex: str) -> str:
    """pathspec's expressions fit all that lies beneath what a line names too, so that a line for a folder would
    outweigh one for a file in it. Here a path fits only by itself: its folders have been judged before."""
    regex = regex.replace("(?:(?P<ps_d>/)|$)", r"/?\Z").replace("(?P<ps_d>/)", r"/\Z")
    if regex in (r"/\Z", "/"):  # `*/` and `**/*/**`, which pathspec looks for anywhere
        regex = r"^[\s\S]*" + regex
    if regex.startswith("^") and regex.endswith("/"):
        regex += "."  # `a/**` is what a holds and not a itself
    return straight(regex.removeprefix("^"))
