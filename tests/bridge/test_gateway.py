import logging
import re
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from bridge import sse
from bridge.guard import MAX_BODY
from indexer.filters import Filters
from tests.bridge.fake_service import HITS, PIECES, FakeService, serving

TOKEN = "correct horse"


class Served:
    """A gateway on TCP and on a Unix socket, with the service behind it."""

    def __init__(self, service: FakeService, url: str, path: str) -> None:
        self.service = service
        self.url = url
        self.tcp = httpx.AsyncClient(base_url=url)
        self.unix = httpx.AsyncClient(base_url="http://tandem", transport=httpx.AsyncHTTPTransport(uds=path))


@asynccontextmanager
async def served(grace_s: float = 0, **options: Any) -> AsyncGenerator[Served]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # A Unix path ends at about 100 bytes.
        service = FakeService(grace_s)
        async with serving(service, Path(folder), **options) as (url, path):
            here = Served(service, url, path)
            async with here.tcp, here.unix:
                yield here


@pytest.fixture(scope="module")
async def open_gateway() -> AsyncGenerator[Served]:
    async with served() as here:
        yield here


@pytest.fixture(scope="module")
async def closed_gateway() -> AsyncGenerator[Served]:
    async with served(token=TOKEN, allowed_hosts=["box.lan"], cors_origins=["https://page.example"]) as here:
        yield here


@pytest.fixture
def gateway(open_gateway: Served) -> Served:
    open_gateway.service.start_over()
    return open_gateway


@pytest.fixture
def guarded(closed_gateway: Served) -> Served:
    closed_gateway.service.start_over()
    return closed_gateway


async def events(response: httpx.Response) -> list[sse.Event]:
    decoder = sse.Decoder()
    return [event async for received in response.aiter_bytes() for event in decoder.feed(received)]


def error(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error"} and body["error"].keys() == {"code", "message"}
    return response.status_code, body["error"]["code"]


async def test_health_is_ok(gateway: Served) -> None:
    response = await gateway.tcp.get("/health")
    assert response.json() == {"status": "ok"}
    assert response.headers["tandem-version"] == "1.2.3"


async def test_a_search_passes_its_words_on_and_gives_hits_with_every_promised_field(gateway: Served) -> None:
    response = await gateway.tcp.post("/search", json={"query": "key", "limit": 2, "in": "**/*.md"})
    assert gateway.service.calls == [("search", "key", 2, Filters("**/*.md"))]
    found = response.json()
    assert found["freshness"] == {"as_of": "2025-11-03T17:02:11Z", "pending": 3}
    assert found["degraded"] == []
    assert len(found["hits"]) == 2
    promised = {"path", "uri", "score", "text", "start_line", "end_line", "page", "heading", "sha256", "modified"}
    assert promised <= found["hits"][0].keys()
    assert found["hits"][1]["start_line"] is None
    assert found["hits"][0]["text"] == HITS[0].text


async def test_a_search_names_only_its_query_and_the_rest_has_defaults(gateway: Served) -> None:
    await gateway.tcp.post("/search", json={"query": "key", "later": True})
    assert gateway.service.calls == [("search", "key", 10, Filters())]


async def test_filters_are_words_or_lists_and_pass_on(gateway: Served) -> None:
    body: dict[str, Any] = {"query": "key", "type": "md, PDF", "since": "7d", "explain": True}
    await gateway.tcp.post("/search", json=body)
    await gateway.tcp.post("/search", json={"query": "key", "type": ["pdf", "md"]})
    await gateway.tcp.post("/answers", json={"text": "when?", "type": "md", "since": "2026-01-31"})
    assert gateway.service.calls == [
        ("search", "key", 10, Filters(None, ("md", "pdf"), "7d"), "explain"),
        ("search", "key", 10, Filters(None, ("md", "pdf"))),
        ("ask", "when?", Filters(None, ("md",), "2026-01-31"), None),
    ]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/search", b"{", "JSON"),
        ("/search", b"\xff", "JSON"),
        ("/search", b"[]", "Expected `object`, got `array`"),
        ("/search", b"{}", "query"),
        ("/search", b'{"query": 5}', "Expected `str`, got `int` - at `$.query`"),
        ("/search", b'{"query": "a", "limit": true}', "Expected `int`, got `bool`"),
        ("/search", b'{"query": " "}', "expected a question, got none"),
        ("/build-context", b'{"text": ""}', "expected a question, got none"),
        ("/build-context", b'{"prompt": "a"}', "text"),
        ("/ratings", b'{"trace_id": "a"}', "up"),
        ("/ratings", b'{"trace_id": "a", "up": 1}', "Expected `bool`, got `int`"),
        ("/ratings", b'{"trace_id": "refuse", "up": true}', "expected a question, got none"),
    ],
)
async def test_bad_input_is_a_400_that_says_what_was_expected(
    gateway: Served, path: str, body: bytes, words: str
) -> None:
    response = await gateway.tcp.post(path, content=body)
    assert error(response) == (400, "bad_input")
    assert words in response.json()["error"]["message"]


