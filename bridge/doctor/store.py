"""Where the points are: in the data folder, or on a Qdrant server, and whether a GPU builds its index there.

A start of the GPU that fails falls back to the CPU in silence, but GET /telemetry?details_level=1 tells:

    app.features.gpu          false: the program was built without (an image without -gpu-nvidia)
    app.system.gpu_devices    null: GPU indexing is off, or Vulkan did not start
                              []: Vulkan sees no device
                              names of all that it sees, those that it does not use among them: llvmpipe is a CPU
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from bridge.doctor.check import Check, NoAnswer, asked, in_thread, is_loopback, json_of, shown, size
from bridge.doctor.recorded import Recorded
from bridge.folder import Folder
from bridge.settings import Settings

_LEAST_VERSION = (1, 10)  # from which on a query has several sides, and sparse vectors their IDF
_EMULATED = ("llvmpipe", "swiftshader", "lavapipe", "softpipe")


async def store(settings: Settings, recorded: Recorded) -> list[Check]:
    wanted = f"{settings.qdrant} {settings.qdrant_collection}" if settings.qdrant else "embedded"
    if settings.qdrant is None:
        held = await in_thread(partial(_bytes, Folder(settings.data).stores))
        checks = [Check("store", "ok", f"embedded, {size(held)}")]
    else:
        checks = await server(settings.qdrant.rstrip("/"), settings, recorded)
    if recorded.answers and recorded.answers.place != wanted:
        found = f"the index lies in {shown(recorded.answers.place)}, the settings ask for {shown(wanted)}"
        remedy = "`tandem migrate` moves it, without embedding; so does the daemon, while the index as it is answers"
        checks.append(Check("store", "warning", found, remedy))
    return checks


async def server(base: str, settings: Settings, recorded: Recorded) -> list[Check]:
    where = shown(base)
    headers = {"api-key": settings.qdrant_api_key} if settings.qdrant_api_key else {}
    try:
        listed = await asked(f"{base}/collections", headers=headers)
        if refused := _refused(where, listed, bool(headers)):
            return [refused]
        names = [str(one["name"]) for one in json_of(listed)["result"]["collections"]]
        root = json_of(await asked(f"{base}/", headers=headers))
        version, title = str(root["version"]), str(root["title"])
    except (NoAnswer, KeyError, TypeError) as error:
        remedy = "start it, or correct QDRANT_URL (or QDRANT_HOST and QDRANT_PORT)"
        return [Check("store", "failed", f"Qdrant was expected at {where}: {error}", remedy)]
    if _number(version) < _LEAST_VERSION:
        found = f"Qdrant 1.10 or newer was expected at {where}, it is {version}"
        return [Check("store", "failed", found, "upgrade it")]
    checks = [Check("store", "ok", f"{title.split(' - ')[0]} {version} at {where}")]
    checks += await _open_to_all(base, where, bool(headers))
    ours, infos = _ours(names, settings, recorded), dict[str, Mapping[str, Any]]()
    for name in ours:
        infos[name] = await _info(f"{base}/collections/{name}", headers)
    checks += _points(infos, recorded)
    return [*checks, await _gpu(base, headers, infos)]


def _refused(where: str, response: httpx.Response, with_key: bool) -> Check | None:
    if response.is_success:
        return None
    if response.status_code in (401, 403):
        found = f"{where} refused QDRANT_API_KEY" if with_key else f"{where} wants an API key, and none is set"
        remedy = "set QDRANT_API_KEY to the server's QDRANT__SERVICE__API_KEY (or a key that may write)"
        return Check("store", "failed", f"{found} (status {response.status_code})", remedy)
    found = f"{where} was expected to list its collections: status {response.status_code}"
    return Check("store", "failed", found, "see its log, and that QDRANT_URL is a Qdrant and not what stands before it")


async def _open_to_all(base: str, where: str, with_key: bool) -> list[Check]:
    """On this machine alone no key is needed, and none can be overheard."""
    if is_loopback(base):
        return []
    try:
        is_open = not with_key or (await asked(f"{base}/collections")).is_success
    except NoAnswer:
        is_open = False
    if is_open:
        remedy = "set QDRANT__SERVICE__API_KEY there and QDRANT_API_KEY here, or bind it to loopback"
        return [Check("store", "warning", f"{where} is open to everyone who can reach it: it asks for no key", remedy)]
    if base.startswith("http://"):
        return [Check("store", "warning", f"the key goes to {where} unencrypted", "use https:// in QDRANT_URL")]
    return []


def _ours(names: Sequence[str], settings: Settings, recorded: Recorded) -> list[str]:
    own = recorded.meta.get("name")
    return sorted(name for name in names if own and name.startswith(f"{settings.qdrant_collection}-{own}-"))


async def _info(url: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """With `points`: exactly how many it has."""
    try:
        info = json_of(await asked(url, headers=headers))["result"]
        counted = json_of(await asked(f"{url}/points/count", "POST", headers=headers, json={"exact": True}))
        return {**info, "points": int(counted["result"]["count"])}
    except (NoAnswer, KeyError, TypeError):
        return {}


def _points(infos: Mapping[str, Mapping[str, Any]], recorded: Recorded) -> list[Check]:
    if not infos:
        return [Check("store", "ok", "it has no collection of this index yet; it is made on first use")]
    said = ", ".join(f"{name}: {info.get('points', 'an unknown number of')} points" for name, info in infos.items())
    most = max((info["points"] for info in infos.values() if "points" in info), default=None)
    if most is not None and most < recorded.chunks and len(recorded.generations) == 1:
        remedy = "the next start fills it again from the catalog, without embedding; while files are indexed, wait"
        return [Check("store", "warning", f"{said}, but the catalog has {recorded.chunks} chunks", remedy)]
    return [Check("store", "ok", said)]


async def _gpu(base: str, headers: Mapping[str, str], infos: Mapping[str, Mapping[str, Any]]) -> Check:
    try:
        response = await asked(f"{base}/telemetry", headers=headers, params={"details_level": 1})
        if not response.is_success:
            raise NoAnswer(f"status {response.status_code}")
        app: dict[str, Any] = json_of(response)["result"]["app"]
        devices: list[dict[str, Any]] | None = app["system"].get("gpu_devices")
        names = None if devices is None else [str(one["name"]) for one in devices]
        return gpu(bool(app["features"]["gpu"]), names, infos)
    except (NoAnswer, KeyError, TypeError) as error:
        remedy = "use a key that may read /telemetry; until then its log tells: `Initialized GPU device`"
        return Check("gpu", "warning", f"Qdrant does not tell whether a GPU is used: {error!r}", remedy)


def gpu(built: bool, devices: Sequence[str] | None, infos: Mapping[str, Mapping[str, Any]]) -> Check:
    """`infos`: the collections of this index."""
    if not built:
        remedy = "for a GPU: the image qdrant/qdrant:vX.Y.Z-gpu-nvidia, --gpus=all and QDRANT__GPU__INDEXING=1"
        return Check("gpu", "off", "this Qdrant is built without GPU support: it indexes on the CPU", remedy)
    where = "this Qdrant can index on a GPU, and indexes on the CPU"
    if devices is None:
        remedy = "set QDRANT__GPU__INDEXING=1; where it is set, its log has the error with which Vulkan did not start"
        return Check("gpu", "warning", f"{where}: GPU indexing is off, or did not start", remedy)
    usable = [name for name in devices if not any(word in name.lower() for word in _EMULATED)]
    if not usable:
        seen = f"only {', '.join(devices)}, which is a CPU" if devices else "no device"
        remedy = (
            "run it with --gpus=all and NVIDIA_DRIVER_CAPABILITIES=all; `vulkaninfo --summary` there must name the GPU"
        )
        return Check("gpu", "warning", f"{where}: Vulkan sees {seen}", remedy)
    found = f"GPU indexing is on: {', '.join(usable)}"
    small = [name for name, info in infos.items() if _is_small(info)]
    if small:
        found += f"; not used for {', '.join(small)}, below the indexing_threshold, which is searched without an index"
    return Check("gpu", "ok", found)


def _is_small(info: Mapping[str, Any]) -> bool:
    """So small that no part of it reaches the threshold (kilobytes of vectors) from which on an index is built."""
    try:
        threshold_kb = info["config"]["optimizer_config"]["indexing_threshold"]
        dimensions = info["config"]["params"]["vectors"]["dense"]["size"]
        return threshold_kb is not None and info["points"] * dimensions * 4 / 1024 < threshold_kb
    except (KeyError, TypeError):
        return False


def _bytes(folder: Path) -> int:
    """What its files take; it may be written to meanwhile."""
    held = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                held += Path(place, name).stat().st_blocks * 512
            except FileNotFoundError:
                continue
    return held


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit())
