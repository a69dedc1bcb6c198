"""Walks a document beside its model: prunes what the model does not know, and says so.

What an API server does to unknown fields, done before validation: they are dropped, as is null.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from controlplane.api.base import Model
from controlplane.api.explain import nearest
from controlplane.api.paths import FieldPath

Complaint = tuple[FieldPath, str, str]
"""(path, message, remedy)"""


@cache
def fields(model: type[Model]) -> Mapping[str, type[Model] | None]:
    """The JSON names of a model's fields, each with the model of its value or of its items.

    The cache holds one entry per model class and is never invalidated: classes do not change.
    """
    return {
        field.alias or name: _nested(field.annotation) for name, field in model.model_fields.items()
    }


def _nested(annotation: Any) -> type[Model] | None:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    for argument in get_args(annotation):
        if (found := _nested(argument)) is not None:
            return found
    return None


def prune(value: Any, model: type[Model], path: FieldPath, complaints: list[Complaint]) -> Any:
    """A copy of ``value`` with only what ``model`` reads; what else it held goes to ``complaints``.

    Values of the wrong type pass unchanged: validation reports them.
    """
    if isinstance(value, list):
        return [prune(item, model, (*path, i), complaints) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    known = fields(model)
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        where = (*path, name)
        if name in known:
            if inner is not None:
                nested = known[name]
                kept[name] = inner if nested is None else prune(inner, nested, where, complaints)
        elif name in model.UNSUPPORTED:
            complaints.append(
                (where, "Plait does not carry this out; it is ignored", "Remove it, or do without")
            )
        elif name not in model.UNREAD:
            close = nearest(name, known)
            remedy = f"Did you mean {close}?" if close else f"Known here: {', '.join(known)}"
            complaints.append((where, "unknown field; it is ignored", remedy))
    return kept


def instances(
    value: Any, model: type[Model], path: FieldPath
) -> Iterator[tuple[type[Model], FieldPath, dict[str, Any]]]:
    """Every map of a pruned document that a model describes, outermost first."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from instances(item, model, (*path, i))
    elif isinstance(value, dict):
        yield model, path, value
        for name, nested in fields(model).items():
            if nested is not None and name in value:
                yield from instances(value[name], nested, (*path, name))
