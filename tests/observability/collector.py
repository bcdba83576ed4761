"""A real OTLP collector over HTTP that does what a test wants: answers, refuses with a status, or hangs."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any, Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    authorization: str | None
    resource: dict[str, str]
    spans: list[Any]


@dataclass(slots=True)
class Collector:
    url: str
    answer: int | Literal["nothing"]
    requests: SimpleQueue[Request] = field(default_factory=SimpleQueue[Request])
    ended: threading.Event = field(default_factory=threading.Event)

    def request(self) -> Request:
        """The next request that came; raises queue.Empty after 5 s."""
        return self.requests.get(timeout=5)

    def span_names(self, count: int) -> list[str]:
        """The names of the next `count` spans that came."""
        names: list[str] = []
        while len(names) < count:
            names += [span.name for span in self.request().spans]
        return names


@contextmanager
def collecting(answer: int | Literal["nothing"] = 200, port: int = 0) -> Generator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.requests.put(_request(self.path, self.headers["authorization"], body))
            if collector.answer == "nothing":
                collector.ended.wait()
                return
            self.send_response(collector.answer)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    collector = Collector(f"http://127.0.0.1:{server.server_port}", answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield collector
    finally:
        collector.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _request(path: str, authorization: str | None, body: bytes) -> Request:
    message = ExportTraceServiceRequest.FromString(body)
    [resource_spans] = message.resource_spans
    resource = {pair.key: pair.value.string_value for pair in resource_spans.resource.attributes}
    spans = [span for scope in resource_spans.scope_spans for span in scope.spans]
    return Request(path, authorization, resource, spans)
