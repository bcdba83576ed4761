"""`tandem mcp` as an IDE starts it: in a stranger's project, by the command that `tandem install` writes."""

import json
import sys
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters

from bridge.install.entry import own_command
from bridge.whereabouts import sockets
from tests.processes import environment, place, until

DOTENV = """TANDEM_DATA={elsewhere}
TANDEM_MODLE=a name that is no setting
REDIS_URL=redis://203.0.113.1:6379
QDRANT_URL=http://203.0.113.1:6333
HOST=0.0.0.0
"""


async def test_what_lies_in_the_project_sends_no_file_elsewhere_and_starts_no_other_program() -> None:
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        here.write("project/.env", DOTENV.format(elsewhere=here.folder / "elsewhere"))
        here.write("project/bridge/__init__.py", "raise SystemExit('the wrong bridge')")
        started = StdioServerParameters(
            command=own_command({})[0],
            args=[*own_command({})[1:], "mcp", "--watch", str(here.docs)],
            env=environment({"TANDEM_DATA": str(here.data), "PORT": "0"}),
            cwd=here.folder / "project",
        )
        try:
            with anyio.fail_after(120):
                async with Client(started) as client:

                    async def found() -> bool:
                        told = await client.call_tool("search", {"query": "How long does the kiln cool?"})
                        return "twelve hours" in str(told.content)

                    await until(found)
            assert not (here.folder / "elsewhere").exists()
            if sys.platform == "linux":
                pid = json.loads((here.data / "lock").read_text())["pid"]
                assert Path(f"/proc/{pid}/cwd").readlink() == here.data
            assert Path(sockets(str(here.data)), "mcp.sock").exists()
        finally:
            await here.tandem("down")
