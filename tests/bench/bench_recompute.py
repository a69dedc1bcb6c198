"""One route change in a mesh of 10,000 services re-runs only its dependants.

Every cluster, assignment, virtual host and destination of the mesh is subscribed. What must be
touched follows from the mesh's shape: the virtual host and the destination of the one Service that
the route is attached to. How many queries must run is taken from a mesh that holds nothing but the
route's neighbourhood: the same number, whatever else there is. Counts are goals, times reported.
"""

import gc
import time
from collections.abc import Iterable, Iterator

from controlplane.api.base import Meta
from controlplane.api.gateway import BackendRef, HTTPRouteSpec, ParentRef, RouteRule
from controlplane.graph import AnyNode, Graph
from controlplane.translate import resources
from controlplane.translate.scope import LEVEL, PortRef, Scope
from controlplane.world.rows import (
    EndpointSlice,
    Key,
    Object,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
)
from controlplane.world.schema import ENDPOINT_SLICES, HTTP_ROUTES, SERVICES
from controlplane.world.transaction import Put
from tests.bench.figures import Figure, compared, note

SERVICE_COUNT = 10_000
NAMESPACES = 50
ENDPOINTS = 10
ROUTED = 5
"""Every fifth Service has a route, which splits its requests with the next Service but 49."""
ROUNDS = 20
PORT = 8080
SCOPE = Scope("", "cluster.local", LEVEL)
ROOTS_PER_SERVICE = 4
TOUCHED_ROOTS = 2
"""Roots that read a route: the virtual host and the destination of its one parent."""
CHANGED_ROOTS = 1
"""A weight moves requests between clusters that the destination needs anyway."""


def key(number: int, prefix: str = "s") -> Key:
    return Key("cluster", f"ns{number % NAMESPACES}", f"{prefix}-{number:05}")


def backend(number: int) -> int:
    """The other backend of a route: a Service of the same namespace."""
    return (number + NAMESPACES) % SERVICE_COUNT


def service(number: int) -> Put[Key, Service]:
    address = f"240.0.{number // 250}.{number % 250}"
    ports = (ServicePort(PORT, "http", app_protocol="http"),)
    row = Service(key(number), cluster_ips=(address,), ports=ports)
    return Put(SERVICES, row.key, row)


def endpoint_slice(number: int) -> Put[Key, EndpointSlice]:
    addresses = (f"10.{number % 250}.{number // 250}.{last}" for last in range(ENDPOINTS))
    endpoints = tuple(SliceEndpoint((address,)) for address in addresses)
    ports = (SlicePort(9000, "http"),)
    row = EndpointSlice(key(number), key(number).name, "IPv4", endpoints, ports)
    return Put(ENDPOINT_SLICES, row.key, row)


def route(number: int, weight: int) -> Put[Key, Object[HTTPRouteSpec]]:
    at = key(number, "r")
    first, second = key(number).name, key(backend(number)).name
    shares = (
        BackendRef(name=first, port=PORT, weight=100 - weight),
        BackendRef(name=second, port=PORT, weight=weight),
    )
    spec = HTTPRouteSpec(
        parent_refs=(ParentRef(group="", kind="Service", name=first),),
        rules=(RouteRule(backend_refs=shares),),
    )
    return Put(HTTP_ROUTES, at, Object(at, Meta(name=at.name, namespace=at.namespace), spec))


def mesh(numbers: Iterable[int], routed: Iterable[int]) -> Graph:
    """A settled graph of these Services and routes, everything subscribed by one stream."""
    graph = Graph()
    numbers = list(numbers)
    gc.disable()
    for make in (service, endpoint_slice):
        graph.apply([make(number) for number in numbers])
    graph.apply([route(number, 10) for number in routed])
    for number in numbers:
        ref = PortRef(*key(number), PORT)
        graph.subscribe("all", resources.service_cluster, ref, "h", SCOPE)
        graph.subscribe("all", resources.assignment, ref, SCOPE)
        graph.subscribe("all", resources.host_fragment, "", ref, SCOPE)
        graph.subscribe(
            "all", resources.destination, "client", f"{ref.service}.{ref.namespace}:{PORT}", SCOPE
        )
    graph.settle()
    gc.enable()
    gc.collect()
    gc.freeze()
    return graph


class Change:
    """One changed route: what it touched, and how long it took to the list of changed roots."""

    def __init__(self, graph: Graph, number: int, weight: int) -> None:
        runs = graph.metrics().runs
        edit = route(number, weight)
        begun = time.perf_counter()
        graph.apply([edit])
        self.marked = graph.pending
        changes = graph.settle()
        self.micros = (time.perf_counter() - begun) * 1e6
        self.changed = len(changes)
        self.runs = graph.metrics().runs - runs
        names = (key(number).name, key(number, "r").name)
        self.strangers = sum(
            not any(name in str(node) for name in names) for node in touched(graph)
        )


def touched(graph: Graph) -> Iterator[AnyNode]:
    """Nodes that the newest revision ran or verified."""
    for nodes in graph.engine.memo.values():
        yield from (node for node in nodes.values() if node.verified_at == graph.revision)


def exactly(metric: str, values: list[int], expected: int) -> Figure:
    """Every round must give the expected count; the value shown is the one furthest off."""
    worst = max(values, key=lambda value: abs(value - expected))
    met = worst == expected
    return Figure("recompute", metric, worst, "count", expected, goal=f"== {expected}", met=met)


def main() -> Iterable[Figure]:
    note(f"{SERVICE_COUNT} services, {ROOTS_PER_SERVICE * SERVICE_COUNT} subscribed resources")
    begun = time.perf_counter()
    large = mesh(range(SERVICE_COUNT), range(0, SERVICE_COUNT, ROUTED))
    loaded = time.perf_counter() - begun
    chosen = range(0, SERVICE_COUNT, 99 * ROUTED)[:ROUNDS]  # of all namespaces
    ours: list[Change] = []
    alone: list[Change] = []
    for number in chosen:
        small = mesh((number, backend(number)), (number,))
        alone.append(Change(small, number, 20))
        ours.append(Change(large, number, 20))
    yield exactly("resources marked by a route", [change.marked for change in ours], TOUCHED_ROOTS)
    yield exactly("resources changed", [change.changed for change in ours], CHANGED_ROOTS)
    yield exactly("results of other services touched", [change.strangers for change in ours], 0)
    (neighbourhood,) = {change.runs for change in alone}
    yield exactly("queries run", [change.runs for change in ours], neighbourhood)
    pairs = [(mine.micros, its.micros) for mine, its in zip(ours, alone, strict=True)]
    yield compared("recompute", "change to list, beside the neighbourhood alone", pairs, "us")
    yield Figure("recompute", "first evaluation of everything", loaded, "s")
