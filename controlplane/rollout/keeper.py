"""Who answers for secrets. The rollout knows no certificates; it passes on what streams ask."""

from typing import Protocol

from controlplane.rollout.member import Member


class SecretKeeper(Protocol):
    """Wishes a stream's secrets: its own leaf, the roots of its trust domain, nothing else."""

    def subscribed(self, member: Member, names: tuple[str, ...]) -> None:
        """The stream asked for these secrets."""

    def admitted(self, member: Member) -> None:
        """The stream's workload became known, or is another: answer what was asked before."""

    def tick(self, now: float) -> bool:
        """Renew some of what is due at monotonic ``now``; whether more is."""

    def forget(self, member: Member) -> None:
        """The stream has ended."""
