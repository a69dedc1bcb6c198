"""Root queries of what a sidecar in redirect mode always holds (`redirect`, `redirect_inbound`).

No pod is in their keys: sidecars share all of it but the inbound listener, and replicas that too.
"""

from datetime import timedelta
from typing import Final

from controlplane.graph import Reader, query
from controlplane.translate import mesh, redirect
from controlplane.translate.redirect_inbound import Profile, inbound_listener_of, profile
from controlplane.translate.scope import Wanted
from controlplane.translate.workloads import Workload
from xds import names, types
from xds.build import clusters as build_clusters
from xds.build import listeners as build_listeners
from xds.wire.resource import Resource

_NO_BUCKET: Final = timedelta(minutes=1)
"""For listeners that ask for nothing."""


@query
def outbound_listener(q: Reader, dual: bool) -> Resource:
    return build_listeners.listener(redirect.outbound_listener(q, dual), mesh.on_demand_bucket(q))


@query
def loop_listener(q: Reader) -> Resource:
    return build_listeners.listener(redirect.loop_listener(), _NO_BUCKET)


@query
def detect_listener(q: Reader) -> Resource:
    return build_listeners.listener(redirect.detect_listener(), _NO_BUCKET)


@query
def inbound_listener(q: Reader, made_of: Profile) -> Resource:
    return build_listeners.listener(inbound_listener_of(made_of), _NO_BUCKET)


@query
def passthrough_cluster(q: Reader) -> Resource:
    return build_clusters.cluster(redirect.passthrough_cluster())


@query
def inbound_cluster(q: Reader, http2: bool, dual: bool) -> Resource:
    return build_clusters.cluster(redirect.inbound_cluster(http2, dual))


def redirected(q: Reader, pod: Workload) -> tuple[Wanted, ...]:
    """Clusters and listeners of a sidecar in redirect mode; ``BlackHole`` and ``local``, which all
    sidecars hold, apart."""
    dual = redirect.has_ipv6(pod.addresses)
    made_of = profile(q, pod.key, pod.scope.trust_domain, dual)
    return (
        Wanted(types.CLUSTER, names.PASSTHROUGH, passthrough_cluster, ()),
        Wanted(types.CLUSTER, names.IN, inbound_cluster, (False, dual)),
        Wanted(types.CLUSTER, names.IN_HTTP2, inbound_cluster, (True, dual)),
        Wanted(types.LISTENER, names.OUTBOUND, outbound_listener, (dual,)),
        Wanted(types.LISTENER, names.LOOP, loop_listener, ()),
        Wanted(types.LISTENER, names.DETECT, detect_listener, ()),
        Wanted(types.LISTENER, names.IN, inbound_listener, (made_of,)),
    )
