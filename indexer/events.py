"""What the system tells of folders: Linux's inotify, one folder at a time; elsewhere watchdog's observer.

watchdog's own recursion over inotify enters node_modules and .git as well, says nothing of a folder that the system's
limit left out, and tells nobody of an overflow; so here its reader of inotify is used, and the recursion is ours.
"""

import errno
import logging
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Protocol

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

from indexer.rules import IGNORE_FILES, Rules, above
from indexer.scan import beneath, by_name, listing

logger = logging.getLogger("tandem.index")

Note = Callable[[Iterable[str] | None], None]  # paths worth a look; None: events were lost. Called in a thread.


class Source(Protocol):
    """Tells of roots from `arm` until `disarm`."""

    def arm(self, root: str, excluded: Collection[str], apart: Collection[str]) -> str | None:
        """Watches a root from before this returns on, or brings that in step with what is there now. Why that is
        refused, in words. `apart`: folders in roots (this one may be among them) that are not entered from here."""
        ...

    def disarm(self, root: str, apart: Collection[str]) -> None: ...

    def close(self) -> None: ...


class Observed(FileSystemEventHandler):
    """Through watchdog's observer for this system. What a `.tandemignore` takes in wakes nobody here."""

    # Reading a file makes events too: ours must not wake us.
    _TELLING = frozenset({"created", "modified", "moved", "deleted", "closed"})

    def __init__(self, note: Note) -> None:
        self._note = note
        self._excluded: Collection[str] = ()
        self._watched: dict[str, ObservedWatch] = {}
        self._observer = Observer()
        self._observer.start()

    def arm(self, root: str, excluded: Collection[str], apart: Collection[str]) -> str | None:
        self.disarm(root)
        self._excluded = excluded
        try:
            self._watched[root] = self._observer.schedule(self, root, recursive=True)
        except OSError as error:
            return refusal(error)
        return None

    def disarm(self, root: str, apart: Collection[str] = ()) -> None:
        with suppress(KeyError):
            self._observer.unschedule(self._watched.pop(root))

    def close(self) -> None:
        self._observer.stop()
        self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in self._TELLING or (event.is_directory and event.event_type == "modified"):
            return
        roots = list(self._watched)
        paths = {os.fsdecode(path) for path in (event.src_path, event.dest_path) if path}
        self._note([path for path in paths if by_name(path, roots, self._excluded)])


def refusal(error: OSError) -> str:
    """In words."""
    if error.errno == errno.ENOSPC:
        return "the system's watch limit is reached: raise fs.inotify.max_user_watches"
    if error.errno == errno.EMFILE:
        return "the system's limit of watching programs is reached: raise fs.inotify.max_user_instances"
    return f"the system refuses to watch it ({error.strerror or error})"


