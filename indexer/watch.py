"""The file system's events become a set of paths worth a second look; what counts is the look.

Where the system tells of no changes (network disks, folders shared into a container or virtual machine) or refuses to
watch, folders are polled: from time to time they themselves are the paths. Nothing here writes to a watched folder.

Not heard of until everything is looked at again: ignore files above a root, and `.git/info/exclude`.
"""

import socket
import threading
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import chain
from pathlib import Path

import anyio
import anyio.to_thread
from anyio import CancelScope

from indexer.events import Source, refusal, source
from indexer.mounts import mounted, pseudo, silent
from indexer.scan import beneath

_QUIET_S = 0.1  # an editor's save is several events
_PATIENCE_S = 1.0
_MANY = 50_000  # paths, from which on a look at everything costs no more
_LOOK_SHARE = 20  # polling costs one part in so many of the time

# What a root is armed as: device, inode, the roots and mounts that lie in it.
_State = tuple[int, int, tuple[str, ...]]


class Watch:
    """Open with `watching`, give it roots with `watch`, then `dirty()` waits for paths to look at. `polled`: folders
    that the system does not tell about -> why, in words."""

    def __init__(self, poll_s: float, poll_all: bool) -> None:
        self.polled: dict[str, str] = {}
        self._poll_s, self._poll_all = poll_s, poll_all
        self._source: Source | None = None
        self._no_source = ""
        self._polling = False
        self._roots: dict[str, _State | None] = {}
        self._excluded: frozenset[str] = frozenset()
        self._one_arms, self._noting = anyio.Lock(), threading.Lock()
        self._paths: set[str] = set()
        self._lost = False
        self._due = anyio.current_time() + poll_s
        self._looks_since: float | None = None
        self._heard, self._rings = socket.socketpair()
        self._heard.setblocking(False)
        self._rings.setblocking(False)

    @property
    def pending(self) -> int:
        return max(len(self._paths), int(self._lost))

    async def watch(self, roots: Iterable[str], excluded: Collection[str] = ()) -> None:
        """Exactly these roots from now on, watched before this returns; a root whose folder is another one than before
        (moved away and made anew, a disk put in) is watched anew. `excluded`: as for `scan`."""
        async with self._one_arms:
            new = frozenset(excluded)
            again = list(self.polled if new == self._excluded else self._roots)
            await self._arm(list(roots), new, again)

    async def dirty(self) -> set[str] | None:
        """The paths touched since the last call, once no new one has come for a moment. None: events were lost, and
        everything is to be looked at. What comes back is watched by then, so that a look at it misses nothing."""
        if self._looks_since is not None:
            took_s = anyio.current_time() - self._looks_since
            self._due = anyio.current_time() + max(self._poll_s, _LOOK_SHARE * took_s)
            self._looks_since = None
        while not self.pending:
            with anyio.move_on_after(self._due - anyio.current_time()):
                await self._ring()
            await self._poll_when_due()
        with anyio.move_on_after(_PATIENCE_S):
            count = 0
            while count != self.pending:
                count = self.pending
                await anyio.sleep(_QUIET_S)
        await self._poll_when_due()
        with CancelScope(shield=True):
            return await self._take()

    def note(self, paths: Iterable[str] | None) -> None:
        """From any thread: these are worth a look; None: everything is."""
        with self._noting:
            first = not self.pending
            if paths is None:
                self._lost = True
            else:
                self._paths.update(paths)
            if len(self._paths) > _MANY:
                self._lost, self._paths = True, set()
            if first and self.pending:  # one wake-up for a storm of events
                with suppress(OSError):  # it rings already, or nobody listens any more
                    self._rings.send(b"!")

    def close(self) -> None:
        if self._source:
            self._source.close()
        self._rings.close()
        self._heard.close()

    async def _ring(self) -> None:
        await anyio.wait_readable(self._heard)
        with suppress(BlockingIOError):
            self._heard.recv(64)

    async def _poll_when_due(self) -> None:
        if anyio.current_time() >= self._due:
            self._due = anyio.current_time() + self._poll_s
            with CancelScope(shield=True):
                await self._arm_again()
            self._polling = bool(self.polled)
            self.note(self.polled)

    async def _take(self) -> set[str] | None:
        with self._noting:  # before the arming, in which more may be lost
            lost, self._lost = self._lost, False
        again = {root for root in self._roots if lost or self._moved(root)}
        if again:
            await self._arm_again(again)
        with self._noting:
            paths, self._paths = self._paths, set()
        if self._polling:
            self._polling, self._looks_since = False, anyio.current_time()
        return None if lost else paths

    def _moved(self, root: str) -> bool:
        """Whether something befell a root or a folder above it."""
        return root not in self.polled and not self._paths.isdisjoint((root, *map(str, Path(root).parents)))

    async def _arm_again(self, again: Collection[str] = ()) -> None:
        async with self._one_arms:
            await self._arm(list(self._roots), self._excluded, again)

    async def _arm(self, roots: Sequence[str], excluded: frozenset[str], again: Collection[str]) -> None:
        """In a thread: a large tree takes its time."""
        self.note(await anyio.to_thread.run_sync(self._arm_now, roots, excluded, again))

    def _arm_now(self, roots: Sequence[str], excluded: frozenset[str], again: Collection[str]) -> set[str]:
        """Brings the armed folders in step; `again`: roots whose folders are to be gone through in any case. Returns
        the roots whose folder is another one than before, of which nothing was heard until now."""
        mounts, never = mounted(), excluded | pseudo(roots)
        unheard = {root: silent(root, mounts) for root in roots}
        apart = {*roots, *chain.from_iterable(unheard.values())}
        polled = dict(chain.from_iterable(folders.items() for folders in unheard.values()))
        if self._poll_all:
            polled |= dict.fromkeys(roots, "polling is asked for")
        heard, before = self._open(), self._roots
        states = {root: None if root in polled else _state(root, apart | mounts.keys()) for root in roots}
        for root, state in before.items():
            if state and heard and not states.get(root):
                heard.disarm(root, apart)
        for root, state in states.items():
            if state and (state != before.get(root) or root in again):
                why = heard.arm(root, never, apart) if heard else self._no_source
            else:
                why = self.polled.get(root) if state else None
            if why:
                polled[root] = why
        self._roots, self._excluded, self.polled = states, excluded, polled
        return {root for root, state in states.items() if state and root in before and state != before[root]}

    def _open(self) -> Source | None:
        if not self._source:
            try:
                self._source = source(self.note)
            except OSError as error:
                self._no_source = refusal(error)
        return self._source


def _state(root: str, apart: Collection[str]) -> _State | None:
    try:
        found = Path(root).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, tuple(sorted(path for path in apart if path != root and beneath(path, root)))


@asynccontextmanager
async def watching(poll_s: float = 10, poll_all: bool = False) -> AsyncGenerator[Watch]:
    """`poll_s`: how often folders are polled, less often where a look at them takes long. `poll_all`: polls every
    root, for systems that seem to tell of changes and do not."""
    watch = Watch(poll_s, poll_all)
    try:
        yield watch
    finally:
        with CancelScope(shield=True):
            await anyio.to_thread.run_sync(watch.close)
