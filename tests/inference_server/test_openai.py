"""The OpenAI-compatible engine, against a real HTTP server that behaves as OpenAI, Ollama and vLLM do."""

import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
import uvicorn
from anyio import fail_after
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from inference_server.engines import EngineFailed
from inference_server.engines.openai import openai_engine
from wire import Delta, Final, Job, Metadata, Passage, Reply, Said, Usage

KEY = "sk-very-secret"
JOB = Job("r", "why?", (Passage(text="because", path="/d/a.md"),), metadata=Metadata(max_tokens=9))


def piece(content: str | None = None, finish_reason: str | None = None) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"model": "small-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


WHOLE = [
    b": a comment\n\n",
    event({**piece(), "choices": [{"delta": {"role": "assistant", "content": ""}}]}),
    event(piece("be")),
    event(piece("cause \u2028日本")),
    event(piece(None, "stop")),
    event(
        {"model": "small-1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}
    ),
    b"data: [DONE]\n\n",
]


class ModelServer:
    """Answers as it is told to and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: Callable[[dict[str, Any]], Response] = lambda _: stream(WHOLE)
        self.models = ["small"]
        self.url = ""
        self.left = threading.Event()

    async def chat(self, request: Request) -> Response:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("authorization"))
        return self.answer(self.asked[-1])

    async def list(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})


def stream(blocks: list[bytes], then: Callable[[], Awaitable[None]] | None = None) -> Response:
    async def body() -> AsyncIterator[bytes]:
        for block in blocks:
            yield block
        if then:
            await then()

    return StreamingResponse(body(), media_type="text/event-stream")


def refuse(status: int, body: Any) -> Callable[[dict[str, Any]], Response]:
    return lambda _: JSONResponse(body, status) if not isinstance(body, str) else PlainTextResponse(body, status)


@pytest.fixture(scope="module")
def running() -> Iterator[ModelServer]:
    server = ModelServer()
    with serving(server):
        yield server


@pytest.fixture
def server(running: ModelServer) -> ModelServer:
    running.__dict__.update(ModelServer().__dict__ | {"url": running.url})
    return running


@contextmanager
def serving(server: ModelServer) -> Iterator[None]:
    app = Starlette(
        routes=[Route("/v1/chat/completions", server.chat, methods=["POST"]), Route("/v1/models", server.list)]
    )
    runner = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
        thread.start()
        yield
        runner.should_exit = True
        thread.join()


async def replies_of(url: str, job: Job = JOB, key: str | None = KEY, model: str | None = "small") -> list[Reply]:
    with fail_after(30):
        async with openai_engine(url, key, model, silence_limit_s=2) as generate, generate(job, Said()) as replies:
            return [reply async for reply in replies]


async def failure_of(url: str, **options: Any) -> EngineFailed:
    with pytest.raises(EngineFailed) as failed:
        await replies_of(url, **options)
    assert KEY not in str(failed.value)
    return failed.value


async def test_an_answer_streams_piece_by_piece_and_ends_with_its_model_and_its_cost(server: ModelServer) -> None:
    assert await replies_of(server.url) == [
        Delta("be"),
        Delta("cause \u2028日本"),
        Final(engine="openai", model="small-1", finish_reason="stop", usage=Usage(7, 2, 9)),
    ]


async def test_the_server_is_given_the_passages_the_question_the_model_and_the_key(server: ModelServer) -> None:
    await replies_of(server.url)
    (asked,) = server.asked
    assert (asked["model"], asked["max_tokens"], asked["stream"]) == ("small", 9, True)
    assert "because" in asked["messages"][-1]["content"]
    assert asked["messages"][-1]["content"].endswith("why?")
    assert server.keys == [f"Bearer {KEY}"]


async def test_the_first_piece_is_given_on_while_the_model_still_writes(server: ModelServer) -> None:
    heard = threading.Event()

    async def wait_until_heard() -> None:
        await anyio.to_thread.run_sync(heard.wait, 30)

    server.answer = lambda _: stream([event(piece("first"))], then=wait_until_heard)
    with fail_after(30):
        async with openai_engine(server.url, None, "small") as generate, generate(JOB, Said()) as replies:
            assert await anext(replies) == Delta("first")
            heard.set()


async def test_leaving_early_closes_the_connection_so_that_the_model_stops(server: ModelServer) -> None:
    class Endless(StreamingResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:
                server.left.set()

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield event(piece("on "))
            await anyio.sleep(0.01)

    server.answer = lambda _: Endless(body(), media_type="text/event-stream")
    with fail_after(30):
        async with openai_engine(server.url, None, "small") as generate:
            async with generate(JOB, Said()) as replies:
                assert await anext(replies) == Delta("on ")
            assert await anyio.to_thread.run_sync(server.left.wait, 30)


async def test_a_server_without_usage_and_without_done_is_good_enough(server: ModelServer) -> None:
    server.answer = lambda _: stream([event(piece("a")), event(piece(None, "length"))])
    assert await replies_of(server.url) == [Delta("a"), Final(engine="openai", model="small-1", finish_reason="length")]


async def test_a_server_that_refuses_stream_options_is_asked_again_without_them(server: ModelServer) -> None:
    def answer(asked: dict[str, Any]) -> Response:
        if "stream_options" in asked:
            return JSONResponse({"error": {"message": "Unrecognized request argument: stream_options"}}, 400)
        return stream(WHOLE)

    server.answer = answer
    with fail_after(30):
        async with openai_engine(server.url, None, "small") as generate:
            for _ in range(2):
                async with generate(JOB, Said()) as replies:
                    assert await anext(replies) == Delta("be")
    assert ["stream_options" in asked for asked in server.asked] == [True, False, False]


async def test_events_may_arrive_cut_anywhere_and_with_windows_line_ends(server: ModelServer) -> None:
    whole = b"".join(WHOLE).replace(b"\n", b"\r\n")
    server.answer = lambda _: stream([whole[start : start + 7] for start in range(0, len(whole), 7)])
    assert [reply.chunk for reply in await replies_of(server.url)] == ["be", "cause \u2028日本", ""]


async def test_a_job_may_name_another_model(server: ModelServer) -> None:
    await replies_of(server.url, Job("r", "why?", metadata=Metadata(model="large")))
    assert server.asked[0]["model"] == "large"


async def test_where_no_model_is_named_the_servers_only_one_is_it(server: ModelServer) -> None:
    await replies_of(server.url, model=None)
    assert server.asked[0]["model"] == "small"
    server.models = ["small", "large"]
    assert "set TANDEM_MODEL to one" in str(await failure_of(server.url, model=None))


async def test_a_server_that_is_not_there_is_named_with_what_to_do(port: int) -> None:
    failed = await failure_of(f"http://somebody:{KEY}@127.0.0.1:{port}/v1")
    assert f"no model server answers at http://127.0.0.1:{port}/v1: start it" in str(failed)


@pytest.mark.parametrize(
    ("status", "body", "told", "code"),
    [
        (
            401,
            {"error": {"message": f"Incorrect API key provided: {KEY}"}},
            "refused the key: set OPENAI_API_KEY",
            "engine",
        ),
        (
            404,
            {"error": {"message": 'model "small" not found, try pulling it first'}},
            "has no model 'small': `ollama pull small`",
            "engine",
        ),
        (404, {"object": "error", "message": "The model `small` does not exist."}, "set TANDEM_MODEL", "engine"),
        (404, "<html>Not Found</html>", "OPENAI_BASE_URL usually ends in /v1", "engine"),
        (
            400,
            {"error": {"message": f"context length 4096 exceeded {KEY}"}},
            "400: context length 4096 exceeded",
            "engine",
        ),
        (429, {"error": {"message": "rate limit"}}, "is busy", "overloaded"),
        (503, "", "is busy", "overloaded"),
        (500, {"error": "CUDA out of memory"}, "500: CUDA out of memory", "engine"),
        (502, "", "502: Bad Gateway", "engine"),
    ],
)
async def test_each_refusal_says_in_words_what_to_do(
    server: ModelServer, status: int, body: Any, told: str, code: str
) -> None:
    server.answer = refuse(status, body)
    failed = await failure_of(server.url)
    assert told in str(failed)
    assert failed.code == code


async def break_off() -> None:
    raise ConnectionError


async def fall_silent() -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("blocks", "then", "told"),
    [
        ([event(piece("half"))], break_off, "broke off in mid-answer"),
        ([event(piece("half"))], None, "broke off in mid-answer"),
        ([event(piece("half"))], fall_silent, "fell silent"),
        ([event(piece("half")), event({"error": {"message": "out of memory"}})], None, "failed: out of memory"),
        ([event(piece("half")), b"data: {not json\n\n"], None, "expected chat completions"),
    ],
    ids=["dies", "ends", "silent", "error event", "garbage"],
)
async def test_an_answer_that_breaks_off_keeps_what_came_and_says_why(
    server: ModelServer, blocks: list[bytes], then: Callable[[], Awaitable[None]] | None, told: str
) -> None:
    server.answer = lambda _: stream(blocks, then)
    with fail_after(30):
        async with (
            openai_engine(server.url, KEY, "small", silence_limit_s=2) as generate,
            generate(JOB, Said()) as replies,
        ):
            assert await anext(replies) == Delta("half")
            with pytest.raises(EngineFailed, match=told):
                await anext(replies)


async def test_a_web_page_in_place_of_an_answer_is_a_wrong_address(server: ModelServer) -> None:
    server.answer = refuse(200, "<html>hello</html>")
    assert "OPENAI_BASE_URL usually ends in /v1" in str(await failure_of(server.url))


@pytest.mark.parametrize("url", ["localhost:11434/v1", "", "ftp://host/v1", "http://"])
async def test_an_address_that_is_none_is_refused_before_any_job(url: str) -> None:
    with pytest.raises(ValueError, match="expected OPENAI_BASE_URL as http://"):
        await replies_of(url)


async def test_a_key_with_a_line_break_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="expected OPENAI_API_KEY") as refused:
        await replies_of("http://127.0.0.1:1/v1", key=f"{KEY}\n")
    assert KEY not in str(refused.value)


async def test_a_proxy_in_the_environment_does_not_come_between_us_and_our_own_machine(
    server: ModelServer, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    assert len(await replies_of(server.url)) == 3


async def test_an_answer_begun_elsewhere_is_refused_and_not_spliced() -> None:
    with pytest.raises(EngineFailed, match="ask again") as refused:
        async with openai_engine("http://127.0.0.1:9/v1", None, "m") as generate, generate(JOB, Said("half")):
            pass
    assert refused.value.code == "restarted"
