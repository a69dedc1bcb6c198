"""A small typed world for tests by example: services, routes, and settings that all read."""

from dataclasses import dataclass
from typing import NamedTuple

from controlplane.graph import Reader, query
from controlplane.world.tables import Index, Table


class Ref(NamedTuple):
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Service:
    port: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    parent: Ref
    weight: int = 1


SERVICES: Table[Ref, Service] = Table("Service")
ROUTES: Table[Ref, Route] = Table("Route")
SETTINGS: Table[str, str] = Table("Setting")
ROUTES_OF = Index("routes of", ROUTES, lambda route: (route.parent,))

WEB = Ref("shop", "web")
LEDGER = Ref("shop", "ledger")
RUNS: list[str] = []
"""Names of the queries that ran."""


@query
def service_port(q: Reader, ref: Ref) -> int | None:
    RUNS.append("service_port")
    service = q.get(SERVICES, ref)
    return None if service is None else service.port


@query
def tail(q: Reader) -> bytes:
    RUNS.append("tail")
    return (q.get(SETTINGS, "tail") or "").encode()


@query
def cluster(q: Reader, ref: Ref) -> bytes | None:
    RUNS.append("cluster")
    if (port := service_port(q, ref)) is None:
        return None
    return f"{ref.name}:{port}".encode() + tail(q)


@query
def routes(q: Reader, ref: Ref) -> bytes:
    RUNS.append("routes")
    return ",".join(f"{route.weight}" for route in q.find(ROUTES_OF, ref)).encode()
