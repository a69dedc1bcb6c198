"""Takes destinations back from sidecars: those that are no longer used, and by hand.

A destination is a Service port with all the names and addresses that a sidecar knows it by; where
there is no Service, it is the target itself. It goes in the reverse order of its promotion: what
leads requests there first, its clusters when that has drained (`holdings.DRAIN`), unless another
destination needs them. Never before the bucket of its last question is over, or a sidecar would
have to ask under a name that it asked before, which Envoy does not. A cluster that several
destinations share is in use for all of them.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controlplane.graph import Graph
from controlplane.rollout.delivery import Delivery
from controlplane.rollout.idleness import Candidate, Policy, Usage, choose, is_tcp
from controlplane.rollout.learnt import Learnt
from controlplane.rollout.member import Member
from controlplane.rollout.modes import Found
from controlplane.rollout.ondemand import Reconcile, destination_of, owner_of
from controlplane.translate.mesh import on_demand_settings
from controlplane.translate.redirect_contact import Contact
from controlplane.world.rows import Key
from xds import types
from xds.names import PASSTHROUGH
from xds.serve.lanes import Lane
from xds.wire.metrics import Report

QUESTIONS = 5_000
"""Names that a sidecar may have asked for and still be relieved of destinations: each costs it
1.1 KB for as long as it runs."""

LOGGED = 10
"""Most destinations that one line of the log names."""

_log = logging.getLogger(__name__)


class State(NamedTuple):
    """One destination of a sidecar. ``used``: when it was last in use or promoted, monotonic.
    ``active``: open requests, or connections where it is TCP. ``asked``: the bucket of its last
    question is not over."""

    name: str
    targets: tuple[str, ...]
    used: float
    active: int
    tcp: bool
    asked: bool


class Kept(NamedTuple):
    """A destination that cannot be evicted now, and why."""

    name: str
    reason: str


class Outcome(NamedTuple):
    """``unknown``: what was named and is no destination of the sidecar."""

    evicted: tuple[str, ...]
    kept: tuple[Kept, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(slots=True)
class _Sidecar:
    """What is known of a pod's sidecar beside its streams, which come and go."""

    usage: Usage = field(default_factory=Usage)
    since: dict[str, float] = field(default_factory=dict)
    """When each target was promoted."""
    warned: bool = False

    def note(self, targets: Collection[str], now: float) -> None:
        """These are promoted now."""
        for target in targets:
            self.since.setdefault(target, now)
        for target in [each for each in self.since if each not in targets]:
            del self.since[target]


