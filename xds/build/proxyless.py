"""Resources for gRPC's own xDS client, which knows less than Envoy and wants some of it otherwise.

An API listener instead of a bound one; paths on whole segments as regular expressions; timeouts as
``max_stream_duration``; retries by gRPC status; one transport socket per cluster, with certificates
from a provider of the client's bootstrap; localities with a weight. Faults are as in Envoy. What it
does not know (header edits, rewrites, outlier detection by consecutive errors) it ignores, and it
is left out here.
Sources: gRFC A27, A28, A29, A31, A33, A42, A44, A101.
"""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final
from warnings import catch_warnings, simplefilter

from envoy_data_plane.envoy.config.cluster.v3 import (
    Cluster,
    ClusterDiscoveryType,
    ClusterEdsClusterConfig,
    ClusterLbPolicy,
)
from envoy_data_plane.envoy.config.core.v3 import Locality, TransportSocket
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.config.listener.v3 import ApiListener, Listener
from envoy_data_plane.envoy.config.route.v3 import (
    RetryPolicy,
    RetryPolicyRetryBackOff,
    RouteAction,
    RouteActionHashPolicy,
    RouteActionHashPolicyHeader,
    RouteActionMaxStreamDuration,
    RouteConfiguration,
    WeightedCluster,
    WeightedClusterClusterWeight,
)
from envoy_data_plane.envoy.config.route.v3 import Route as EnvoyRoute
from envoy_data_plane.envoy.config.route.v3 import VirtualHost as EnvoyHost
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateProviderPluginInstance,
    CertificateValidationContext,
    CommonTlsContext,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

from xds import types
from xds.build.balancing import breakers
from xds.build.config import ADS, address
from xds.build.endpoints import HEALTH
from xds.build.filters import fault
from xds.build.matches import prefix_of, route_match
from xds.build.tls import NOBODY
from xds.ir import cluster as ir
from xds.ir.endpoint import Endpoint as EndpointIr
from xds.ir.route import Backend, Forward, Match, PathRegex, Respond, Retry, Route
from xds.names import refused_host
from xds.wire.encode import encode, pack
from xds.wire.resource import Resource, make

PROVIDER: Final = "default"
"""Certificate provider instance that a bootstrap with certificates defines."""
RETRIABLE: Final = frozenset(
    ("cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable")
)
"""What gRPC reads of ``retry_on`` (gRFC A44)."""
MOST_RETRIES: Final = 4
"""gRPC makes five attempts at most."""

_HTTP_FAILURES: Final = frozenset(("5xx", "gateway-error", "reset"))
_UNAVAILABLE_STATUS: Final = frozenset((429, 502, 503, 504))
"""What gRPC calls ``unavailable`` when a proxy answers it (gRPC over HTTP, status mapping)."""
_ROUTER: Final = HttpFilter(name="envoy.filters.http.router", typed_config=pack(Router()))


def api_listener(name: str, routes: str) -> Resource:
    """What the target ``xds:///name`` starts from; ``routes``: name of its route configuration."""
    manager = HttpConnectionManager(
        rds=Rds(config_source=ADS, route_config_name=routes), http_filters=[fault.FILTER, _ROUTER]
    )
    listener = Listener(name=name, api_listener=ApiListener(api_listener=pack(manager)))
    return make(types.LISTENER, name, encode(listener))


def route_table(name: str, routes: Iterable[Route]) -> Resource:
    """The routes of one target, whatever authority it is called by. A route that no call of gRPC
    can match is left out."""
    found = [made for route in routes if (made := _route(route)) is not None]
    host = EnvoyHost(name=name, domains=["*"], routes=found)
    return make(types.ROUTE, name, encode(RouteConfiguration(name=name, virtual_hosts=[host])))


def refusals(routes: Iterable[Route]) -> tuple[str, ...]:
    """The texts that some routes answer with. gRPC knows no direct response, so each is the name
    of a cluster and an assignment without endpoints, which its error shows (`refused_cluster`)."""
    texts = (refusal(route.action) for route in routes if isinstance(route.action, Respond))
    return tuple(sorted(set(texts)))


def refusal(reply: Respond) -> str:
    """The text of one."""
    return " ".join(reply.body.split()) or f"refused with status {reply.status}"


def refused_cluster(text: str) -> Resource:
    """A cluster that fails every call with ``text``."""
    name = refused_host(text)
    return make(types.CLUSTER, name, encode(_eds(name, name)))


def refused_assignment(text: str) -> Resource:
    """Its load assignment: gRPC says "EDS resource <name>: contains no localities"."""
    return assignment(refused_host(text), ())


def cluster(source: ir.EdsCluster | ir.DnsCluster) -> Resource:
    """The cluster of a Service port; with ``tls`` mutual TLS to all of its endpoints."""
    if isinstance(source, ir.DnsCluster):
        return make(types.CLUSTER, source.name, encode(_dns(source)))
    hashed = isinstance(source.balancing, ir.Hashed)
    message = _eds(
        source.name,
        source.endpoints,
        lb_policy=ClusterLbPolicy.RING_HASH if hashed else ClusterLbPolicy.ROUND_ROBIN,
        circuit_breakers=breakers(source.breakers),
        transport_socket=_tls(source.tls) if source.tls is not None else None,
    )
    return make(types.CLUSTER, source.name, encode(message))


