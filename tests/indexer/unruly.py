"""What people and programs do to a folder of files, by dice: the same seed does the same things in the same order.

A user owns the folder `root` and one `outside` of it, into which things leave and from which they come back. Whatever
the file system refuses (a locked folder, a name that is taken) has been tried, as in life.
"""

import os
import random
import shutil
import stat
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_WORDS = "lantern candle torch yard harbour winter ledger Brücke 東京 café route engine salt copper river seven".split()
_STEMS = ("a", "b", "Notes", "Übung", "e\u0301t\u00e9", "日本 語", "two\nlines", "-dash", "it's", "zeta")
_SUFFIXES = (".md", ".md", ".md", ".txt", ".txt", ".py", ".py", ".zzz", "", ".csv", ".html", ".json")
_FOLDERS = ("d1", "d2", "deep", "ein Ordner", "Δ", "node_modules", ".hidden", "build")
_SECRETS = (os.fsdecode(b"caf\xe9.env"), ".env", "id_rsa", "secrets.json", "key.pem", ".npmrc", "prod.env")
_IGNORE_LINES = (
    *("*.md", "d1/", "b.*", "!b.md", "/Notes.txt", "build", "deep/*", "!deep/a.md", "*.py", "**/d2/*.txt", "# none"),
    *("!.env", "!.hidden/", "!node_modules", "*~", "日*"),
)
_MOST_FILES = 90  # where more than a hundred are gone at once, deletions are held back by intent
_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IG9uZQ==\n-----END OPENSSH PRIVATE KEY-----\n"


class User:
    """Never writes through a link: it may lead to what is nobody's toy."""

    def __init__(self, root: Path, outside: Path, dice: random.Random) -> None:
        self.root, self.outside, self.dice = root, outside, dice
        self.did: deque[str] = deque(maxlen=200)
        self.count = 0
        self.moved: Path | None = None  # the folder that came last
        # The last thing done: who has indexed it has heard of all before. No line in an ignore file names it.
        self.mark = root / "the last of all.rst"
        self.branches: list[dict[Path, bytes]] = []
        for folder in (root, outside):
            folder.mkdir(parents=True, exist_ok=True)

    def act(self) -> None:
        (operation,) = self.dice.choices(_OPERATIONS, _WEIGHTS)
        self.count += 1
        if len(self.all(False)) > _MOST_FILES:
            operation = _delete_tree
        try:
            told, refused = operation(self), ""
        except (OSError, shutil.Error) as error:
            told, refused = None, f" refused: {type(error).__name__}"
        self.did.append(f"{operation.__name__.strip('_')} {told or ''}{refused}".replace("\n", "\\n"))

    def meddle(self, path: str) -> None:
        """Changes this very file at once, as if nothing had been: of the same size and under its old time stamp. Or
        locks it in, or takes it away."""
        kind = self.dice.random()
        with suppress(OSError):
            if kind < 0.8:
                _in_disguise(self, Path(path))
            elif kind < 0.9 and Path(path).parent != self.root:
                Path(path).parent.chmod(0)
            else:
                Path(path).rename(self.outside / f"{self.count}-{Path(path).name}")
            self.did.append(f"meddle {kind:.1f} with {path}".replace("\n", "\\n"))

    def settle(self) -> None:
        """What cannot be listed would be kept as it was, by intent."""
        unlock(self.root)

    def leave_mark(self) -> None:
        self.mark.unlink(missing_ok=True)
        _put(self.mark, f"The mark after {self.count} things done.".encode())

    # --- the dice

    def all(self, folders: bool) -> list[Path]:
        """A link to a folder is no folder."""
        found: list[Path] = []
        for here, within, files in os.walk(self.root):
            links = [name for name in within if os.path.islink(os.path.join(here, name))]  # noqa: PTH114, PTH118
            found += [Path(here, name) for name in (set(within).difference(links) if folders else [*files, *links])]
        return sorted(found)

    def file(self) -> Path:
        return self._one(self.all(False))

    def folder(self) -> Path:
        return self._one(self.all(True))

    def a_folder(self) -> Path:
        """The root or a folder in it; a new one from time to time."""
        found = self.dice.choice([self.root, *self.all(True)])
        if self.dice.random() < 0.25 and len(found.parts) - len(self.root.parts) < 4:
            found = found / self.dice.choice(_FOLDERS)
            found.mkdir(exist_ok=True)
        return found

    def a_name(self) -> str:
        if self.dice.random() < 0.03:
            return os.fsdecode(b"caf\xe9.txt")  # Latin-1, no UTF-8
        return self.dice.choice(_STEMS) + self.dice.choice(_SUFFIXES)

    def a_place(self) -> Path:
        return self.a_folder() / self.a_name()

    def content(self) -> bytes:
        kind = self.dice.random()
        if kind < 0.06:
            return b""
        if kind < 0.12:
            return self.dice.randbytes(200)
        if kind < 0.14:
            return _KEY.encode()
        if kind < 0.22:
            return b"The same words stand in many files."
        return "\n\n".join(self._paragraph() for _ in range(1 if kind < 0.75 else 12)).encode()

    def _paragraph(self) -> str:
        head = f"{'#' * self.dice.randint(1, 3)} {self.dice.choice(_WORDS)}\n\n" if self.dice.random() < 0.4 else ""
        return head + " ".join(self.dice.choices(_WORDS, k=self.dice.randint(3, 60))) + f" {self.dice.random()}."

    def _one(self, found: list[Path]) -> Path:
        if not found:
            raise FileNotFoundError("nothing is left to choose from")
        return self.dice.choice(found)


