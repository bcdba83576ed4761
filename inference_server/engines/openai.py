"""Any server that speaks OpenAI's chat completions: Ollama, vLLM, TensorRT-LLM, llama.cpp, OpenAI itself.

connect refused, timed out   -> EngineFailed: what to start, what to set
401, 403                     -> EngineFailed: the key
404                          -> EngineFailed: the model (`ollama pull`), or the address
429, 503                     -> EngineFailed, code `overloaded`
other statuses, error events -> EngineFailed with the server's own words
a stream without an end      -> EngineFailed: what came so far stands
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from ipaddress import ip_address
from typing import Any

import httpx
import msgspec

from inference_server.engines import EngineFailed, Generate
from inference_server.prompt import messages
from wire import Delta, Final, Job, Reply, Said, Usage

CONNECT_LIMIT_S = 5.0
# Between two pieces. The first waits for the model to be loaded and the passages to be read.
SILENCE_LIMIT_S = 120.0
MAX_WORDS_OF_SERVER = 300
OLLAMA_PORT = 11434
_CANNOT_GO_ON = "the answer's worker was lost, and the model server cannot go on in mid-answer: ask again"
ADDRESS = "OPENAI_BASE_URL usually ends in /v1"


class _Piece(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Piece | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: Usage | None = None
    model: str | None = None
    error: Any = None


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: tuple[_Model, ...]


_models = msgspec.json.Decoder(_Models)
_chunk = msgspec.json.Decoder(_Chunk)
_DONE = b"[DONE]"
# As many connections as the worker has slots.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)


@asynccontextmanager
async def openai_engine(
    base_url: str, api_key: str | None, model: str | None, silence_limit_s: float = SILENCE_LIMIT_S
) -> AsyncGenerator[Generate]:
    """`base_url` ends where `/chat/completions` begins, often in `/v1`. A job may name another model;
    where neither names one, the server's only one it is.

    Raises ValueError for an address or a key that cannot be one.
    """
    url, headers = _address(base_url), _headers(api_key)
    limit = httpx.Timeout(silence_limit_s, connect=CONNECT_LIMIT_S)
    # No proxy reaches our own loopback, whatever HTTP_PROXY says.
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=limit, limits=_LIMITS, trust_env=not _is_loopback(url.host)
    ) as client:
        server = _Server(client, url, api_key, model)

        @asynccontextmanager
        async def generate(job: Job, said: Said) -> AsyncGenerator[AsyncIterator[Reply]]:
            if said.text:
                raise EngineFailed(_CANNOT_GO_ON, "restarted")
            async with aclosing(server.replies(job)) as replies:
                yield replies

        yield generate


class _Server:
    def __init__(self, client: httpx.AsyncClient, url: httpx.URL, api_key: str | None, model: str | None) -> None:
        self._client = client
        self._where = str(url.copy_with(username=None, password=None, query=None))
        self._api_key = api_key
        self._model = model
        self._tells_usage = True

    async def replies(self, job: Job) -> AsyncGenerator[Reply]:
        model = job.metadata.model or self._model
        finish_reason: str | None = None
        usage: Usage | None = None
        async with aclosing(self._chunks(job, model)) as chunks:
            async for chunk in chunks:
                for choice in chunk.choices:
                    if choice.delta and choice.delta.content:
                        yield Delta(choice.delta.content)
                    finish_reason = finish_reason or choice.finish_reason
                usage, model = chunk.usage or usage, chunk.model or model
        if not finish_reason:
            raise EngineFailed(f"the model server at {self._where} broke off in mid-answer: ask again")
        yield Final(engine="openai", model=model, finish_reason=finish_reason, usage=usage)

    async def _chunks(self, job: Job, model: str | None) -> AsyncGenerator[_Chunk]:
        try:
            async with self._asked(job, model or await self._only_model()) as response:
                if "event-stream" not in response.headers.get("content-type", ""):
                    raise EngineFailed(f"expected chat completions at {self._where}, got none: {ADDRESS}")
                async for event in _events(response):
                    if event == _DONE:
                        yield _Chunk((_Choice(finish_reason="stop"),))
                        return
                    chunk = _chunk.decode(event)
                    if chunk.error is not None:
                        raise EngineFailed(f"the model server at {self._where} failed: {self._words(event)}")
                    yield chunk
        except httpx.ConnectTimeout as error:
            raise EngineFailed(
                f"the model server at {self._where} did not answer within {CONNECT_LIMIT_S:g} s: "
                "is its machine up, and OPENAI_BASE_URL right?"
            ) from error
        except httpx.ConnectError as error:
            raise EngineFailed(
                f"no model server answers at {self._where}: start it (Ollama: `ollama serve`), or set OPENAI_BASE_URL"
            ) from error
        except httpx.TimeoutException as error:
            raise EngineFailed(f"the model server at {self._where} fell silent: ask again") from error
        except httpx.HTTPError as error:
            raise EngineFailed(f"the model server at {self._where} broke off in mid-answer: ask again") from error
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise EngineFailed(f"expected chat completions from {self._where}, got something else: {error}") from error

    async def _only_model(self) -> str:
        response = await self._client.get("models")
        if not response.is_success:
            raise self._refusal(response, "")
        names = [model.id for model in _models.decode(response.content).data]
        if len(names) != 1:
            choice = ", ".join(names[:20]) or "none, so far"
            raise EngineFailed(f"which model? set TANDEM_MODEL to one that {self._where} has: {choice}")
        self._model = names[0]
        return names[0]

    @asynccontextmanager
    async def _asked(self, job: Job, model: str) -> AsyncGenerator[httpx.Response]:
        body: dict[str, Any] = {"model": model, "messages": messages(job), "stream": True}
        if job.metadata.max_tokens is not None:
            body["max_tokens"] = job.metadata.max_tokens
        if self._tells_usage:
            body["stream_options"] = {"include_usage": True}
        async with self._client.stream("POST", "chat/completions", json=body) as response:
            if response.is_success:
                yield response
                return
            await response.aread()
        if self._tells_usage and response.status_code in (400, 422) and "stream_options" in response.text:
            # An older server: the answer matters more than the count.
            self._tells_usage = False
            async with self._asked(job, model) as response:
                yield response
            return
        raise self._refusal(response, model)

    def _refusal(self, response: httpx.Response, model: str) -> EngineFailed:
        words = self._words(response.content)
        match response.status_code:
            case 401 | 403:
                return EngineFailed(f"the model server at {self._where} refused the key: set OPENAI_API_KEY right")
            case 404 if "model" in words.lower():
                pulls = "pull" in words.lower() or response.url.port == OLLAMA_PORT
                remedy = f"`ollama pull {model}`" if pulls else "set TANDEM_MODEL to one that it has"
                return EngineFailed(f"the model server at {self._where} has no model {model!r}: {remedy}")
            case 404:
                return EngineFailed(f"expected chat completions at {self._where}, got none: {ADDRESS}")
            case 429 | 503:
                return EngineFailed(f"the model server at {self._where} is busy: ask again in a while", "overloaded")
            case status:
                why = words or response.reason_phrase
                return EngineFailed(f"the model server at {self._where} refused with {status}: {why}")

    def _words(self, body: bytes) -> str:
        """The server's own, short, on one line and without the key."""
        try:
            said: Any = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeError):
            said = body.decode(errors="replace")
        match said:
            case {"error": {"message": str(words)}} | {"error": str(words)} | {"message": str(words)}:
                pass
            case _:
                words = str(said)
        words = " ".join(words.split())
        return (words.replace(self._api_key, "***") if self._api_key else words)[:MAX_WORDS_OF_SERVER]


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """The data of each server-sent event. By bytes, for httpx's lines also end at a text's own U+2028."""
    rest = b""
    async for block in response.aiter_bytes():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if data := line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b"":
                yield data


def _address(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("expected OPENAI_BASE_URL as http://host:port/v1 or https://host/v1")
    return url


def _headers(api_key: str | None) -> dict[str, str]:
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()):
        raise ValueError("expected OPENAI_API_KEY in one line of plain letters, digits and signs")
    return {"Authorization": f"Bearer {api_key}"}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