class Eviction:
    """Owned by the edge."""

    def __init__(
        self,
        graph: Graph,
        learnt: Learnt,
        delivery: Delivery,
        reconcile: Reconcile,
        monotonic: Callable[[], float],
    ) -> None:
        self._graph = graph
        self._learnt = learnt
        self._delivery = delivery
        self._reconcile = reconcile
        self._monotonic = monotonic
        self._sidecars: dict[Key, _Sidecar] = {}
        self._reports: dict[Key, None] = {}
        """Pods that have reported since the last `take_reports`."""
        self.evicted = 0
        """Destinations evicted since the start."""

    def reported(self, pod: Key, report: Report) -> None:
        """A message of a pod's sidecar; `look` is called for it next."""
        sidecar = self._sidecars.setdefault(pod, _Sidecar())
        sidecar.usage.report(report, self._monotonic())
        self._reports[pod] = None

    def take_reports(self) -> tuple[Key, ...]:
        """Pods that have reported since the last call."""
        found, self._reports = tuple(self._reports), {}
        return found

    def promoted(self, member: Member) -> None:
        """What a sidecar has promoted may have changed."""
        sidecar = self._sidecars.setdefault(member.pod, _Sidecar())
        sidecar.note(member.destinations, self._monotonic())

    def memory(self, pod: Key) -> int | None:
        """Bytes that a pod's sidecar has allocated, as it last said."""
        found = self._sidecars.get(pod)
        return found.usage.memory if found else None

    def look(self, member: Member) -> None:
        """Evict by the mesh's policy, once for each report."""
        sidecar = self._sidecars.get(member.pod)
        if sidecar is None or member.workload is None:
            return
        states = self.destinations(member)
        settings = self._graph.read(on_demand_settings)
        policy = Policy(settings.idle.total_seconds(), settings.floor, settings.ceiling)
        candidates = (Candidate(s.name, s.used, not s.active and not s.asked) for s in states)
        chosen = choose(candidates, policy, sidecar.usage.reported)
        if not chosen:
            return
        if exhausted(member):
            if not sidecar.warned:
                _log.warning(
                    "a sidecar has asked for too many names and keeps what it has; restart it",
                    extra={"pod": member.label, "names": member.promotions.questions},
                )
            sidecar.warned = True
            return
        by_name = {state.name: state for state in states}
        self._evict(member, [by_name[name] for name in chosen])

    def evict(self, member: Member, wanted: Iterable[str], idle: float | None = None) -> Outcome:
        """Evict destinations by hand, whatever the policy: those ``wanted``, each named as
        `State.name`, by one of its targets or without port; and those ``idle`` for so many
        seconds."""
        found: dict[str, State] = {}
        unknown: list[str] = []
        states = self.destinations(member)
        for text in wanted:
            matching = [state for state in states if _matches(state, text)]
            found.update((state.name, state) for state in matching)
            if not matching:
                unknown.append(text)
        reported = self._sidecars[member.pod].usage.reported
        if idle is not None and reported is not None:
            unused = (s for s in states if not s.active and not s.asked)
            found.update((s.name, s) for s in unused if reported - s.used >= idle)
        kept = [Kept(s.name, why) for s in found.values() if (why := self._needed(member, s))]
        going = [s for s in found.values() if s.name not in {each.name for each in kept}]
        self._evict(member, going)
        return Outcome(tuple(s.name for s in going), tuple(kept), tuple(unknown))

    def destinations(self, member: Member) -> tuple[State, ...]:
        """What a sidecar has learnt, sorted by name."""
        sidecar = self._sidecars.setdefault(member.pod, _Sidecar())
        sidecar.note(member.destinations, self._monotonic())
        clusters = {name for kind, name in member.holds if kind == types.CLUSTER}
        sidecar.usage.keep(clusters | {PASSTHROUGH})
        asked = member.promotions.contacting()
        groups: dict[str, list[tuple[str, Found]]] = {}
        for target, node in member.destinations.items():
            found: Found | None = self._delivery.value(node)
            if found is None:
                continue  # it cannot be told what is behind it, nor whether that is used
            groups.setdefault(destination_of(target, found), []).append((target, found))
        return tuple(_state(name, sidecar, groups[name], asked) for name in sorted(groups))

    def sweep(self, members: Mapping[Key, object]) -> None:
        """Forget sidecars that are gone."""
        for pod in [each for each in self._sidecars if each not in members]:
            del self._sidecars[pod]

    def _needed(self, member: Member, state: State) -> str:
        """Why a destination must stay for now."""
        sidecar = self._sidecars.get(member.pod)
        if exhausted(member):
            return f"the sidecar has asked for {QUESTIONS:,} names; restart it instead"
        if state.asked:
            return "it was asked for just now; try again when its time bucket is over"
        if state.tcp and (sidecar is None or sidecar.usage.reported is None):
            return "the sidecar has not reported yet whether connections are open"
        if state.tcp and state.active:
            connections = "connection" if state.active == 1 else "connections"
            return f"{state.active} open TCP {connections} would be cut"
        return ""

    def _evict(self, member: Member, states: Iterable[State]) -> None:
        going = list(states)
        if not going:
            return
        names = [state.name for state in going]
        self._learnt.evict(owner_of(member), member.pod.name, names)
        member.promotions.evict(target for state in going for target in state.targets)
        self._reconcile(member, Lane.CONFIG)
        self.evicted += len(going)
        shown = names[:LOGGED]
        _log.info(
            "evicted", extra={"pod": member.label, "count": len(names), "destinations": shown}
        )


def exhausted(member: Member) -> bool:
    """Whether a sidecar has asked for so many names that eviction would only add to them."""
    return member.promotions.questions >= QUESTIONS


def _state(
    name: str, sidecar: _Sidecar, parts: list[tuple[str, Found]], asked: frozenset[str]
) -> State:
    usage = sidecar.usage
    targets = tuple(target for target, _ in parts)
    clusters = {each for _, found in parts for each in _clusters(found)}
    used = [used for each in clusters if (used := usage.used(each)) is not None]
    return State(
        name,
        targets,
        max([*used, *(sidecar.since[target] for target in targets)]),
        sum(usage.active(each) for each in clusters),
        any(is_tcp(each) for each in clusters),
        any(target in asked for target in targets),
    )


def _clusters(found: Found) -> set[str]:
    """Names under which the clusters of a destination are counted. Those of `detect` count with
    the backend's own; pods without a sidecar have none but that of everything outside."""
    names = {each.name for each in found.needs if each.type_url == types.CLUSTER}
    names = {name for name in names if not name.startswith("d|")}
    if isinstance(found, Contact) and found.pod is not None and not names:
        return {PASSTHROUGH}
    return names


def _matches(state: State, text: str) -> bool:
    text = text.lower()
    names = (state.name, *state.targets)
    return text in names or any(name.rpartition(":")[0] == text for name in names)
