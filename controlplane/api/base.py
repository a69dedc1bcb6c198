"""What every API model shares: frozen, camelCase on the wire, unknown fields left to the decoder.

Bounds stand on every string and list, because the API server estimates the cost of a CEL rule from
them. Defaults are in the descriptions and in our code, never in the CRD: the API server would write
them into stored objects, and a policy that sets a field could not be told from one that does not.
"""

import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

GROUP = "mesh.plait.dev"
VERSION = "v1alpha1"
GATEWAY_GROUP = "gateway.networking.k8s.io"


class Model(BaseModel):
    """Base of all specs. Instances are frozen; sequences are tuples."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        # A command reads a kind or two: build a model when it is first used, not at import.
        defer_build=True,
    )

    UNREAD: ClassVar[frozenset[str]] = frozenset()
    """Fields of the kind that Plait has no use for: skipped in silence, with all below them."""
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset()
    """Fields of the kind that would change traffic and that Plait does not carry out: warned."""


def rule(expression: str, message: str, field: str = "") -> dict[str, str]:
    """One entry of ``x-kubernetes-validations``: CEL over ``self``, and what to tell the user.

    ``message`` is a problem and, after its first full stop, the remedy. ``field`` is the JSON path
    (``.weights``) below ``self`` that is at fault. Libraries: standard, strings, math, optional.
    """
    entry = {"rule": expression, "message": message}
    return entry | {"fieldPath": field} if field else entry


def rules(*entries: dict[str, str]) -> ConfigDict:
    """A model configuration that carries CEL rules into the schema."""
    listed: list[Any] = list(entries)
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": listed})


NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN)]
"""An object's name (RFC 1123 subdomain)."""
Label = Annotated[
    str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
"""A namespace's or Service's name (RFC 1123 label)."""
Text = Annotated[str, Field(max_length=253)]
"""A short text: a kind, a group, a section's name."""
HeaderName = Annotated[
    str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_|~`]+$")
]
"""A header's name (RFC 9110 token)."""

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
DURATION_PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
"""Gateway API GEP-2257 durations: ``1h30m``, ``250ms``."""


def parse_duration(value: Any) -> Any:
    """Parse a GEP-2257 duration into a timedelta; a timedelta passes through.

    Raises ValueError with an example when ``value`` is no duration.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, value):
        raise ValueError(f"{value!r} is not a duration; write for example 250ms, 10s or 1h30m")
    parts = re.findall(r"([0-9]+)(ms|h|m|s)", value)
    return timedelta(seconds=sum(int(n) * _UNITS[u] for n, u in parts))


def format_duration(value: timedelta) -> str:
    """The shortest GEP-2257 text of a non-negative duration, in milliseconds at the finest."""
    ms = round(value.total_seconds() * 1000)
    text = ""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        count, ms = divmod(ms, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Field(json_schema_extra={"type": "string", "pattern": DURATION_PATTERN, "maxLength": 32}),
]


class Meta(Model):
    """The part of ObjectMeta that Plait reads. resourceVersion and managedFields are left out."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted pairs."""
    annotations: tuple[tuple[str, str], ...] = ()
    """Sorted pairs; only keys under mesh.plait.dev/."""
    created: str = ""
    """creationTimestamp, RFC 3339; empty when absent (files)."""
    deleting: bool = False
    """deletionTimestamp is set."""


class TargetRef(Model):
    """A destination that a policy applies to, in the policy's own namespace."""

    model_config = rules(
        rule(
            "!has(self.kind) || self.kind in ['Service', 'HTTPRoute']",
            "a policy cannot apply to this kind. Use Service or HTTPRoute",
            ".kind",
        ),
        rule(
            "(has(self.kind) && self.kind == 'HTTPRoute')"
            " ? (has(self.group) && self.group == 'gateway.networking.k8s.io')"
            " : (!has(self.group) || self.group == '')",
            "the group does not fit the kind. Use gateway.networking.k8s.io for an HTTPRoute, and"
            " no group for a Service",
            ".group",
        ),
    )

    group: Text = ""
    """API group of the target; empty for the core group (Service). Default: empty."""
    kind: Text = "Service"
    """Kind of the target: Service or HTTPRoute. Default: Service."""
    name: Name
    """Name of the target."""
    section_name: Text | None = None
    """A port name or number of a Service, or a rule name of an HTTPRoute."""


LabelValue = Annotated[str, Field(max_length=63)]


class Selector(Model):
    """Selects pods of the object's namespace by labels; all pairs must match."""

    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"matchExpressions"})

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=64)] = Field(
        default_factory=dict
    )
    """Labels that a pod must have, each with exactly this value."""
