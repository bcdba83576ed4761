"""A service as MCP's own client has it: over each transport, in each era of the protocol."""

import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcp import Client, StdioServerParameters

from bridge.mcp_later import mcp_later
from tests.bridge.fake_service import FakeService, serving

RELAY = "import sys; from bridge.relay import relay; relay(sys.argv[1], ['false'])"
ERAS = {"legacy": "2025-11-25", "2026-07-28": "2026-07-28"}
WAYS = [(over, mode) for over in ("relay", "http") for mode in ERAS]


@dataclass(frozen=True, slots=True)
class Served:
    service: FakeService
    socket: str
    url: str

    @asynccontextmanager
    async def client(
        self, over: str, mode: Literal["legacy", "2026-07-28"], note: Any = None
    ) -> AsyncGenerator[Client]:
        relay = StdioServerParameters(command=sys.executable, args=["-c", RELAY, self.socket])
        async with Client(self.url if over == "http" else relay, mode=mode, message_handler=note) as client:
            assert client.protocol_version == ERAS[mode]
            yield client


@asynccontextmanager
async def served_over_mcp() -> AsyncGenerator[Served]:
    service = FakeService()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = str(Path(folder) / "mcp.sock")
        async with serving(service, Path(folder)) as (url, _), mcp_later(service, "1.2.3", path):
            yield Served(service, path, f"{url}/mcp")
