"""What answers and what keeps traces: Redis and the workers behind it, a model server, Phoenix."""

from collections import Counter
from dataclasses import replace
from urllib.parse import urlsplit

from bridge import paired
from bridge.doctor.check import Check, NoAnswer, asked, is_loopback, json_of, resolved, shown
from bridge.doctor.recorded import Recorded
from bridge.settings import Settings
from bridge.terminal import on_one_line
from wire import QueueDown, embedding

_EMPTY_TRACE = b""  # the message without a span: whoever takes it keeps nothing


async def redis(settings: Settings, _recorded: Recorded) -> list[Check]:
    if settings.redis_url is None:
        return [Check("redis", "off", "REDIS_URL is not set: answers are made on this machine")]
    await resolved(settings.redis_url)
    answering = await _workers(settings, settings.redis_url, settings.redis_stream_key, "tandem worker")
    if pairing := paired.known(settings.data, settings.redis_url):
        answering = replace(answering, found=f"paired as {pairing.user}: {answering.found}")
    checks = [answering, *_overheard(settings.redis_url, settings.redis_key)]
    if settings.embed != "remote" or answering.state == "failed":
        return checks
    key = embedding.queue(settings.redis_stream_key)
    return [*checks, await _workers(settings, settings.redis_url, key, "tandem worker --task embed")]


def _overheard(url: str, key: str | None) -> list[Check]:
    """On this machine alone nobody else listens."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return []
    scheme = parts.scheme.removesuffix("+sentinel")
    if scheme not in ("redis", "rediss") or host is None or is_loopback(url):
        return []
    checks: list[Check] = []
    if scheme == "redis":
        found = f"questions, passages and answers go to {host} unencrypted"
        remedy = "give it TLS, as in compose/README.md, and use rediss:// in REDIS_URL"
        checks.append(Check("redis", "warning", found, remedy))
    if not (key or parts.password):
        remedy = "give it a user for each role (compose/users.acl), and name one in REDIS_URL, or set REDIS_KEY"
        checks.append(
            Check("redis", "warning", f"{host} is called without a password: whoever reaches it reads", remedy)
        )
    return checks


async def _workers(settings: Settings, url: str, key: str, command: str) -> Check:
    from wire.redis import RedisWire

    try:
        async with RedisWire(url, key, settings.redis_key, lease_s=settings.lease_s) as wire:
            queue = await wire.office().figures()
            forbidden = await wire.missing_rights()
    except (QueueDown, ValueError) as error:
        remedy = "the same REDIS_URL (and REDIS_KEY) is needed here and on the GPU box; or pair them: `tandem pair`"
        return Check("redis", "failed", str(error), remedy)
    if forbidden:
        found = f"it answers, but its ACL does not let this user send {', '.join(forbidden)}"
        remedy = "grant what compose/users.acl grants the user `bridge`, for these keys, or name that user in REDIS_URL"
        return Check("redis", "failed", found, remedy)
    workers = [worker for worker in queue.workers if worker.state != "silent"]
    if not workers:
        found = f"it answers, but no worker has given a sign of life at {key} within {2 * settings.lease_s:g} s"
        remedy = f"on the GPU box: `{command}` with the same REDIS_URL and REDIS_STREAM_KEY; see its log"
        return Check("redis", "warning", found, remedy)
    slots = Counter[str]()
    for worker in workers:
        slots[on_one_line(f"{worker.engine} {worker.model or ''}".strip())] += worker.slots
    # Each says this of itself; an old one says nothing.
    told = "; ".join(f"{what}, {count} at once" for what, count in sorted(slots.items()) if what)
    found = f"{len(workers)} worker{'' if len(workers) == 1 else 's'} at {key}"
    return Check("redis", "ok", f"{found}: {told}" if told else found)


async def engine(settings: Settings, _recorded: Recorded) -> list[Check]:
    base = settings.openai_base_url
    if settings.engine != "openai" or not base:
        return [Check("engine", "ok", settings.engine)]
    headers = {"Authorization": f"Bearer {settings.openai_api_key}"} if settings.openai_api_key else {}
    try:
        response = await asked(f"{base.rstrip('/')}/models", headers=headers)
        if response.status_code in (401, 403):
            found = f"{shown(base)} refused OPENAI_API_KEY (status {response.status_code})"
            return [Check("engine", "failed", found, "set OPENAI_API_KEY to a key of that server")]
        if not response.is_success:
            raise NoAnswer(f"status {response.status_code}")
        names = [str(one["id"]) for one in json_of(response)["data"]]
    except (NoAnswer, KeyError, TypeError) as error:
        remedy = "start it, or correct OPENAI_BASE_URL (it ends in /v1)"
        return [Check("engine", "failed", f"a model server was expected at {shown(base)}: {error}", remedy)]
    if settings.model not in names and f"{settings.model}:latest" not in names:
        found = f"{shown(base)} was expected to list {settings.model}, it has {', '.join(names[:5]) or 'none'}"
        return [Check("engine", "warning", found, "set TANDEM_MODEL to one of its models")]
    return [Check("engine", "ok", f"openai: {settings.model} at {shown(base)}")]


async def phoenix(settings: Settings, _recorded: Recorded) -> list[Check]:
    endpoint = settings.phoenix_collector_endpoint
    if not endpoint:
        return [Check("phoenix", "off", "no traces are sent (PHOENIX_COLLECTOR_ENDPOINT, or `tandem up --phoenix`)")]
    url = endpoint.rstrip("/")
    url = url if url.endswith("/v1/traces") else f"{url}/v1/traces"
    headers = {"content-type": "application/x-protobuf"}
    if settings.phoenix_api_key:
        headers["authorization"] = f"Bearer {settings.phoenix_api_key}"
    try:
        status = (await asked(url, "POST", headers=headers, content=_EMPTY_TRACE)).status_code
    except NoAnswer as error:
        remedy = "start Phoenix there, or correct or unset PHOENIX_COLLECTOR_ENDPOINT"
        return [Check("phoenix", "failed", f"Phoenix was expected at {shown(endpoint)}: {error}", remedy)]
    if status in (401, 403):
        remedy = "set PHOENIX_API_KEY to a key made in Phoenix under Settings, API Keys"
        return [Check("phoenix", "failed", f"{shown(endpoint)} refused PHOENIX_API_KEY (status {status})", remedy)]
    if not 200 <= status < 300:
        remedy = "see its log, and that PHOENIX_COLLECTOR_ENDPOINT is Phoenix's address"
        return [Check("phoenix", "failed", f"{shown(url)} was expected to take traces: status {status}", remedy)]
    return [Check("phoenix", "ok", f"takes traces at {shown(endpoint)}")]