if sys.platform == "linux":
    from watchdog.observers.inotify_c import CallbackId, InotifyEvent, InotifyFD, Mask, WatchDescriptor
    from watchdog.observers.inotify_c import InotifyConstants as Flag

    # Without opening, reading and closing unchanged: ours would fill the queue.
    _CHANGES = Flag.IN_CREATE | Flag.IN_MODIFY | Flag.IN_CLOSE_WRITE | Flag.IN_ATTRIB | Flag.IN_MOVE | Flag.IN_DELETE
    _MASK = _CHANGES | Flag.IN_DELETE_SELF | Flag.IN_MOVE_SELF | Flag.IN_ONLYDIR | Flag.IN_EXCL_UNLINK
    _COMES = Flag.IN_CREATE | Flag.IN_MOVED_TO | Flag.IN_ATTRIB
    _DECIDES = Flag.IN_CLOSE_WRITE | Flag.IN_MOVE | Flag.IN_DELETE | Flag.IN_ATTRIB

    class _Folder:
        """One armed folder. What its events mean is its source's business."""

        def __init__(self, path: str, outside: Rules, source: "Inotify") -> None:
            self.path, self.outside, self.rules, self._source = path, outside, outside, source
            self.wd = WatchDescriptor(-1)

        def on_event(self, event: InotifyEvent) -> None:
            self._source.hear(self, event)

        def on_watch_deleted(self, wd: WatchDescriptor) -> None:
            self._source.drop(self)

        def on_queue_overflow(self) -> None:
            self._source.lose()

    class Inotify:
        """Arms just the folders that a scan enters. Raises OSError where the system gives no inotify."""

        def __init__(self, note: Note) -> None:
            self._note = note
            self._excluded: Collection[str] = ()
            self._apart: frozenset[str] = frozenset()
            self._folders: dict[str, _Folder] = {}
            self._refused: set[str] = set()
            self._closed = False
            # Held while a tree is armed: its events wait in the kernel until it is known which folders they are of.
            self._arming = threading.RLock()
            self._reader = InotifyFD()
            self._reader.start()

        def arm(self, root: str, excluded: Collection[str], apart: Collection[str]) -> str | None:
            with self._arming:
                self._excluded, self._apart = excluded, frozenset(apart)
                try:
                    self._arm_anew(root, above(root), is_root=True)
                except OSError as error:
                    self._refused.add(root)
                    return refusal(error)
                self._refused.discard(root)
            return None

        def disarm(self, root: str, apart: Collection[str] = ()) -> None:
            with self._arming:
                self._remove_but(root, (), apart)
                self._refused.discard(root)

        def close(self) -> None:
            self._closed = True
            self._reader.stop()
            self._reader.join()

        def hear(self, folder: _Folder, event: InotifyEvent) -> None:
            try:
                with self._arming:
                    self._hear(folder, event)
            except Exception:
                if self._closed:  # under it
                    return
                logger.exception("an event could not be followed; everything is looked at again")
                self.lose()

        def lose(self) -> None:
            self._note(None)

        def drop(self, folder: _Folder) -> None:
            with self._arming:
                if self._folders.get(folder.path) is folder:
                    del self._folders[folder.path]

        def _hear(self, folder: _Folder, event: InotifyEvent) -> None:
            if not event.name:
                self._note((folder.path,))  # itself: deleted, moved, unmounted, its rights changed
                return
            name = os.fsdecode(event.name)
            path = f"{folder.path.rstrip('/')}/{name}"
            if path in self._excluded:
                return
            if name in IGNORE_FILES:
                if event.mask & _DECIDES:
                    self._follow(folder.path, folder.outside, anew=True)
            elif (why := folder.rules.leave_out(path, name, event.is_directory)) == "":
                return
            elif event.is_directory and event.is_moved_from and path in self._folders:
                self._remove_but(path, (), ())
            elif why is None and event.is_directory and self._comes(path, event):
                self._note((path,))  # the arming takes its time, and a moved folder's two names belong together
                self._follow(path, folder.rules)
            # After the arming: what came into a new folder before that is seen by the look.
            self._note((path,))

        def _comes(self, path: str, event: InotifyEvent) -> bool:
            if event.is_attrib and path in self._folders:
                return False  # it is armed, and its rights have changed
            return bool(event.mask & _COMES) and path not in self._apart

        def _follow(self, top: str, outside: Rules, anew: bool = False) -> None:
            try:
                self._arm_anew(top, outside, top in self._apart) if anew else self._arm(top, outside)
            except OSError as error:
                logger.warning("%r: %s", top, refusal(error))
                if not any(beneath(top, root) for root in self._refused):
                    self.lose()  # who looks at everything arms everything again, and hears of the refusal

        def _arm_anew(self, top: str, outside: Rules, is_root: bool) -> None:
            self._remove_but(top, self._arm(top, outside, is_root), self._apart)

        def _arm(self, top: str, outside: Rules, is_root: bool = False) -> set[str]:
            """Returns the folders armed. Raises OSError where a limit is reached, or for a root that is refused."""
            armed: set[str] = set()
            never = frozenset(self._excluded) | self._apart
            waiting = [(top, outside)]
            while waiting:
                here, outside = waiting.pop()
                try:
                    folder = self._add(here, outside, follow=is_root and here == top)
                    armed.add(here)
                    # Listed after it is armed: no folder can come unseen between the two.
                    listed = listing(here, outside, never)
                except OSError as error:
                    # A folder that is gone or closed to us: the one above it tells when that changes.
                    if error.errno in (errno.ENOSPC, errno.ENOMEM) or (is_root and here == top):
                        raise
                    continue
                folder.rules = listed.rules
                waiting += [(path, listed.rules) for path in listed.folders]
            return armed

        def _add(self, path: str, outside: Rules, follow: bool) -> _Folder:
            folder, before = _Folder(path, outside, self), self._folders.get(path)
            mask = Mask(_MASK if follow else _MASK | Flag.IN_DONT_FOLLOW)
            folder.wd = self._reader.add_callback(os.fsencode(path), mask, folder, CallbackId(id(folder)))
            if folder.wd == -1:  # how watchdog says "permission denied"
                self._remove(folder)
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            self._folders[path] = folder
            if before:
                self._remove(before)
            return folder

        def _remove_but(self, top: str, kept: Collection[str], apart: Iterable[str]) -> None:
            """Disarms what lies in a folder, but for `kept` and what lies in those of `apart` that lie in it."""
            within = [other for other in apart if other != top and beneath(other, top)]
            for path, folder in list(self._folders.items()):
                if beneath(path, top) and path not in kept and not any(beneath(path, other) for other in within):
                    del self._folders[path]
                    self._remove(folder)

        def _remove(self, folder: _Folder) -> None:
            self._reader.remove_callbacks([(folder.wd, CallbackId(id(folder)))])


def source(note: Note) -> Source:
    """Raises OSError where the system has no more to give."""
    return Inotify(note) if sys.platform == "linux" else Observed(note)
