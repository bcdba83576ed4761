"""compose/: what one file says of another is so, and our programs take the words that they are given."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from bridge.cli import _parser  # pyright: ignore[reportPrivateUsage]
from tests.compose.reading import COMPOSE, ROOT, every_service, resolved

DATA = "/var/lib/tandem"
# Of each image the port that its program has unless told otherwise.
PORTS = {"qdrant": 6333, "ollama": 11434, "phoenix": 6006, "tandem": 8000, "prometheus": 9090, "grafana": 3000}


def named(stack: str) -> dict[str, Any]:
    """What a container may be called by the others of its stack."""
    found: dict[str, Any] = {}
    for name, service in resolved(stack)["services"].items():
        found[name] = service
        networks: dict[str, Any] = service.get("networks") or {}
        for network in filter(None, networks.values()):
            found.update(dict.fromkeys(network.get("aliases", []), service))
    return found


def listening(service: Any) -> set[int]:
    return {port["target"] for port in service.get("ports", [])}


def called(service: Any) -> Iterator[tuple[str, int]]:
    """(host, port) of each address that a service is given."""
    for variable, value in service.get("environment", {}).items():
        if variable != "PHOENIX_CSRF_TRUSTED_ORIGINS" and value.startswith("http"):
            url = urlsplit(str(value))
            assert url.hostname and url.port, value
            yield url.hostname, url.port


def test_each_address_is_that_of_a_service_beside_it() -> None:
    seen = 0
    for stack, name, service in every_service():
        for host, port in called(service):
            seen += 1
            assert port in listening(named(stack)[host]), (stack, name, host, port)
    assert seen


def test_every_program_listens_and_is_asked_for_its_health_where_it_is_published() -> None:
    for stack, name, service in every_service():
        ours = next((port for kind, port in PORTS.items() if name in (kind, f"{kind}-gpu")), None)
        if ours:
            assert listening(service) == {ours}, (stack, name)
            asked = set(re.findall(r"127\.0\.0\.1[:/](\d+)", " ".join(service["healthcheck"]["test"])))
            assert asked <= {str(ours)} and (asked or name.startswith("ollama")), (stack, name)


def test_figures_are_asked_of_the_daemon_and_shown_of_prometheus() -> None:
    (job,) = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())["scrape_configs"]
    (source,) = yaml.safe_load((COMPOSE / "grafana" / "datasource.yml").read_text())["datasources"]
    services = named("laptop, figures too")
    for place in (job["static_configs"][0]["targets"][0], str(source["url"]).removeprefix("http://")):
        host, port = str(place).split(":")
        assert int(port) in listening(services[host])
    native = resolved("laptop, figures of a native daemon")["services"]["prometheus"]
    assert native["extra_hosts"] == [f"{job['static_configs'][0]['targets'][0].partition(':')[0]}=host-gateway"]
    held = {secret["target"] for secret in services["prometheus"]["secrets"]}
    assert job["authorization"]["credentials_file"] in held


def test_phoenix_is_asked_for_its_health_by_a_path_that_it_has() -> None:
    (file, *_) = [*(ROOT / ".venv-phoenix").glob("lib/python*/site-packages/phoenix/server/app.py"), None]
    if not file:
        pytest.skip("no .venv-phoenix: `make test-all` makes it")
    (path,) = re.findall(
        r"6006(/\w+)", " ".join(resolved("traces alone")["services"]["phoenix"]["healthcheck"]["test"])
    )
    assert f'@router.get("{path}")' in file.read_text()


def test_our_programs_know_their_words_and_find_their_files() -> None:
    seen = set[str]()
    for stack, name, service in every_service():
        if not re.match(r"tandem(-worker)?:", service["image"]):
            continue
        seen.add(name)
        entry = (service.get("entrypoint") or ["tandem"])[1:]
        told = _parser().parse_args([*entry, *(service.get("command") or [])])
        mounts = {volume["target"] for volume in service.get("volumes", [])}
        for place in (*getattr(told, "folders", ()), *filter(None, [getattr(told, "config", None)])):
            assert place in mounts, (stack, name, place)
        if alive := getattr(told, "alive", None):
            assert f"find {alive} " in service["healthcheck"]["test"][-1], (stack, name)
        kept = {place for place in mounts if place.startswith(DATA)}
        assert kept <= {DATA, f"{DATA}/paired", f"{DATA}/queue"} and kept, (stack, name)
        for secret in service.get("secrets", []):
            if secret["source"] in ("tandem_settings", "queue_settings"):
                assert secret["target"] == f"{DATA}/tandem.toml", (stack, name)
    assert seen == {"tandem", "queue-files", "pair", "join", "worker", "worker-1", "worker-cpu", "worker-embed"}
    assert f"TANDEM_DATA={DATA}" in (COMPOSE / "Dockerfile").read_text()


def test_redis_reads_the_volume_that_its_files_are_made_in() -> None:
    services = resolved("queue alone")["services"]
    volumes = {name: {one["target"]: one["source"] for one in made["volumes"]} for name, made in services.items()}
    (conf,) = services["redis"]["command"][1:]
    place = str(Path(conf).parent)
    assert volumes["redis"] == {place: volumes["queue-files"][place]}
    assert f"--cacert {place}/ca.crt" in services["redis"]["healthcheck"]["test"][-1]
