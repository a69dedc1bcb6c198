"""What every API model shares: frozen, camelCase on the wire, unknown fields left to the decoder."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

GROUP = "mesh.plait.dev"
VERSION = "v1alpha1"
GATEWAY_GROUP = "gateway.networking.k8s.io"


class Model(BaseModel):
    """Base of all specs. Instances are frozen and hashable; sequences are tuples."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
DURATION_PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
"""Gateway API GEP-2257 durations: ``1h30m``, ``250ms``."""


def parse_duration(value: Any) -> Any:
    """Parse a GEP-2257 duration into a timedelta; other values pass through to pydantic.

    Raises ValueError with an example when the text is no duration.
    """
    import re

    if not isinstance(value, str):
        return value
    if not re.fullmatch(DURATION_PATTERN, value):
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
    Field(json_schema_extra={"type": "string", "pattern": DURATION_PATTERN}),
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

    group: str = ""
    """API group of the target; empty for the core group (Service)."""
    kind: str = "Service"
    """Kind of the target: Service or HTTPRoute."""
    name: str
    """Name of the target."""
    section_name: str | None = None
    """A port name or number of a Service, or a rule name of an HTTPRoute."""


class Selector(Model):
    """Selects pods of the object's namespace by labels; all pairs must match."""

    match_labels: dict[str, str] = Field(default_factory=dict)
