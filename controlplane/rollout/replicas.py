"""What the replicas of a workload hold in common, worked out for the first one that comes.

A fleet that starts brings many sidecars with the same learnt set: each would look up the same
nodes by the same names, and keep tuples of its own that say the same.
"""

from collections.abc import Hashable
from dataclasses import dataclass

from controlplane.graph import AnyNode, Graph
from controlplane.rollout.member import Member
from controlplane.translate.scope import Wanted

Kin = tuple[Hashable, ...]
"""Equal for sidecars whose destinations lead to the same."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a set of destinations leads to, as `Member` keeps it. Never changed in place."""

    destinations: dict[str, AnyNode]
    holds: dict[tuple[str, str], tuple[Wanted, AnyNode]]
    names: dict[AnyNode, tuple[Wanted, ...]]
    hosts: dict[AnyNode, tuple[str, ...]]


class Replicas:
    """Shares as of the graph's present revision; none outlives it."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._revision = -1
        self._shares: dict[Kin, Share] = {}

    def kin(self, member: Member, targets: tuple[str, ...]) -> Kin | None:
        """What ``member`` has in common with others if ``targets`` are the first that it is given;
        ``None`` when it must be looked at alone."""
        if not targets or member.destinations or member.retained or member.workload is None:
            return None
        if member.promotions.contacting() and not _lasting(member):
            return None
        work = member.workload
        return (member.mode.capture, work.namespace, work.scope, work.zone, targets)

    def find(self, kin: Kin | None) -> Share | None:
        """What another one was given at this revision."""
        if kin is None or self._revision != self._graph.revision:
            return None
        return self._shares.get(kin)

    def keep(self, kin: Kin, member: Member, own: frozenset[tuple[str, str]]) -> None:
        """Remember what ``member`` holds but for its ``own``."""
        if self._revision != self._graph.revision:
            self._shares.clear()
            self._revision = self._graph.revision
        holds = {key: hold for key, hold in member.holds.items() if key not in own}
        nodes = {node for _, node in holds.values()}
        names = {node: wanted for node, wanted in member.names.items() if node in nodes}
        self._shares[kin] = Share(dict(member.destinations), holds, names, member.hosts)

    def give(self, share: Share, member: Member) -> bool:
        """Let ``member`` hold ``share``; ``False``, and nothing is done, when it holds some of it
        for another reason."""
        if not member.holds.keys().isdisjoint(share.holds):
            return False
        if not member.names.keys().isdisjoint(share.names):
            return False
        join = self._graph.join
        for nodes in (share.destinations.values(), share.names, share.hosts):
            for node in nodes:
                join(member, node)
        member.destinations = dict(share.destinations)
        member.holds.update(share.holds)
        member.names.update(share.names)
        member.hosts = share.hosts
        return True


def _lasting(member: Member) -> bool:
    """Whether some route table holds more than destinations in first contact."""
    return not all(contact_only for _, contact_only in member.mode.tables)
