"""Which pods belong to a Service, and what that says about its clusters.

Protocol and identities come from all pods, leaving ones included, and never from those that are
ready at the moment: otherwise a restart would change a cluster under the requests in flight.
"""

from controlplane.graph import Reader, query
from controlplane.translate.instances import Member, member, pod_at
from controlplane.translate.services import shape
from controlplane.world.rows import Key, Labels
from controlplane.world.schema import PODS_BY_LABEL, SLICES_OF, selector_bucket


@query
def selected(q: Reader, cluster: str, namespace: str, selector: Labels) -> tuple[Key, ...]:
    """Pods of a namespace that carry every pair of a selector, by key; none for an empty one."""
    if not selector:
        return ()
    wanted = set(selector)
    rows = q.find(PODS_BY_LABEL, selector_bucket(namespace, selector))
    return tuple(
        row.key for row in rows if row.key.cluster == cluster and wanted.issubset(row.labels)
    )


@query
def sliced(q: Reader, key: Key) -> tuple[Key, ...]:
    """Pods named by a Service's EndpointSlices, by targetRef or by address."""
    found = {
        pod
        for row in q.find(SLICES_OF, key)
        for endpoint in row.endpoints
        if (pod := endpoint_pod(q, key.cluster, endpoint.target, endpoint.addresses)) is not None
    }
    return tuple(sorted(found))


def endpoint_pod(q: Reader, cluster: str, target: str, addresses: tuple[str, ...]) -> Key | None:
    """The pod behind a slice's endpoint: its targetRef if it has one, else the address's owner."""
    if target:
        namespace, _, name = target.partition("/")
        key = Key(cluster, namespace, name)
        if member(q, key) is not None:
            return key
    return pod_at(q, addresses[0]) if addresses else None


@query
def pods_of(q: Reader, key: Key) -> tuple[Key, ...]:
    """Every pod of a Service, leaving ones included, by key."""
    service = shape(q, key)
    if service is None or service.external_name:
        return ()
    chosen = selected(q, key.cluster, key.namespace, service.selector)
    if not q.find(SLICES_OF, key):
        return chosen
    return tuple(sorted({*chosen, *sliced(q, key)}))


@query
def members(q: Reader, key: Key) -> tuple[Member, ...]:
    """The distinct (namespace, account, meshed) of a Service's pods, sorted."""
    found = {m for pod in pods_of(q, key) if (m := member(q, pod)) is not None}
    return tuple(sorted(found))


@query
def all_meshed(q: Reader, key: Key) -> bool:
    """Whether every pod of a Service has a sidecar; true where there is none."""
    return all(m.meshed for m in members(q, key))


@query
def accounts(q: Reader, key: Key) -> tuple[tuple[str, str], ...]:
    """(namespace, account) of a Service's pods that have a sidecar, sorted."""
    return tuple(sorted({(m.namespace, m.account) for m in members(q, key) if m.meshed}))
