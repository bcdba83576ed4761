"""The file system's events become a set of paths worth a second look; what counts is the look."""

import os
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.from_thread
from anyio.lowlevel import current_token
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

from indexer.scan import by_name

_QUIET_S = 0.1  # an editor's save is several events
_PATIENCE_S = 1.0
# Reading a file makes events too: ours must not wake us.
_TELLING = frozenset({"created", "modified", "moved", "deleted", "closed"})


class Watch(FileSystemEventHandler):
    """Open with `watching`; `dirty()` waits for paths to look at."""

    def __init__(self, excluded: str | None = None) -> None:
        self._excluded = excluded
        self._observer = Observer()
        self._token = current_token()
        self._paths: set[str] = set()
        self._noting = threading.Lock()
        self._something = anyio.Event()
        self._watched: dict[str, tuple[int | None, ObservedWatch]] = {}

    @property
    def pending(self) -> int:
        return len(self._paths)

    def add(self, roots: Iterable[str]) -> list[str]:
        """Arms the watch; returns the roots that the system refuses to watch (too many, or not there). A root whose
        folder is another one than before (moved away and made anew) is armed again."""
        refused: list[str] = []
        for root in roots:
            inode = _inode(root)
            if self._watched.get(root, (None, None))[0] == inode is not None:
                continue
            with suppress(KeyError):
                self._observer.unschedule(self._watched.pop(root)[1])
            try:
                self._watched[root] = (inode, self._observer.schedule(self, root, recursive=True))
            except OSError:
                refused.append(root)
        return refused

    def start(self) -> None:
        self._observer.start()

    def stop(self) -> None:
        self._observer.stop()

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in _TELLING or (event.is_directory and event.event_type == "modified"):
            return
        paths = {os.fsdecode(path) for path in (event.src_path, event.dest_path) if path}
        # What a scan would leave out (caches, .git, our own data folder) wakes nobody.
        paths = {path for path in paths if by_name(path, list(self._watched), self._excluded)}
        with self._noting:
            first = not self._paths and bool(paths)
            self._paths |= paths
        if first:  # one wake-up for a storm of events
            with suppress(RuntimeError):  # the loop has ended: nobody listens any more
                anyio.from_thread.run_sync(self._wake, token=self._token)

    def _wake(self) -> None:
        self._something.set()

    async def dirty(self) -> set[str]:
        """The paths touched since the last call, once no new one has come for a moment."""
        await self._something.wait()
        with anyio.move_on_after(_PATIENCE_S):
            count = 0
            while count != len(self._paths):
                count = len(self._paths)
                await anyio.sleep(_QUIET_S)
        self._something = anyio.Event()
        with self._noting:
            paths, self._paths = self._paths, set()
        return paths


def _inode(root: str) -> int | None:
    try:
        return Path(root).stat().st_ino
    except OSError:
        return None


@asynccontextmanager
async def watching(roots: Iterable[str], excluded: str | None = None) -> AsyncGenerator[Watch]:
    """`excluded`: a folder whose files are not looked at."""
    watch = Watch(excluded)
    watch.add(root for root in roots if Path(root).is_dir())
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()
