"""Resources as plain data for people: golden files, commands, reports.

Not on any hot path: it uses betterproto2's own parser. Nested ``Any`` values are opened, names of
fields are those of the .proto files (as in Envoy's config dump), and key material is left out.
"""

import importlib
from base64 import b64encode
from datetime import timedelta
from typing import Any, Final

from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryResponse
from envoy_data_plane.google.protobuf import Any as ProtoAny
from envoy_data_plane.google.protobuf import ListValue, Struct, Value, default_message_pool

from xds.wire.resource import Resource

REDACTED: Final = "[redacted]"

_SECRET_FIELDS: Final = frozenset(
    (
        "private_key",
        "private_key_provider",
        "password",
        "pkcs12",
        "session_ticket_keys",
        "generic_secret",
    )
)
"""Fields of envoy.extensions.transport_sockets.tls.v3 that hold key material."""


def readable(resource: Resource) -> dict[str, Any]:
    """``{"name", "version", "type_url", "resource"}`` with JSON-like values.

    Durations are texts in seconds, bytes are text where they are UTF-8 and base64 elsewhere. An
    ``Any`` whose message class is unknown is shown by its type and size.
    """
    entry = DeltaDiscoveryResponse.parse(resource.entry).resources[0]
    return {
        "name": entry.name,
        "version": entry.version,
        "type_url": entry.resource.type_url,
        "resource": {k: v for k, v in _open(entry.resource).items() if k != "@type"},
    }


def _open(packed: ProtoAny) -> dict[str, Any]:
    message_class = _class_of(packed.type_url)
    if message_class is None:
        return {"@type": packed.type_url, "bytes": len(packed.value)}
    return {"@type": packed.type_url, **_fields(message_class.parse(packed.value))}


def _class_of(type_url: str) -> Any:
    """The message class of a type URL; its module is imported when that has not happened yet."""
    if type_url not in default_message_pool.url_to_type:
        package = type_url.rpartition("/")[2].rpartition(".")[0]
        try:
            importlib.import_module(f"envoy_data_plane.{package}")
        except ModuleNotFoundError:
            return None
    return default_message_pool.url_to_type.get(type_url)


def _fields(message: Any) -> dict[str, Any]:
    """The fields that are set, in declaration order."""
    found: dict[str, Any] = {}
    for name, meta in message._betterproto.meta_by_field_name.items():
        value = getattr(message, name)
        presence = meta.optional or meta.group or meta.unwrap
        if value is None or (not presence and not value and meta.proto_type != "message"):
            continue
        if name in _SECRET_FIELDS:
            found[name] = REDACTED
        elif meta.map_meta is not None:
            found[name] = {str(key): _plain(each) for key, each in value.items()}
        elif meta.repeated:
            if value:
                found[name] = [_plain(each) for each in value]
        else:
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    match value:
        case ProtoAny():
            return _open(value)
        case Struct() | Value() | ListValue():
            return value.to_dict()
        case timedelta():
            return f"{value.total_seconds():g}s"
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return b64encode(value).decode()
    if hasattr(value, "_betterproto"):
        return _fields(value)
    if hasattr(value, "proto_name"):
        return value.proto_name or value.name or value.value
    return value
