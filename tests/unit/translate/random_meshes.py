"""A tiny key space of objects in many variants, so that edits collide, dangle and come back."""

from collections.abc import Hashable
from typing import Any

from hypothesis import strategies as st

from controlplane.graph import Graph
from controlplane.translate.problems import KINDS, problems
from controlplane.translate.redirect_contact import Contact, contact
from controlplane.translate.redirect_contact import answer as answer_of
from controlplane.translate.resources import Destination, destination, fixed, workload
from controlplane.translate.scope import LEVEL, Scope
from controlplane.translate.simulate import simulate
from controlplane.world.intake import Taken
from controlplane.world.rows import Key
from tests.unit.translate.meshes import (
    CLUSTER,
    backend,
    endpoint,
    own,
    pod,
    redirected,
    route,
    rows,
    service,
    slice_of,
)

TCP = {"name": "tcp", "port": 9000}
BARE = {"port": 80, "targetPort": 8080}
NAMED = {"name": "grpc", "port": 80, "targetPort": "http"}
FORWARDS = {"mesh.plait.dev/tcp-forwards": "5000:b:9000, 8080:a:80, x"}
CLIENT = Key(CLUSTER, "shop", "a-1")


def _services() -> list[list[dict[str, Any]]]:
    return [
        [
            service("a"),
            service("a", BARE, address="10.96.0.1"),
            service("a", NAMED, TCP, selector={"app": "a", "version": "v1"}),
            service("a", external="a.example.com"),
            service("a", annotations={"mesh.plait.dev/x": "y"}),
            service("a", address="None"),
            service("a", TCP, BARE, address="None", selector={"app": "b"}),
        ],
        [service("b"), service("b", TCP, address="10.96.0.1"), service("b", selector={"app": "a"})],
        [service("c", namespace="other"), service("c", BARE, namespace="other")],
    ]


def _pods() -> list[list[dict[str, Any]]]:
    v1, v2 = {"app": "a", "version": "v1"}, {"app": "a", "version": "v2"}
    return [
        [
            pod("a-1", "10.0.0.1", labels=v1, annotations=FORWARDS),
            pod("a-1", "10.0.0.1", labels=v1, ready=False),
            pod("a-1", "10.0.0.1", labels={"app": "b"}, account="other"),
            redirected("a-1", "10.0.0.1", labels=v1, ports=[("http", 8080), ("", 9000)]),
            redirected("a-1", "10.0.0.1", "fd00::1", labels=v1, annotations=FORWARDS),
        ],
        [
            pod("a-2", "10.0.0.2", labels=v2),
            pod("a-2", "10.0.0.2", labels=v2, sidecar=False),
            pod("a-2", "10.0.0.1", labels=v1, deleting=True),
            pod("a-2", "10.0.0.2", labels=v2, ports=[("", 9000), ("http", 15080)]),
        ],
        [
            slice_of("a", endpoint("10.0.0.1", target="a-1"), endpoint("10.0.0.2")),
            slice_of("a", endpoint("10.0.0.2", ready=False, terminating=True)),
            slice_of("a", endpoint("10.0.0.1", zones=("z1",)), endpoint("10.0.0.9", zones=("z2",))),
            slice_of("b", endpoint("10.0.0.9")),
        ],
    ]


def _routes() -> list[list[dict[str, Any]]]:
    split = {"name": "split", "backendRefs": [backend("a", 1), backend("b", 3)]}
    lost = {"backendRefs": [backend("a", 1), backend("gone", 1)]}
    match = {"matches": [{"path": {"value": "/x"}}, {"method": "GET"}]}
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}
    return [
        [
            route("r1", "a", split),
            route("r1", "a", {**match, **lost}),
            route("r1", "b", {"backendRefs": [backend("b", 0)]}),
            route("r1", "a", {"filters": [redirect]}),
        ],
        [
            route("r2", "a", {**match, "backendRefs": [backend("b", 1, 9000)]}),
            route("r2", "gone", split),
            route("r2", "a", {**match, **split, "timeouts": {"request": "3s"}}),
        ],
        [
            route("r3", "a", {"backendRefs": [backend("c")]}, namespace="other"),
            route("r3", "a", split, namespace="other", parent_namespace="shop"),
        ],
    ]


