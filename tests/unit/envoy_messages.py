"""Random instances of every Envoy message class that `xds.build` can reach."""

import importlib
import pkgutil
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import betterproto2

import xds.build

RANGES = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "sint32": (-(1 << 31), (1 << 31) - 1),
    "sfixed32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "fixed32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "sint64": (-(1 << 63), (1 << 63) - 1),
    "sfixed64": (-(1 << 63), (1 << 63) - 1),
    "uint64": (0, (1 << 64) - 1),
    "fixed64": (0, (1 << 64) - 1),
}
TEXTS = ("", "a", "h|shop|reviews|9080", "grüße", "x" * 127, "y" * 128, "z" * 20_000)
FLOATS = (0.0, -0.0, 0.5, -1.25, 3.0, float("inf"))


def used_classes() -> list[Any]:
    """The message classes that modules of `xds.build` import, and all that their fields reach."""
    waiting: list[Any] = []
    for module in pkgutil.walk_packages(xds.build.__path__, "xds.build."):
        names = vars(importlib.import_module(module.name)).values()
        waiting += [each for each in names if _is_message(each)]
    found: set[Any] = set()
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            fields = each._betterproto.cls_by_field.values()
            waiting += [field for field in fields if _is_message(field)]
    entries = {each for each in found if each.__name__ == "Entry"}
    return sorted(found - entries, key=lambda each: (each.__module__, each.__name__))


def _is_message(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, betterproto2.Message)


def instance(message_class: Any, random: Random, depth: int = 3) -> Any:
    """A message with random fields set; at most one of each oneof; ``depth`` bounds nesting."""
    meta = message_class._betterproto
    chosen = {
        group: random.choice(sorted(field.name for field in fields))
        for group, fields in meta.oneof_field_by_group.items()
    }
    values = {}
    for name, field in meta.meta_by_field_name.items():
        if field.group and chosen[field.group] != name:
            continue
        if random.random() < 0.5 and not field.group:
            continue
        value = _field(message_class, name, field, random, depth)
        if value is not None:
            values[name] = value
    return message_class(**values)


def _field(message_class: Any, name: str, field: Any, random: Random, depth: int) -> Any:
    classes = message_class._betterproto.cls_by_field
    count = random.randrange(4)
    if field.map_meta is not None:
        key, value = field.map_meta
        kind = classes.get(f"{name}.value")
        pairs = [
            (_scalar(key, None, random), _single(value, kind, random, depth)) for _ in range(count)
        ]
        return {k: v for k, v in pairs if v is not None}
    if field.repeated:
        items = [_single(field, classes[name], random, depth) for _ in range(count)]
        return [item for item in items if item is not None]
    return _single(field, classes[name], random, depth)


def _single(field: Any, kind: Any, random: Random, depth: int) -> Any:
    if field.proto_type != "message":
        return _scalar(field, kind, random)
    if field.unwrap is not None:
        return _wrapped(field.unwrap(), random)
    return instance(kind, random, depth - 1) if depth else None


def _wrapped(wrapper: Any, random: Random) -> Any:
    """A plain value that stands for a well-known message."""
    if wrapper.__name__ == "Duration":
        return timedelta(microseconds=random.choice((0, 1, 25_000, 1_500_000, 10**12)))
    if wrapper.__name__ == "Timestamp":
        return datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=random.randrange(10**6))
    return _scalar(wrapper._betterproto.meta_by_field_name["value"], None, random)


def _scalar(field: Any, kind: Any, random: Random) -> Any:
    match field.proto_type:
        case "bool":
            return random.random() < 0.5
        case "string":
            return random.choice(TEXTS)
        case "bytes":
            return random.choice(TEXTS).encode()
        case "float" | "double":
            return random.choice(FLOATS)
        case "enum":
            return random.choice(list(kind))
        case number:
            low, high = RANGES[number]
            return random.choice((0, 1, low, high, random.randint(low, high), 127, 128, 2048))
