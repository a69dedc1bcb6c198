"""Who wins, for every kind: more specific, then older, then namespace/name; and merging by field.

A spec is taken apart into `Setting`s; `layered` puts layers over each other, the most specific
first, and remembers which object each value came from.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from controlplane.world.rows import Object

S = TypeVar("S")


class Setting(NamedTuple):
    """A value of one field, and the object that gave it (``Kind namespace/name``)."""

    field: str
    value: Any
    source: str


Settings = tuple[Setting, ...]
"""At most one per field, sorted by field."""


def by_precedence(rows: Iterable[Object[S]]) -> tuple[Object[S], ...]:
    """Rows of equal specificity, the winner first.

    An absent creationTimestamp counts as equal to any other. To keep that a total order, ages are
    compared only where every row has one; files have none, a cluster's objects always do.
    """
    listed = sorted(rows, key=lambda row: (row.key.namespace, row.key.name, row.key.cluster))
    if all(row.meta.created for row in listed):
        listed.sort(key=lambda row: row.meta.created)
    return tuple(listed)


def layered(*layers: Settings) -> Settings:
    """Each field from the first layer that has it."""
    merged: dict[str, Setting] = {}
    for layer in layers:
        for setting in layer:
            merged.setdefault(setting.field, setting)
    return tuple(merged[field] for field in sorted(merged))


def sources(settings: Settings) -> tuple[str, ...]:
    """The objects that gave any value, sorted."""
    return tuple(sorted({setting.source for setting in settings}))
