"""compose/kubernetes: what one file says of another is so, and our programs take the words that they are given."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from bridge.certificates import addresses
from bridge.cli import _parser  # pyright: ignore[reportPrivateUsage]
from bridge.settings import _NAMES as SETTINGS  # pyright: ignore[reportPrivateUsage]
from inference_server.config import read
from tests.kubernetes.resolving import ROOT, Resource, containers, pod_of, resolved

WAYS = [ROOT / "base", *sorted((ROOT / "overlays").iterdir())]
# What vLLM and the hub's client know.
VENDORS = {"HF_HUB_DISABLE_TELEMETRY", "VLLM_NO_USAGE_STATS"}
DATA = "/var/lib/tandem"


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def resources(request: pytest.FixtureRequest) -> list[Resource]:
    return resolved(request.param)


def ours(resources: Sequence[Resource]) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """(workload, its container) of each that runs our program."""
    for one in resources:
        for container in containers(one):
            if container["image"].startswith("tandem"):
                yield one, container


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container["env"]}


def mounted(one: Resource, container: dict[str, Any]) -> dict[str, str]:
    """Path -> volume."""
    assert pod_of(one)
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


def test_our_programs_know_their_words_and_their_variables(resources: Sequence[Resource]) -> None:
    found = list(ours(resources))
    assert len(found) == 2
    for _, container in found:
        told = _parser().parse_args(container["args"])
        assert told.command in ("up", "worker")
        assert set(variables(container)) <= set(SETTINGS) | VENDORS


def test_a_probe_looks_at_what_the_worker_touches_and_files_lie_where_they_are_mounted(
    resources: Sequence[Resource],
) -> None:
    for one, container in ours(resources):
        told, mounts = _parser().parse_args(container["args"]), mounted(one, container)
        assert DATA in mounts, "the root is read-only"
        for place in (*getattr(told, "folders", ()), *filter(None, [getattr(told, "config", None)])):
            assert place in mounts or str(Path(place).parent) in mounts, place
        if told.command == "worker":
            assert container["startupProbe"]["exec"]["command"][-1] == told.alive
            assert f"find {told.alive} " in container["livenessProbe"]["exec"]["command"][-1]
            assert str(Path(told.alive).parent) in mounts


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs OpenSSL 3")
def test_the_queue_is_called_by_a_name_that_its_certificate_has_and_believed_by_the_ca_that_is_mounted(
    resources: Sequence[Resource], tmp_path: Path
) -> None:
    subprocess.run(["sh", ROOT / "secrets.sh", tmp_path], check=True)
    names = addresses((tmp_path / "redis.crt").read_bytes())
    services = {one["metadata"]["name"]: one for one in resources if one["kind"] == "Service"}
    namespace = next(one["metadata"]["name"] for one in resources if one["kind"] == "Namespace")
    users = set(re.findall(r"^user (\S+) ", (tmp_path / "users.acl").read_text(), re.MULTILINE))
    called: list[str] = []
    for one, container in ours(resources):
        url = urlsplit(variables(container)["REDIS_URL"])
        called.append(f"{url.hostname}:{url.port}")
        assert url.scheme == "rediss" and url.username in users
        (ca,) = parse_qs(url.query)["ssl_ca_certs"]
        volume = mounted(one, container)[str(Path(ca).parent)]
        (secret,) = [
            v["secret"]["secretName"] for v in one["spec"]["template"]["spec"]["volumes"] if v["name"] == volume
        ]
        assert (secret, Path(ca).name) == ("queue-ca", "ca.crt")
    (scaled,) = [one["spec"] for one in resources if one["kind"] == "ScaledObject"]
    called += [trigger["metadata"]["address"] for trigger in scaled["triggers"]]
    for place in called:
        host, _, port = place.partition(":")
        assert host in names
        service, *rest = host.split(".")
        assert rest in ([], [namespace, "svc"])
        assert int(port) in [known["port"] for known in services[service]["spec"]["ports"]]


def test_redis_finds_its_files_where_the_secret_is_mounted(resources: Sequence[Resource]) -> None:
    (container,) = [one for made in resources for one in containers(made) if one["name"] == "redis"]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    conf = (ROOT.parent / "redis.conf").read_text()
    named = {Path(place) for place in re.findall(r"^\S+ (/\S+)$", conf, re.MULTILINE)} | {Path(container["command"][1])}
    assert {str(place.parent) for place in named} == {places["server"]}
    made = re.search(r"^secret queue-server (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert made and set(re.findall(r"--from-file=(\S+)", made[1])) == {place.name for place in named}
    probe = container["livenessProbe"]["exec"]["command"][-1]
    assert f"--cacert {places['server']}/ca.crt" in probe
    # The image's own working folder, where Redis keeps what it writes.
    assert places["data"] == "/data" and not re.search(r"^dir ", conf, re.MULTILINE)


def test_the_way_to_others_is_by_the_labels_that_they_have(resources: Sequence[Resource]) -> None:
    """The cluster's DNS has these labels from Kubernetes itself; the scaler's namespace is README.md's."""
    known = {"kube-system": {"k8s-app": "kube-dns"}, "keda": None}
    found = [
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], peer.get("podSelector"))
        for one in resources
        if one["kind"] == "NetworkPolicy"
        for rule in (*one["spec"].get("ingress", ()), *one["spec"].get("egress", ()))
        for peer in (*rule.get("from", ()), *rule.get("to", ()))
        if peer.get("namespaceSelector")
    ]
    assert {name: pods and pods["matchLabels"] for name, pods in found} == known
    assert "in the namespace `keda`" in (ROOT / "README.md").read_text()


def test_the_worker_takes_its_configuration(tmp_path: Path) -> None:
    (told,) = [one for one in resolved(ROOT / "overlays" / "gpu") if one["kind"] == "ConfigMap"]
    (tmp_path / "config.yaml").write_text(told["data"]["config.yaml"])
    config = read(tmp_path / "config.yaml")
    ours = yaml.safe_load((ROOT.parent.parent / "inference_server" / "config.yaml").read_text())
    assert set(config.engine) <= set(ours), "a key that is not in our own example"
