"""What is wrong with a MeshConfig or a MutualTLS."""

from collections.abc import Iterator

from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.graph import Reader
from controlplane.translate.instances import labels_of
from controlplane.translate.members import selected
from controlplane.translate.mesh import MESH_CONFIG, is_range
from controlplane.translate.policies import mutual_tls
from controlplane.translate.policies.order import by_precedence
from controlplane.world.rows import Key
from controlplane.world.schema import (
    MESH_BUCKET,
    MESH_CONFIGS,
    MUTUAL_TLS,
    MUTUAL_TLS_BY_SELECTOR,
    ROOT_NAMESPACE,
)


def check_config(q: Reader, key: Key) -> Iterator[Problem]:
    row = q.get(MESH_CONFIGS, key)
    if row is None:
        return
    me = ObjectRef("MeshConfig", key.namespace, key.name)
    if (key.namespace, key.name) != (ROOT_NAMESPACE, MESH_CONFIG):
        message = f"only the MeshConfig {ROOT_NAMESPACE}/{MESH_CONFIG} takes effect"
        remedy = f"Name it {MESH_CONFIG} in namespace {ROOT_NAMESPACE}, or remove it"
        yield Problem(me, Reason.UNSUPPORTED_VALUE, message, remedy, "metadata.name")
    ranges = [(f"spec.meshRanges[{i}]", text) for i, text in enumerate(row.spec.mesh_ranges)]
    for field, text in [*ranges, ("spec.serviceRange", row.spec.service_range)]:
        if not is_range(text):
            message = f"{text!r} is no address range"
            yield Problem(me, Reason.INVALID, message, "Write for example 10.0.0.0/8", field)


def check_mutual_tls(q: Reader, key: Key) -> Iterator[Problem]:
    row = q.get(MUTUAL_TLS, key)
    if row is None:
        return
    me = ObjectRef(mutual_tls.KIND, key.namespace, key.name)
    if mutual_tls.selective(row):
        assert row.spec.selector is not None
        pairs = tuple(sorted(dict(row.spec.selector.match_labels).items()))
        pods = selected(q, key.cluster, key.namespace, pairs)
        winners = {winner for pod in pods if (winner := _winner(q, pod)) not in (None, key)}
        field = "spec.selector"
    else:
        bucket = MESH_BUCKET if key.namespace == ROOT_NAMESPACE else (key.namespace,)
        rows = [r for r in q.find(MUTUAL_TLS_BY_SELECTOR, bucket) if not mutual_tls.selective(r)]
        winners = {by_precedence(rows)[0].key} - {key}
        field = "spec"
    for winner in sorted(winners):
        yield Problem(
            me,
            Reason.CONFLICTED,
            f"{mutual_tls.KIND} {winner.namespace}/{winner.name} applies to the same pods and "
            "wins: older, else first by namespace and name",
            "Remove one of the two, or make their selectors differ",
            field,
            Severity.WARNING,
        )


def _winner(q: Reader, pod: Key) -> Key | None:
    labels = labels_of(q, pod)
    found = mutual_tls.candidates(q, pod.namespace, labels) if labels is not None else ()
    return found[0].key if found else None