async def test_an_answer_streams_as_numbered_events_then_its_end_then_done(gateway: Served) -> None:
    body = {"text": "when?", "in": "**/*.md", "session": "s1"}
    response = await gateway.tcp.post("/build-context", json=body)
    assert gateway.service.calls == [("ask", "when?", Filters("**/*.md"), "s1")]
    assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert response.content.endswith(b"\n\ndata: [DONE]\n\n")
    *said, done = await events(response)
    assert done.data == sse.END
    ids = [event.event_id or "" for event in said]
    request = ids[0].partition(":")[0]
    assert ids == [f"{request}:0-{n}" for n in (1, 2, 3)]
    payloads = [msgspec.json.decode(event.data) for event in said]
    assert payloads[:2] == [{"chunk": chunk, "is_final": False} for chunk in PIECES]
    final = payloads[2]
    assert (final["chunk"], final["is_final"]) == ("", True)
    assert final.keys() == {
        *("chunk", "is_final", "answer", "citations", "freshness", "engine"),
        *("cache_hit", "grounded", "trace_id", "degraded", "request", "question", "timings"),
    }
    assert final["answer"] == "".join(PIECES)
    assert final["citations"][0]["quote"] == "Renew the key"


async def test_a_rating_passes_its_words_on_and_says_nothing(gateway: Served) -> None:
    for body in ({"trace_id": "7f", "up": False, "comment": "wrong"}, {"trace_id": "7f", "up": True}):
        response = await gateway.tcp.post("/ratings", json=body)
        assert (response.status_code, response.content) == (204, b"")
    assert gateway.service.calls == [("rate", "7f", False, "wrong"), ("rate", "7f", True, None)]


async def test_an_answer_is_read_on_from_any_place_byte_for_byte(gateway: Served) -> None:
    whole = await gateway.tcp.post("/build-context", json={"text": "when?"})
    request = whole.headers["tandem-answer"]
    said = whole.content.split(b"\n\n")
    for n, (event, _) in enumerate(zip(said, range(3), strict=False), 1):
        place = event.split(b"\n")[0].removeprefix(b"id: ").decode()
        rest = b"\n\n".join(said[n:])
        headers = {"Last-Event-ID": place}
        assert (await gateway.tcp.get(f"/answers/{request}", headers=headers)).content == rest
        assert (await gateway.tcp.get(f"/answers/{request}?after={place.partition(':')[2]}")).content == rest
    assert (await gateway.tcp.get(f"/answers/{request}")).content == whole.content


async def test_who_leaves_an_answer_in_the_middle_comes_back_for_its_rest() -> None:
    with anyio.fail_after(30):
        async with served(grace_s=30) as here:
            async with here.tcp.stream("POST", "/build-context", json={"text": "hold"}) as response:
                request = response.headers["tandem-answer"]
                first = await anext(response.aiter_bytes())
            here.service.go_on.set()
            place = first.split(b"\n")[0].removeprefix(b"id: ").decode()
            rest = await here.tcp.get(f"/answers/{request}", headers={"Last-Event-ID": place})
            assert (first + rest.content).count(b"data: ") == 4
            assert rest.content.endswith(sse.DONE)


