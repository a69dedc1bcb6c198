"""Secrets for SDS. Key material never shows in a repr, a log or a dump."""

from dataclasses import dataclass, field


class PrivateBytes(bytes):
    """Bytes that print as ``[redacted]``."""

    def __repr__(self) -> str:
        return "[redacted]"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class LeafSecret:
    """A workload's certificate chain (PEM, leaf first) and private key (PEM)."""

    name: str
    chain: bytes
    key: PrivateBytes = field(repr=False)
    version: str = ""
    """``leaf|<issuer key id>|<serial>|<notBefore>|<notAfter>``; not a hash."""


@dataclass(frozen=True, slots=True)
class RootsSecret:
    """Trusted roots of one trust domain (PEM, concatenated)."""

    name: str
    roots: bytes


Secret = LeafSecret | RootsSecret
