import logging
import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from queue import SimpleQueue

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode

from observability.annotations import Annotation
from observability.collector import address
from observability.outbox import Outbox
from observability.traces import exporting, tracing
from tests.observability.collector import collecting
from tests.observability.programs import run

SOON_S = 0.02


class Heard(logging.Handler):
    """Every record of level INFO and up, of any logger, in the order it came."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: SimpleQueue[logging.LogRecord] = SimpleQueue()
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())
        if record.name == "tandem.traces":
            self.records.put(record)

    def next(self) -> str:
        return self.records.get(timeout=60).getMessage()


@pytest.fixture
def heard() -> Generator[Heard]:
    handler, traces = Heard(), logging.getLogger("tandem.traces")
    logging.getLogger().addHandler(handler)
    traces.setLevel(logging.INFO)
    yield handler
    traces.setLevel(logging.NOTSET)
    logging.getLogger().removeHandler(handler)


@contextmanager
def sending(url: str, api_key: str | None = None) -> Generator[tuple[TracerProvider, Outbox]]:
    with exporting(service="test", every_s=SOON_S) as (provider, outbox):
        outbox.send_to(address(url, api_key))
        yield provider, outbox


def end_span(provider: TracerProvider, *names: str) -> None:
    for name in names:
        provider.get_tracer("tests").start_span(name).end()


def nobody() -> str:
    """A URL where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_a_span_reaches_the_collector_with_its_project_its_service_and_the_key() -> None:
    with collecting() as collector, sending(collector.url, "secret") as (provider, outbox):
        end_span(provider, "search")
        request = collector.request()
    assert request.path == "/v1/traces"
    assert request.authorization == "Bearer secret"
    assert request.resource["openinference.project.name"] == "tandem"
    assert request.resource["service.name"] == "test"
    assert [span.name for span in request.spans] == ["search"]
    assert outbox.problem is None
    assert outbox.dropped == 0


def test_leaving_sends_what_still_waits() -> None:
    with collecting() as collector:
        with exporting(service="test", every_s=60) as (provider, outbox):
            outbox.send_to(address(collector.url))
            end_span(provider, *map(str, range(300)))
        assert sorted(map(int, collector.span_names(300))) == list(range(300))
    assert outbox.dropped == 0


@pytest.mark.parametrize(
    "endpoint", ["http://x:6006", "http://x:6006/", "http://x:6006/v1/traces", "http://x:6006/v1/traces/"]
)
def test_an_endpoint_may_be_written_with_or_without_the_path(endpoint: str) -> None:
    assert str(address(endpoint).url) == "http://x:6006/v1/traces"


def test_a_password_in_the_endpoint_is_used_and_never_shown() -> None:
    where = address("https://me:secret@langfuse.example/api/public/otel?token=secret")
    assert where.url.password == "secret"
    assert str(where) == "https://langfuse.example/api/public/otel/v1/traces"


def test_an_endpoint_keeps_the_path_of_its_space() -> None:
    assert str(address("https://phoenix.example/s/mine").url) == "https://phoenix.example/s/mine/v1/traces"


@pytest.mark.parametrize("endpoint", ["", "6006", "localhost:6006", "ftp://x", "http://", "http://x:port"])
def test_an_endpoint_that_is_no_url_is_refused_with_an_example_of_one(endpoint: str) -> None:
    with pytest.raises(ValueError, match="PHOENIX_COLLECTOR_ENDPOINT must be a URL like http"):
        address(endpoint)


@pytest.mark.parametrize("api_key", ["", "two\nlines", "clé"])
def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it(api_key: str) -> None:
    with pytest.raises(ValueError, match="PHOENIX_API_KEY must be printable ASCII") as refused:
        address("http://x", api_key)
    assert not api_key or api_key not in str(refused.value)


def test_without_an_endpoint_no_sdk_is_loaded_and_no_thread_started() -> None:
    program = """
import sys, threading
from opentelemetry import trace
from observability.traces import tracing
with tracing(endpoint=None, service="test") as traces:
    span = trace.get_tracer("tests").start_span("nothing")
    print(span.is_recording(), traces.problem, traces.dropped)
    print(threading.active_count(), "opentelemetry.sdk" in sys.modules)
"""
    assert run(program).stdout.split() == ["False", "None", "0", "1", "False"]


def test_a_dead_collector_is_one_warning_that_says_where_and_what_to_do(heard: Heard) -> None:
    url = nobody()
    with sending(url) as (provider, outbox):
        end_span(provider, "ask")
        warning = heard.next()
        end_span(provider, "ask", "ask")
        assert outbox.problem == warning
    assert f"{url}/v1/traces cannot be reached" in warning
    assert "PHOENIX_COLLECTOR_ENDPOINT" in warning
    assert heard.warnings == [warning]
    assert outbox.dropped == 3


