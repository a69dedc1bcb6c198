"""ACKs and NACKs of all streams, turned into verdicts, last good versions and Problems.

Of a rejected version every stream keeps the predecessor: it is given the last version that some
Envoy accepted. What one stream alone rejects is first tried by a second one (`opinion`). The
objects to blame are those behind the resource that changed since its last accepted version.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from controlplane.api.problem import ObjectRef, Problem, Reason
from controlplane.graph import AnyNode, Graph
from controlplane.rollout.blame import behind, objects
from controlplane.rollout.joined import Fragment, fragment, stand_in_table
from controlplane.rollout.member import Member
from controlplane.rollout.modes import REDIRECT
from controlplane.rollout.opinion import judge, kin
from controlplane.rollout.quarantine import Choice, Doubt, Part, Quarantine, Rejection, Step
from controlplane.world.log import Forgotten
from controlplane.world.tables import Cell
from xds import types
from xds.wire.resource import Resource

Reoffer = Callable[[Iterable[AnyNode]], None]


PATIENCE = 60.0
"""Seconds within which a stream that bisects must have come further, and one that is asked for a
second opinion must have answered."""
LONGEST = 300.0
"""Seconds that a stream may bisect, however it comes forward; twenty times what a thousand trials
take."""
ASKED_AT_ONCE = 64
"""Doubts for which a stream is looked for in one tick."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One standing rejection, for people."""

    rejection: Rejection
    type_url: str
    name: str
    pod: str
    """The sidecar that refused, ``POD.NAMESPACE``."""
    objects: tuple[ObjectRef, ...]

    @property
    def node(self) -> AnyNode:
        """What made the rejected version."""
        return self.rejection.part.node  # type: ignore[return-value]  # parts are judged by node


