"""A real OTLP collector over HTTP that does what a test wants: answers, refuses with a status, or hangs."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any, Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

Row = tuple[str, dict[str, Any]]
"""The path that an annotation was posted to, and what it says."""


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
    annotations: SimpleQueue[tuple[str, dict[str, Any]]] = field(
        default_factory=SimpleQueue[tuple[str, dict[str, Any]]]
    )
    to_annotations: int | None = None
    bodies: list[bytes] = field(default_factory=list[bytes])
    ended: threading.Event = field(default_factory=threading.Event)

    def verdicts(self, count: int) -> list[Row]:
        """The next `count` annotations that came from a judge."""
        rows: list[Row] = []
        while len(rows) < count:
            path, row = self.annotation()
            rows += [(path, row)] if row["name"].endswith("(judge)") else []
        return rows

    def request(self) -> Request:
        """The next request that came; raises queue.Empty after 60 s."""
        return self.requests.get(timeout=60)

    def annotation(self) -> Row:
        """The next annotation that came; raises queue.Empty after 60 s."""
        return self.annotations.get(timeout=60)

    def until_told(self, names: set[str]) -> list[Any]:
        """All spans that came until there was one of each name."""
        spans: list[Any] = []
        while not names <= {span.name for span in spans}:
            spans += self.request().spans
        return spans

    def span_names(self, count: int) -> list[str]:
        """The names of the next `count` spans that came."""
        names: list[str] = []
        while len(names) < count:
            names += [span.name for span in self.request().spans]
        return names


@contextmanager
def collecting(answer: int | Literal["nothing"] = 200, port: int = 0, host: str = "127.0.0.1") -> Generator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.bodies.append(body)
            if self.path.endswith("_annotations"):
                status = collector.to_annotations or collector.answer
                for row in json.loads(body)["data"]:
                    collector.annotations.put((self.path, row))
            else:
                status = collector.answer
                collector.requests.put(_request(self.path, self.headers["authorization"], body))
            if collector.answer == "nothing":
                collector.ended.wait()
                return
            assert isinstance(status, int)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    collector = Collector(f"http://{host}:{server.server_port}", answer)
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
