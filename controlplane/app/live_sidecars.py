"""Live answers about sidecars: what each holds, and why. Never the wish as if Envoy held it."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.api.problem import ObjectRef, Source
from controlplane.app import views
from controlplane.app.inspect import Refused, not_found
from controlplane.app.live_parts import LiveParts
from controlplane.graph import AnyNode, Step
from controlplane.rollout.blame import behind
from controlplane.rollout.eviction import exhausted
from controlplane.rollout.member import Member
from controlplane.rollout.ondemand import owner_of
from controlplane.rollout.proxyless import is_proxyless
from controlplane.rollout.verdicts import Rejected
from controlplane.translate.workloads import Capture, workload
from controlplane.world.rows import Key
from controlplane.world.schema import PODS
from xds import types
from xds.serve.report import ResourceState
from xds.wire.dump import readable
from xds.wire.resource import Resource

JOINED = ("px", "pxfc", "fc")

STEP = 10
"""Sidecars that are summed up in one turn of the event loop."""
LISTED = 20
"""Objects of one index bucket that `why` names one by one."""


def text(moment: datetime) -> str:
    """RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def serial(number: int) -> str:
    """A certificate's number as Envoy prints it: lower-case hex, whole bytes."""
    digits = f"{number:x}"
    return digits.zfill(len(digits) + len(digits) % 2)


_PLACE = {type_url: n for n, type_url in enumerate(types.PUSH_ORDER)}


