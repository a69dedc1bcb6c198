"""From a document to a typed object and its problems. Never raises: a user's mistake is a value.

Unknown fields are warnings with the nearest name and do not count; anything invalid is an error,
and then there is no object, as an API server would have refused it. Kinds of Kubernetes that Plait
does not read pass in silence.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from controlplane.api.base import GATEWAY_GROUP, GROUP, Model
from controlplane.api.cel import violations
from controlplane.api.core import ObjectMeta
from controlplane.api.explain import explain, nearest
from controlplane.api.paths import FieldPath, Locate, format_path, nowhere
from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.api.registry import BY_KIND, GATEWAY_KINDS, GROUPS, OTHER_KINDS, Kind
from controlplane.api.shape import Complaint, prune

M = TypeVar("M", bound=Model)

DEFAULT_NAMESPACE = "default"
"""Of namespaced objects that name none, as kubectl's."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A valid object: its registry row, metadata and body."""

    kind: Kind
    ref: ObjectRef
    meta: ObjectMeta
    body: Model


@dataclass(frozen=True, slots=True)
class Outcome:
    """``object`` is absent when it is invalid or of a kind that is not read; ``ref`` is what is
    known of its identity, for keeping its last good version."""

    object: Decoded | None = None
    ref: ObjectRef | None = None
    problems: tuple[Problem, ...] = ()


def expand(value: Any, path: FieldPath = ()) -> Iterator[tuple[FieldPath, Any]]:
    """The objects of a document: the items of a List (kubectl's dumps), else the document."""
    if (
        isinstance(value, dict)
        and str(value.get("kind", "")).endswith("List")
        and isinstance(value.get("items"), list)
    ):
        for i, item in enumerate(value["items"]):
            yield from expand(_typed(item, value), (*path, "items", i))
    else:
        yield path, value


def _typed(item: Any, parent: dict[str, Any]) -> Any:
    """An item of a typed list (ServiceList) as the API server sends it: without its own kind."""
    if isinstance(item, dict) and parent["kind"] != "List" and "kind" not in item:
        kind = parent["kind"].removesuffix("List")
        return {"apiVersion": parent.get("apiVersion"), "kind": kind} | item
    return item


def decode(value: Any, locate: Locate = nowhere) -> Outcome:
    """Decode one object. ``locate`` answers for paths below it."""
    if not isinstance(value, dict):
        return _refused(
            ObjectRef("Document", "", "?"),
            [((), "is not an object", "Write a map with apiVersion, kind and metadata")],
            locate,
        )
    ref = reference(value)
    kind, problem = _kind(value, ref, locate)
    if kind is None:
        return Outcome(None, None, (problem,) if problem else ())
    return _decode_kind(value, kind, ref, locate)


def reference(value: dict[str, Any]) -> ObjectRef:
    """Kind, namespace and name, as far as they can be read; '?' stands for what cannot."""
    meta = value.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    kind = value.get("kind")
    kind = kind if isinstance(kind, str) and kind else "Document"
    name, namespace = meta.get("name"), meta.get("namespace")
    row = BY_KIND.get(kind)
    if row is None or row.namespaced:
        namespace = namespace if isinstance(namespace, str) and namespace else DEFAULT_NAMESPACE
    else:
        namespace = ""
    return ObjectRef(kind, namespace, name if isinstance(name, str) and name else "?")


def _kind(
    value: dict[str, Any], ref: ObjectRef, locate: Locate
) -> tuple[Kind | None, Problem | None]:
    version, kind = value.get("apiVersion"), value.get("kind")
    for field, given in (("apiVersion", version), ("kind", kind)):
        if not isinstance(given, str) or not given:
            at = (field,) if field in value else ()
            return None, Problem(
                ref, Reason.INVALID, "is required", "Add it, or move the file out of the directory",
                field, source=locate(at),
            )  # fmt: skip
    assert isinstance(version, str)
    assert isinstance(kind, str)
    group = version.rpartition("/")[0]
    row = BY_KIND.get(kind)
    if row is not None and row.api_version == version:
        return row, None
    if kind in OTHER_KINDS and group != GROUP:
        return None, None
    message, remedy, field = _stranger(version, group, kind, row)
    if not message:
        return None, None
    return None, Problem(
        ref, Reason.UNKNOWN_KIND, message, remedy, field, Severity.WARNING, locate((field,))
    )


def _stranger(version: str, group: str, kind: str, row: Kind | None) -> tuple[str, str, str]:
    """(message, remedy, field) about a kind that is not read; no message for other projects'."""
    if row is not None and (row.is_ours or group in GROUPS or nearest(group, GROUPS)):
        message = f"{version!r} has no {kind} that Plait reads; the object is ignored"
        return message, f"Write {row.api_version}", "apiVersion"
    if group == GATEWAY_GROUP and kind in GATEWAY_KINDS:
        return f"Plait does not read {kind}; it is ignored", "Do without it", "kind"
    if group in GROUPS:
        known = [name for name, other in BY_KIND.items() if other.group == group]
        close = nearest(
            kind, [*known, *(OTHER_KINDS if group not in (GROUP, GATEWAY_GROUP) else ())]
        )
        remedy = f"Did you mean {close}?" if close else f"Known here: {', '.join(known)}"
        return f"unknown kind {kind!r}; the object is ignored", remedy, "kind"
    return "", "", ""


def _decode_kind(value: dict[str, Any], kind: Kind, ref: ObjectRef, locate: Locate) -> Outcome:
    warnings: list[Complaint] = []
    errors: list[Complaint] = []
    rest = {k: v for k, v in value.items() if k not in ("apiVersion", "kind", "metadata")}
    metadata = prune(value.get("metadata") or {}, ObjectMeta, ("metadata",), warnings)
    pruned = prune(rest, kind.body, (), warnings)
    meta = _validate(ObjectMeta, metadata, ("metadata",), errors)
    body = _validate(kind.body, pruned, (), errors)
    if not errors:
        errors.extend(violations(pruned, kind.body))
    problems = tuple(
        Problem(ref, Reason.UNKNOWN_FIELD, message, remedy, format_path(path), Severity.WARNING,
                locate(path))
        for path, message, remedy in warnings
    )  # fmt: skip
    if errors or meta is None or body is None:
        refused = _refused(ref, errors, locate)
        return Outcome(None, ref, problems + refused.problems)
    return Outcome(Decoded(kind, ref, meta, body), ref, problems)


def _refused(ref: ObjectRef, errors: list[Complaint], locate: Locate) -> Outcome:
    return Outcome(
        None,
        None,
        tuple(
            Problem(ref, Reason.INVALID, message, remedy, format_path(path), source=locate(path))
            for path, message, remedy in errors
        ),
    )


def _validate(model: type[M], value: Any, path: FieldPath, errors: list[Complaint]) -> M | None:
    """Validate as the API server does: no text for a number, no number for text."""
    try:
        return model.model_validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        details = [(path + _steps(d["loc"]), d) for d in error.errors(include_url=False)]
        seen: set[FieldPath] = set()  # a union complains once for each of its branches
        for at, detail in details:
            # A list counts its valid items alone, so it is "too short" whenever one is invalid.
            inner = any(other[: len(at)] == at and other != at for other, _ in details)
            if at not in seen and not (inner and detail["type"] == "too_short"):
                errors.append((at, *explain(detail)))
            seen.add(at)
    return None


def _steps(location: tuple[str | int, ...]) -> FieldPath:
    """Drop pydantic's own steps (the branch of a union, such as ``int``)."""
    return tuple(
        step for step in location if isinstance(step, int) or step not in ("int", "str", "[key]")
    )