def _policies() -> list[list[dict[str, Any]]]:
    on_a = {"targetRefs": [{"kind": "Service", "name": "a"}]}
    on_rule = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r1"}
    on_rule["sectionName"] = "split"
    limits = {"circuitBreakers": {"maxRequests": 7}}
    hashed = {"algorithm": "Maglev", "hashOn": [{"source": "Header", "name": "x"}]}
    shift = {"targetRef": {"name": "a"}}
    weights = [{"name": "a", "weight": 1}, {"name": "b", "weight": 3}]
    lost = [{"name": "a", "weight": 1}, {"name": "gone", "weight": 1}]
    root = "plait-system"
    return [
        [
            own("TrafficPolicy", "t1", {**on_a, **limits}),
            own("TrafficPolicy", "t1", limits),
            own("TrafficPolicy", "t1", {**on_a, "loadBalancing": hashed}),
        ],
        [
            own("TrafficPolicy", "t0", {**on_a, "circuitBreakers": {"maxRequests": 9}}),
            own("RoutePolicy", "p", {"timeout": "2s"}),
            own("RoutePolicy", "p", {**on_a, "retry": {"attempts": 2}}),
            own("RoutePolicy", "p", {"fault": {"abort": {"status": 503, "percent": 1}}}),
            own("RoutePolicy", "p", {"targetRefs": [on_rule], "timeout": "1s"}),
        ],
        [
            own("TrafficShift", "s", {**shift, "weights": weights}),
            own("TrafficShift", "s", {**shift, "weights": lost}),
            own("TrafficShift", "s", {"targetRef": {"name": "b"}, "weights": weights}),
        ],
        [
            own("MutualTLS", "m", {"mode": "Strict"}),
            own("MutualTLS", "m", {"mode": "Strict", "selector": {"matchLabels": {"app": "a"}}}),
            own("MutualTLS", "m", {"mode": "Strict"}, root),
        ],
        [
            own("MeshConfig", "default", {"outside": "Refuse"}, root),
            own("MeshConfig", "default", {"meshRanges": ["10.0.0.0/8", "fd00::/8"]}, root),
            own("MeshConfig", "default", {"trustDomain": "x.example", "clusterDomain": "x"}, root),
        ],
    ]  # fmt: skip


OBJECTS: list[list[Taken]] = [
    [rows(variant)[0] for variant in variants]
    for variants in (*_services(), *_pods(), *_routes(), *_policies())
]
"""Places, each with variants of one object (now and then of two that exclude each other)."""

CHOICES = [(place, i) for place, variants in enumerate(OBJECTS) for i in range(-1, len(variants))]
EDITS = st.lists(st.lists(st.sampled_from(CHOICES), min_size=1, max_size=6), max_size=8)
"""Transactions of (place, variant); -1 deletes what the place may hold."""

AUTHORITIES = [
    ("shop", "a"), ("shop", "a.shop.svc:9000"), ("shop", "b:9000"), ("shop", "10.96.0.1"),
    ("shop", "b"), ("other", "a.shop"), ("other", "c"), ("other", "a"), ("shop", "api.example.com"),
]  # fmt: skip
CONTACTS = [
    ("shop", "10.96.0.1", 80), ("other", "10.96.0.1", 80), ("shop", "10.96.0.1", 9000),
    ("shop", "10.0.0.1", 8080), ("other", "10.0.0.1", 9000), ("shop", "10.0.0.2", 80),
    ("shop", "10.0.0.9", 8080), ("shop", "fd00::1", 8080), ("shop", "192.0.2.1", 443),
]  # fmt: skip
PODS = [Key(CLUSTER, "shop", name) for name in ("a-1", "a-2", "gone")]
SCOPES = [Scope("", "cluster.local", LEVEL), Scope("", "x.example", LEVEL)]


def contacts(
    graph: Graph, found: dict[Hashable, Any], scope: Scope, zone: str
) -> list[tuple[Any, tuple[Any, ...]]]:
    """Add what redirected connections lead to; returns further queries."""
    parts: list[tuple[Any, tuple[Any, ...]]] = []
    for where in CONTACTS:
        asked: Contact = graph.read(contact, *where, scope, zone)
        found[*where, scope, zone] = asked
        found["answer", *where, scope, zone] = answer_of(asked, "f|x|1")
        parts.extend((wanted.query, wanted.args) for wanted in asked.needs)
        if asked.fragment:
            parts.append(asked.fragment)
    return parts


def everything(graph: Graph) -> dict[Hashable, Any]:
    """The value of every root query that these authorities and pods lead to, and all problems."""
    found: dict[Hashable, Any] = {}
    parts: list[tuple[Any, tuple[Any, ...]]] = []
    for scope in SCOPES:
        for zone in ("", "z1"):
            for namespace, authority in AUTHORITIES:
                args = (namespace, authority, scope, zone)
                answer: Destination = graph.read(destination, *args)
                found[args] = answer
                parts.append(answer.fragment)
                parts.extend((wanted.query, wanted.args) for wanted in answer.needs)
            parts += contacts(graph, found, scope, zone)
    for each in PODS:
        found["workload", each] = graph.read(workload, each)
        found["fixed", each] = wanted_of = graph.read(fixed, each)
        parts.extend((wanted.query, wanted.args) for wanted in wanted_of)
    for query, arguments in parts:
        found[query.__name__, arguments] = graph.read(query, *arguments)
    for kind in KINDS:
        for variants in OBJECTS:
            for row in variants:
                if row.table.name == kind:
                    found[kind, row.key] = graph.read(problems, kind, row.key)
    for namespace, authority in AUTHORITIES:
        if namespace == "shop":
            args = (CLIENT, authority, "GET", "/x?q=1", (("x", "1"),))
            found["simulate", args] = graph.read(simulate, *args)
    return found
