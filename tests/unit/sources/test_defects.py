"""A document that our own code fails on costs itself alone."""

from controlplane.sources.manifests import load
from tests.unit.sources.test_yamldoc import SCALARS


def test_every_scalar_may_stand_anywhere_in_a_manifest() -> None:
    for text in SCALARS:
        loaded = load(
            f"""
apiVersion: v1
kind: Service
metadata: {{name: a, namespace: shop, labels: {{app: {text}}}}}
spec: {{ports: [{{port: {text}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: b, namespace: shop}}
spec: {{ports: [{{port: 80}}]}}
"""
        )
        assert "b" in {row.key.name for row in loaded.rows}
        assert not [each for each in loaded.problems if "bug in Plait" in each.message]
