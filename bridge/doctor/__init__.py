"""`tandem doctor`: each part is looked at, and a line says what was found and what to do.

    recorded   what the data folder says of itself
    machine    Python, disk, watch limits            running    daemon, port, origins
    index      catalog, documents                    model      weights, Ollama
    store      embedded, Qdrant, its GPU             services   Redis and its workers, a model server, Phoenix
    reranking  a model here, or a server             clients    what their files say of us
    managed    what the system was asked to start        pairing    with which queue, and what counts instead

Nothing is changed, nothing is downloaded, no store is opened. Whatever hangs, it ends within LOOK_S + LIMIT_S.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio

from bridge.doctor import clients, index, machine, managed, model, pairing, reranking, running, services, store
from bridge.doctor.check import Check, in_thread
from bridge.doctor.recorded import Recorded, look
from bridge.folder import Folder
from bridge.settings import Settings

LOOK_S = 2.0
LIMIT_S = 6.5

Examine = Callable[[Settings, Recorded], Awaitable[Sequence[Check]]]

_PARTS: tuple[tuple[str, Examine], ...] = (
    ("python", machine.python),
    ("data", machine.data),
    ("disk", machine.disk),
    ("daemon", running.daemon),
    ("port", running.port),
    ("origins", running.origins),
    ("catalog", index.catalog),
    ("documents", index.documents),
    ("folders", machine.folders),
    ("watch", machine.watch),
    ("model", model.weights),
    ("ollama", model.ollama),
    ("reranker", reranking.reranker),
    ("store", store.store),
    ("pairing", pairing.pairing),
    ("redis", services.redis),
    ("engine", services.engine),
    ("phoenix", services.phoenix),
    ("clients", clients.clients),
    ("service", managed.managed),
)


async def examine(settings: Settings) -> list[Check]:
    """Never raises: a part that cannot be looked at is one that failed."""
    recorded: Recorded | None = None
    with anyio.move_on_after(LOOK_S):
        recorded = await in_thread(partial(look, Folder(settings.data)))
    if recorded is None:
        recorded = Recorded(problem=f"{settings.data} did not let itself be read within {LOOK_S:g} s", hangs=True)
    found: dict[str, Sequence[Check]] = {}
    async with anyio.create_task_group() as tasks:
        for part, check in _PARTS:
            tasks.start_soon(_examine, part, check, settings, recorded, found)
    return [check for part, _ in _PARTS for check in found[part]]


async def _examine(
    part: str, check: Examine, settings: Settings, recorded: Recorded, found: dict[str, Sequence[Check]]
) -> None:
    late = f"this check was expected to end within {LIMIT_S:g} s, and hangs"
    found[part] = [Check(part, "failed", late, "see whether its disk or server answers at all, then ask again")]
    with anyio.move_on_after(LIMIT_S):
        try:
            found[part] = await check(settings, recorded)
        except Exception as error:  # noqa: BLE001 (the other parts are to be heard all the same)
            found[part] = [Check(part, "failed", f"this check itself broke: {error!r}", "report this line to us")]
