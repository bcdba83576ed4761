"""The collections on a Qdrant server, made before they are needed: whoever opens the index makes them; here they are
looked for afterwards, under the names that others know them by.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.service import Service, Unavailable
from bridge.settings import Settings


@dataclass(frozen=True, slots=True)
class Ready:
    """`store`: where the settings' index lies; `aliases`: the collection of QDRANT_COLLECTION and of CACHE_COLLECTION,
    null where there is none yet; `chunks_left`: of the index that lay elsewhere before."""

    store: str
    aliases: Mapping[str, str | None]
    chunks_left: int


async def set_up(settings: Settings, url: str, service: Service) -> Ready:
    """`service`: the index, opened with these settings, or a daemon's. Raises Unavailable, or StoreAway."""
    from indexer.store.server import aliases, label, publish

    status, cache = await service.status(), await service.cache_stats()
    here, key = label(url, ""), settings.qdrant_api_key
    places = [status.store, *([status.growing.store] if status.growing else [])]
    store = next((place for place in places if place.startswith(here)), None)
    if store is None:
        reasons = status.warnings or ("a daemon with other settings has it: `tandem down`, then again",)
        raise Unavailable(f"the index is in {status.store}, expected at {here.rstrip('/')}: {'; '.join(reasons)}")
    alias = settings.qdrant_collection
    found = await aliases(url, key)
    if alias not in found and store == status.store:
        await publish(url, key, store.removeprefix(here), alias)
        found = await aliases(url, key)
    if settings.cache_collection not in found and cache.problem and settings.cache_max and settings.cache_ttl_s:
        raise Unavailable(cache.problem)
    left = status.growing.chunks_left if status.growing and store == status.growing.store else 0
    return Ready(store, {name: found.get(name) for name in (alias, settings.cache_collection)}, left)
