"""The pictures of docs/traces.md: a real private Phoenix in a real Chromium, over answers from examples/docs.

.venv/bin/python docs/make_trace_pictures.py
"""

import io
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from shutil import copytree, rmtree, which

import anyio
import httpx
from PIL import Image
from playwright.async_api import Page, async_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from tests.observability.read_back import phoenix_python  # noqa: E402
from tests.processes import EXAMPLES, Daemon, Place, until  # noqa: E402
from tests.test_twenty_traces import QUESTIONS  # noqa: E402

PICTURES = HERE / "pictures"
WORKSHOP = Path("/tmp/workshop")
FIRST = "How long does the backup keep snapshots, and who has the passphrase?"
SIZE = {"width": 1440, "height": 900}
DRAWN_MS = 2_500  # it draws what came a moment later
PASSWORD = "Another-1-for-you"


async def main() -> None:
    settings = {"TANDEM_PHOENIX_PYTHON": phoenix_python()}
    rmtree(WORKSHOP, ignore_errors=True)
    WORKSHOP.mkdir()
    try:
        here = Place(WORKSHOP)
        copytree(EXAMPLES, here.docs, dirs_exist_ok=True)
        async with tandem(here, settings) as daemon:
            answers = await asked(daemon)
            await pictured(here, answers, await experimented(here, settings))
    finally:
        rmtree(WORKSHOP, ignore_errors=True)


@asynccontextmanager
async def tandem(here: Place, settings: dict[str, str]) -> AsyncGenerator[Daemon]:
    async with here.program("up", here.docs, "--phoenix", "--port", "0", settings=settings) as program:
        where = (await program.says("Tandem answers at http")).split()[4]
        async with httpx.AsyncClient(base_url=where, timeout=60, trust_env=False) as http:
            daemon = Daemon(here, program, where, http)
            await daemon.in_step(len(list(here.docs.iterdir())))
            await until(lambda: shown_at(daemon), 200)
            yield daemon


async def shown_at(daemon: Daemon) -> str | None:
    return (await daemon.status()).get("traces_url")


async def asked(daemon: Daemon) -> list[str]:
    """The ids of the traces."""
    traces = list[str]()
    for n, question in enumerate([FIRST, *QUESTIONS.splitlines()]):
        body = {"text": question, "session": "workshop" if n < 4 else f"chat-{n}"}
        said = (await daemon.http.post("/build-context", json=body)).raise_for_status().text
        lines = [line.removeprefix("data: ") for line in said.splitlines() if line.startswith("data: ")]
        traces.append(json.loads(lines[-2])["trace_id"])
    await daemon.http.post("/ratings", json={"trace_id": traces[0], "up": True, "comment": "just what I needed"})
    return traces


async def experimented(here: Place, settings: dict[str, str]) -> str:
    """Where Phoenix shows the last one beside the first."""
    trace = partial(here.tandem, "trace", settings=settings)
    await trace("export", "workshop")
    await trace("experiment", "workshop", "--name", "five passages")
    ended = await trace("experiment", "workshop", "--name", "one passage", "-k", "1", "--json")
    print(ended.out, ended.err, file=sys.stderr)
    return ended.json["url"]


async def pictured(here: Place, traces: list[str], experiment: str) -> None:
    endpoint = (here.data / "phoenix" / "endpoint").read_text()
    secrets = json.loads((here.data / "phoenix" / "secrets.json").read_bytes())
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        context = await browser.new_context(viewport=SIZE, color_scheme="light")
        page = await context.new_page()
        await entered(page, endpoint, secrets["password"])
        await page.goto(f"{endpoint}/redirects/traces/{traces[0]}")
        await page.get_by_text("retrieve", exact=True).last.wait_for()
        await settled(page)
        await keep(page, "trace-answer")
        await page.get_by_text("retrieve", exact=True).last.click()
        await settled(page)
        await keep(page, "trace-retrieve")
        await page.get_by_text("check citations", exact=True).last.click()
        await settled(page)
        await keep(page, "trace-check")
        await page.get_by_text("View Session").last.click()
        await settled(page)
        await keep(page, "trace-session")
        await page.goto(experiment)
        await settled(page)
        await keep(page, "trace-experiment")
        await browser.close()


async def entered(page: Page, endpoint: str, password: str) -> None:
    """At the first entry Phoenix wants another password."""
    await page.goto(f"{endpoint}/login")
    await _entered(page, password)
    await page.wait_for_url("**/reset-password**")
    fields = page.locator("input[type=password]")
    for n, word in enumerate((password, PASSWORD, PASSWORD)):
        await fields.nth(n).fill(word)
    await page.get_by_role("button", name="Reset Password").click()
    await page.locator("input[name=email]").wait_for()
    await _entered(page, PASSWORD)
    await page.wait_for_url("**/projects**")


async def _entered(page: Page, password: str) -> None:
    await page.locator("input[name=email]").fill("admin@localhost")
    await page.locator("input[name=password]").fill(password)
    await page.keyboard.press("Enter")


async def settled(page: Page) -> None:
    await page.wait_for_load_state("networkidle")
    await page.wait_for_timeout(DRAWN_MS)


async def keep(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(await page.screenshot()))
    few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    anyio.run(main)
