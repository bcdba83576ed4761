"""URIs and paths that try to lead where nobody may read."""

import unicodedata
from collections.abc import Callable
from random import Random
from urllib.parse import quote

from tests.fuzzing.ground import Ground

_PREFIXES = (
    "", "file:", "FILE://", "File://localhost", "file://127.0.0.1",
    "file://evil.example", "file:////", "file:///.", "file://user:word@localhost", "file://localhost:80", "file:///C:",
    "file:///C|", "\\\\?\\", "\\\\?\\C:", "\\\\server\\share", "//server/share", "C:", "vscode-remote://",
    "http://localhost", "data:,", "file:\t//", " file://", "file://\x00", "jar:file://", "view-source:file://", "~",
    "$HOME", "%66ile://", "urn:", "file:///proc/self/root",
)  # fmt: skip
_PLACES = (
    "", "", "", "#L1-L2", "#L1", "#L0", "#L9-L1", "#L999999999999", "#page=1", "#page=0", "#page=-1", "#char=0,9",
    "#char=9,0", "#char=99999999999999999999", "#", "##", "#a#b", "#%00", "#L1%2DL2", "#L\u0661", "?x=1", "?x#L1",
    ";type=a", "#L1-L2-L3", "#" + "L1" * 999, "#page=1&search=/etc", "#..%2f..%2f",
)  # fmt: skip
_MESSES: tuple[str, ...] = (
    "\x00", "%00", "%2500", "/", "//", "/.", "/..", "/../", ".", " ", "%20", "\n", "%0a", "%", "%zz", "%c0%ae", "%ff",
    "\\", "..\\", "\u2215", "\uff0f", "\u2024\u2024/", "\u202e", "\ud800", "%ed%a0%80", ":$DATA",
    "::$INDEX_ALLOCATION", "~1", "*", "?", "\U0001f525", "e\u0301", "\ufeff",
)  # fmt: skip
_WAYS_OUT = (
    "/../outside/secret.md", "/../docs-private/secret.md", "/..%2foutside/secret.md", "/%2e%2e/outside/secret.md",
    "/%252e%252e/outside/secret.md", "/..;/outside/secret.md", "/sub/../../outside/secret.md",
    "/..\\outside\\secret.md", "/..%5coutside%5csecret.md", "/....//outside/secret.md",
    "/%c0%ae%c0%ae/outside/secret.md", "-private/secret.md", ".md", "/linked/secret.md", "/link.md/",
    "/up/outside/secret.md", "/up/docs/up/docs/up/docs-private/secret.md", "/./.env", "//.env", "/.ENV",
    "/sub/../.env", "/.env%00.md", "/.env/.", "/.env%20", "/kiln.md/../.env", "/kiln.md%00", "/KILN.md", "/Kiln.md",
    "/cafe\u0301.md", "/cafe%CC%81.md", "/a/b.md", "/a%2fb.md", "/a%252Fb.md", "/sub%252F..%252F..%252Foutside.md",
    "/sub%2F..%2F..%2Foutside.md", "/../docs/../outside.md", "/../../../../../../../../etc/passwd",
    "/%2e%2e%2f" * 9 + "etc/passwd", "/", "", "/.tandemignore", "/../data/catalog.sqlite3", "/../data/tokens.json",
    "/../data/daemon.log",
)  # fmt: skip

Change = Callable[[Random, str], str]


def uri(rng: Random, ground: Ground) -> str:
    """Some of them are right."""
    if rng.random() < 0.15:
        return f"file://{quote(rng.choice(ground.documents))}{rng.choice(_PLACES)}"
    prefix = "file://" if rng.random() < 0.4 else rng.choice(_PREFIXES)
    place = "" if rng.random() < 0.4 else rng.choice(_PLACES)
    path = path_of(rng, ground)
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3))):
        path = rng.choice(_CHANGES)(rng, path)
    return prefix + path + place


def path_of(rng: Random, ground: Ground) -> str:
    draw = rng.random()
    if draw < 0.3:
        return rng.choice(ground.forbidden)
    if draw < 0.5:
        return rng.choice(ground.documents)
    return str(ground.root) + rng.choice(_WAYS_OUT)


def _escaped(rng: Random, path: str) -> str:
    return quote(path, safe=rng.choice(("/", "", "%/", ".")), errors="replace")


def _all_escaped(rng: Random, path: str) -> str:
    return "".join(f"%{byte:02x}" if rng.random() < 0.7 else chr(byte) for byte in path.encode(errors="replace"))


def _messed(rng: Random, path: str) -> str:
    at = rng.choice((0, len(path), rng.randrange(len(path) + 1)))
    return path[:at] + rng.choice(_MESSES) + path[at:]


def _in_another_form(rng: Random, path: str) -> str:
    return unicodedata.normalize(rng.choice(("NFC", "NFD", "NFKC", "NFKD")), path)


def _in_another_case(rng: Random, path: str) -> str:
    return rng.choice((path.upper(), path.lower(), path.swapcase(), path.title()))


def _turned(rng: Random, path: str) -> str:
    return path.replace("/", rng.choice(("\\", "//", "/./", "/x/../", "%2f", "%5c", "\u2044", "\uff0f", ":")))


def _full_width(rng: Random, path: str) -> str:
    return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" and rng.random() < 0.3 else one for one in path)


def _endless(rng: Random, path: str) -> str:
    return path + rng.choice(("/", "a", "../", "%2e%2e/", "\u00e9")) * rng.choice((300, 5_000, 20_000))


def _relative(rng: Random, path: str) -> str:
    return path.lstrip("/")


_CHANGES: tuple[Change, ...] = (
    *(_escaped, _all_escaped, _messed, _messed, _in_another_form, _in_another_case, _turned, _full_width, _relative),
    _endless,
)
