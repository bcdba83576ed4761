"""The built page is whole, small and shut in, and is read without the token that everything else asks for."""

import re
import zlib
from collections.abc import AsyncGenerator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from bridge import webpage
from bridge.door import Door
from bridge.guard import guarded

MAX_COMPRESSED = 400_000


@pytest.fixture
async def browser() -> AsyncGenerator[httpx.AsyncClient]:
    """Who has no token, before a server that asks for one."""
    guard = Middleware(guarded, door=Door(token="secret"), allowed_hosts=(), cors_origins=(), local_paths=())
    app = Starlette(routes=webpage.routes(), middleware=[guard])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as browser:
        yield browser


def linked(page: str) -> list[str]:
    return [f"/{path}" for path in re.findall(r'(?:src|href)="\./([^"]+)"', page)]


async def test_the_page_and_all_it_links_to_is_there_without_a_token(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    kinds = {path.rpartition(".")[2]: (await browser.get(path)) for path in linked(page.text)}
    assert {kind: asset.headers["content-type"] for kind, asset in kinds.items()} == {
        "js": "text/javascript; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "svg": "image/svg+xml",
    }
    assert (await browser.get("/status")).status_code == 401


async def test_every_file_forbids_other_scripts_other_hosts_frames_and_guessing(browser: httpx.AsyncClient) -> None:
    for path in ["/", *linked((await browser.get("/")).text)]:
        headers = (await browser.get(path)).headers
        policy = dict(rule.partition(" ")[::2] for rule in headers["content-security-policy"].split("; "))
        assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
        assert (policy["connect-src"], policy["frame-ancestors"]) == ("'self'", "'none'")
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


async def test_what_is_named_by_its_content_is_kept_for_good_and_the_page_is_asked_for_again(
    browser: httpx.AsyncClient,
) -> None:
    page = await browser.get("/")
    assert page.headers["cache-control"] == "no-cache"
    again = await browser.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path in linked(page.text):
        assert "immutable" in (await browser.get(path)).headers["cache-control"]


async def test_only_the_pages_own_files_are_served(browser: httpx.AsyncClient) -> None:
    for path in ("/assets/", "/assets/../../webpage.py", "/assets/%2e%2e/%2e%2e/webpage.py", "/assets//etc/passwd"):
        assert (await browser.get(path)).status_code in (401, 404)
    assert (await browser.post("/")).status_code == 405


def test_the_page_is_under_400_kb_compressed_and_names_no_other_host() -> None:
    files = [path for path in webpage.FOLDER.rglob("*") if path.is_file()]
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) < MAX_COMPRESSED
    page = (webpage.FOLDER / "index.html").read_text()
    styles = "".join(path.read_text() for path in files if path.suffix == ".css")
    assert "//" not in page
    assert "//" not in styles
    assert "url(" not in styles
    assert "@import" not in styles


def test_without_a_built_page_there_is_nothing_to_serve() -> None:
    assert webpage.routes(webpage.FOLDER / "assets") == []
