"""When a leaf is renewed: pure rules of the two clocks, which are arguments here.

A leaf is renewed near half of its life. The moment is fixed on the monotonic clock when the leaf is
issued or kept, so that setting the time of day, either way, makes no leaf due and none overdue. The
time of day decides only what is written into a new leaf and whether a leaf is valid at all.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from controlplane.identity.slots import TAG_BITS, LeafVersion, Slot, belongs_to

BACKDATE: Final = timedelta(hours=25)
"""notBefore lies this long before the issue: a clock set back by a day, here or at a peer, leaves
every leaf valid. Part of what a version means: a version's moment of issue is notBefore plus this.
"""
JITTER: Final = 0.2
"""A renewal comes up to this part of the half life early, never late: a leaf that reconnects with
less than half of its life behind it has then been renewed at most once too often."""
JUMP: Final = timedelta(minutes=1)
"""The clocks disagree when the time of day moved this much more or less than the monotonic one."""
RETRY: Final = 30.0
"""Seconds until a leaf that could not be issued is tried again."""

_SPREAD = 1 << 16


def _chance(version: LeafVersion) -> float:
    """0 to 1, the same for the same leaf everywhere: from the random part of its serial."""
    return ((version.serial >> (TAG_BITS + 1)) % _SPREAD) / _SPREAD


def validity(now: datetime, lifetime: timedelta) -> tuple[datetime, datetime]:
    """notBefore and notAfter of a leaf issued at `now`, in whole seconds."""
    now = now.replace(microsecond=0)
    return now - BACKDATE, now + lifetime


def issued_at(version: LeafVersion) -> datetime:
    """The moment of issue, from the version alone."""
    return version.not_before + BACKDATE


def half_life(version: LeafVersion) -> datetime:
    """The middle between issue and notAfter."""
    issued = issued_at(version)
    return issued + (version.not_after - issued) / 2


def renewal(version: LeafVersion) -> datetime:
    """Half life less jitter. The jitter comes from the serial, so every replica finds the same."""
    issued = issued_at(version)
    return issued + (half_life(version) - issued) * (1 - JITTER * _chance(version))


def renew_at(version: LeafVersion, now: datetime, monotonic: float, lifetime: timedelta) -> float:
    """When to renew, on the monotonic clock: never before now and never later than half of the
    lifetime that is set now, whatever a reported version claims."""
    wait = (renewal(version) - now).total_seconds()
    return monotonic + min(max(wait, 0.0), lifetime.total_seconds() / 2)


def may_keep(version: LeafVersion, spiffe_id: str, issuers: Collection[str], now: datetime) -> bool:
    """Whether a reconnecting client keeps the leaf it reports. A false version harms only its
    sender, who goes on with a leaf that its peers refuse."""
    if version.issuer not in issuers or not belongs_to(version, spiffe_id):
        return False
    return is_valid(version, now) and now < half_life(version)


def is_valid(version: LeafVersion, now: datetime) -> bool:
    """Whether the time of day lies within the leaf's validity."""
    return version.not_before <= now < version.not_after


def drift(slot: Slot, now: datetime, monotonic: float) -> timedelta:
    """How much further the time of day has moved than the monotonic clock since the leaf was taken:
    positive when it was set forward."""
    return (now - slot.taken_at) - timedelta(seconds=monotonic - slot.taken_monotonic)
