"""A slot is what one stream holds of us: whose leaf, which one, and when it is due again.

A leaf is named by its version, ``leaf|<issuer key id>|<serial>|<notBefore>|<notAfter>`` (serial in
hex, times in Unix seconds). Envoy keeps the version and reports it when it reconnects, so any
replica knows from the name alone whether the leaf is good and when to renew it. The serial's last
32 bits are a tag of the identity, so it also knows when a leaf is another workload's, as after an
account or the trust domain was changed while no control plane looked. Slots hold no keys.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from controlplane.api.problem import Problem

_VERSION = re.compile(r"leaf\|([0-9a-f]{16})\|([0-9a-f]{1,40})\|([0-9]{1,11})\|([0-9]{1,11})")


@dataclass(frozen=True, slots=True)
class LeafVersion:
    """The name of one leaf."""

    issuer: str
    """Key id of the authority that signed it."""
    serial: int
    not_before: datetime
    not_after: datetime

    def __str__(self) -> str:
        times = f"{self.not_before.timestamp():.0f}|{self.not_after.timestamp():.0f}"
        return f"leaf|{self.issuer}|{self.serial:x}|{times}"


def parse_version(text: str) -> LeafVersion | None:
    """Read a version as a client reports it: untrusted. ``None`` for anything else."""
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    issuer, serial, not_before, not_after = match.groups()
    return LeafVersion(issuer, int(serial, 16), _time(not_before), _time(not_after))


def _time(text: str) -> datetime:
    # Eleven digits reach the year 5138: always within datetime's range.
    return datetime.fromtimestamp(int(text), UTC)


TAG_BITS: Final = 32
RANDOM_BITS: Final = 95
"""With the tag 127 bits: a positive 16-byte integer, 95 of them unpredictable."""


def tag(spiffe_id: str) -> int:
    """What the serials of this identity's leaves end in."""
    return int.from_bytes(hashlib.sha256(spiffe_id.encode()).digest()[: TAG_BITS // 8], "big")


def new_serial(spiffe_id: str) -> int:
    """A fresh serial for a leaf of `spiffe_id`; never zero (RFC 5280 4.1.2.2)."""
    return (secrets.randbits(RANDOM_BITS) | 1) << TAG_BITS | tag(spiffe_id)


def belongs_to(version: LeafVersion, spiffe_id: str) -> bool:
    """Whether the leaf was issued to this identity, as far as its serial tells."""
    return version.serial % (1 << TAG_BITS) == tag(spiffe_id)


@dataclass(frozen=True, slots=True)
class Slot:
    """One stream's leaf."""

    spiffe_id: str
    version: LeafVersion
    taken_at: datetime
    """Time of day when the leaf was issued, or was reported and kept."""
    taken_monotonic: float
    """The same moment on the monotonic clock."""
    renew_at: float
    """When it is due, on the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The client's own leaf stays; nothing is sent."""

    version: str
    renew_at: float


@dataclass(frozen=True, slots=True)
class Withheld:
    """No leaf can be sent now; `problem` says why. It is tried again by itself."""

    problem: Problem
