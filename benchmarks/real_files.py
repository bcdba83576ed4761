"""Real text and code files of the machine it runs on, about 2 kB each: Python's own library, the packages installed
beside Tandem, /usr/share/doc and /usr/include. The same machine gives the same list: ordered by content hash.

`python benchmarks/real_files.py [--files N] [--copy FOLDER]` lists them: size, sha256, path.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

FILES, MEAN_BYTES = 2_000, 2_000
SMALLEST, LARGEST = 200, 20_000
# Above the mean by this much at most, in all: large files come in as soon as small ones have made room.
_AHEAD_BYTES = 40_000
_PROSE = frozenset(".md .markdown .rst .txt .html .htm".split())
_CODE = frozenset(
    ".py .js .mjs .cjs .ts .c .h .cc .cpp .hpp .java .go .rs .rb .pl .pm .sh .lua .css .toml .yaml .yml".split()
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_NOTICE = ("licen", "copying", "copyright", "notice", "authors", "top_level", "entry_points")
# Trees of their own, or the same text many times over.
_SKIPPED = frozenset({"site-packages", "dist-packages", "__pycache__", "node_modules", "licenses"})


class RealFile(NamedTuple):
    sha256: str
    size: int
    path: Path


def find(count: int = FILES) -> list[RealFile]:
    """As many prose as code files while there are both; no two of the same content. Ends the program where the
    machine has too few."""
    prose, code, seen = list[RealFile](), list[RealFile](), set[str]()
    for path in sorted({path for root in _roots() for path in _walk(root)}):
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in seen and _is_text(data):
            seen.add(sha256)
            kind = prose if path.suffix.lower() in _PROSE else code
            kind.append(RealFile(sha256, len(data), path))
    chosen = _within_budget(_in_turn(sorted(prose), sorted(code)), count)
    if len(chosen) < count:
        raise SystemExit(f"expected {count} real files, this machine has {len(chosen)} that fit; use --files")
    return chosen


def copy(files: Iterable[RealFile], folder: Path) -> None:
    """Flat, each named by its content, so that no rule about names or folders leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / f"{file.sha256[:16]}{file.path.suffix.lower()}").write_bytes(file.path.read_bytes())


def described(files: list[RealFile]) -> dict[str, object]:
    suffixes = Counter(file.path.suffix.lower() for file in files)
    return {
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "largest": max(file.size for file in files),
        "suffixes": dict(suffixes.most_common()),
        "list_sha256": hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()[:16],
    }


def _roots() -> list[Path]:
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")]
    return [*installed, Path("/usr/share/doc"), Path("/usr/include")]


def _walk(root: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
        for name in names:
            path = Path(here, name)
            if path.suffix.lower() in _PROSE | _CODE and not name.lower().startswith(_NOTICE) and _fits(path):
                yield path


def _fits(path: Path) -> bool:
    try:
        return not path.is_symlink() and SMALLEST <= path.stat().st_size <= LARGEST and os.access(path, os.R_OK)
    except OSError:
        return False


def _is_text(data: bytes) -> bool:
    """UTF-8, which every reader here takes without a guess; with control characters it is another encoding or data."""
    try:
        return not _CONTROL.search(data.decode())
    except UnicodeDecodeError:
        return False


def _in_turn(prose: list[RealFile], code: list[RealFile]) -> Iterator[RealFile]:
    for n in range(max(len(prose), len(code))):
        yield from prose[n : n + 1]
        yield from code[n : n + 1]


def _within_budget(files: Iterable[RealFile], count: int) -> list[RealFile]:
    """The first ones that keep the mean, so that a tenth of the list looks like the whole."""
    chosen, total = list[RealFile](), 0
    for file in files:
        if len(chosen) == count:
            break
        if total + file.size <= (len(chosen) + 1) * MEAN_BYTES + _AHEAD_BYTES * count // FILES:
            chosen.append(file)
            total += file.size
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--copy", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    files = find(arguments.files)
    for file in files:
        print(file.size, file.sha256, file.path, sep="\t")
    if arguments.copy:
        copy(files, arguments.copy)
    print(json.dumps(described(files)), file=sys.stderr)


if __name__ == "__main__":
    main()
