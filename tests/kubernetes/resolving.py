"""A kustomization's resources, as `kubectl kustomize` prints them, for machines without it: what compose/kubernetes
uses of it and no more. `test_manifests` holds it to the real one where there is one."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent / "compose" / "kubernetes"
KINDS_WITHOUT_NAMESPACE = ("Namespace",)
_KNOWN = {"apiVersion", "kind", "namespace", "resources", "images", "patches"}

Resource = dict[str, Any]


def resolved(folder: Path) -> list[Resource]:
    told = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(told) <= _KNOWN, f"{folder} uses {set(told) - _KNOWN}: teach it to this module"
    found: list[Resource] = []
    for name in told["resources"]:
        place = folder / name
        found += resolved(place) if place.is_dir() else documents(place)
    for patch in told.get("patches", []):
        target = patch["target"]
        (one,) = [one for one in found if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])]
        for step in yaml.safe_load((folder / patch["path"]).read_text()):
            apply(one, step)
    if namespace := told.get("namespace"):
        for one in found:
            if one["kind"] not in KINDS_WITHOUT_NAMESPACE:
                one["metadata"]["namespace"] = namespace
    for image in told.get("images", []):
        assert set(image) == {"name", "newTag"}, image
        for container in (container for one in found for container in containers(one)):
            if container["image"].partition(":")[0] == image["name"]:
                container["image"] = f"{image['name']}:{image['newTag']}"
    return found


def documents(file: Path) -> list[Resource]:
    return [one for one in yaml.safe_load_all(file.read_text()) if one]


def apply(one: Resource, step: dict[str, Any]) -> None:
    """One step of a JSON patch (RFC 6902)."""
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].strip("/").split("/")]
    at: Any = one
    for part in way:
        at = at[int(part)] if isinstance(at, list) else at[part]
    match step["op"], at:
        case "add", list() if last == "-":
            at.append(deepcopy(step["value"]))
        case "add", dict():
            at[last] = deepcopy(step["value"])
        case "replace", dict() if last in at:
            at[last] = deepcopy(step["value"])
        case _:
            raise AssertionError(f"{step} does not fit {one['kind']} {one['metadata']['name']}")


def pod_of(one: Resource) -> Resource | None:
    """A workload's template."""
    return one["spec"]["template"] if one["kind"] in ("Deployment", "StatefulSet") else None


def containers(one: Resource) -> Iterator[dict[str, Any]]:
    if pod := pod_of(one):
        yield from pod["spec"].get("initContainers", [])
        yield from pod["spec"]["containers"]
