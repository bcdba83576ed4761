"""compose/terraform by HCL's own parser, the provider's published types and, where it is installed, Terraform."""

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.terraform import published
from tests.terraform.configuration import ROOT, Module, expressions
from tests.terraform.published import Block

Run = Callable[..., subprocess.CompletedProcess[str]]

META = {"count", "for_each", "depends_on", "provider", "lifecycle"}
_SECRET = re.compile(r"secret|password|token|private_key|credential", re.IGNORECASE)


def test_every_file_is_written_as_terraform_would_write_it(told: Mapping[Path, Any]) -> None:
    otherwise = [file.name for file, one in told.items() if file.read_text() != one["formatted"]]
    assert not otherwise, f"terraform fmt -recursive compose/terraform: {otherwise}"


def test_terraform_would_not_write_them_otherwise(terraform: Run) -> None:
    ended = terraform("fmt", "-check", "-recursive", "-diff", folder=ROOT)
    assert not ended.returncode, ended.stdout


def test_terraform_finds_it_valid_with_the_providers_types(terraform: Run) -> None:
    ended = terraform("validate", "-no-color")
    assert not ended.returncode, ended.stderr


def test_every_argument_is_one_that_the_provider_knows_and_none_that_it_needs_is_missing(
    modules: Mapping[Path, Module],
) -> None:
    types = published.published()
    found = [
        f"{module.folder.name}/{type_}.{name}: {wrong}"
        for module in modules.values()
        for kind, type_, name, body in module.resources()
        for wrong in faults(types["data" if kind == "data" else "resource", type_], body)
    ]
    assert not found
    assert sum(1 for module in modules.values() for _ in module.resources()) >= 13


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"name": "x", "region": "tor1"}, "needs image, size"),
        ({"name": "x", "image": "x", "size": "x", "colour": "x"}, "colour is not known"),
        ({"name": "x", "image": "x", "size": "x", "ipv4_address": "x"}, "ipv4_address is only read"),
        ({"name": "x", "image": "x", "size": "x", "backup_policy": [{"day": "x"}]}, "backup_policy: day is not known"),
        ({"name": "x", "image": "x", "size": "x", "backup_policy": [{}, {}]}, "backup_policy stands 2 times"),
    ],
)
def test_a_wrong_argument_is_noticed(told: Mapping[Path, Any], body: dict[str, Any], wrong: str) -> None:
    assert faults(published.published()["resource", "digitalocean_droplet"], body) == [wrong]


def faults(block: Block, body: Mapping[str, Any]) -> list[str]:
    needed = [name for name, one in block.arguments.items() if one.is_required and name not in body]
    needed += [name for name, (_, least, _) in block.blocks.items() if least and name not in body]
    found = [f"needs {', '.join(sorted(needed))}"] if needed else []
    for name, value in body.items():
        if name in block.blocks:
            inner, _, is_several = block.blocks[name]
            found += [f"{name} stands {len(value)} times"] if len(value) > 1 and not is_several else []
            found += [f"{name}: {wrong}" for one in value for wrong in faults(inner, one)]
        elif name in block.arguments:
            found += [] if block.arguments[name].is_given else [f"{name} is only read"]
        elif name not in META:
            found.append(f"{name} is not known")
    return found


def test_every_reference_leads_somewhere(modules: Mapping[Path, Module]) -> None:
    types = published.published()
    for module in modules.values():
        resources = {(type_, name) for kind, type_, name, _ in module.resources() if kind == "resource"}
        for root, name, *rest in module.references():
            if root == "var":
                assert name in module.variables, f"{module.folder.name}: var.{name}"
            elif root == "local":
                assert name in module.locals, f"{module.folder.name}: local.{name}"
            elif root == "module":
                there = modules[(module.folder / module.calls[name]["source"]).resolve()]
                assert rest and rest[0] in there.outputs, f"{module.folder.name}: module.{name}.{rest}"
            elif root.startswith("digitalocean_"):
                assert (root, name) in resources, f"{module.folder.name}: {root}.{name}"
                assert not rest or rest[0] in types["resource", root].arguments, f"{root}.{name}.{rest[0]}"


def test_every_module_is_given_what_it_asks_for_and_nothing_else(modules: Mapping[Path, Module]) -> None:
    for module in modules.values():
        for name, call in module.calls.items():
            there = modules[(module.folder / call["source"]).resolve()].variables
            given = set(call) - META - {"source"}
            assert given <= set(there), f"{name}: {given - set(there)}"
            assert {one for one, told in there.items() if "default" not in told} <= given, name


def test_every_variable_is_used_typed_and_described(modules: Mapping[Path, Module]) -> None:
    for module in modules.values():
        used = {name for root, name, *_ in _outside_variables(module) if root == "var"}
        for name, told in module.variables.items():
            where = f"{module.folder.name}: var.{name}"
            assert name in used, where
            assert told.get("type"), where
            assert told.get("description", "").endswith("."), where
        for name, told in module.outputs.items():
            assert told.get("description", "").endswith("."), f"{module.folder.name}: output.{name}"
        locals_ = {name for root, name, *_ in module.references() if root == "local"}
        assert set(module.locals) <= locals_, module.folder.name


