"""The few shapes that every Envoy message is made of: addresses, config sources, extensions.

Nothing of this module stays on the wire by itself; messages built here are shared, so they must
never be assigned to.
"""

from typing import Any, Final

from envoy_data_plane.envoy.config.core.v3 import (
    Address,
    AggregatedConfigSource,
    ApiVersion,
    ConfigSource,
    SocketAddress,
    TypedExtensionConfig,
)
from envoy_data_plane.google.protobuf import Struct

from xds.wire.encode import pack

ADS: Final = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
"""Resources come over the one aggregated stream."""


def address(host: str, port: int, ipv4_compat: bool = False) -> Address:
    """A TCP address; ``host`` is an IP, or a name where the cluster resolves it. ``ipv4_compat``
    lets ``::`` take IPv4 connections too."""
    return Address(
        socket_address=SocketAddress(address=host, port_value=port, ipv4_compat=ipv4_compat)
    )


def extension(name: str, message: Any) -> TypedExtensionConfig:
    """A named extension with its configuration."""
    return TypedExtensionConfig(name=name, typed_config=pack(message))


def struct(values: dict[str, Any]) -> Struct:
    """A ``google.protobuf.Struct``; order of keys is the order of bytes, so give it sorted."""
    return Struct.from_dict(values)
