"""Bounded scanners for DeltaDiscoveryRequest and DiscoveryRequest; they read what any network peer
may send.

Only what Plait uses is decoded. The 500 extensions that Envoy lists in its node, locators and
every unknown field are skipped, as protobuf asks of unknown fields; so is a known field whose wire
type is another one. Fields: envoy.service.discovery.v3.DeltaDiscoveryRequest,
DiscoveryRequest, envoy.config.core.v3.Node.
"""

import struct
from dataclasses import dataclass, field
from typing import Any, Final

from xds.wire.fields import FIXED64, LEN, VARINT, Malformed, fields

__all__ = [
    "DEFAULT",
    "TOO_LONG_TO_KEEP",
    "DeltaRequest",
    "Limits",
    "Malformed",
    "Node",
    "StateRequest",
    "node_at",
    "scan",
    "scan_state",
]

TOO_LONG_TO_KEEP: Final = 8192
"""Bytes of an error text that are kept; Envoy may quote the whole resource in it."""

_UNKNOWN_ERROR: Final = 2
_DOUBLE: Final = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may cost. ``name`` is far above any name of ours: an application chooses the
    authority that its sidecar asks for, and must get an answer, not a closed stream."""

    size: int = 8 << 20
    """Bytes of the whole message."""
    names: int = 100_000
    """Names subscribed, unsubscribed and held, together."""
    name: int = 128 << 10
    """Bytes of one string."""
    depth: int = 16
    """Nesting of the node's metadata."""
    values: int = 10_000
    """Scalars, lists and maps in the node's metadata, together."""


DEFAULT: Final = Limits()


@dataclass(frozen=True, slots=True)
class Node:
    """Who the client says it is. Nothing here is trusted before it matches the stream's token."""

    id: str = ""
    cluster: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    region: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """One request. ``error_code`` is not 0 exactly when it is a NACK (``error_detail`` present; a
    NACK without a code counts as 2, UNKNOWN)."""

    node: Node | None = None
    type_url: str = ""
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: dict[str, str] = field(default_factory=dict)
    nonce: str = ""
    error_code: int = 0
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class StateRequest:
    """A state-of-the-world request: ``names`` is the whole subscription, every time. NACK as in
    `DeltaRequest`. ``version`` is that of the last accepted response."""

    node: Node | None = None
    type_url: str = ""
    names: tuple[str, ...] = ()
    version: str = ""
    nonce: str = ""
    error_code: int = 0
    error_message: str = ""


def scan(data: bytes, limits: Limits = DEFAULT) -> DeltaRequest:
    """Read one DeltaDiscoveryRequest.

    Raises `Malformed` for anything that is no protobuf message, for text that is no UTF-8, and
    for whatever exceeds ``limits``. Time and memory are linear in ``len(data)``.
    """
    try:
        return _scanner(data, limits).request()
    except UnicodeDecodeError as error:
        raise Malformed(f"text that is no UTF-8: {error.reason}") from None


def scan_state(data: bytes, limits: Limits = DEFAULT) -> StateRequest:
    """Read one DiscoveryRequest; everything else as in `scan`."""
    try:
        return _scanner(data, limits).state_request()
    except UnicodeDecodeError as error:
        raise Malformed(f"text that is no UTF-8: {error.reason}") from None


def node_at(data: bytes, start: int, end: int, limits: Limits = DEFAULT) -> Node:
    """The Node message between two positions of ``data``; raises as in `scan`."""
    try:
        return _Scanner(data, limits).node(start, end, Node())
    except UnicodeDecodeError as error:
        raise Malformed(f"text that is no UTF-8: {error.reason}") from None


def _scanner(data: bytes, limits: Limits) -> "_Scanner":
    if len(data) > limits.size:
        raise Malformed(f"request of {len(data)} bytes, at most {limits.size} are read")
    return _Scanner(data, limits)


