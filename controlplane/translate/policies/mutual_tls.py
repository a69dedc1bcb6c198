"""MutualTLS: whether a workload's inbound connections must be mTLS.

Layers: policies whose selector matches the pod, the namespace, the mesh. Default: permissive.
"""

from typing import Final

from controlplane.api.mesh import MutualTLSMode, MutualTLSSpec
from controlplane.graph import Reader, query
from controlplane.translate.policies.order import by_precedence
from controlplane.world.rows import Labels, Object
from controlplane.world.schema import MESH_BUCKET, MUTUAL_TLS_BY_SELECTOR, label_buckets

KIND: Final = "MutualTLS"


def selects(row: Object[MutualTLSSpec], labels: Labels) -> bool:
    """Whether a policy with a selector matches a pod's labels."""
    selector = row.spec.selector
    return bool(selector and selector.match_labels) and set(
        selector.match_labels.items() if selector else ()
    ).issubset(labels)


def selective(row: Object[MutualTLSSpec]) -> bool:
    return bool(row.spec.selector and row.spec.selector.match_labels)


def candidates(q: Reader, namespace: str, labels: Labels) -> tuple[Object[MutualTLSSpec], ...]:
    """Every policy that applies to a pod with these labels, the winner first."""
    rows = [
        row
        for bucket in label_buckets(namespace, labels)
        for row in q.find(MUTUAL_TLS_BY_SELECTOR, bucket)
        if row.key.namespace == namespace
    ]
    own = by_precedence(row for row in rows if selects(row, labels))
    whole = by_precedence(row for row in rows if not selective(row))
    mesh = by_precedence(q.find(MUTUAL_TLS_BY_SELECTOR, MESH_BUCKET))
    return (*own, *whole, *mesh)


@query
def strict(q: Reader, namespace: str, labels: Labels) -> bool:
    """Whether pods of a namespace with these labels refuse plain-text connections."""
    found = candidates(q, namespace, labels)
    return bool(found) and found[0].spec.mode is MutualTLSMode.STRICT


@query
def mutual_tls_source(q: Reader, namespace: str, labels: Labels) -> str:
    """``MutualTLS namespace/name`` of the policy in effect; empty where none is."""
    found = candidates(q, namespace, labels)
    return f"{KIND} {found[0].key.namespace}/{found[0].key.name}" if found else ""
