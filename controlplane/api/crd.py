"""CustomResourceDefinitions from the models, with schemas that an API server accepts as structural.

Pydantic's schema is rewritten: references inlined, ``X | null`` made X, one-valued choices made
enums, bounds brought into OpenAPI's form, and keywords removed that a server refuses or drops in
silence. Defaults are left out on purpose (see `controlplane.api.base`).
"""

from typing import Any

from controlplane.api.base import Model
from controlplane.api.registry import CATEGORY, Column, Kind

Schema = dict[str, Any]

_DROPPED = frozenset(
    ("$defs", "title", "examples", "default", "uniqueItems", "discriminator", "propertyNames")
)
"""``format`` of durations goes too: the pattern is stricter."""


def structural(model: type[Model]) -> Schema:
    """The structural schema of a model."""
    raw = model.model_json_schema(by_alias=True)
    return _rewrite(raw, raw.get("$defs", {}))


def _rewrite(node: Schema, definitions: Schema) -> Schema:
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _rewrite(target | beside, definitions)
    for union in ("anyOf", "allOf"):
        if union in node:
            return _rewrite(_collapsed(node, union), definitions)
    result: Schema = {}
    for key, value in node.items():
        if key in _DROPPED or (key == "format" and value == "duration"):
            continue
        if key == "const":
            result["enum"] = [value]
        elif key == "additionalProperties" and value is False:
            continue
        elif key in ("exclusiveMinimum", "exclusiveMaximum"):
            result[key.replace("exclusive", "").lower()] = value
            result[key] = True
        elif key == "properties":
            result[key] = {name: _rewrite(value[name], definitions) for name in value}
        elif key in ("items", "additionalProperties"):
            result[key] = _rewrite(value, definitions)
        elif key == "description":
            result[key] = " ".join(value.split())
        else:
            result[key] = value
    return _ordered(result)


def _collapsed(node: Schema, union: str) -> Schema:
    """The one branch of ``X | null``, or Kubernetes' own form of ``int | str``."""
    beside = {key: value for key, value in node.items() if key != union}
    branches = [branch for branch in node[union] if branch.get("type") != "null"]
    if len(branches) == 1:
        return dict(branches[0]) | beside
    if {branch.get("type") for branch in branches} == {"integer", "string"}:
        return beside | {"x-kubernetes-int-or-string": True}
    raise TypeError(f"a union of {len(branches)} types has no structural schema: {node}")


_FIRST = ("description", "type", "enum", "pattern", "minimum", "maximum")


def _ordered(node: Schema) -> Schema:
    """Description and type first, properties and rules last, as one reads."""
    keys = [key for key in _FIRST if key in node]
    keys += sorted(node.keys() - {*_FIRST, "properties", "items", "required"})
    keys += [key for key in ("required", "properties", "items") if key in node]
    keys.sort(key=lambda key: key == "x-kubernetes-validations")
    return {key: node[key] for key in keys}


def definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition of one of our kinds."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
                "categories": [CATEGORY],
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [_version(kind)],
        },
    }


def _version(kind: Kind) -> Schema:
    return {
        "name": kind.version,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        "schema": {"openAPIV3Schema": _object(kind)},
        **({"subresources": {"status": {}}} if kind.status else {}),
    }


def _column(column: Column) -> Schema:
    entry: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        entry["description"] = column.description
    if column.priority:
        entry["priority"] = column.priority
    return entry


def _object(kind: Kind) -> Schema:
    body = structural(kind.body)
    properties: Schema = {
        "apiVersion": {"type": "string", "description": "Version of this form of the object."},
        "kind": {"type": "string", "description": "Kind of the object."},
        "metadata": {"type": "object"},
        **body["properties"],
    }
    if kind.status:
        properties["status"] = _status(properties.get("status"))
    required = [name for name in body.get("required", []) if name != "status"]
    return {
        "description": kind.summary,
        "type": "object",
        **({"required": required} if required else {}),
        "properties": properties,
    }


def _status(own: Schema | None) -> Schema:
    """Every kind's conditions, beside what the kind itself reports."""
    properties = dict((own or {}).get("properties", {}))
    return {
        "description": "The state that Plait reports.",
        "type": "object",
        "properties": properties
        | {
            "observedGeneration": {
                "description": "Generation of the object that the state is about.",
                "type": "integer",
                "format": "int64",
            },
            "conditions": _CONDITIONS,
        },
    }


def _text(description: str, limit: int, **more: Any) -> Schema:
    return {"description": description, "type": "string", "maxLength": limit, **more}


_CONDITIONS: Schema = {
    "description": "Accepted, ResolvedRefs and Programmed.",
    "type": "array",
    "maxItems": 16,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "description": "One aspect of the state.",
        "type": "object",
        "required": ["type", "status", "lastTransitionTime", "reason", "message"],
        "properties": {
            "type": _text("Name of the condition.", 316),
            "status": _text("True, False or Unknown.", 7, enum=["True", "False", "Unknown"]),
            "observedGeneration": {
                "description": "Generation of the object that the condition is about.",
                "type": "integer",
                "format": "int64",
                "minimum": 0,
            },
            "lastTransitionTime": {
                "description": "When the status last changed.",
                "type": "string",
                "format": "date-time",
            },
            "reason": _text("The reason, in one word.", 1024),
            "message": _text("What is wrong, and what to do about it.", 32768),
        },
    },
}
