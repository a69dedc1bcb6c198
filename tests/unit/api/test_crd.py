"""CRDs: structural, bounded, described; and the generated files are those of the models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane.api.crd import definition, structural
from controlplane.api.generate import ROOT, crds, main, reference
from controlplane.api.reference import pages
from controlplane.api.registry import BY_KIND, KINDS, Kind, find

OURS = [kind for kind in KINDS if kind.is_ours]
ALLOWED = {
    "additionalProperties",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
}
"""Keywords that an API server accepts in a structural schema and enforces."""


def nodes(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from nodes(f"{path}.{name}", inner)
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(f"{path}[]", node[key])


def schema(kind: Kind) -> dict[str, Any]:
    [version] = definition(kind)["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.kind)
def test_structural_and_bounded(kind: Kind) -> None:
    for path, node in nodes("", schema(kind)):
        assert node.keys() <= ALLOWED, path
        assert "type" in node or "x-kubernetes-int-or-string" in node, path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path
            assert "properties" not in node, path
        free = node.get("type") == "string" and "enum" not in node and "format" not in node
        if free and path not in (".apiVersion", ".kind"):
            assert "maxLength" in node, path
        assert "(?" not in node.get("pattern", ""), path
        for name in node.get("required", ()):
            assert name in node["properties"], path


@pytest.mark.parametrize("kind", [*OURS, BY_KIND["HTTPRoute"]], ids=lambda kind: kind.kind)
def test_every_field_is_described(kind: Kind) -> None:
    for path, node in nodes("spec", structural(kind.body)["properties"]["spec"]):
        if not path.endswith("[]"):
            assert node.get("description", "").strip(), path


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.kind)
def test_a_rule_s_field_exists(kind: Kind) -> None:
    for path, node in nodes("", schema(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            inner = node
            for step in filter(None, rule.get("fieldPath", "").split(".")):
                assert step in inner["properties"], (path, rule)
                inner = inner["properties"][step]
            assert len(rule["message"]) <= 2048


def test_names_of_a_definition() -> None:
    found = definition(BY_KIND["TrafficShift"])
    assert found["metadata"]["name"] == "trafficshifts.mesh.plait.dev"
    assert found["spec"]["names"]["categories"] == ["mesh"]
    assert found["spec"]["scope"] == "Namespaced"
    assert found["spec"]["versions"][0]["subresources"] == {"status": {}}


@pytest.mark.parametrize(
    ("typed", "kind"),
    [("TrafficShift", "TrafficShift"), ("trafficshifts", "TrafficShift"), ("ts", "TrafficShift"),
     ("SVC", "Service"), ("httproutes", "HTTPRoute")],
)  # fmt: skip
def test_find(typed: str, kind: str) -> None:
    assert find(typed) == BY_KIND[kind]


def test_no_name_stands_for_two_kinds() -> None:
    names = [name for kind in KINDS for name in (kind.kind.lower(), kind.plural, *kind.short_names)]
    assert len(names) == len(set(names))
    assert find("nothing") is None


def test_only_our_kinds_have_a_crd() -> None:
    assert crds().keys() == {f"{kind.plural}.yaml" for kind in OURS}
    for text in crds().values():
        assert yaml.safe_load(text)["spec"]["group"] == "mesh.plait.dev"
        assert "&id" not in text


def test_a_page_for_each_kind() -> None:
    assert len(reference()) == len(pages()) + 1
    assert "`spec.retry.retryOn`" in reference()["routepolicy.md"]


def test_the_repository_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--root", str(ROOT)]) == 0, capsys.readouterr().err


def test_check_finds_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(tmp_path)]
    assert main(["--check", *root]) == 1
    assert not list(tmp_path.iterdir())
    assert main(root) == 0
    assert main(["--check", *root]) == 0
    folder = tmp_path / "helm" / "plait" / "crds"
    (folder / "trafficshifts.yaml").write_text("changed")
    (folder / "stale.yaml").write_text("")
    capsys.readouterr()
    assert main(["--check", *root]) == 1
    assert capsys.readouterr().err == (
        "helm/plait/crds/stale.yaml is out of date: run make generate\n"
        "helm/plait/crds/trafficshifts.yaml is out of date: run make generate\n"
    )
    assert main(root) == 0
    assert not (folder / "stale.yaml").exists()