def unlock(top: Path) -> None:
    """Every folder in it may be entered again. The others are left alone: a look at them might find what was missed."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            folder.chmod(0o755)
        with os.scandir(folder) as entries:
            waiting += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]


# --- files


def _open(path: Path, flags: int) -> BinaryIO:
    """Raises OSError for a link, a folder and a pipe that nobody reads, instead of following or waiting."""
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileExistsError(f"{path} is no regular file")
    return os.fdopen(file, "rb+", buffering=0)


def _put(path: Path, content: bytes) -> None:
    with _open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as file:
        file.write(content)


def _write(user: User) -> str:
    path = user.a_place()
    _put(path, user.content())
    return str(path)


def _rewrite(user: User) -> str:
    path = user.file()
    _put(path, user.content())
    return str(path)


def _save_atomically(user: User) -> str:
    path = user.file() if user.dice.random() < 0.7 else user.a_place()
    beside = path.with_name(path.name + user.dice.choice(["~", ".tmp", ".swp.md"]))
    _put(beside, user.content())
    beside.replace(path)
    return str(path)


def _append(user: User) -> str:
    path = user.file()
    with _open(path, os.O_RDWR | os.O_APPEND) as file:
        for _ in range(user.dice.randint(1, 5)):
            file.write(user.content())
    return str(path)


def _truncate(user: User) -> str:
    path = user.file()
    with _open(path, os.O_RDWR) as file:
        file.truncate(user.dice.choice([0, path.lstat().st_size // 2]))
    return str(path)


def _edit_in_the_same_tick(user: User) -> str:
    return _in_disguise(user, user.file())


def _in_disguise(user: User, path: Path) -> str:
    before = path.lstat()
    with _open(path, os.O_RDWR) as file:
        content = bytearray(file.read())
        for _ in range(user.dice.randint(1, 3)):
            if content:
                content[user.dice.randrange(len(content))] = user.dice.choice(b"abcdefghijklmnopqrstuvwxyz")
        file.seek(0)
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)
    return str(path)


def _set_time(user: User) -> str:
    path = user.file()
    seconds = path.lstat().st_mtime + user.dice.choice([-(10**8), -3600, -3, 3, 3600, 10**8])
    if user.dice.random() < 0.5:
        _put(path, user.content())
    os.utime(path, (seconds, seconds), follow_symlinks=False)
    return str(path)


def _delete(user: User) -> str:
    path = user.file()
    path.unlink()
    return str(path)


def _copy(user: User) -> str:
    path, to = user.file(), user.a_place()
    copy = shutil.copy2 if user.dice.random() < 0.5 else shutil.copyfile
    if path.is_file() and not path.is_symlink():
        copy(path, to)
    return f"{path} -> {to}"


def _rename(user: User) -> str:
    path = user.file()
    to = user.file() if user.dice.random() < 0.4 else user.a_place()
    path.replace(to)
    return f"{path} -> {to}"


def _swap(user: User) -> str:
    one, other = user.file(), user.file()
    aside = one.with_name("aside.txt")
    one.replace(aside)
    other.replace(one)
    aside.replace(other)
    return f"{one} <-> {other}"


def _change_case(user: User) -> str:
    path = user.dice.choice([user.file, user.folder])()
    path.rename(path.with_name(path.name.swapcase()))
    return str(path)


def _lock(user: User) -> str:
    path = user.file()
    if not path.is_symlink():
        path.chmod(0)
    return str(path)


def _unlock(user: User) -> str:
    """What is locked within a locked folder cannot be found until that is open."""
    every = [path for path in (*user.all(True), *user.all(False)) if not path.lstat().st_mode & stat.S_IRUSR]
    path = user._one(every)
    path.chmod(0o755 if path.is_dir() else 0o644)
    return str(path)


# --- folders


def _rename_folder(user: User) -> str:
    path = user.folder()
    to = user.folder() if user.dice.random() < 0.3 else user.a_folder() / user.dice.choice(_FOLDERS)
    if to.is_dir() and user.dice.random() < 0.5 and not path.is_relative_to(to):
        shutil.rmtree(to)
    path.rename(to)
    user.moved = to
    return f"{path} -> {to}"


def _work_where_it_is_now(user: User) -> str:
    """What came as a whole is changed in part."""
    folder = user.moved or user.folder()
    inner = user.dice.choice([folder, *(path for path in user.all(True) if path.is_relative_to(folder))])
    path = inner / user.a_name()
    _put(path, user.content())
    return str(path)


def _copy_tree(user: User) -> str:
    path, to = user.folder(), user.root / user.dice.choice(_FOLDERS)
    if not to.is_relative_to(path) and len(user.all(False)) < 120:
        shutil.copytree(path, to, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("pipe*"))
        user.moved = to
    return f"{path} -> {to}"


def _delete_tree(user: User) -> str:
    path = user.folder()
    shutil.rmtree(path)
    return str(path)


def _move_out(user: User) -> str:
    path = user.dice.choice([user.file, user.folder])()
    to = user.outside / f"{user.count}-{path.name}"
    path.rename(to)
    return f"{path} -> {to}"


def _move_in(user: User) -> str:
    path, to = user._one(list(user.outside.iterdir())), user.a_folder()
    to /= user.dice.choice(_FOLDERS) if path.is_dir() else user.a_name()
    path.rename(to)
    user.moved = to if to.is_dir() else user.moved
    return f"{path} -> {to}"


def _lock_folder(user: User) -> str:
    path = user.folder()
    path.chmod(user.dice.choice([0, 0o400, 0o100, 0o500]))
    return str(path)


def _take_the_root_away(user: User) -> str:
    """As a disk that is pulled out and put in again; what is done meanwhile is done to it elsewhere."""
    away = user.root.with_name("away")
    user.root.rename(away)
    try:
        if user.dice.random() < 0.5:
            _put(away / user.a_name(), user.content())
    finally:
        away.rename(user.root)
    return ""


def _check_out(user: User) -> str:
    """`git checkout` of one branch and the other, at speed: what differs is unlinked and written anew."""
    if not user.branches:
        folder = user.a_folder()
        paths = [
            folder / user.dice.choice(["src", "lib", "."]) / f"{n}{user.dice.choice(_SUFFIXES)}" for n in range(20)
        ]
        common = {path: user.content() for path in paths[:10]}
        user.branches = [common | {path: user.content() for path in user.dice.sample(paths, 12)} for _ in range(2)]
    for n in range(user.dice.randint(1, 8)):
        old, new = user.branches[n % 2], user.branches[(n + 1) % 2]
        for path in old.keys() - new.keys():
            path.unlink(missing_ok=True)
        for path, content in new.items():
            if old.get(path) != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                _put(path, content)
    return f"{len(user.branches[0])} files"


def _many_at_once(user: User) -> str:
    folder = user.a_folder() / "many"
    folder.mkdir(exist_ok=True)
    for n in range(user.dice.randint(5, 25)):
        _put(folder / f"{n}.txt", user.content())
    if user.dice.random() < 0.7:
        shutil.rmtree(folder)
    return str(folder)


# --- what does not belong in an index


def _link(user: User) -> str:
    path = user.a_place()
    to = user.dice.choice([path, path.parent, user.root, user.outside, user.outside / "beyond.txt", Path("nowhere")])
    if user.dice.random() < 0.3:
        to = user.file()
    if user.dice.random() < 0.3:
        path.unlink(missing_ok=True)
    path.symlink_to(to)
    return f"{path} -> {to}"


def _pipe(user: User) -> str:
    path = user.a_folder() / user.dice.choice(["pipe", "pipe.md"])
    os.mkfifo(path)
    return str(path)


def _become_another_kind(user: User) -> str:
    """A file becomes a folder, a pipe or a link of the same name; a folder becomes a file."""
    if user.dice.random() < 0.4:
        path = user.folder()
        shutil.rmtree(path)
        _put(path, user.content())
        return str(path)
    path = user.file()
    path.unlink()
    kind = user.dice.choice(["folder", "pipe", "link"])
    if kind == "folder":
        path.mkdir()
        _put(path / user.a_name(), user.content())
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(user.dice.choice([user.outside, user.root, path]))
    return f"{path}: a {kind}"


def _ignore(user: User) -> str:
    path = user.a_folder() / user.dice.choice([".gitignore", ".tandemignore"])
    if user.dice.random() < 0.35:
        path.unlink()
        return f"{path} no more"
    lines = user.dice.sample(_IGNORE_LINES, user.dice.randint(1, 4))
    if path.parent != user.root and user.dice.random() < 0.1:
        lines = ["*"]
    _put(path, "\n".join([*lines, ""]).encode())
    return f"{path}: {lines}"


def _keep_a_secret(user: User) -> str:
    path = user.a_folder() / user.dice.choice(_SECRETS)
    _put(path, b"PASSWORD=seven\n")
    return str(path)


_OPERATIONS, _WEIGHTS = zip(
    *(
        *((_write, 8), (_rewrite, 6), (_save_atomically, 5), (_append, 4), (_truncate, 2), (_edit_in_the_same_tick, 4)),
        *((_set_time, 3), (_delete, 4), (_copy, 3), (_rename, 5), (_swap, 1), (_change_case, 2), (_lock, 2)),
        *(
            (_unlock, 4),
            (_rename_folder, 4),
            (_work_where_it_is_now, 8),
            (_copy_tree, 2),
            (_delete_tree, 2),
            (_move_out, 2),
            (_move_in, 3),
        ),
        *((_lock_folder, 2), (_take_the_root_away, 1), (_check_out, 2), (_many_at_once, 1), (_link, 2), (_pipe, 1)),
        *((_become_another_kind, 2), (_ignore, 3), (_keep_a_secret, 2)),
    ),
    strict=True,
)