def _outside_variables(module: Module) -> set[tuple[str, ...]]:
    """A variable's own validation does not use it."""
    files = {
        file: {kind: one for kind, one in told.items() if kind != "variable"} for file, told in module.files.items()
    }
    return Module(module.folder, files).references()


def test_what_is_no_example_or_number_is_checked_before_anything_is_made(modules: Mapping[Path, Module]) -> None:
    free = {"image", "gpu_image", "queue_size", "gateway_size", "worker_config"}  # DigitalOcean's or the disk's to know
    for name, told in modules[ROOT].variables.items():
        assert "validation" in told or name in free, name


def test_no_variable_holds_a_secret_and_none_has_a_secrets_name(modules: Mapping[Path, Module]) -> None:
    for module in modules.values():
        for kind in (module.variables, module.outputs):
            for name, told in kind.items():
                assert not _SECRET.search(name) or told.get("sensitive") is True, f"{module.folder.name}: {name}"
    # Nor anything whose secret DigitalOcean would write into the state.
    types = {type_ for module in modules.values() for _, type_, _, _ in module.resources()}
    assert not {type_ for type_ in types if re.search(r"database|spaces_key|registry_docker|ssh_key$", type_)}


def test_the_provider_is_pinned_to_the_version_whose_types_are_checked(modules: Mapping[Path, Module]) -> None:
    (block,) = modules[ROOT].files[ROOT / "versions.tf"]["terraform"]
    assert block["required_providers"][0]["digitalocean"]["version"] == published.version()
    assert modules[ROOT].files[ROOT / "versions.tf"]["provider"] == {"digitalocean": [{}]}  # no token in a file


def test_the_example_names_every_variable_once_and_sets_those_without_a_default(
    told: Mapping[Path, Any], modules: Mapping[Path, Module]
) -> None:
    file = ROOT / "terraform.tfvars.example"
    variables = modules[ROOT].variables
    named = re.findall(r"^#?\s?(\w+)\s+=", file.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(variables)
    assert set(told[file]["json"]) == {name for name, one in variables.items() if "default" not in one}
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"terraform.tfvars", ".terraform/", "*.tfstate", "*.tfstate.*"} <= set(ignored)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ssh_cidrs", "[]", "at least one network"),
        ("ssh_cidrs", '["everywhere"]', "at least one network"),
        ("ssh_keys", "[]", "without a key nobody can pair"),
        ("tandem_version", '">=0.1"', "one version"),
        ("tandem_wheel", '"https://example.com/x.whl"', "sha256="),
        ("tandem_wheel", "\"https://example.com/'x.whl#sha256=" + "0" * 64 + '"', "sha256="),
        ("scaling", "{ most = 2, fewest = 3 }", "fewest <= most"),
        ("name", '"a name"', "lower-case letters"),
        ("gpu_size", '"s-1vcpu-2gb"', "a size with a GPU"),
    ],
)
def test_a_wrong_value_is_refused_in_words(terraform: Run, tmp_path: Path, name: str, value: str, said: str) -> None:
    (tmp_path / "wrong.tfvars").write_text(f"{name} = {value}\n")
    words = ["-var-file", str(ROOT / "terraform.tfvars.example"), "-var-file", str(tmp_path / "wrong.tfvars")]
    ended = terraform("plan", "-input=false", "-refresh=false", "-no-color", *words)
    assert ended.returncode
    assert said in " ".join(re.sub(r"[│╷╵]", " ", ended.stderr).split())


def test_who_may_reach_what_is_as_the_readme_says(applied: Mapping[str, Any]) -> None:
    def opened(address: str) -> list[tuple[Any, ...]]:
        sources = ("source_addresses", "source_tags", "source_load_balancer_uids")
        return [
            (one["port_range"], sorted(str(source) for key in sources for source in one[key] or []))
            for one in applied[address]["inbound_rule"]
        ]

    balancer = applied["module.gateway.digitalocean_loadbalancer.this"]
    assert opened("module.network.digitalocean_firewall.all") == [("22", ["203.0.113.7/32"])]
    assert opened("module.network.digitalocean_firewall.scaled") == [("22", ["tandem-queue"])]
    assert opened("module.queue.digitalocean_firewall.this") == [("6379", ["10.77.0.0/20", "203.0.113.8/32"])]
    assert opened("module.gateway.digitalocean_firewall.this") == [("8000", [balancer["id"]])]
    firewalls = [address for address in applied if "digitalocean_firewall" in address]
    assert len(firewalls) == 4
    (rule,) = balancer["forwarding_rule"]
    assert (rule["entry_protocol"], rule["entry_port"], rule["target_port"]) == ("https", 443, 8000)
    assert balancer["healthcheck"][0]["path"] == "/health"
    for address, machine in applied.items():
        if "digitalocean_droplet" in address:
            assert machine["vpc_uuid"] == applied["module.network.digitalocean_vpc.this"]["id"]
            assert "tandem" in machine["tags"], "without it no firewall stands before the machine"


def test_the_readme_says_every_output_and_names_no_other(modules: Mapping[Path, Module]) -> None:
    words = (ROOT / "README.md").read_text()
    assert set(modules[ROOT].outputs) <= set(re.findall(r"`(\w+)`", words))


def test_a_reference_in_a_text_is_seen_too() -> None:
    assert list(expressions({"a": ["x", "${var.y}"], "b": {"c": "z ${local.w}"}})) == ["${var.y}", "z ${local.w}"]
