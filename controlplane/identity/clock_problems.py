"""What an operator is told when the clock and the certificates disagree. Pure.

Certificates are judged by the time of day, on every machine by its own. Three things go wrong: the
authority is not valid now (nothing can be issued), leaves in hand are not valid now (handshakes
fail until they are renewed), and the clock was set while leaves were in hand (harmless as long as
they are valid: renewal follows the monotonic clock).
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.identity import rotate, spiffe
from controlplane.identity.ca import Authority
from controlplane.identity.slots import Slot

_MESH = ObjectRef("MeshConfig", "plait-system", "default")
_SET_CLOCK = "Check the clock of this machine (date -u; is NTP running?)"


def of_authority(authority: Authority, spiffe_id: str, now: datetime) -> Problem | None:
    """Why no leaf of `authority` would be valid at `now`; ``None`` when one would."""
    if authority.not_before <= now < authority.not_after:
        return None
    account = spiffe.parse(spiffe_id)
    about = ObjectRef("ServiceAccount", account.namespace, account.account) if account else _MESH
    validity = f"{_text(authority.not_before)} to {_text(authority.not_after)}"
    return Problem(
        about,
        Reason.CLOCK,
        f"no certificate is sent: the clock says {_text(now)}, and the authority is valid from"
        f" {validity}",
        f"{_SET_CLOCK}. If it is right, the authority has run out: replace it",
    )


def in_hand(slots: Iterable[Slot], now: datetime, monotonic: float) -> list[Problem]:
    """Problems of the leaves that streams hold: at most one, for all of them together."""
    held = list(slots)
    invalid = [slot for slot in held if not rotate.is_valid(slot.version, now)]
    jumps = [rotate.drift(slot, now, monotonic) for slot in held]
    jump = max(jumps, key=abs, default=timedelta())
    moved = f"the clock was set by {_signed(jump)} since they were issued" if _jumped(jump) else ""
    if invalid:
        because = f": {moved}" if moved else ""
        return [
            Problem(
                _MESH,
                Reason.CLOCK,
                f"{len(invalid)} of {len(held)} certificates in use are invalid at"
                f" {_text(now)}{because}",
                f"{_SET_CLOCK}. If it is right, run meshctl certs rotate --all;"
                " open connections go on, new ones fail until then",
            )
        ]
    if not moved:
        return []
    count = sum(_jumped(each) for each in jumps)
    return [
        Problem(
            _MESH,
            Reason.CLOCK,
            f"{count} of {len(held)} certificates in use: {moved}; they are valid, and renewed by"
            " elapsed time",
            f"{_SET_CLOCK}. This passes when they have been renewed",
            severity=Severity.WARNING,
        )
    ]


def _jumped(drift: timedelta) -> bool:
    return abs(drift) > rotate.JUMP


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _signed(delta: timedelta) -> str:
    seconds = round(delta.total_seconds())
    hours, rest = divmod(abs(seconds), 3600)
    return f"{'+' if seconds > 0 else '-'}{hours}h{rest // 60:02d}m"
