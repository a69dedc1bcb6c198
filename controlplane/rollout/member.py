"""One sidecar's stream as the rollout sees it: who it is, what it is to hold, what it was sent.

Belongs to the `Edge`; no decisions are taken here. Wire names are the stream's, nodes the graph's:
two streams may hold different bytes under one name, and one node may serve a thousand streams.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from controlplane.graph import AnyNode
from controlplane.rollout.joined import Composition
from controlplane.rollout.modes import PROXY, Mode
from controlplane.rollout.promotion import Promotions
from controlplane.rollout.quarantine import Part
from controlplane.translate.resources import Workload
from controlplane.translate.scope import Wanted
from controlplane.world.rows import Key
from xds.serve.session import Session
from xds.wire.resource import Resource

COMPOSITIONS = 64
"""Joined route configurations that are remembered until their ACK, trials apart; more are never in
flight."""


@dataclass(eq=False, slots=True)
class Member:
    """A connected sidecar. ``opened`` is monotonic seconds."""

    session: Session
    pod: Key
    account: str
    """The account that the stream's token was issued to."""
    opened: float
    mode: Mode = PROXY
    promotions: Promotions = field(default_factory=lambda: Promotions(0.0))
    """Both are those of the workload once it is known."""
    workload: Workload | None = None
    workload_node: AnyNode | None = None
    fixed_node: AnyNode | None = None
    destinations: dict[str, AnyNode] = field(default_factory=dict)
    """Nodes of promoted targets."""
    targets: dict[str, AnyNode] = field(default_factory=dict)
    """Of an application without a sidecar: nodes of the targets it subscribes to."""
    holds: dict[tuple[str, str], tuple[Wanted, AnyNode]] = field(default_factory=dict)
    """What the stream is to hold, by (type URL, name)."""
    names: dict[AnyNode, tuple[Wanted, ...]] = field(default_factory=dict)
    """The same by node."""
    hosts: dict[AnyNode, tuple[str, ...]] = field(default_factory=dict)
    """Virtual host fragments, each with the clusters it needs."""
    compositions: OrderedDict[tuple[str, str], Composition] = field(default_factory=OrderedDict)
    """Joined route configurations by (name, version)."""
    trials: dict[Part, Resource] = field(default_factory=dict)
    """Resources under bisection."""
    retained: dict[tuple[str, str], float] = field(default_factory=dict)
    """Clusters and assignments that nothing needs any more, and until when they are kept."""
    early: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)
    """Questions that came before the workload was known."""
    early_types: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """First requests that came before the workload was known, and what they report as held."""
    acked_at: float | None = None
    """When the stream last acknowledged anything, monotonic seconds."""
    left: bool = False
    """The stream has ended."""
    reported: str = ""
    """Leaf version that the client said it holds."""

    @property
    def label(self) -> str:
        """``POD.NAMESPACE``, as users write it."""
        return f"{self.pod.name}.{self.pod.namespace}"

    def remember(self, composition: Composition) -> None:
        """Keep what a joined configuration was made of until it is answered."""
        key = (composition.resource.name, composition.resource.version)
        self.compositions[key] = composition
        self.compositions.move_to_end(key)
        if len(self.compositions) > COMPOSITIONS:
            plain = [each for each, found in self.compositions.items() if not found.tried]
            for each in plain[:-COMPOSITIONS]:
                del self.compositions[each]

    def accepted(self, name: str, version: str) -> None:
        """A joined configuration was accepted: those before it are wanted no more. A trial that
        was accepted is what the sidecar holds."""
        found = self.compositions.get((name, version))
        if found is None:
            return
        for key in tuple(self.compositions):
            if key == (name, version):
                break
            if key[0] == name and not self.compositions[key].tried:
                del self.compositions[key]
        if found.tried:
            self.compositions[name, version] = replace(found, tried=())

    def refused(self, name: str, version: str) -> None:
        """A trial of a joined configuration was rejected, which is all that it was for."""
        found = self.compositions.get((name, version))
        if found is not None and found.tried:
            del self.compositions[name, version]

    def add(self, wanted: Wanted, node: AnyNode) -> None:
        self.holds[wanted.type_url, wanted.name] = (wanted, node)
        self.names[node] = (*self.names.get(node, ()), wanted)

    def drop(self, type_url: str, name: str) -> AnyNode:
        """Forget a resource; returns its node."""
        wanted, node = self.holds.pop((type_url, name))
        left = tuple(each for each in self.names[node] if each is not wanted)
        if left:
            self.names[node] = left
        else:
            del self.names[node]
        return node


def difference(
    held: Iterable[Any], desired: Iterable[Any]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """(to drop, to add) in the order given."""
    before, after = dict.fromkeys(held), dict.fromkeys(desired)
    return (
        tuple(each for each in before if each not in after),
        tuple(each for each in after if each not in before),
    )