async def test_an_answer_that_is_cancelled_ends_for_who_reads_it_and_cannot_be_cancelled_twice(
    gateway: Served,
) -> None:
    with anyio.fail_after(30):
        async with gateway.tcp.stream("POST", "/build-context", json={"text": "hold"}) as response:
            await gateway.service.half_way.wait()
            url = f"/answers/{response.headers['tandem-answer']}"
            assert (await gateway.tcp.delete(url)).json() == {"cancelled": True}
            *_, final, _ = await events(response)
        assert msgspec.json.decode(final.data)["error"] == "the answer was cancelled"
        assert (await gateway.tcp.delete(url)).json() == {"cancelled": False}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("request_id", ["unknown", "%00", "a%0ab", "%F0%9F%90%99", "x" * 5000])
async def test_an_unknown_answer_is_a_404_that_says_what_to_do(gateway: Served, method: str, request_id: str) -> None:
    response = await gateway.tcp.request(method, f"/answers/{request_id}")
    assert error(response) == (404, "not_found")
    assert "ask again" in response.json()["error"]["message"]


@pytest.mark.parametrize("place", ["7", "a:b-c", "r:1-", "-", "1-2-3", "9" * 99 + "-1"])
async def test_a_place_that_is_none_is_bad_input(gateway: Served, place: str) -> None:
    request = (await gateway.tcp.post("/answers", json={"text": "when?"})).json()["request"]
    response = await gateway.tcp.get(f"/answers/{request}", headers={"Last-Event-ID": place})
    assert error(response) == (400, "bad_input")


async def test_a_place_in_another_text_ends_with_a_word_instead_of_a_splice(gateway: Served) -> None:
    request = (await gateway.tcp.post("/answers", json={"text": "when?"})).json()["request"]
    response = await gateway.tcp.get(f"/answers/{request}", headers={"Last-Event-ID": f"{request}:9-1"})
    final, done = await events(response)
    assert "begun again" in msgspec.json.decode(final.data)["error"]
    assert done.data == sse.END


async def test_a_place_beyond_the_text_ends_with_a_word_and_not_as_if_all_were_read(gateway: Served) -> None:
    request = (await gateway.tcp.post("/answers", json={"text": "when?"})).json()["request"]
    final, done = await events(await gateway.tcp.get(f"/answers/{request}?after=0-99"))
    assert "begun again" in msgspec.json.decode(final.data)["error"]
    assert done.data == sse.END


async def test_a_place_in_another_answer_is_bad_input(gateway: Served) -> None:
    request = (await gateway.tcp.post("/answers", json={"text": "when?"})).json()["request"]
    response = await gateway.tcp.get(f"/answers/{request}", headers={"Last-Event-ID": "another:0-1"})
    assert error(response) == (400, "bad_input")


async def test_a_refusal_that_comes_after_a_heartbeat_is_told_in_the_stream() -> None:
    async with served(heartbeat_s=0.02) as here:
        with anyio.fail_after(30):
            async with here.tcp.stream("POST", "/build-context", json={"text": "wait and see"}) as response:
                received = b""
                async for more in response.aiter_raw():
                    received += more
                    if b":\n\n" in received:
                        here.service.go_on.set()
        assert response.status_code == 200
        final = received.split(b"data: ")[-2]
        assert msgspec.json.decode(final) == {"chunk": "", "is_final": True, "error": "the embedder is away: start it"}
        assert received.endswith(sse.DONE)


async def test_a_document_is_given_by_its_id_and_an_unknown_one_is_a_404(gateway: Served) -> None:
    document = (await gateway.tcp.get("/documents/7")).json()
    assert (document["path"], document["text"]) == ("/notes/vpn.md", "Renew the key\neach May.")
    assert error(await gateway.tcp.get("/documents/8")) == (404, "not_found")
    assert error(await gateway.tcp.get("/documents/7/file")) == (404, "not_found")  # it is not on this machine


