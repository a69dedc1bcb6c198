"""A slot is what one stream holds of us: whose leaf, which one, and when it is due again.

A leaf is named by its version, ``leaf|<issuer key id>|<serial>|<notBefore>|<notAfter>`` (serial in
hex, times in Unix seconds). Envoy keeps the version and reports it when it reconnects, so any
replica knows from the name alone whether the leaf is good and when to renew it. Slots hold no keys.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

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
