"""Who stands behind a stream: the protocol between the transport and identity."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc

from xds.serve.limits import Denied
from xds.wire.request import Node


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated workload of a stream."""

    namespace: str
    workload: str
    """The pod, or whatever instance the credential names."""
    account: str
    expires_at: float
    """When the stream must end, in seconds of the service's monotonic clock; ``inf``: never."""
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What else the credential says."""


class Authenticator(Protocol):
    """Implemented by identity."""

    async def authenticate(self, metadata: Mapping[str, str], peer: str) -> Principal:
        """Judge a new stream by its request headers (lower-case names) before it is served.

        Raises `xds.serve.limits.Denied`.
        """

    def admit(self, principal: Principal, node: Node) -> None:
        """Judge the node that the first request claims. Raises `Denied` when it is not
        ``principal``'s."""


async def authenticated(
    authenticator: Authenticator, context: "grpc.aio.ServicerContext[bytes, bytes]", now: float
) -> Principal:
    """The principal of a new call, whatever its method. Raises `Denied`; an expired credential is
    UNAUTHENTICATED. ``now``: monotonic seconds."""
    metadata = {
        key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
    }
    principal = await authenticator.authenticate(metadata, context.peer())
    if principal.expires_at <= now:
        raise Denied("UNAUTHENTICATED", "the token has expired")
    return principal
