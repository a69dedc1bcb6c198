"""The compiled encoder against ``bytes(message)``, on messages as Plait sends them.

A cluster with mutual TLS, the HTTP proxy's listener, an assignment of 1,000 endpoints with
metadata and locality, a route table of 100 virtual hosts. Both encode the same message object, in
interleaved rounds; the bytes must be equal.
"""

import gc
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from statistics import median
from typing import Any

from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.envoy.config.listener.v3 import Listener as EnvoyListener
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration

from tests.bench.figures import Figure
from tests.fakes.delta_wire import decode_response
from xds.build import clusters, endpoints, listeners, routes
from xds.ir.cluster import CircuitBreakers, EdsCluster, OutlierDetection, UpstreamTls, Wire
from xds.ir.endpoint import Endpoint
from xds.ir.listener import Chain, Codec, Direction, Http, Listener
from xds.ir.route import Backend, Forward, Match, Route, RouteTable, VirtualHost
from xds.wire.encode import encode
from xds.wire.resource import Resource

ROUNDS = 12
FASTER = 30
ROUND_SECONDS = 0.02
"""Least time that one side of a round takes; short encodings are repeated."""


def cluster() -> Resource:
    tls = UpstreamTls("p80.reviews.shop.example.org", "example.org", ("spiffe://a/b/c",))
    return clusters.cluster(
        EdsCluster(
            "h|shop|reviews|80",
            "e|shop|reviews|80",
            Wire.HTTP2,
            tls,
            breakers=CircuitBreakers(100, 100, 1000, 3),
            outliers=OutlierDetection(consecutive_5xx=5),
        )
    )


def listener() -> Resource:
    http = Http("proxy", Codec.AUTO, "px", Direction.OUTBOUND, asks=True)
    source = Listener("proxy", "127.0.0.2", 15080, Direction.OUTBOUND, (Chain("proxy", http),))
    return listeners.listener(source, timedelta(minutes=1))


def assignment() -> Resource:
    found = tuple(
        Endpoint(f"10.0.{n // 250}.{n % 250}", 8080, region="eu", zone="eu-1", tls=True)
        for n in range(1000)
    )
    return endpoints.assignment("e|shop|reviews|80", [endpoints.fragment(found)])


def hosts() -> Resource:
    def host(number: int) -> VirtualHost:
        to = Forward((Backend(f"h|shop|svc-{number}|80"),))
        names = (f"svc-{number}.shop", f"svc-{number}.shop:80", f"svc-{number}.shop.svc")
        return VirtualHost(f"shop|svc-{number}|80", names, (Route("default", Match(), to),))

    return routes.route_table(RouteTable("px", tuple(host(number) for number in range(100))))


def once(work: Callable[[Any], bytes], message: Any, times: int) -> float:
    """Milliseconds of one encoding."""
    begun = time.perf_counter()
    for _ in range(times):
        work(message)
    return (time.perf_counter() - begun) / times * 1e3


def measured(name: str, message: Any, at_least: float | None) -> Figure:
    """The compiled encoder's time, with that of ``bytes()`` as the baseline."""
    assert encode(message) == bytes(message)
    times = [max(1, int(ROUND_SECONDS * 1e3 / once(work, message, 1))) for work in (encode, bytes)]
    pairs = [
        (once(encode, message, times[0]), once(bytes, message, times[1])) for _ in range(ROUNDS)
    ]
    ratio = median(ours / its for ours, its in pairs)
    return Figure(
        "encode",
        name,
        median(ours for ours, _ in pairs),
        "ms",
        median(its for _, its in pairs),
        ratio,
        None if at_least is None else f"{at_least:g} times faster",
        None if at_least is None else ratio * at_least <= 1,
    )


def main() -> Iterable[Figure]:
    cases: tuple[tuple[str, Resource, Any, float | None], ...] = (
        ("assignment of 1,000 endpoints", assignment(), ClusterLoadAssignment, FASTER),
        ("cluster", cluster(), Cluster, None),
        ("listener", listener(), EnvoyListener, None),
        ("100 virtual hosts", hosts(), RouteConfiguration, None),
    )
    for name, resource, kind, at_least in cases:
        message = kind.parse(decode_response(resource.entry).resources[0].body)
        gc.collect()
        yield measured(name, message, at_least)