async def test_every_call_that_is_described_is_there_and_every_public_one_is_described(gateway: Served) -> None:
    described = (await gateway.tcp.get("/openapi.json")).json()
    assert (described["openapi"], described["info"]["version"]) == ("3.1.0", "1.2.3")
    page = await gateway.tcp.get("/docs")
    assert page.headers["content-security-policy"] == "default-src 'none'"
    for path, methods in described["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in page.text
            if path != "/metrics":  # not in this daemon
                there = await gateway.tcp.request(method, path.format(request="r", document="7"), json={})
                assert there.status_code != 405
                assert there.status_code != 404 or there.json()["error"]["message"][:3] in ("no ", "/no")
    found = described["components"]["schemas"]["Hit"]["properties"]
    assert {"path", "uri", "score", "text", "document"} <= found.keys()
    refs = set(re.findall(r'"#/components/schemas/(\w+)"', msgspec.json.encode(described).decode()))
    assert refs <= described["components"]["schemas"].keys()


async def test_two_answers_have_different_ids(gateway: Served) -> None:
    first = await events(await gateway.tcp.post("/build-context", json={"text": "when?"}))
    second = await events(await gateway.tcp.post("/build-context", json={"text": "when?"}))
    assert first[0].event_id != second[0].event_id


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("break", "the engine went away: start it again"),
        ("burst", "Tandem failed in the middle of this answer; its log says how"),
        ("stop short", "no worker took the job"),
    ],
)
async def test_what_fails_half_way_ends_the_stream_with_its_reason(gateway: Served, question: str, words: str) -> None:
    response = await gateway.tcp.post("/build-context", json={"text": question})
    *_, final, done = await events(response)
    assert done.data == sse.END
    payload = msgspec.json.decode(final.data)
    assert (payload["chunk"], payload["is_final"], payload["error"]) == ("", True, words)


@pytest.mark.parametrize("path", ["/search", "/build-context", "/ratings"])
async def test_what_is_unavailable_is_a_503_that_says_when_to_come_again(gateway: Served, path: str) -> None:
    body = {"query": "away", "text": "away", "trace_id": "away", "up": True}
    response = await gateway.tcp.post(path, json=body)
    assert error(response) == (503, "unavailable")
    assert response.headers["retry-after"] == "5"
    assert response.json()["error"]["message"] == "the embedder is away: start it"


