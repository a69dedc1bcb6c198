"""`meshctl validate`: schema, rules, references and translation, without a control plane."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.meshctl.trouble import Exit
from tests.cli.conftest import Called

Meshctl = Callable[..., Called]

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec:
  ports: [{port: 9080, name: http}]
"""
ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews, port: 9080}]
  rules:
  - backendRefs: [{name: reviews, port: 9080}]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "services.yaml").write_text(SERVICE)
    (tmp_path / "routes.yaml").write_text(ROUTE)
    return tmp_path


def test_good_manifests(tree: Path, meshctl: Meshctl) -> None:
    called = meshctl("validate", "-f", str(tree))
    assert (called.code, called.out, called.err) == (Exit.OK, "0 errors, 0 warnings\n", "")


def test_a_reference_to_nothing(tree: Path, meshctl: Meshctl) -> None:
    (tree / "routes.yaml").write_text(
        ROUTE.replace("backendRefs: [{name: reviews", "backendRefs: [{name: reviewz")
    )
    called = meshctl("validate", "-f", str(tree))
    assert called.code == Exit.PROBLEMS
    first = called.out.splitlines()[0]
    assert first.startswith(f"error: {tree}/routes.yaml:7: HTTPRoute shop/reviews: spec.rules[0]")
    assert "reviewz" in first


def test_a_value_that_the_schema_refuses(tree: Path, meshctl: Meshctl) -> None:
    (tree / "services.yaml").write_text(SERVICE.replace("9080", "90800"))
    called = meshctl("validate", "-f", str(tree / "services.yaml"), "-o", "json")
    assert called.code == Exit.PROBLEMS
    problem = json.loads(called.out)["problems"][0]
    assert problem["object"] == {"kind": "Service", "namespace": "shop", "name": "reviews"}
    assert problem["source"] == {"path": f"{tree}/services.yaml", "line": 5}
    assert problem["field"] == "spec.ports[0].port"
    assert problem["severity"] == "error"


def test_an_unknown_field_is_a_warning_unless_strict(tree: Path, meshctl: Meshctl) -> None:
    (tree / "services.yaml").write_text(SERVICE.replace("name: http", "nmae: http"))
    called = meshctl("validate", "-f", str(tree))
    assert called.code == Exit.OK
    assert (
        f"warning: {tree}/services.yaml:5: Service shop/reviews: spec.ports[0].nmae" in called.out
    )
    assert "name" in called.out
    assert meshctl("validate", "-f", str(tree), "--strict").code == Exit.PROBLEMS


def test_standard_input(tree: Path, meshctl: Meshctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SERVICE}---\n{ROUTE}"))
    assert meshctl("validate", "-f", "-").code == Exit.OK
    monkeypatch.setattr("sys.stdin", io.StringIO(SERVICE.replace("port:", "prot:")))
    called = meshctl("validate", "-f", "-")
    assert called.code == Exit.PROBLEMS
    assert "standard input:5" in called.out
    assert meshctl("validate", "-f", "-", "-f", str(tree)).code == Exit.USAGE


def test_nothing_to_validate_is_a_mistake(
    tmp_path: Path, meshctl: Meshctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))  # what was to write it has failed
    called = meshctl("validate", "-f", "-")
    assert (called.code, called.out) == (Exit.USAGE, "")
    assert "no objects in standard input" in called.err
    (tmp_path / "tree").mkdir()
    (tmp_path / "comment.yaml").write_text("# later\n")
    for path in ("tree", "comment.yaml"):
        called = meshctl("validate", "-f", str(tmp_path / path))
        assert (called.code, called.out) == (Exit.USAGE, "")
        assert f"no objects in {tmp_path / path}" in called.err
    (tmp_path / "tree" / "services.yaml").write_text(SERVICE)
    assert meshctl("validate", "-f", str(tmp_path)).code == Exit.OK
