"""Answers what sidecars ask for, remembers it, and takes asked-for names back."""

from collections.abc import Callable, Iterable, Mapping

from controlplane.graph import Failed, Graph
from controlplane.rollout.delivery import Delivery
from controlplane.rollout.learnt import Learnt
from controlplane.rollout.learnt_lines import Owner, Reference
from controlplane.rollout.member import Member
from controlplane.rollout.modes import POD_CEILING, REDIRECT, Answer, Found
from controlplane.rollout.promotion import Demand
from controlplane.translate.redirect_contact import Contact
from xds import types
from xds.build.clusters import asked_nothing
from xds.names import parse_asked
from xds.serve.lanes import Lane
from xds.serve.limits import Denied

Reconcile = Callable[[Member, Lane], None]
STANDING = 50_000
"""Most names of one stream whose buckets are not over, also of those that it has let go."""


def owner_of(member: Member) -> Owner:
    work = member.workload
    assert work is not None
    return Owner(work.namespace, work.owner)


def destination_of(target: str, found: Found | None) -> str:
    """The destination that a target is one name of: ``svc.ns:port``. A target that is no Service's,
    or one pod's own address, is a destination by itself."""
    if found is None or found.target is None:
        return target
    if isinstance(found, Contact) and found.pod is not None:
        return target
    return _named(Reference(found.target.namespace, found.target.service, found.target.port))


def _named(reference: Reference) -> str:
    return f"{reference.service}.{reference.namespace}:{reference.port}"


class OnDemand:
    """Owned by the edge."""

    def __init__(
        self, graph: Graph, learnt: Learnt, delivery: Delivery, reconcile: Reconcile
    ) -> None:
        self._graph = graph
        self._learnt = learnt
        self._delivery = delivery
        self._reconcile = reconcile

    def recall(self, member: Member) -> None:
        """Promote what the workload learnt before, but for what was evicted from this pod."""
        evicted = self._learnt.evicted(owner_of(member), member.pod.name)
        references = [
            each for each in self._learnt.of(owner_of(member)) if _named(each) not in evicted
        ]
        member.promotions.learnt(member.mode.learnt(self._graph, references))

    def started(self, member: Member, type_url: str, held: Mapping[str, str]) -> None:
        """A type's first request. In redirect mode it tells a start from a reconnect: a sidecar
        that starts is given what its workload learnt, one that reconnects shows what it has."""
        if member.mode is not REDIRECT:
            return
        if type_url == types.CLUSTER and not held:
            self.recall(member)
            self._reconcile(member, Lane.CONFIG)
        elif type_url == types.LISTENER and member.promotions.learnt(member.mode.held(held)):
            self._reconcile(member, Lane.CONFIG)

    def asked(self, member: Member, names: tuple[str, ...], first: bool, now: float) -> None:
        """The sidecar asks for clusters."""
        promotions = member.promotions

        def may_promote(target: str) -> bool:
            return self._may_promote(member, target)

        if first:
            done = self._learnt.done(owner_of(member), member.pod.name)
            versions = member.session.acked(types.CLUSTER)
            marks = self._learnt.evicted(owner_of(member), member.pod.name)

            def evicted(target: str) -> bool:
                return bool(marks) and self._destination(member, target) in marks

            demand = promotions.reconnected(names, versions, done, now, may_promote, evicted)
        else:
            demand = promotions.ask(names, now, may_promote)
        if promotions.asked > STANDING:
            raise Denied("RESOURCE_EXHAUSTED", f"over {STANDING} names were asked for just now")
        if demand.promote:
            self._remember(member, demand.promote)
        # Promoted or not, first contact has begun anew: its route table may have to grow.
        self._reconcile(member, Lane.DEMAND)
        self._answer(member, names, demand)

    def take_back(self, member: Member, now: float) -> None:
        """Remove names whose bucket is over and whose promotion was acknowledged."""

        def ready(target: str) -> bool:
            node = member.destinations.get(target)
            return node is None or self._delivery.promoted(member, node)

        names = member.promotions.finished(now, ready)
        if names:
            self._learnt.finish(owner_of(member), member.pod.name, names)
            for name in names:
                member.session.want(types.CLUSTER, name, None)
            self._reconcile(member, Lane.CONFIG)

    def held(self, member: Member) -> None:
        """Keep what a live stream holds from ageing."""
        found = (self._delivery.value(node) for node in member.destinations.values())
        self._learnt.held(owner_of(member), _references(found))

    def _may_promote(self, member: Member, target: str) -> bool:
        """Pods by address are promoted up to a ceiling: a scraper touches every pod there is."""
        found = self._found(member, target)
        if not isinstance(found, Contact):
            return True
        if found.kind == "outside":
            return False
        if found.pod is None or target in member.destinations:
            return True
        return self._pods(member) < POD_CEILING

    def _pods(self, member: Member) -> int:
        found = (self._delivery.value(node) for node in member.destinations.values())
        return sum(1 for each in found if isinstance(each, Contact) and each.pod is not None)

    def _found(self, member: Member, target: str) -> Found | None:
        """What a target leads to; ``None`` when its query failed: that is a bug of ours, and must
        cost this destination alone, not the stream."""
        assert member.workload is not None
        part = member.mode.part(member.workload, target)
        try:
            found: Found = self._graph.read(part.query, *part.args)
        except Failed:
            return None
        return found

    def _answer(self, member: Member, names: tuple[str, ...], demand: Demand) -> None:
        assert member.workload is not None
        mode, promotions = member.mode, member.promotions
        for asked in demand.answer:
            found = self._found(member, promotions.target(asked))
            self._want(member, str(asked), mode.answer(member.workload, str(asked), found))
        for asked in demand.direct:
            found = self._found(member, promotions.target(asked))
            answer = mode.direct(str(asked), found)
            if answer is None:
                answer = mode.answer(member.workload, str(asked), found)
            self._want(member, str(asked), answer)
        for asked in demand.refuse:
            self._want(member, str(asked), Answer(asked_nothing(str(asked))))
        known = {str(each) for each in (*demand.answer, *demand.direct, *demand.refuse)}
        held = member.session.acked(types.CLUSTER)
        for name in names:
            parsed = parse_asked(name)
            if name in known or name not in held or parsed is None:
                continue
            # Answered before this stream; what it holds is right until its bucket is over.
            found = self._found(member, promotions.target(parsed))
            self._want(member, name, mode.answer(member.workload, name, found))

    def _want(self, member: Member, name: str, answer: Answer) -> None:
        member.session.want(
            types.CLUSTER, name, answer.cluster, Lane.DEMAND, endpoints=answer.endpoints
        )

    def _destination(self, member: Member, target: str) -> str:
        return destination_of(target, self._found(member, target))

    def _remember(self, member: Member, targets: Iterable[str]) -> None:
        """Note what a workload learnt, before the bytes leave. Unknown names are not kept."""
        if self._learnt.evicted(owner_of(member), member.pod.name):
            asked = [self._destination(member, target) for target in targets]
            self._learnt.asked(owner_of(member), member.pod.name, asked)
        for reference in _references(self._found(member, target) for target in targets):
            self._learnt.learn(owner_of(member), reference)


def _references(found: Iterable[Found | None]) -> list[Reference]:
    return [
        Reference(each.target.namespace, each.target.service, each.target.port)
        for each in found
        if each is not None and each.target is not None
    ]
