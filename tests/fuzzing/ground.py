"""A folder to read and what must not be read around it and in it: each such file holds a canary, random letters that
stand nowhere else; so do the daemon's secrets. A byte of a canary that comes out is an escape."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

KILN = "The kiln cools for twelve hours before anybody opens its door."
_DOCUMENTS = {
    "kiln.md": f"# The kiln\n\n{KILN}\n",
    "lease.md": "# The lease\n\nA worker's lease is renewed every five seconds.\n",
    "sub/loom.md": "# The loom\n\n" + "".join(f"Its shaft {n} lifts the warp.\n" for n in range(400)),
    "50 % of #1?.txt": "Half of what was asked.\n",
    "caf\u00e9.md": "# The caf\u00e9\n\nIt opens at nine.\n",
    "a%2Fb.md": "A name with an escape in it.\n",
    "sub%2F..%2F..%2Foutside.md": "A name that looks like a way out.\n",
    "table.csv": "name,price\nkiln,1200\nloom,800\n",
    # What a pattern with many stars takes long to find no match in.
    f"{'a' * 80}.md": "A name of one letter.\n",
}
_LEFT_OUT = ("KILN.md", "cafe\u0301.md", "a/b.md", "private/notes.md")
_SECRETS = (".env", ".ssh/config", "id_rsa", "server.pem", "credentials.json", "passwords.kdbx", "prod.tfvars")
_OUTSIDE = ("outside/secret.md", "docs-private/secret.md", "docs.md", "outside.md", "secret.md", "outside/sub/kiln.md")
_GONE = "gone.md"
_SETTINGS = ("TANDEM_TOKEN", "OPENAI_API_KEY", "QDRANT_API_KEY", "REDIS_KEY", "PHOENIX_API_KEY")
# What stands in files of every machine.
_WELL_KNOWN = {"/etc/passwd": b"root:x:0:0", "/proc/self/environ": b"PATH=/", "/proc/self/maps": b"[stack]"}


@dataclass(frozen=True, slots=True)
class Ground:
    """`documents`: paths that may be read. `forbidden`: paths that may not, some of them through links. `settings`:
    the daemon's environment. `gone`: indexed at first; `take_away` it."""

    root: Path
    documents: tuple[str, ...]
    forbidden: tuple[str, ...]
    gone: Path
    settings: Mapping[str, str]
    canaries: tuple[bytes, ...]

    def take_away(self) -> None:
        self.gone.unlink()

    def escapes(self, said: bytes) -> list[bytes]:
        """The canaries in it."""
        return [canary for canary in self.canaries if canary in said]


def laid(folder: Path) -> Ground:
    """In an empty folder: `docs` is what is to be indexed."""
    root = folder / "docs"
    canaries: list[bytes] = []

    def canary() -> str:
        canaries.append(secrets.token_hex(16).encode())
        return canaries[-1].decode()

    for name, text in _DOCUMENTS.items():
        _write(root / name, text)
    hidden = [root / name for name in (*_LEFT_OUT, *_SECRETS)] + [folder / name for name in _OUTSIDE]
    # Where case or Unicode's forms do not tell files apart, there is no second file to hide.
    hidden = [path for path in hidden if not path.exists()]
    for path in hidden:
        _write(path, f"The kiln of {canary()} cools for a year.\n")
    _write(root / ".tandemignore", "".join(f"/{name}\n" for name in _LEFT_OUT))
    _write(root / _GONE, f"The kiln of {canary()} is gone.\n")
    links = {"link.md": "outside/secret.md", "linked": "outside", "up": "."}
    for name, target in links.items():
        (root / name).symlink_to(os.path.relpath(folder / target, root))
    forbidden = [*hidden, root / _GONE, root / "link.md", root / "linked/secret.md", root / "up/outside/secret.md"]
    settings = {name: canary() for name in _SETTINGS}
    return Ground(
        root=root,
        documents=tuple(str(root / name) for name in _DOCUMENTS),
        forbidden=(*map(str, forbidden), *_WELL_KNOWN),
        gone=root / _GONE,
        settings=settings,
        canaries=(*canaries, *_WELL_KNOWN.values()),
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