class Verdicts:
    """Owned by the edge. ``try_hosts`` sends a bisection of virtual hosts (`Delivery`)."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._quarantine = Quarantine()
        self._good: dict[Hashable, Resource | Fragment] = {}
        self._good_at: dict[Hashable, int] = {}
        self._records: dict[Part, Rejected] = {}
        self._stalled: dict[tuple[Hashable, frozenset[Part]], float] = {}
        """Bisections as they stand, and since when they stand so, by the monotonic clock."""
        self._bisecting: dict[Hashable, float] = {}
        """Streams that bisect, and since when."""
        self._asked: dict[tuple[Part, Hashable], float] = {}
        """Who is asked for a second opinion, and since when."""
        self._turn = 0
        self.try_hosts: Callable[[Member, tuple[Part, ...]], None] = lambda *_: None

    # --- what a stream gets --------------------------------------------------------------------

    @property
    def calm(self) -> bool:
        """No version is suspected or rejected: every stream is given the present ones."""
        return self._quarantine.calm

    def resource(self, member: Member, node: AnyNode, value: Resource) -> Resource | None:
        """The version of a resource that this stream is given; ``None``: it must do without."""
        if self._quarantine.calm or (
            self._quarantine.choose(member, Part(node, value.version)) is Choice.USE
        ):
            return value
        good = self._good.get(node)
        if isinstance(good, Resource):
            return good
        held = member.session.acked(value.type_url).get(value.name)
        # What the client itself reported is its last good version, although its bytes are lost.
        if held:
            return Resource(value.type_url, value.name, held, b"")
        alone = value.type_url == types.ROUTE and member.mode is REDIRECT
        return stand_in_table(value.name) if alone else None

    def host(self, member: Member, node: AnyNode, value: Fragment) -> Fragment | None:
        """The same for a virtual host."""
        if self._quarantine.choose(member, Part(node, value.version)) is Choice.USE:
            return value
        good = self._good.get(node)
        if isinstance(good, Fragment) and good.version != value.version:
            return good
        return _own(member, node, value)  # others accept what this stream refuses

    # --- ACK and NACK --------------------------------------------------------------------------

    def acked(
        self,
        member: Member,
        type_url: str,
        resources: tuple[tuple[str, str], ...],
        reoffer: Reoffer,
    ) -> None:
        """A response was accepted."""
        if self._known(member, type_url, resources):
            return
        parts: list[Part] = []
        for name, version in resources:
            parts.extend(self._parts(member, type_url, name, version))
            if type_url == types.ROUTE:
                member.accepted(name, version)
        if self._all_known(member, parts):
            return
        if self._quarantine.dissents(member):
            self._recant(member, parts)
        fresh = [
            part for part in parts if not self._quarantine.approved(part) and not self._old(part)
        ]
        for part in fresh:
            self._remember(member, part)
        for part in parts:
            member.trials.pop(part, None)
        self._confirm(parts)
        if not fresh:
            return
        cleared = self._quarantine.accept(fresh, member)
        self._contradicted(cleared)
        if cleared:
            reoffer({part.node for part in cleared})  # type: ignore[misc]  # nodes

    def _known(self, member: Member, type_url: str, resources: tuple[tuple[str, str], ...]) -> bool:
        """Whether all is known that this ACK says: most ACKs come when others said the same."""
        if type_url == types.ROUTE or member.trials or self._quarantine.dissents(member):
            return False
        holds, good_at, revision = member.holds, self._good_at, self._graph.world.revision
        approves = self._quarantine.approves
        for name, version in resources:
            hold = holds.get((type_url, name))
            if hold is None:
                continue  # nothing of the graph: a secret, or no longer wanted
            node = hold[1]
            if good_at.get(node) != revision or not approves(node, version):
                return False
        return True

    def _all_known(self, member: Member, parts: list[Part]) -> bool:
        """The same for the virtual hosts of a joined table."""
        if member.trials or self._quarantine.dissents(member):
            return False
        good_at, revision, approved = self._good_at, self._graph.revision, self._quarantine.approved
        return all(good_at.get(part.node) == revision and approved(part) for part in parts)

    def nacked(
        self,
        member: Member,
        type_url: str,
        resources: tuple[Resource, ...],
        message: str,
        reoffer: Reoffer,
    ) -> None:
        """A response was rejected: try its halves, or reach a verdict."""
        parts: dict[Part, str] = {}
        for resource in resources:
            for part in self._parts(member, type_url, resource.name, resource.version, tried=True):
                parts[part] = resource.name
                member.trials[part] = resource
            if type_url == types.ROUTE:
                member.refused(resource.name, resource.version)
        if not parts:
            return
        step = self._quarantine.reject(member, parts, message)
        self._try(member, type_url, parts, step)
        for rejection in step.rejected:
            part = rejection.part
            if part not in self._records or rejection.stream is not None:
                self._records[part] = Rejected(
                    rejection, type_url, parts[part], member.label, self._suspects(part)
                )
            if self._quarantine.doubt(part) is not None:
                self._ask(part)
        reoffer({part.node for part in parts})  # type: ignore[misc]  # nodes

    def _try(self, member: Member, type_url: str, parts: dict[Part, str], step: Step) -> None:
        """Send what follows from a NACK, and keep what is needed for that alone."""
        # A joined table comes again by itself, without what is known to be bad.
        again = tuple(part for part in step.again if (type_url, parts[part]) in member.holds)
        for batch in (*step.trials, again):
            if batch and (type_url, parts[batch[0]]) not in member.holds:
                self.try_hosts(member, batch)
            elif batch:
                member.session.trial(type_url, partial(self._on_trial, member, batch))
        trying = {part for batch in (*step.trials, again) for part in batch}
        for part in parts:
            if part not in trying:
                member.trials.pop(part, None)

    def _on_trial(self, member: Member, batch: tuple[Part, ...]) -> list[Resource]:
        """What of a batch the stream is still to hold, when its turn comes."""
        found = []
        for part in batch:
            node: AnyNode = part.node  # type: ignore[assignment]
            if node in member.names and _version(node) == part.version and part in member.trials:
                found.append(member.trials[part])
            else:
                member.trials.pop(part, None)
        return found

    def left(self, member: Member, reoffer: Reoffer) -> None:
        """A stream has ended, and holds nothing any more; what it was bisecting is open again.

        So is what it alone rejected, and what nobody else holds: the next stream tries it, because
        the reason may have gone with the old one (a taken port).
        """
        freed = {part.node for part in self._quarantine.leave(member)}
        for part, record in tuple(self._records.items()):
            if record.rejection.stream is member or not self._graph.streams(record.node):
                self._quarantine.lift(part)
                del self._records[part]
        for part, doubt in self._quarantine.doubts().items():
            if doubt.first is None:
                self._records.pop(part, None)
            if doubt.judge is None and not self._ask(part) and doubt.first is None:
                self._quarantine.lift(part)
                freed.add(part.node)
        if freed:
            reoffer(freed)  # type: ignore[arg-type]  # nodes

    def tick(self, now: float, reoffer: Reoffer) -> None:
        """Take a bisection away from a stream that has made no progress for `PATIENCE`: a client
        that never answers its trials must not hold back what may be good from all the others. The
        same for second opinions, which another stream gives then."""
        held = self._quarantine.bisecting()
        self._stalled = {key: self._stalled.get(key, now) for key in held.items()}
        self._bisecting = {stream: self._bisecting.get(stream, now) for stream in held}
        for (stream, parts), since in tuple(self._stalled.items()):
            if now - since >= PATIENCE or now - self._bisecting[stream] >= LONGEST:
                self._quarantine.release(stream)
                reoffer({part.node for part in parts})  # type: ignore[misc]  # nodes
        doubts = self._quarantine.doubts()
        if doubts or self._asked:
            self._await(now, doubts, reoffer)

    # --- second opinions -----------------------------------------------------------------------

    def _ask(self, part: Part) -> bool:
        """Let another stream try what one alone has rejected; ``False``: nobody can."""
        node: AnyNode = part.node  # type: ignore[assignment]
        doubt = self._quarantine.doubt(part)
        if doubt is None or node.failure is not None or _version(node) != part.version:
            return False
        member = judge(self._graph, node, doubt)
        if member is None:
            return False
        related = isinstance(doubt.first, Member) and kin(member, doubt.first)
        self._quarantine.ask(part, member, kin=related)
        if isinstance(node.value, Resource):
            member.trials[part] = node.value
            trial = partial(self._on_trial, member, (part,))
            member.session.trial(node.value.type_url, trial)
        else:
            self.try_hosts(member, (part,))
        return True

    def _await(self, now: float, doubts: dict[Part, Doubt], reoffer: Reoffer) -> None:
        asked = ((part, doubt.judge) for part, doubt in doubts.items() if doubt.judge is not None)
        self._asked = {key: self._asked.get(key, now) for key in asked}
        for (part, stream), since in self._asked.items():
            node: AnyNode = part.node  # type: ignore[assignment]
            if now - since >= PATIENCE or stream not in self._graph.streams(node):
                self._quarantine.give_up(part)
        open_ = [part for part, doubt in doubts.items() if doubt.judge is None]
        self._turn = self._turn if self._turn < len(open_) else 0
        for part in islice(open_, self._turn, self._turn + ASKED_AT_ONCE):
            if not self._ask(part) and doubts[part].first is None:
                self._quarantine.lift(part)
                reoffer((part.node,))  # type: ignore[arg-type]  # a node
        self._turn += ASKED_AT_ONCE

    def _contradicted(self, parts: Iterable[Part]) -> None:
        """Some stream accepts what others refused: their verdicts are for themselves."""
        alone = {each.part: each for each in self._quarantine.rejections() if each.stream}
        for part in parts:
            if part in alone and part in self._records:
                self._records[part] = replace(self._records[part], rejection=alone[part])
            else:
                self._records.pop(part, None)

    def _recant(self, member: Member, parts: Iterable[Part]) -> None:
        """A stream accepts by now what it alone had refused (a port that was taken)."""
        for part in parts:
            if self._quarantine.alone(member, part):
                self._quarantine.recant(member, part)
                record = self._records.get(part)
                if record is not None and record.rejection.stream is member:
                    del self._records[part]

    def _old(self, part: Part) -> bool:
        """Whether others have accepted what came after this version: a stream that refuses the
        newer one goes on to accept the older, which says nothing about the newer."""
        node: AnyNode = part.node  # type: ignore[assignment]
        version = _version(node)
        return (
            version is not None
            and version != part.version
            and self._quarantine.approves(node, version)
        )

    def changed(self, node: AnyNode) -> None:
        """A node has a new value: verdicts on older ones lapse."""
        if node.failure is not None:
            return
        version = _version(node)
        if self._quarantine.forget(node, version) or self._records:
            for part in [p for p in self._records if p.node is node and p.version != version]:
                del self._records[part]

    def sweep(self) -> None:
        """Drop what belongs to nodes that no stream holds."""
        for node in [n for n in self._good if not self._graph.streams(n)]:  # type: ignore[arg-type]
            del self._good[node]
            self._good_at.pop(node, None)
            self._quarantine.forget(node, None)
            for part in [p for p in self._records if p.node is node]:
                del self._records[part]

    # --- for people ----------------------------------------------------------------------------

    def rejected(self) -> tuple[Rejected, ...]:
        """Standing rejections."""
        return tuple(self._records.values())

    def problems(self) -> tuple[Problem, ...]:
        """One Problem for each suspect object of each standing rejection."""
        found: list[Problem] = []
        for record in self._records.values():
            kind = types.SHORT.get(record.type_url, record.type_url)
            others = f" (one of {len(record.objects)} suspects)" if len(record.objects) > 1 else ""
            text = (
                f"Envoy of {record.pod} rejected {kind} {record.name}{others}: "
                f"{record.rejection.reason}"
            )
            remedy = "Sidecars keep the last good version; correct the object"
            if record.rejection.stream is not None:
                remedy = (
                    f"Others accepted it. The sidecar of {record.pod} keeps its last good version; "
                    "look for what is special about it"
                )
            found.extend(
                Problem(ref, Reason.REJECTED_BY_ENVOY, text, remedy) for ref in record.objects
            )
        return tuple(found)

    # --- parts ---------------------------------------------------------------------------------

    def _parts(
        self, member: Member, type_url: str, name: str, version: str, *, tried: bool = False
    ) -> tuple[Part, ...]:
        if type_url == types.ROUTE:
            composition = member.compositions.get((name, version))
            if composition is not None:
                return (composition.tried or composition.parts) if tried else composition.parts
        hold = member.holds.get((type_url, name))
        return (Part(hold[1], version),) if hold is not None else ()

    def _remember(self, member: Member, part: Part) -> None:
        node: AnyNode = part.node  # type: ignore[assignment]
        value = node.value
        if isinstance(value, Resource) and value.version == part.version:
            self._good[node] = value
        elif (trial := member.trials.get(part)) is not None and not isinstance(value, bytes):
            self._good[node] = trial
        elif isinstance(value, bytes):
            for composition in member.compositions.values():
                if (found := composition.fragments.get(part)) is not None:
                    self._good[node] = found
                    break
        if part.version == _version(node):
            self._good_at[node] = node.changed_at

    def _confirm(self, parts: Iterable[Part]) -> None:
        """What is accepted, and still is the node's value now, is good at this revision: nothing
        that changed before can be to blame for what comes next."""
        for part in parts:
            node: AnyNode = part.node  # type: ignore[assignment]
            good = self._good.get(node)
            if good is None or good.version != part.version or self._graph.is_pending(node):
                continue
            if (good.body if isinstance(good, Fragment) else good) is node.value:
                self._good_at[node] = self._graph.revision

    def _suspects(self, part: Part) -> tuple[ObjectRef, ...]:
        """Objects behind a node that changed since its last accepted version; all of them when
        nothing was accepted yet or the log does not reach back."""
        node: AnyNode = part.node  # type: ignore[assignment]
        cells: Iterable[Cell] = ()
        since = self._good_at.get(node)
        if since is not None:
            try:
                cells = self._graph.suspects(node, since)
            except Forgotten:
                cells = ()
        return objects(cells) or behind(self._graph, (node,))


def _own(member: Member, node: AnyNode, refused: Fragment) -> Fragment | None:
    """The last form of a virtual host that this stream itself has accepted."""
    table = member.mode.tables[0][0]
    version = member.session.acked(types.ROUTE).get(table, "")
    composition = member.compositions.get((table, version))
    for part, found in composition.fragments.items() if composition is not None else ():
        if part.node is node and part.version != refused.version and not found.stands_in:
            return found
    return None


def _version(node: AnyNode) -> str | None:
    """Version of a node's present value; ``None`` when it stands for nothing."""
    value: Any = node.value
    if isinstance(value, bytes):
        return fragment(value).version
    return value.version if isinstance(value, Resource) else None