def assignment(name: str, endpoints: Iterable[EndpointIr]) -> Resource:
    """A load assignment; the weight of a locality is that of its endpoints together."""
    places: dict[tuple[str, str], list[EndpointIr]] = {}
    for each in endpoints:
        if each.weight > 0:
            places.setdefault((each.region, each.zone), []).append(each)
    message = ClusterLoadAssignment(
        cluster_name=name,
        endpoints=[_locality(place, found) for place, found in sorted(places.items())],
    )
    return make(types.ENDPOINT, name, encode(message))


def _locality(place: tuple[str, str], endpoints: list[EndpointIr]) -> LocalityLbEndpoints:
    return LocalityLbEndpoints(
        locality=Locality(region=place[0], zone=place[1]),
        load_balancing_weight=sum(each.weight for each in endpoints),
        lb_endpoints=[
            LbEndpoint(
                endpoint=Endpoint(address=address(each.address, each.port)),
                health_status=HEALTH[each.health],
                load_balancing_weight=each.weight if each.weight != 1 else None,
            )
            for each in endpoints
        ],
    )


def _eds(name: str, endpoints: str, **more: Any) -> Cluster:
    return Cluster(
        name=name,
        type=ClusterDiscoveryType.EDS,
        eds_cluster_config=ClusterEdsClusterConfig(eds_config=ADS, service_name=endpoints),
        **more,
    )


def _dns(source: ir.DnsCluster) -> Cluster:
    only = LbEndpoint(endpoint=Endpoint(address=address(source.host, source.port)))
    return Cluster(
        name=source.name,
        type=ClusterDiscoveryType.LOGICAL_DNS,
        load_assignment=ClusterLoadAssignment(
            cluster_name=source.name, endpoints=[LocalityLbEndpoints(lb_endpoints=[only])]
        ),
    )


def _tls(source: ir.UpstreamTls) -> TransportSocket:
    """gRPC takes roots and certificate from its own providers."""
    provider = CertificateProviderPluginInstance(instance_name=PROVIDER)
    names = [StringMatcher(exact=peer) for peer in source.peers or (NOBODY,)]
    with catch_warnings():
        # Deprecated for Envoy, and the one list of names that gRPC reads (gRFC A29).
        simplefilter("ignore", DeprecationWarning)
        validation = CertificateValidationContext(
            ca_certificate_provider_instance=provider, match_subject_alt_names=names
        )
    context = UpstreamTlsContext(
        common_tls_context=CommonTlsContext(
            tls_certificate_provider_instance=provider,
            validation_context=validation,
        ),
        sni=source.sni,
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def _route(source: Route) -> EnvoyRoute | None:
    match = _callable(source.match)
    if match is None:
        return None
    more: dict[str, Any] = {}
    if isinstance(source.action, Respond):
        action = RouteAction(cluster=refused_host(refusal(source.action)))
    elif isinstance(source.action, Forward):
        used = tuple(each for each in source.action.backends if each.weight > 0)
        if not used:
            return None
        action = _forward(source.action, used)
        more = {"typed_per_filter_config": fault.of_route(source.action.fault)}
    else:
        return None
    return EnvoyRoute(name=source.name, match=route_match(match), route=action, **more)


def matches_calls(route: Route) -> bool:
    """Whether a call of gRPC can match a route."""
    return _callable(route.match) is not None


def _callable(match: Match) -> Match | None:
    """The match as gRPC understands it. A call is a POST without a query."""
    if match.query or match.method not in ("", "POST"):
        return None
    path = match.path
    if prefix := prefix_of(path):
        path = PathRegex(f"{re.escape(prefix)}(/.*)?")
    return Match(path, match.headers, share=match.share)


def _forward(source: Forward, used: tuple[Backend, ...]) -> RouteAction:
    target: dict[str, Any] = {"cluster": used[0].cluster}
    if len(used) > 1:
        weights = [
            WeightedClusterClusterWeight(name=each.cluster, weight=each.weight) for each in used
        ]
        target = {"weighted_clusters": WeightedCluster(clusters=weights)}
    return RouteAction(
        **target,
        max_stream_duration=_duration(source.timeout),
        retry_policy=None if source.retry is None else _retry(source.retry),
        hash_policy=[
            RouteActionHashPolicy(header=RouteActionHashPolicyHeader(header_name=each.name))
            for each in source.hash_on
            if each.kind == "header"
        ],
    )


def _duration(timeout: timedelta | None) -> RouteActionMaxStreamDuration | None:
    return RouteActionMaxStreamDuration(max_stream_duration=timeout) if timeout else None


def _retry(source: Retry) -> RetryPolicy | None:
    """Failures of HTTP are ``unavailable`` to gRPC; what never reached a server it tries again by
    itself. None where nothing is left to retry on."""
    asked = {part for condition in source.conditions for part in condition.split(",")}
    conditions = asked & RETRIABLE
    if asked & _HTTP_FAILURES or _UNAVAILABLE_STATUS.intersection(source.status_codes):
        conditions |= {"unavailable"}
    if not conditions or source.attempts < 1:
        return None
    return RetryPolicy(
        retry_on=",".join(sorted(conditions)),
        num_retries=min(source.attempts, MOST_RETRIES),
        retry_back_off=RetryPolicyRetryBackOff(
            base_interval=source.backoff_base, max_interval=source.backoff_max
        ),
    )
