"""Where a destination policy attaches: the buckets it stands in, and the section of each.

TrafficPolicy and RoutePolicy attach alike (``targetRefs``, else the namespace, else the mesh), so
the layers and the conflicts between policies of one layer are found here for both.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from controlplane.api.policy import RoutePolicySpec, TrafficPolicySpec
from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.translate.policies.order import Setting, Settings, by_precedence, layered
from controlplane.world.rows import Object
from controlplane.world.schema import MESH_BUCKET, ROOT_NAMESPACE

P = TypeVar("P", TrafficPolicySpec, RoutePolicySpec)
Bucket = tuple[str, ...]
Flatten = Callable[[Object[P]], Settings]


class Attachment(NamedTuple):
    """One place where a policy applies. ``field`` is the path of the targetRef, or empty."""

    bucket: Bucket
    section: str
    field: str


def attachments(row: Object[P]) -> tuple[Attachment, ...]:
    """Where a policy attaches, as `controlplane.world.schema` indexes it."""
    if not row.spec.target_refs:
        bucket = MESH_BUCKET if row.key.namespace == ROOT_NAMESPACE else (row.key.namespace,)
        return (Attachment(bucket, "", ""),)
    return tuple(
        Attachment(
            (row.key.namespace, ref.kind, ref.name),
            ref.section_name or "",
            f"spec.targetRefs[{i}]",
        )
        for i, ref in enumerate(row.spec.target_refs)
    )


def attached(rows: Iterable[Object[P]], bucket: Bucket, section: str) -> tuple[Object[P], ...]:
    """Policies of a bucket that name exactly this section, the winner first."""
    return by_precedence(
        row
        for row in rows
        if any(a.bucket == bucket and a.section == section for a in attachments(row))
    )


def layer(rows: Iterable[Object[P]], bucket: Bucket, section: str, flatten: Flatten[P]) -> Settings:
    """The merged settings of the policies of one bucket and section."""
    return layered(*(flatten(row) for row in attached(rows, bucket, section)))


def conflicts(
    kind: str,
    row: Object[P],
    place: Attachment,
    rows: Iterable[Object[P]],
    flatten: Flatten[P],
) -> tuple[Problem, ...]:
    """Fields of ``row`` that another policy of the same place has set, with that one's name."""
    taken: dict[str, Setting] = {}
    for other in attached(rows, place.bucket, place.section):
        if other.key == row.key:
            break
        for setting in flatten(other):
            taken.setdefault(setting.field, setting)
    return tuple(
        Problem(
            ObjectRef(kind, row.key.namespace, row.key.name),
            Reason.CONFLICTED,
            f"{taken[setting.field].source} sets the same field for the same target and wins: "
            "older, else first by namespace and name",
            "Remove the field from one of the two, or target a port or rule with sectionName",
            f"spec.{setting.field}",
            Severity.WARNING,
        )
        for setting in flatten(row)
        if setting.field in taken
    )
