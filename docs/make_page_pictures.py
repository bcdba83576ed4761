"""The README's pictures of the web page, of a real daemon over examples/docs in a real Chromium.

A stand-in for a model says a written answer slowly, so that there is something to see while it streams; the passages,
their numbers and what is made of them are Tandem's.

.venv/bin/python docs/make_page_pictures.py
"""

import io
import json
import re
import sys
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree, rmtree, which
from threading import Thread

import anyio
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from tests.processes import EXAMPLES, Daemon, Place, until  # noqa: E402

PICTURES = HERE / "pictures"
WORKSHOP = Path("/tmp/workshop")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 780}
QUESTION = "How long are backups kept, and how do I get a file back?"
# Each sentence with words of the passage that it stands on.
KEPT, BACK, TEST = "18 months", "restore stick", "410 GB"
SAID = (
    (
        "The backup keeps its snapshots for **14 days**, then one a week for 8 weeks, then one a month for 18 months",
        KEPT,
    ),
    (". Anything older is gone for good", KEPT),
    (
        ".\n\nTo get a file back:\n\n1. Ask the network keeper for the restore stick, or log in to `heron` as `keeper`",
        BACK,
    ),
    (".\n2. `restic snapshots --path /tank/shared` lists what there is", BACK),
    (".\n3. Compare, copy by hand, then delete `/tank/restored`", BACK),
    (".\n\nA restore of the whole shared folder from the USB disk took 1 hour 50 minutes", TEST),
)


class StandIn(BaseHTTPRequestHandler):
    """As much of an OpenAI-compatible server as the engine asks for."""

    def do_GET(self) -> None:
        self._begin("application/json")
        self.wfile.write(json.dumps({"object": "list", "data": [{"id": "stand-in", "object": "model"}]}).encode())

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._begin("text/event-stream")
        for word in re.findall(r"\s*\S+", "".join(answer(asked["messages"][-1]["content"])) + "."):
            delta = {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
            self.wfile.write(f"data: {json.dumps(delta)}\n\n".encode())
            time.sleep(0.05)
        self.wfile.write(b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def answer(prompt: str) -> Iterator[str]:
    """SAID, each with the number of the passage that has its words."""
    passages = re.findall(r"^<passage (\d+) .*?^</passage", prompt, re.MULTILINE | re.DOTALL)
    texts = re.findall(r"^<passage \d+ (.*?)^</passage", prompt, re.MULTILINE | re.DOTALL)
    for sentence, words in SAID:
        found = next((n for n, text in zip(passages, texts, strict=True) if words in text), None)
        yield f"{sentence} [{found}]" if found else sentence


async def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    Thread(target=server.serve_forever, daemon=True).start()
    settings = {
        "TANDEM_ENGINE": "openai",
        "TANDEM_MODEL": "stand-in",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_port}/v1",
    }
    rmtree(WORKSHOP, ignore_errors=True)
    WORKSHOP.mkdir()
    try:
        here = Place(WORKSHOP)
        copytree(EXAMPLES, here.docs, dirs_exist_ok=True)
        here.write("docs/scan-of-the-lease.pdf", b"%PDF-1.7\nnothing of a PDF follows")
        async with here.daemon(here.docs, settings=settings) as daemon, async_playwright() as playwright:
            await daemon.in_step(len(list(here.docs.iterdir())) - 1)
            browser = await playwright.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
            for scheme in ("light", "dark"):
                await take(browser, daemon, scheme, color_scheme=scheme, viewport=DESK)
            phone = {"viewport": PHONE, "is_mobile": True, "has_touch": True, "device_scale_factor": 1.5}
            await take(browser, daemon, "phone", **phone)
    finally:
        rmtree(WORKSHOP)


async def take(browser: Browser, daemon: Daemon, name: str, **how: object) -> None:
    context = await browser.new_context(**how)  # type: ignore[arg-type]
    page = await context.new_page()
    await page.goto(daemon.url)
    await page.locator(".welcome p").wait_for()
    await keep(page, f"page-empty-{name}")
    await page.get_by_label("Your question").fill(QUESTION)
    await page.keyboard.press("Enter")
    await until(partial(has, page, "log in to"), within_s=20)
    await keep(page, f"page-streaming-{name}")
    await page.locator(".facts").wait_for()
    await keep(page, f"page-answer-{name}")
    await page.locator(".answer button.marker").first.click()
    await page.locator("li.marked").first.wait_for()
    await keep(page, f"page-cited-{name}")
    await page.get_by_role("button", name="Close").click()
    await page.locator(".state").click()
    await page.locator(".files li").wait_for()
    await keep(page, f"page-failed-{name}")
    await context.close()


async def keep(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(await page.screenshot()))
    few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(PICTURES / f"{name}.png", optimize=True)


async def has(page: Page, words: str) -> bool:
    streaming = page.locator(".answer.streaming")
    return await streaming.count() > 0 and words in await streaming.inner_text()


if __name__ == "__main__":
    anyio.run(main)