def test_a_collector_that_fails_again_and_again_is_warned_about_once(heard: Heard) -> None:
    with collecting(503) as collector, sending(collector.url) as (provider, _):
        end_span(provider, "ask")
        for _attempt in range(5):
            collector.request()
    assert len(heard.warnings) == 1


def test_an_unreachable_collector_gets_every_span_once_it_is_back(heard: Heard) -> None:
    with collecting(503) as collector, sending(collector.url) as (provider, outbox):
        end_span(provider, "before")
        assert "503" in heard.next()
        assert outbox.problem is not None
        collector.answer = 200
        assert "get through" in heard.next()
        assert outbox.problem is None
        end_span(provider, "after")
        names: list[str] = []
        while "after" not in names:
            names += collector.span_names(1)
    assert names == ["before"] * (len(names) - 1) + ["after"]
    assert len(names) > 2
    assert outbox.dropped == 0


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "PHOENIX_API_KEY"),
        (403, "PHOENIX_API_KEY"),
        (404, "PHOENIX_COLLECTOR_ENDPOINT"),
        (500, "its own log says why"),
    ],
)
def test_a_collector_that_refuses_spans_is_named_with_the_remedy_and_the_spans_are_counted(
    status: int, said: str, heard: Heard
) -> None:
    with collecting(status) as collector, sending(collector.url, "wrong") as (provider, outbox):
        end_span(provider, "ask")
        problem = heard.next()
        assert said in problem
        assert str(status) in problem
        assert outbox.problem == problem
    assert outbox.dropped == 1
    assert len(heard.warnings) == 1
    assert "wrong" not in problem


@pytest.mark.parametrize(("status", "said"), [(403, "PHOENIX_API_KEY"), (500, "its own log says why")])
def test_annotations_that_are_refused_alone_are_a_warning_until_they_get_through(
    status: int, said: str, heard: Heard
) -> None:
    rating = Annotation("4bf92f3577b34da6a3ce929d0e0e4736", "rating", 1.0, "up", kind="HUMAN", place="trace")
    with collecting() as collector, sending(collector.url) as (provider, outbox):
        collector.to_annotations = status
        outbox.annotate(rating)
        outbox.annotate(rating)
        problem = heard.next()
        assert f"/v1/trace_annotations answered {status}" in problem and said in problem
        assert outbox.problem == outbox.annotations_problem == problem
        end_span(provider, "ask")
        assert collector.span_names(1) == ["ask"]
        collector.to_annotations = 200
        outbox.annotate(rating)
        outbox.close()
        assert outbox.problem is None
    assert (heard.warnings, outbox.dropped) == ([problem], 0)


@pytest.mark.parametrize("answer", [200, 401, 500, 503, "nothing", "nobody"])
def test_leaving_takes_less_than_two_seconds_whatever_the_collector_does(answer: int | str) -> None:
    with collecting(200 if answer == "nobody" else answer) as collector:  # pyright: ignore
        others = set(threading.enumerate())
        with sending(nobody() if answer == "nobody" else collector.url) as (provider, outbox):
            [ours] = [each for each in threading.enumerate() if each not in others and each.name == "tandem-traces"]
            end_span(provider, *map(str, range(500)))
            left = time.monotonic()
        assert time.monotonic() - left < 2
        assert ours.is_alive() == (answer == "nothing")
    assert outbox.dropped == (0 if answer == 200 else 500)
    assert (outbox.problem is None) == (answer == 200)


def test_a_process_ends_within_two_seconds_of_leaving_while_its_collector_hangs() -> None:
    program = """
import sys, time
from opentelemetry import trace
from observability.traces import tracing
with tracing(endpoint=sys.argv[1], service="test"):
    trace.get_tracer("tests").start_span("ask").end()
    print(time.time())
"""
    with collecting("nothing") as collector:
        done = run(program, collector.url)
        assert time.time() - float(done.stdout) < 2
    assert done.stderr.count("\n") == 1
    assert "took longer than" in done.stderr


def test_ending_a_span_does_not_wait_for_a_collector_that_hangs() -> None:
    with collecting("nothing") as collector, sending(collector.url) as (provider, outbox):
        end_span(provider, "first")
        collector.request()  # it came, and is not answered until the collector ends
        end_span(provider, *map(str, range(1_000)))
        assert not collector.ended.is_set()
        assert outbox.dropped == 0


def test_spans_wait_for_an_address_that_is_not_known_yet() -> None:
    with collecting() as collector, exporting(service="test", every_s=SOON_S) as (provider, outbox):
        end_span(provider, "early")
        outbox.send_to(address(collector.url))
        assert collector.span_names(1) == ["early"]


