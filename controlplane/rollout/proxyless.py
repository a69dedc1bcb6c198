"""Streams of gRPC's own client: what they hold follows from the listener names they subscribe to.

There is nothing that such a stream always holds, and no first contact: a target is a subscription,
and it ends with it. Belongs to the `Edge`.
"""

from collections.abc import Iterable
from typing import Any

from controlplane.graph import Change, Graph
from controlplane.rollout.member import Member, difference
from controlplane.translate.proxyless import Target, held_still, target
from controlplane.translate.scope import Wanted
from controlplane.translate.workloads import Capture
from xds import types
from xds.serve.session import Session

METADATA = "capture"
CERTIFICATES = "certificates"
"""Node metadata that the bootstrap sets: the client says what it is and has."""


def is_proxyless(member: Member) -> bool:
    """Whether a stream is that of an application. The pod's manifest says so; so may the client
    itself, in a pod that has a sidecar too: it only decides in which form it is answered."""
    work = member.workload
    return _metadata(member.session).get(METADATA) == Capture.PROXYLESS or (
        work is not None and work.capture is Capture.PROXYLESS
    )


def settle(graph: Graph, member: Member) -> list[Change]:
    """Bring the nodes of a stream's targets in line with its subscription."""
    work = member.workload
    assert work is not None
    names = sorted(member.session.subscribed(types.LISTENER) - {"*"})
    gone, new = difference(member.targets, names)
    for name in gone:
        graph.unsubscribe(member, member.targets.pop(name))
    secure = _secure(member)
    for name in new:
        member.targets[name] = graph.subscribe(
            member, target, work.namespace, name, work.scope, work.zone, secure
        )
    return graph.settle(only=list(member.targets.values()))


def desired(
    graph: Graph, member: Member, values: Iterable[Target | None]
) -> dict[tuple[str, str], Wanted]:
    """What the stream is to hold: for its targets, and what it still subscribes to otherwise."""
    found = {
        (each.type_url, each.name): each
        for value in values
        if value is not None
        for each in value.needs
    }
    work = member.workload
    assert work is not None
    for type_url in (types.CLUSTER, types.ENDPOINT):
        for name in member.session.subscribed(type_url):
            if (type_url, name) in found:
                continue
            args = (type_url, name, work.scope, work.zone, _secure(member))
            wanted: Wanted | None = graph.read(held_still, *args)
            if wanted is not None:
                found[type_url, name] = wanted
    return found


def release(graph: Graph, member: Member) -> None:
    """Drop the subscriptions to targets."""
    for node in member.targets.values():
        graph.unsubscribe(member, node)
    member.targets = {}


def _secure(member: Member) -> bool:
    return _metadata(member.session).get(CERTIFICATES) is True


def _metadata(session: Session) -> dict[str, Any]:
    return session.node.metadata if session.node else {}
