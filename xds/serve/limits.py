"""What one stream may cost, and how a stream is refused.

The bounds are per stream: a client that crosses one is refused or answered "no such resource"
with a reason, and no other stream notices.
"""

from dataclasses import dataclass
from typing import Final, Literal

Code = Literal[
    "INVALID_ARGUMENT",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "INTERNAL",
]
"""Names of gRPC status codes (grpc/statuscodes) that end a stream."""


class Denied(Exception):
    """The stream ends with gRPC status ``code``; ``detail`` is shown to the client and logged."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code: Code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one stream."""

    names: int = 50_000
    """Names a client may be subscribed to, per type. Further ones are answered as absent and not
    remembered: an application can make its sidecar ask for any number of authorities."""
    name_bytes: int = 4 << 20
    """Bytes of these names together, per type."""
    types: int = 16
    """Different type URLs, known ones included."""
    response: int = 1 << 20
    """Bytes of resources after which a response is cut; one larger resource still fits."""


DEFAULT: Final = Limits()
