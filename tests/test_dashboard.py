"""compose/grafana-dashboard.json and what Grafana and Prometheus are told beside it."""

import json
import re
import uuid
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import place, until
from wire.redis import RedisWire

COMPOSE = Path(__file__).parent.parent / "compose"
FUNCTIONS = {"avg", "histogram_quantile", "increase", "max", "min", "rate", "scalar", "sum", "time"}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# What an expression has beside the names of figures: strings' labels, ranges, and the labels that are kept.
_ASIDE = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|\b(?:by|without|on|ignoring)\s*\([^()]*\)")
_FIGURE = re.compile(r"(?:\bby \(([^()]*)\) \()?(?:(?:rate|increase)\()?(tandem_\w+)\{([^{}]*)\}")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def dashboard() -> dict[str, Any]:
    return json.loads((COMPOSE / "grafana-dashboard.json").read_text())


def targets() -> list[dict[str, Any]]:
    return [target for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def names(expression: str) -> set[str]:
    """The figures that a PromQL expression asks for."""
    return set(_NAME.findall(_ASIDE.sub("", expression))) - FUNCTIONS


def labels(expression: str) -> Iterator[tuple[str, str]]:
    """Each figure with a label that it is kept apart or chosen by."""
    for kept, name, chosen in _FIGURE.findall(expression):
        yield from ((name, label) for label in re.findall(r"\w+", kept) + re.findall(r"(\w+)\s*[=!]", chosen))


def test_names_are_read_out_of_an_expression() -> None:
    expression = 'sum by (le, stage) (rate(a_bucket{b="c(d)", le="1"}[$__rate_interval])) / scalar(e:f) > time() - g'
    assert names(expression) == {"a_bucket", "e:f", "g"}
    assert set(labels('sum by (x, w) (rate(tandem_a{y=~"z"}[5m])) / scalar(sum(tandem_b{v!="u"}))')) == {
        ("tandem_a", "x"),
        ("tandem_a", "w"),
        ("tandem_a", "y"),
        ("tandem_b", "v"),
    }


@pytest.mark.slow
async def test_each_panel_asks_for_figures_and_labels_that_a_daemon_tells(redis_url: str) -> None:
    settings = {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": uuid.uuid4().hex}
    with place() as here:
        here.write("docs/kiln.md", "# The kiln\n\nThe kiln cools for twelve hours.\n")
        async with (
            here.program("worker", "--engine", "echo", settings=settings),
            here.daemon(here.docs, settings=settings) as daemon,
            RedisWire(redis_url, key=settings["REDIS_STREAM_KEY"]) as wire,
        ):
            await daemon.in_step(1)
            await until(wire.workers)
            await daemon.hits("How long does it cool?")
            await daemon.answer("How long does the kiln cool?")

            async def told() -> str | None:
                text = (await daemon.http.get("/metrics")).raise_for_status().text
                return text if "\ntandem_queue_first_token_seconds" in text else None

            page = await until(told)
    figures = {line.partition(" ")[0].partition("{")[0] for line in page.splitlines() if not line.startswith("#")}
    asked = {name for target in targets() for name in names(target["expr"])}
    assert asked <= figures, asked - figures
    told_of = re.findall(r"^(\w+)\{(.*)\} ", page, re.MULTILINE)
    known = {(name, label) for name, some in told_of for label in re.findall(r'(\w+)="', some)}
    told_apart = {pair for target in targets() for pair in labels(target["expr"]) if pair[1] != "instance"}
    assert told_apart <= known, told_apart - known
    families = set(re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE))
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
    assert families <= shown, "each figure has its panel"


@pytest.mark.parametrize("target", targets(), ids=lambda target: target["expr"][:60])
def test_a_panel_looks_at_the_chosen_daemon_in_the_chosen_source(target: dict[str, Any]) -> None:
    assert target["datasource"] == DATASOURCE
    assert target["expr"].count('{instance=~"$instance"') == len(re.findall(r"tandem_\w+", target["expr"]))


def test_panels_have_ids_of_their_own_and_lie_beside_each_other() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        refs = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(refs)) == len(refs)
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["type"] == "row" or (refs and panel["datasource"] == DATASOURCE and panel["description"])
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = [one[at] + one[size] <= other[at] or other[at] + other[size] <= one[at] for at, size in ("xw", "yh")]
        assert any(apart), (one, other)


def test_sources_and_daemons_are_for_the_reader_to_choose() -> None:
    chosen = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    assert (chosen["datasource"]["type"], chosen["datasource"]["query"]) == ("datasource", "prometheus")
    assert chosen["instance"]["datasource"] == DATASOURCE


def test_prometheus_and_grafana_are_told_of_each_other() -> None:
    prometheus = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    assert (job["metrics_path"], job["static_configs"]) == ("/metrics", [{"targets": ["tandem:8000"]}])
    (source,) = yaml.safe_load((COMPOSE / "grafana" / "datasource.yml").read_text())["datasources"]
    assert source["type"] == DATASOURCE["type"]
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((COMPOSE / "grafana" / "dashboards.yml").read_text())["providers"]
    assert provider["type"] == "file"