@pytest.mark.parametrize("path", ["/search", "/build-context"])
async def test_what_nobody_foresaw_is_logged_and_its_words_are_kept_back(
    gateway: Served, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response = await gateway.tcp.post(path, json={"query": "crash", "text": "crash"})
    assert error(response) == (500, "internal")
    assert "secret" not in response.text
    assert "a secret" in caplog.text


async def test_a_client_that_goes_away_gives_the_answer_up(gateway: Served) -> None:
    with anyio.fail_after(30):
        async with gateway.tcp.stream("POST", "/build-context", json={"text": "hold"}) as response:
            await anext(response.aiter_bytes())
            assert not gateway.service.left.is_set()
        await gateway.service.left.wait()


async def test_silence_is_broken_by_comments_and_the_stream_goes_on_behind_them() -> None:
    async with served(heartbeat_s=0.02) as here:
        with anyio.fail_after(30):
            async with here.tcp.stream("POST", "/build-context", json={"text": "hold"}) as response:
                received = b""
                async for more in response.aiter_raw():
                    received += more
                    if received.count(b"\n:\n\n") >= 2:
                        here.service.go_on.set()
        assert received.endswith(sse.DONE)
        assert b'" each May [1].","is_final":false' in received


async def test_an_unknown_path_is_a_404_and_a_wrong_method_a_405(gateway: Served) -> None:
    assert error(await gateway.tcp.get("/nothing")) == (404, "not_found")
    wrong = await gateway.tcp.get("/search")
    assert error(wrong) == (405, "method")
    assert wrong.headers["allow"] == "POST"


@pytest.mark.parametrize("over", ["tcp", "unix"])
async def test_a_body_over_a_mebibyte_is_a_413_with_and_without_a_length(gateway: Served, over: str) -> None:
    client: httpx.AsyncClient = getattr(gateway, over)
    piece = b" " * (MAX_BODY // 4)

    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(20):
            yield piece

    for path in ("/search", "/mcp"):
        for content in (piece * 20, pieces()):
            headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
            response = await client.post(path, content=content, headers=headers)
            assert error(response) == (413, "too_large")
    assert (await client.get("/health")).status_code == 200
    assert gateway.service.calls == []


async def test_a_body_of_just_a_mebibyte_is_read(gateway: Served) -> None:
    text = b'{"query": "key"}'
    response = await gateway.tcp.post("/search", content=text + b" " * (MAX_BODY - len(text)))
    assert response.status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:80"])
async def test_a_host_that_is_loopback_is_served(gateway: Served, host: str) -> None:
    assert (await gateway.tcp.get("/status", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "box.lan", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::1"]
)
async def test_any_other_host_is_a_421_so_that_no_rebound_name_is_served(gateway: Served, host: str) -> None:
    for path in ("/status", "/health", "/mcp"):
        assert error(await gateway.tcp.get(path, headers={"host": host})) == (421, "host")


async def test_an_allowed_host_is_served_with_any_port(guarded: Served) -> None:
    for host in ("box.lan", "BOX.lan:8000"):
        headers = {"host": host, "authorization": f"Bearer {TOKEN}"}
        assert (await guarded.tcp.get("/status", headers=headers)).status_code == 200


async def test_where_a_token_guards_any_host_may_be_allowed() -> None:
    async with served(token=TOKEN, allowed_hosts=["*"]) as here:
        headers = {"host": "box.lan:8000", "authorization": f"Bearer {TOKEN}"}
        assert (await here.tcp.get("/status", headers=headers)).status_code == 200
        assert error(await here.tcp.get("/status", headers={"host": "box.lan:8000"})) == (401, "token")


async def test_a_page_of_our_own_is_served_and_any_other_is_a_403(gateway: Served) -> None:
    async def status(origin: str) -> int:
        return (await gateway.tcp.post("/search", json={"query": "key"}, headers={"origin": origin})).status_code

    assert await status(gateway.url) == 200
    for origin in ("https://evil.example", "http://localhost:3000", "null", gateway.url + "0"):
        assert await status(origin) == 403
    response = await gateway.tcp.post("/mcp", headers={"origin": "https://evil.example"})
    assert error(response) == (403, "origin")
    assert "access-control-allow-origin" not in response.headers


async def test_pages_of_an_allowed_origin_may_call_and_read_even_a_refusal(guarded: Served) -> None:
    page = {"origin": "https://page.example"}
    asks = {**page, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    preflight = await guarded.tcp.options("/search", headers=asks)
    assert preflight.status_code == 204
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "authorization"
    allowed = await guarded.tcp.get("/status", headers={**page, "authorization": f"Bearer {TOKEN}"})
    for response in (preflight, allowed, await guarded.tcp.get("/status", headers=page)):
        assert response.headers["access-control-allow-origin"] == "https://page.example"
        assert response.headers["vary"] == "Origin"


async def test_where_a_token_is_set_only_health_goes_without_it(guarded: Served) -> None:
    for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
        for path in ("/status", "/mcp", "/ratings", "/nothing"):
            response = await guarded.tcp.get(path, headers=header)
            assert error(response) == (401, "token")
            assert response.headers["www-authenticate"] == "Bearer"
        assert (await guarded.tcp.get("/health", headers=header)).status_code == 200
    assert (await guarded.tcp.get("/status", headers={"authorization": f"bearer {TOKEN}"})).status_code == 200


async def test_over_the_unix_socket_its_mode_is_the_guard(guarded: Served) -> None:
    headers = {"host": "evil.example", "origin": "https://evil.example"}
    assert (await guarded.unix.get("/status", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "expected", "made"),
    [
        ("GET", "/documents", None, "/notes/vpn.md", ("documents", None)),
        ("GET", "/documents?in=**/*.md", None, "/notes/vpn.md", ("documents", "**/*.md")),
        ("POST", "/index", {"folders": ["/a", "/b"]}, '"embedded_chunks":40', ("index", "/a", "/b")),
        ("POST", "/stop", None, "stopping", ("stop",)),
    ],
)
async def test_control_is_for_the_unix_socket_only(
    gateway: Served, method: str, path: str, body: Any, expected: str, made: tuple[Any, ...]
) -> None:
    assert error(await gateway.tcp.request(method, path, json=body)) == (404, "not_found")
    assert gateway.service.calls == []
    response = await gateway.unix.request(method, path, json=body)
    assert response.status_code == 200
    assert expected in response.text
    assert gateway.service.calls == [made]


async def test_status_says_what_the_index_holds_and_what_failed(gateway: Served) -> None:
    status = (await gateway.tcp.get("/status")).json()
    promised = {"documents", "chunks", "pending", "failed", "as_of", "embedding", "store", "engine", "workers"}
    assert promised <= status.keys()
    assert status["failed"] == [{"path": "/notes/b.pdf", "reason": "it is encrypted"}]
