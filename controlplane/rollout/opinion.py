"""Who is asked for a second opinion on a version that one stream alone has rejected.

A stream of another workload, because whoever controls one sidecar of a workload may control them
all; of another pod when one workload alone holds the resource. Two pods of one workload decide for
that one: whoever else comes to hold the resource is asked again.
"""

from controlplane.graph import AnyNode, Graph
from controlplane.rollout.member import Member
from controlplane.rollout.quarantine import Doubt
from xds import types


def judge(graph: Graph, node: AnyNode, doubt: Doubt) -> Member | None:
    """A stream that can try ``node``'s value now; ``None``: there is none."""
    first = doubt.first
    assert first is None or isinstance(first, Member)
    related: Member | None = None
    for stream in graph.streams(node):
        if not isinstance(stream, Member) or stream in doubt.silent:
            continue
        if first is None:
            if _can_try(stream, node):
                return stream
        elif stream.pod != first.pod:
            kindred = kin(stream, first)
            ask = not kindred or (related is None and doubt.seconded is None)
            if ask and _can_try(stream, node):
                if not kindred:
                    return stream
                related = stream
    return related


def kin(one: Member, other: Member) -> bool:
    """Whether two streams are of pods of one workload."""
    return _workload(one) == _workload(other)


def _workload(member: Member) -> tuple[str, str, str]:
    owner = member.workload.owner if member.workload is not None else ""
    return (member.pod.cluster, member.pod.namespace, owner)


def _can_try(member: Member, node: AnyNode) -> bool:
    """Whether the stream is served, knows the node, and has what may be referred to from there."""
    session = member.session
    if member.workload is None or session.ending is not None:
        return False
    if node in member.hosts:
        type_url, names = types.ROUTE, {str(member.mode.tables[0][0])}
    else:
        wanted = member.names.get(node, ())
        if not wanted:
            return False
        type_url, names = wanted[0].type_url, {each.name for each in wanted}
    # Envoy ignores, and acknowledges, what it has not subscribed to.
    asked = session.subscribed(type_url)
    if "*" not in asked and not names & asked:
        return False
    if type_url not in (types.LISTENER, types.ROUTE):
        return True
    return session.wishes(types.CLUSTER).keys() <= session.sent(types.CLUSTER).keys()
