"""A user's mistake is a value: what is wrong, where, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class ObjectRef(NamedTuple):
    """An object by kind and name. ``namespace`` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {where}"


class Source(NamedTuple):
    """Where a document was read: a path relative to the watched directory, and a 1-based line."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class Severity(StrEnum):
    WARNING = "warning"
    """The object takes effect, perhaps not as meant."""
    ERROR = "error"
    """The object, or the part named by ``field``, takes no effect."""


class Reason(StrEnum):
    """Condition reasons. Gateway API's own names where it has one."""

    UNPARSABLE = "Unparsable"
    TOO_LARGE = "TooLarge"
    UNKNOWN_KIND = "UnknownKind"
    UNKNOWN_FIELD = "UnknownField"
    INVALID = "Invalid"
    DUPLICATE = "Duplicate"
    CONFLICTED = "Conflicted"
    BACKEND_NOT_FOUND = "BackendNotFound"
    TARGET_NOT_FOUND = "TargetNotFound"
    NO_MATCHING_PARENT = "NoMatchingParent"
    UNSUPPORTED_VALUE = "UnsupportedValue"
    REJECTED_BY_ENVOY = "RejectedByEnvoy"
    CLOCK = "ClockDisagrees"
    INTERNAL = "InternalError"


@dataclass(frozen=True, slots=True)
class Problem:
    """``field`` is a path such as ``spec.rules[0].backendRefs[1].port``; ``remedy``: what to do.

    Printed as ``bookstore.yaml:12: HTTPRoute shop/reviews: spec.rules[0]...: message. remedy``.
    """

    object: ObjectRef
    reason: Reason
    message: str
    remedy: str
    field: str = ""
    severity: Severity = Severity.ERROR
    source: Source | None = None

    def __str__(self) -> str:
        where = f"{self.source}: " if self.source else ""
        field = f"{self.field}: " if self.field else ""
        return f"{where}{self.object}: {field}{self.message}. {self.remedy}"
