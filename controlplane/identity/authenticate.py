"""Who stands behind a stream, in file mode: the bearer token decides, the node id must agree.

Implements `xds.serve.auth.Authenticator`. The stream's end is fixed here on the monotonic clock,
from what the token has left, so that setting the time of day cuts no stream that lives.
"""

from collections.abc import Mapping
from typing import Final

from controlplane.identity.clock import Clock
from controlplane.identity.tokens import Claims, Rejected, TokenKey, Workload, verify
from xds import versions
from xds.serve.auth import Principal
from xds.serve.limits import Denied
from xds.wire.request import Node

_BEARER: Final = "bearer "


def node_id(workload: Workload) -> str:
    """The node id of a workload's sidecar: ``<cluster>/<namespace>/<pod>``."""
    return f"{workload.cluster}/{workload.namespace}/{workload.pod}"


def matches(claims: Claims, claimed: str) -> bool:
    """Whether the token's workload may call itself `claimed`."""
    return node_id(claims.workload) == claimed


def bearer(metadata: Mapping[str, str]) -> str:
    """The bearer token of a request (RFC 6750 2.1); empty without one."""
    value = metadata.get("authorization", "")
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else ""


class TokenAuthenticator:
    """Admits streams by tokens of our own key."""

    def __init__(self, key: TokenKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    async def authenticate(self, metadata: Mapping[str, str], peer: str) -> Principal:
        """The workload of a token. Raises `Denied` (UNAUTHENTICATED) with a text for the log."""
        now = self._clock.now()
        claims = verify(self._key, bearer(metadata), now)
        if isinstance(claims, Rejected):
            raise Denied("UNAUTHENTICATED", claims.text)
        # The clock may be behind the one that dated the token: no stream lives longer than one.
        left = min(claims.expires_at - now, claims.expires_at - claims.issued_at)
        workload = claims.workload
        return Principal(
            namespace=workload.namespace,
            workload=workload.pod,
            account=workload.account,
            expires_at=self._clock.monotonic() + left.total_seconds(),
            claims={
                "node_id": node_id(workload),
                "cluster": workload.cluster,
                "subject": claims.subject,
                "token_id": claims.token_id,
            },
        )

    def admit(self, principal: Principal, node: Node) -> None:
        """Raises `Denied` for a node id of another workload (PERMISSION_DENIED) and for a
        bootstrap of a version that we do not serve (INVALID_ARGUMENT)."""
        expected = principal.claims["node_id"]
        if node.id != expected:
            raise Denied(
                "PERMISSION_DENIED",
                f"the token is that of {expected}; the node may not call itself {node.id!r:.200}",
            )
        version = node.metadata.get("v", versions.BOOTSTRAP)
        if not versions.is_supported(version):
            raise Denied(
                "INVALID_ARGUMENT",
                f"the sidecar's bootstrap is version {version!r:.20}, this control plane serves"
                f" {versions.BOOTSTRAP} and the one before; write it again"
                " (meshctl proxy bootstrap)",
            )