def test_when_more_spans_wait_than_there_is_room_the_oldest_go_and_are_counted() -> None:
    outbox = Outbox(room=8, every_s=SOON_S)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(outbox)
    end_span(provider, *map(str, range(20)))
    assert outbox.dropped == 12
    with collecting() as collector:
        outbox.send_to(address(collector.url))
        assert collector.span_names(8) == [str(n) for n in range(12, 20)]
        outbox.close()
    assert outbox.dropped == 12


def test_in_an_outage_the_oldest_go_and_the_latest_arrive_in_their_order(heard: Heard) -> None:
    outbox = Outbox(room=512, every_s=SOON_S)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(outbox)
    with collecting(503) as collector:
        outbox.send_to(address(collector.url))
        for first in range(0, 640, 128):
            end_span(provider, *map(str, range(first, first + 128)))
            collector.request()
        for _ in range(2):  # by the second all of them were packed
            collector.request()
        dropped, collector.answer = outbox.dropped, 200
        arrived: dict[int, None] = {}
        while 639 not in arrived:
            arrived |= dict.fromkeys(map(int, collector.span_names(1)))
        outbox.close()
    assert list(arrived) == list(range(dropped, 640))
    assert 640 - 512 <= dropped <= 640 - 256
    assert outbox.dropped == dropped


def test_giving_up_says_why_once_and_drops_what_waits(heard: Heard) -> None:
    with exporting(service="test") as (provider, outbox):
        end_span(provider, "one")
        outbox.give_up("Phoenix is not installed")
        end_span(provider, "two")
    assert heard.warnings == ["Phoenix is not installed"]
    assert outbox.problem == "Phoenix is not installed"
    assert outbox.dropped == 2


def test_giving_up_a_collector_that_was_there_counts_what_was_packed_for_it_too(heard: Heard) -> None:
    with collecting(503) as collector, sending(collector.url) as (provider, outbox):
        end_span(provider, "one", "two")
        collector.request()
        outbox.give_up("Phoenix ended 3 times")
    assert outbox.dropped == 2
    assert outbox.problem == "Phoenix ended 3 times"


def test_a_span_that_ends_after_leaving_is_counted_and_harms_nobody(heard: Heard) -> None:
    with collecting() as collector, sending(collector.url) as (provider, outbox):
        late = provider.get_tracer("tests").start_span("late")
    late.end()
    assert outbox.dropped == 1
    assert heard.warnings == []


def test_a_search_with_a_hundred_hits_keeps_all_their_attributes() -> None:
    with collecting() as collector, sending(collector.url) as (provider, _):
        with provider.get_tracer("tests").start_as_current_span("search") as span:
            for n in range(100):
                for field in ("id", "content", "score", "metadata"):
                    span.set_attribute(f"retrieval.documents.{n}.document.{field}", "x")
        [sent] = collector.request().spans
    assert len(sent.attributes) == 400
    assert sent.dropped_attributes_count == 0


def test_a_name_that_is_not_unicode_goes_through_spelled_out(heard: Heard) -> None:
    name = os.fsdecode(b"caf\xe9.md")
    with collecting() as collector, sending(collector.url) as (provider, _):
        with provider.get_tracer("tests").start_as_current_span(name) as span:
            span.set_attribute("input.value", name)
            span.set_attribute("tag.tags", [name, "né"])
            span.add_event(name, {"path": name})
            span.set_status(Status(StatusCode.ERROR, name))
        [sent] = collector.request().spans
    spelled = "caf\\udce9.md"
    assert sent.name == sent.status.message == sent.events[0].name == spelled
    values = {pair.key: pair.value for pair in sent.attributes}
    assert values["input.value"].string_value == spelled
    assert [item.string_value for item in values["tag.tags"].array_value.values] == [spelled, "né"]
    assert sent.events[0].attributes[0].value.string_value == spelled
    assert heard.warnings == []


def test_a_proxy_for_the_internet_does_not_get_the_traces_of_this_machine() -> None:
    program = """
import sys
from opentelemetry import trace
from observability.traces import tracing
with tracing(endpoint=sys.argv[1], service="test") as traces:
    trace.get_tracer("tests").start_span("ask").end()
print(traces.problem)
"""
    with collecting() as collector:
        done = run(program, collector.url, HTTP_PROXY=nobody(), ALL_PROXY=nobody())
        assert done.stdout.strip() == "None"
        assert collector.span_names(1) == ["ask"]


def test_a_setting_that_names_no_certificate_turns_traces_off_with_a_warning() -> None:
    program = """
import sys
from opentelemetry import trace
from observability.traces import tracing
with tracing(endpoint="https://phoenix.invalid", service="test") as traces:
    trace.get_tracer("tests").start_span("ask").end()
print(traces.problem)
"""
    assert "correct SSL_CERT_FILE" in run(program, SSL_CERT_FILE="/nowhere.pem").stdout


def test_an_endpoint_that_is_no_url_is_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="must be a URL"), tracing(endpoint="6006", service="test"):
        pass