class _Scanner:
    """Holds the message and what is left of its limits."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.names = limits.names
        self.values = limits.values

    def request(self) -> DeltaRequest:
        subscribe: list[str] = []
        unsubscribe: list[str] = []
        held: dict[str, str] = {}
        node: Node | None = None
        type_url = nonce = message = ""
        code = 0
        for number, wire, start, end in fields(self.data, 0, len(self.data)):
            if wire != LEN:
                continue
            if number == 3:
                subscribe.append(self.name(start, end))
            elif number == 5:
                key, version = self.entry(start, end)
                held[key] = version
            elif number == 4:
                unsubscribe.append(self.name(start, end))
            elif number == 1:
                node = self.node(start, end, node or Node())
            elif number == 2:
                type_url = self.text(start, end)
            elif number == 6:
                nonce = self.text(start, end)
            elif number == 7:
                code, message = self.error(start, end, code, message)
        return DeltaRequest(
            node, type_url, tuple(subscribe), tuple(unsubscribe), held, nonce, code, message
        )

    def state_request(self) -> StateRequest:
        names: list[str] = []
        node: Node | None = None
        type_url = version = nonce = message = ""
        code = 0
        for number, wire, start, end in fields(self.data, 0, len(self.data)):
            if wire != LEN:
                continue
            if number == 3:
                names.append(self.name(start, end))
            elif number == 2:
                node = self.node(start, end, node or Node())
            elif number == 4:
                type_url = self.text(start, end)
            elif number == 1:
                version = self.text(start, end)
            elif number == 5:
                nonce = self.text(start, end)
            elif number == 6:
                code, message = self.error(start, end, code, message)
        return StateRequest(node, type_url, tuple(names), version, nonce, code, message)

    def text(self, start: int, end: int) -> str:
        if end - start > self.limits.name:
            raise Malformed(f"text of {end - start} bytes, at most {self.limits.name} are read")
        return self.data[start:end].decode()

    def name(self, start: int, end: int) -> str:
        self.names -= 1
        if self.names < 0:
            raise Malformed(f"more than {self.limits.names} names")
        return self.text(start, end)

    def entry(self, start: int, end: int) -> tuple[str, str]:
        """A pair of initial_resource_versions."""
        key = version = ""
        for number, wire, first, last in fields(self.data, start, end):
            if wire == LEN and number == 1:
                key = self.text(first, last)
            elif wire == LEN and number == 2:
                version = self.text(first, last)
        self.names -= 1
        if self.names < 0:
            raise Malformed(f"more than {self.limits.names} names")
        return key, version

    def error(self, start: int, end: int, code: int, message: str) -> tuple[int, str]:
        """google.rpc.Status: its code and the beginning of its text, whatever bytes that is."""
        for number, wire, first, last in fields(self.data, start, end):
            if number == 1 and wire == VARINT:
                code = first & 0xFFFF_FFFF
            elif number == 2 and wire == LEN:
                last = min(last, first + TOO_LONG_TO_KEEP)
                message = self.data[first:last].decode(errors="replace")
        return code or _UNKNOWN_ERROR, message

    def node(self, start: int, end: int, seen: Node) -> Node:
        """Fields of a Node; a second one in the same message adds to the first, as in protobuf."""
        name, cluster, region, zone = seen.id, seen.cluster, seen.region, seen.zone
        metadata = dict(seen.metadata)
        for number, wire, first, last in fields(self.data, start, end):
            if wire != LEN:
                continue
            if number == 1:
                name = self.text(first, last)
            elif number == 2:
                cluster = self.text(first, last)
            elif number == 3:
                metadata.update(self.struct(first, last, 1))
            elif number == 4:
                region, zone = self.locality(first, last, region, zone)
        return Node(name, cluster, metadata, region, zone)

    def locality(self, start: int, end: int, region: str, zone: str) -> tuple[str, str]:
        for number, wire, first, last in fields(self.data, start, end):
            if number == 1 and wire == LEN:
                region = self.text(first, last)
            elif number == 2 and wire == LEN:
                zone = self.text(first, last)
        return region, zone

    def deeper(self, depth: int) -> None:
        """Account for one more value of the metadata at ``depth``."""
        self.values -= 1
        if depth > self.limits.depth:
            raise Malformed(f"metadata nested deeper than {self.limits.depth}")
        if self.values < 0:
            raise Malformed(f"metadata of more than {self.limits.values} values")

    def struct(self, start: int, end: int, depth: int) -> dict[str, Any]:
        """google.protobuf.Struct: a map (field 1) of names to values."""
        self.deeper(depth)
        found: dict[str, Any] = {}
        for number, wire, first, last in fields(self.data, start, end):
            if number != 1 or wire != LEN:
                continue
            self.deeper(depth)
            key, value = "", None
            for part, kind, low, high in fields(self.data, first, last):
                if part == 1 and kind == LEN:
                    key = self.text(low, high)
                elif part == 2 and kind == LEN:
                    value = self.value(low, high, depth)
            found[key] = value
        return found

    def value(self, start: int, end: int, depth: int) -> Any:
        """google.protobuf.Value; of a oneof that occurs twice the last counts."""
        self.deeper(depth)
        value: Any = None
        for number, wire, first, last in fields(self.data, start, end):
            if number == 1 and wire == VARINT:
                value = None
            elif number == 2 and wire == FIXED64:
                value = _DOUBLE.unpack_from(self.data, first)[0]
            elif number == 3 and wire == LEN:
                value = self.text(first, last)
            elif number == 4 and wire == VARINT:
                value = first != 0
            elif number == 5 and wire == LEN:
                value = self.struct(first, last, depth + 1)
            elif number == 6 and wire == LEN:
                value = self.list(first, last, depth + 1)
        return value

    def list(self, start: int, end: int, depth: int) -> Any:
        """google.protobuf.ListValue."""
        self.deeper(depth)
        found = []
        for number, wire, first, last in fields(self.data, start, end):
            if number == 1 and wire == LEN:
                found.append(self.value(first, last, depth))
        return found
