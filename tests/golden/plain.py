"""Values of the IR and of problems as plain data, defaults left out, for golden files."""

from dataclasses import MISSING, fields, is_dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from controlplane.api.base import format_duration


def plain(value: Any) -> Any:
    """Dataclasses become mappings with a ``kind`` where a field may hold several classes."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__, **_fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        if hasattr(value, "_fields"):
            own = type(value).__str__ is not tuple.__str__
            return str(value) if own else "/".join(map(str, value))
        return [plain(each) for each in value]
    return value


def _fields(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(value):
        current = getattr(value, field.name)
        if field.default is not MISSING and current == field.default:
            continue
        if field.default_factory is not MISSING and current == field.default_factory():
            continue
        found[field.name] = plain(current)
    return found
