"""JSON of the admin API: frozen dataclasses to plain values and back, generic by their fields.

Keys are camelCase. A reader ignores keys it does not know and takes the default of one that is
absent, so that a `meshctl` and a control plane one version apart understand each other.
"""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic.alias_generators import to_camel

T = TypeVar("T")


class Undecodable(ValueError):
    """The JSON does not have the shape of the expected answer; the text names the place."""


def to_json(value: object) -> Any:
    """Plain dicts, lists, strings, numbers and None. Tuples become lists, enums their values."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {to_camel(f.name): to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        names = cast("tuple[str, ...]", value._fields)
        return {to_camel(n): to_json(item) for n, item in zip(names, value, strict=True)}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(shape: type[T], data: Any, where: str = "") -> T:
    """The value of type ``shape`` that `to_json` made ``data`` from.

    ``shape`` is a dataclass or a NamedTuple. Raises Undecodable.
    """
    return cast("T", _decode(shape, data, where or shape.__name__))


def _decode(shape: Any, data: Any, where: str) -> Any:
    origin = get_origin(shape)
    if shape is Any:
        return data
    if origin in (Union, types.UnionType):
        return _decode_optional(shape, data, where)
    if origin is tuple:
        item = get_args(shape)[0]
        listed = _expect(data, list, where)
        return tuple(_decode(item, entry, f"{where}[{n}]") for n, entry in enumerate(listed))
    if origin is not None and issubclass(origin, Mapping):
        item = get_args(shape)[1]
        mapped = _expect(data, dict, where)
        return {key: _decode(item, entry, f"{where}.{key}") for key, entry in mapped.items()}
    if is_dataclass(shape) or hasattr(shape, "_fields"):
        return _decode_record(shape, data, where)
    if isinstance(shape, type) and issubclass(shape, Enum):
        try:
            return shape(data)
        except ValueError as error:
            raise Undecodable(f"{where}: {error}") from None
    if shape is float and type(data) is int:
        return float(data)
    return _expect(data, shape, where)


def _decode_optional(shape: Any, data: Any, where: str) -> Any:
    if data is None:
        return None
    (present,) = (arm for arm in get_args(shape) if arm is not type(None))
    return _decode(present, data, where)


def _decode_record(shape: Any, data: Any, where: str) -> Any:
    given = _expect(data, dict, where)
    hints = get_type_hints(shape)
    names = [f.name for f in fields(shape)] if is_dataclass(shape) else shape._fields
    values = {
        name: _decode(hints[name], given[to_camel(name)], f"{where}.{to_camel(name)}")
        for name in names
        if to_camel(name) in given
    }
    try:
        return shape(**values)
    except TypeError as error:
        raise Undecodable(f"{where}: {error}") from None


def _expect(data: Any, kind: Any, where: str) -> Any:
    if type(data) is not kind:
        raise Undecodable(f"{where}: expected {kind.__name__}, found {type(data).__name__}")
    return data
