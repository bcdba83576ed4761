"""Collectors of traces that keep nothing: one that takes all, and three that are of no use.

    sink      answers 200
    failing   answers 500
    hanging   takes calls and never answers
    refusing  is an address where nobody listens

Each is a process of its own, so that what it costs is not counted with anything else.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

ANSWERS = {"sink": "200 OK", "failing": "500 Internal Server Error", "hanging": None}
KINDS = (*ANSWERS, "refusing")


@contextmanager
def collector(kind: str) -> Generator[str]:
    """Its URL."""
    if kind == "refusing":
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            yield _url(nobody)
        return
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.collectors", kind], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


async def serve(kind: str) -> None:
    said = ANSWERS[kind]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                (length,) = (line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                if said is None:
                    await asyncio.Event().wait()
                writer.write(f"HTTP/1.1 {said}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(_url(server.sockets[0]), flush=True)
    await server.serve_forever()


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
