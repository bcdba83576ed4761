"""Any server with a rerank endpoint: vLLM, Jina, Cohere, text-embeddings-inference, llama.cpp, Infinity.

.../rerank     {model, query, documents}      -> {results: [{index, relevance_score}]}
               {query, texts}                 -> [{index, score}]                       where it asks for texts
.../score      {model, text_1, text_2}        -> {data: [{index, score}]}               vLLM's other way

connect refused, broken off, 429, 5xx         RerankerAway
401, 403, 404, other 4xx, another answer      RerankerUnusable
"""

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from indexer.rerank import Rerank, RerankerAway, RerankerUnusable

_CONNECT_S = 3.0
_SILENCE_S = 60.0  # the search's own limit is shorter
_WORDS_OF_SERVER = 200


class _Scored(msgspec.Struct, frozen=True):
    index: int
    relevance_score: float | None = None
    score: float | None = None

    @property
    def value(self) -> float:
        score = self.score if self.relevance_score is None else self.relevance_score
        return math.nan if score is None else score


class _Answer(msgspec.Struct, frozen=True):
    results: tuple[_Scored, ...] = ()
    data: tuple[_Scored, ...] = ()


_answer = msgspec.json.Decoder(_Answer | tuple[_Scored, ...])


@asynccontextmanager
async def open_endpoint(url: str, model: str | None, api_key: str | None = None) -> AsyncGenerator[Rerank]:
    """`url`: where it listens; one that ends in neither /rerank nor /score gets /rerank. Entering asks nobody.

    Raises ValueError for an address or a key that cannot be one.
    """
    address, headers = _address(url), _headers(api_key)
    limit = httpx.Timeout(_SILENCE_S, connect=_CONNECT_S)
    # No proxy reaches our own loopback, whatever HTTP_PROXY says.
    trusting = address.host not in ("127.0.0.1", "::1", "localhost")
    async with httpx.AsyncClient(headers=headers, timeout=limit, trust_env=trusting) as client:
        yield _Server(client, address, model).scores


class _Server:
    def __init__(self, client: httpx.AsyncClient, url: httpx.URL, model: str | None) -> None:
        self._client, self._url, self._model = client, url, model
        self._where = f"the reranker at {url.copy_with(username=None, password=None, query=None)}"
        self._wants = "text_2" if url.path.endswith("/score") else "documents"

    async def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        response = await self._asked(query, texts)
        if self._wants == "documents" and response.status_code in (400, 422) and "texts" in response.text:
            self._wants = "texts"
            response = await self._asked(query, texts)
        if not response.is_success:
            raise self._refusal(response)
        return self._read(response, len(texts))

    async def _asked(self, query: str, texts: Sequence[str]) -> httpx.Response:
        body: dict[str, Any] = {"text_1" if self._wants == "text_2" else "query": query, self._wants: list(texts)}
        if self._model:
            body["model"] = self._model
        try:
            return await self._client.post(self._url, json=body)
        except httpx.ConnectError as error:
            raise RerankerAway(f"{self._where} does not answer: start it, or set TANDEM_RERANK_URL") from error
        except httpx.HTTPError as error:
            raise RerankerAway(f"{self._where} broke off ({type(error).__name__}): see its log") from error

    def _read(self, response: httpx.Response, count: int) -> Sequence[float]:
        try:
            answer = _answer.decode(response.content)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise self._strange(str(error)) from error
        found = (answer.results or answer.data) if isinstance(answer, _Answer) else answer
        scores = {one.index: one.value for one in found}
        if sorted(scores) != list(range(count)) or not all(map(math.isfinite, scores.values())):
            raise self._strange(f"scores of texts {sorted(scores)}, not each of {count} with a number")
        return [scores[n] for n in range(count)]

    def _strange(self, found: str) -> RerankerUnusable:
        return RerankerUnusable(
            f"{self._where} was expected to answer {{results: [{{index, relevance_score}}]}}, it answered {found}; "
            "set TANDEM_RERANK_URL to a rerank endpoint"
        )

    def _refusal(self, response: httpx.Response) -> RerankerAway:
        words = " ".join(response.text.split())[:_WORDS_OF_SERVER] or response.reason_phrase
        match response.status_code:
            case 401 | 403:
                return RerankerUnusable(f"{self._where} refused the key: set TANDEM_RERANK_KEY right")
            case 404:
                return RerankerUnusable(
                    f"{self._where} has no such endpoint or model: {words}; set TANDEM_RERANK_URL and "
                    "TANDEM_RERANK_MODEL right"
                )
            case 408 | 425 | 429:
                return RerankerAway(f"{self._where} is busy: {words}")
            case status if status < 500:
                return RerankerUnusable(f"{self._where} refused with {status}: {words}")
            case status:
                return RerankerAway(f"{self._where} failed with {status}: {words}; see its log")


def _address(url: str) -> httpx.URL:
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"TANDEM_RERANK_URL was expected to be http://host:port, it is {url!r}: {error}") from error
    if found.scheme not in ("http", "https") or not found.host:
        raise ValueError(f"TANDEM_RERANK_URL was expected to be http://host:port, it is {url!r}")
    path = found.path.rstrip("/")
    return found.copy_with(path=path if path.endswith(("/rerank", "/score")) else f"{path}/rerank")


def _headers(api_key: str | None) -> dict[str, str]:
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise ValueError("TANDEM_RERANK_KEY was expected to be printable ASCII")
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}
