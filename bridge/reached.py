"""The service as a command reaches it: the daemon's, or its own for as long as it takes."""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from bridge.folder import Folder, Held, holding, running
from bridge.service import Service
from bridge.settings import Settings

logger = logging.getLogger("tandem")

PATIENCE_S = 10  # how long a command waits for a short one that has the data folder
LOOK_EVERY_S = 0.1


@asynccontextmanager
async def reached(settings: Settings) -> AsyncGenerator[Service]:
    """The daemon that holds the index, or the index itself where none runs."""
    from bridge.client import remote

    folder = Folder(settings.data)
    patience = Patience()
    while True:
        if running(str(folder.http_socket)):
            async with remote(str(folder.http_socket)) as service:
                yield service
            return
        try:
            with holding(folder):
                async with _opened(settings) as service:
                    yield service
                return
        except Held as error:
            await patience.wait(error)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[Service]:
    from bridge.tandem import opened
    from bridge.traced import traced

    with traced(settings, "tandem") as traces:
        async with opened(settings, traces) as tandem:
            await tandem.filled()
            yield tandem


@dataclass(slots=True)
class Patience:
    """With a daemon that starts or ends, or another short command: either is soon done."""

    until: float = field(default_factory=lambda: time.monotonic() + PATIENCE_S)
    told: bool = False

    async def wait(self, error: Held) -> None:
        """Returns when it is time for another try; raises `error` when it has been long enough."""
        if time.monotonic() > self.until:
            raise error
        if not self.told:
            logger.info("waiting: %s", error)
            self.told = True
        await anyio.sleep(LOOK_EVERY_S)
