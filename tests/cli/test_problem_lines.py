"""A problem names the line of its field, also one that only the whole mesh shows, over a real
server: of the watched tree and of what is applied."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Called, Serve
from tests.cli.test_restart import troubled

Meshctl = Callable[..., Called]

ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: made
  namespace: shop
spec:
  parentRefs:
    - {group: "", kind: Service, name: nowhere}
"""
SHIFT = """\
# applied
---
apiVersion: v1
kind: List
items:
  - apiVersion: mesh.plait.dev/v1alpha1
    kind: TrafficShift
    metadata: {name: made}
    spec:
      targetRef: {name: made}
      weights:
        - {name: made-v1, weight: 1}
        - {name: made-v2, weight: -1}
"""


def test_the_line_of_the_field(
    serve: Serve, meshctl: Meshctl, manifests: Path, tmp_path: Path
) -> None:
    (manifests / "route.yaml").write_text(ROUTE)
    serve()
    found = {each["field"]: each for each in troubled(meshctl)["problems"]["problems"]}
    assert found["spec.parentRefs[0].name"]["source"] == {"path": "route.yaml", "line": 8}
    applied = tmp_path / "shift.yaml"
    applied.write_text(SHIFT)
    called = meshctl("apply", "-f", str(applied), "-n", "shop")
    assert f"error: {applied}:13: TrafficShift shop/made: spec.weights[1].weight" in called.out
