"""Files of ours that somebody may have changed: the first line says what the rest was when we wrote it.

A file that stands as it was written is replaced and removed without a trace; of another one a backup stays.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from bridge.install.files import Written, content, replaced

_MARK = "Written by `tandem service`"


def marked(text: bytes) -> bytes:
    """With the line that `is_untouched` reads; of a property list its last one, a comment."""
    told = f"{_MARK}: sum {hashlib.blake2b(text, digest_size=8).hexdigest()}"
    if text.startswith(b"<?xml"):
        return text + f"<!-- {told} -->\n".encode()
    return f"# {told}\n".encode() + text


def is_ours(data: bytes) -> bool:
    return _MARK.encode() in data


def is_untouched(data: bytes) -> bool:
    """Whether it stands as it was written."""
    lines = data.splitlines(keepends=True)
    is_xml = data.startswith(b"<?xml")
    mark = (lines[-1:] if is_xml else lines[:1]) if lines else []
    rest = lines[:-1] if is_xml else lines[1:]
    return bool(mark) and marked(b"".join(rest)) == data


def write(file: Path, text: bytes, mode: int) -> Written | None:
    """None where it says this already, `backup` where somebody had changed it. Raises Refused."""
    wanted = marked(text)
    written = replaced(file, lambda _: wanted)
    if written:
        file.chmod(mode)
    return _without_needless(written)


def remove(file: Path) -> Written | None:
    """None where there is none. Raises Refused."""
    return _without_needless(replaced(file, lambda _: None))


def tidy(folders: list[Path]) -> None:
    """Those of them that are empty go, in this order."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _without_needless(written: Written | None) -> Written | None:
    if written and written.backup and is_untouched(content(written.backup) or b""):
        written.backup.unlink()
        return Written(None)
    return written