class Sidecars:
    """Reads the edge."""

    def __init__(self, parts: LiveParts) -> None:
        self._parts = parts

    def members(self) -> Iterable[Member]:
        """Connected sidecars, sorted by pod; the newest stream of each."""
        for key in sorted(self._parts.edge.members):
            streams = self._parts.edge.members[key]
            if streams:
                yield streams[-1]

    def member(self, namespace: str, pod: str) -> Member:
        """The stream of a pod. Refused 404."""
        for member in self.members():
            if (member.pod.namespace, member.pod.name) == (namespace, pod):
                return member
        key = Key(self._parts.settings.cluster, namespace, pod)
        if self._parts.graph.world.get(PODS, key) is None:
            raise not_found(f"pod {namespace}/{pod}", "See the pods with: meshctl proxy list")
        raise not_found(
            f"a connected sidecar of pod {namespace}/{pod}",
            f"Start it with: meshctl proxy run {pod} -n {namespace}",
        )

    async def proxies(self) -> views.Proxies:
        """A few of them in each turn of the event loop, which has streams to serve."""
        found: dict[Key, views.ProxySummary] = {}
        for number, member in enumerate(tuple(self.members()), 1):
            found[member.pod] = self.summary(member)
            if number % STEP == 0:
                await asyncio.sleep(0)
        for key, row in self._parts.graph.world.rows(PODS).items():
            if row.sidecar and key not in found:
                found[key] = views.ProxySummary(
                    pod=f"{key.name}.{key.namespace}", workload=row.owner, connected=False
                )
        return views.Proxies(tuple(found[key] for key in sorted(found)))

    def summary(self, member: Member) -> views.ProxySummary:
        reports = self._reports(member)
        states = [state for _, state in reports]
        deliveries = [self._standing(stream, state)[0] for stream, state in reports]
        clock = self._parts.clock
        age = clock.monotonic() - member.opened
        expires = getattr(member.session.principal, "expires_at", None)
        leaf = self._parts.secrets.version(member)
        work = member.workload
        return views.ProxySummary(
            pod=member.label,
            workload=work.owner if work else "",
            connected=True,
            since=text(clock.now() - timedelta(seconds=age)),
            node=member.session.node.id if member.session.node else "",
            capture=(work.capture if work else Capture.PROXY).value,
            resources=sum(1 for state in states if state.wish),
            acked=deliveries.count(views.Delivery.ACKED),
            waiting=deliveries.count(views.Delivery.WAITING)
            + deliveries.count(views.Delivery.SENT)
            + deliveries.count(views.Delivery.REMOVING),
            rejected=deliveries.count(views.Delivery.REJECTED),
            expires=""
            if expires is None
            else text(clock.now() + timedelta(seconds=expires - clock.monotonic())),
            learnt=len(self._parts.learnt.of(owner_of(member))) if work else 0,
            promoted=len(self._parts.edge.eviction.destinations(member)),
            asked=member.promotions.questions,
            exhausted=exhausted(member),
            memory=self._parts.edge.eviction.memory(member.pod),
            acked_ago=None
            if member.acked_at is None
            else round(clock.monotonic() - member.acked_at, 1),
            serial=serial(leaf.serial) if leaf else "",
            not_after=text(leaf.not_after) if leaf else "",
            not_after_in=round((leaf.not_after - clock.now()).total_seconds()) if leaf else None,
        )

    def evict(
        self, namespace: str, pod: str, destinations: Sequence[str], idle: float | None
    ) -> views.Eviction:
        member = self.member(namespace, pod)
        done = self._parts.edge.eviction.evict(member, destinations, idle)
        self._parts.signal.bump()
        kept = tuple(views.KeptDestination(*each) for each in done.kept)
        return views.Eviction(member.label, done.evicted, kept, done.unknown)

    def counts(self) -> views.SidecarCounts:
        connected = current = rejecting = 0
        refusing = {record.pod for record in self._parts.verdicts.rejected()}
        for member in self.members():
            connected += 1
            if member.label in refusing:
                rejecting += 1
            elif member.workload is not None and all(
                stream.session.settled for stream in self._streams(member)
            ):
                current += 1
        return views.SidecarCounts(connected, current, connected - current - rejecting, rejecting)

    # --- one sidecar ---------------------------------------------------------------------------

    def config(self, namespace: str, pod: str, *, bodies: bool) -> views.ProxyConfig:
        member = self.member(namespace, pod)
        resources = tuple(
            self._resource(stream, state, bodies=bodies) for stream, state in self._reports(member)
        )
        return views.ProxyConfig(self.summary(member), resources)

    def _streams(self, member: Member) -> tuple[Member, ...]:
        """The stream of a sidecar; of an application all: gRPC opens one for each target."""
        if not is_proxyless(member):
            return (member,)
        return tuple(self._parts.edge.members.get(member.pod, (member,)))

    def _reports(self, member: Member) -> list[tuple[Member, ResourceState]]:
        """Every resource once, in push order, from the stream that is behind with it, if one is."""
        streams = self._streams(member)
        if len(streams) == 1:
            return [(member, state) for state in self._states(member)]
        found: dict[tuple[int, str], tuple[Member, ResourceState]] = {}
        for stream in streams:
            for state in self._states(stream):
                key = (_PLACE.get(state.type_url, len(_PLACE)), state.name)
                known = found.get(key)
                if known is None or known[1].acked == known[1].wish:
                    found[key] = (stream, state)
        return [found[key] for key in sorted(found)]

    def _states(self, member: Member) -> tuple[ResourceState, ...]:
        """The stream's report, and what it does without because its only version was rejected."""
        states = member.session.report()
        known = {(state.type_url, state.name) for state in states}
        missing = [
            ResourceState(
                record.type_url, record.name, True, record.rejection.part.version, "", "", ""
            )
            for record in self._parts.verdicts.rejected()
            if (record.type_url, record.name) not in known and _concerns(record, member)
        ]
        if not missing:
            return states
        return tuple(
            sorted((*states, *missing), key=lambda s: (_PLACE.get(s.type_url, len(_PLACE)), s.name))
        )

    def _standing(self, member: Member, state: ResourceState) -> tuple[views.Delivery, str]:
        """How far a resource has come, and Envoy's reason if it refused it."""
        nack = state.nacked or self._verdict(member, state)
        return (views.Delivery.REJECTED if nack else _delivery(state)), nack

    def _resource(
        self, member: Member, state: ResourceState, *, bodies: bool
    ) -> views.ResourceView:
        delivery, nack = self._standing(member, state)
        held = self._held(member, state) if bodies else None
        return views.ResourceView(
            type=types.SHORT.get(state.type_url, state.type_url),
            name=state.name,
            state=delivery,
            asked=state.asked,
            wish=state.wish,
            sent=state.sent,
            acked=state.acked,
            nack=nack,
            objects=self._objects(member, state),
            body=readable(held) if held is not None else None,
        )

    def _verdict(self, member: Member, state: ResourceState) -> str:
        """Envoy's reason for refusing the version that the graph wishes, when there is one."""
        for record in self._parts.verdicts.rejected():
            same = (record.type_url, record.name) == (state.type_url, state.name)
            if same and _concerns(record, member):
                return record.rejection.reason
        return ""

    def _held(self, member: Member, state: ResourceState) -> Resource | None:
        """The bytes of the version that Envoy accepted, where they are still known."""
        if state.type_url == types.SECRET or not state.acked:
            return None
        wish = member.session.wishes(state.type_url).get(state.name)
        if wish is not None and wish.version == state.acked and wish.entry:
            return wish
        composition = member.compositions.get((state.name, state.acked))
        return composition.resource if composition is not None else None

    def _objects(self, member: Member, state: ResourceState) -> tuple[ObjectRef, ...]:
        return behind(self._parts.graph, self.nodes(member, state.type_url, state.name))

    def nodes(self, member: Member, type_url: str, name: str) -> tuple[AnyNode, ...]:
        """The graph's nodes behind a resource of a stream; several for joined routes."""
        if type_url == types.ROUTE and name in JOINED:
            return tuple(member.hosts)
        hold = member.holds.get((type_url, name))
        return (hold[1],) if hold is not None else ()

    # --- why -----------------------------------------------------------------------------------

    def why(self, type_url: str, name: str, pod: tuple[str, str] | None) -> views.Why:
        found: dict[tuple[AnyNode, ...], list[Member]] = {}
        for member in self.members() if pod is None else (self.member(*pod),):
            for stream in self._streams(member):
                nodes = self.nodes(stream, type_url, name)
                if nodes:
                    found.setdefault(nodes, []).append(stream)
        kind = types.SHORT.get(type_url, type_url)
        if not found:
            raise not_found(
                f"{kind} {name}",
                "See what a sidecar holds with: meshctl proxy config POD -n NAMESPACE",
            )
        if len(found) > 1:
            pods = ", ".join(members[0].label for members in found.values())
            raise Refused(
                views.Failure(
                    f"{kind} {name} differs between sidecars",
                    f"Choose one of them with --pod: {pods}",
                ),
                409,
            )
        ((nodes, members),) = found.items()
        return views.Why(
            type=kind,
            name=name,
            version=members[0].session.acked(type_url).get(name, ""),
            tree=self._tree(name, nodes),
            pod=members[0].label if pod is not None else "",
            sidecars=len({each.pod for each in members}),
        )

    def _tree(self, name: str, nodes: tuple[AnyNode, ...]) -> views.WhyNode:
        trees = tuple(self._step(self._parts.graph.why(node)) for node in nodes)
        if len(trees) == 1 and name not in JOINED:
            return trees[0]
        changed = max((tree.changed for tree in trees), default=0)
        return views.WhyNode(f"{name} (joined)", "query", changed, children=trees)

    def _step(self, step: Step) -> views.WhyNode:
        ref: ObjectRef | None = None
        source: Source | None = None
        absent = False
        listed: tuple[views.WhyNode, ...] = ()
        kind = {"query": "query", "row": "object"}.get(step.kind, "lookup")
        if step.cell is not None and step.kind == "row" and isinstance(step.cell.key, Key):
            key = step.cell.key
            ref = ObjectRef(step.cell.source.name, key.namespace, key.name)
            table: Any = step.cell.source
            absent = self._parts.graph.world.get(table, key) is None
            source = None if absent else self._parts.source.find(ref)
        elif step.cell is not None and step.kind == "bucket":
            index: Any = step.cell.source
            rows = self._parts.graph.world.find(index, step.cell.key)
            absent = not rows
            listed = self._listed(index.table.name, [row.key for row in rows])
        return views.WhyNode(
            text=step.label,
            kind=kind,
            changed=step.changed_at,
            object=ref,
            source=source,
            absent=absent,
            repeated=step.repeated,
            children=listed or tuple(self._step(part) for part in step.parts),
        )

    def _listed(self, kind: str, keys: list[Key]) -> tuple[views.WhyNode, ...]:
        """The objects that an index read found."""
        found = []
        for key in keys[:LISTED]:
            ref = ObjectRef(kind, key.namespace, key.name)
            source = self._parts.source.find(ref)
            found.append(views.WhyNode(str(ref), "object", object=ref, source=source))
        if len(keys) > LISTED:
            found.append(views.WhyNode(f"and {len(keys) - LISTED} more", "object"))
        return tuple(found)

    def workload_exists(self, namespace: str, pod: str) -> bool:
        """Whether there is a Pod object."""
        key = Key(self._parts.settings.cluster, namespace, pod)
        return self._parts.graph.read(workload, key) is not None


def _concerns(record: Rejected, member: Member) -> bool:
    """Whether a rejection is of a resource as this stream would hold it, not of another alone."""
    if record.rejection.stream not in (None, member):
        return False
    hold = member.holds.get((record.type_url, record.name))
    return hold is not None and hold[1] is record.rejection.part.node


def _delivery(state: ResourceState) -> views.Delivery:
    return views.delivery(state.wish, state.sent, state.acked, state.nacked)
