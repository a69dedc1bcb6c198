"""Virtual hosts of the proxy's route tables.

All names of one Service port are one virtual host, shared by the sidecars of a namespace, or of all
namespaces when nothing differs (`attached.view`). Names that lead nowhere get a host of their own
that says why, so that a retry asks nothing again.
"""

from controlplane.graph import Reader, query
from controlplane.translate import mesh
from controlplane.translate.authority import (
    DEFAULT_PORT,
    MALFORMED,
    Authority,
    Dead,
    Outside,
    Refused,
    resolve,
)
from controlplane.translate.routes import port_routes
from controlplane.translate.scope import PortRef
from controlplane.translate.services import service_at, shape
from xds.ir.connect import CONNECT
from xds.ir.route import Backend, Forward, Match, Respond, Route, VirtualHost
from xds.names import outside, refused_host, routes


@query
def domains(q: Reader, view: str, ref: PortRef) -> tuple[str, ...]:
    """Every authority that means a Service port to clients of a view.

    A virtual address counts only for the Service that `service_at` gives for it: of two with one
    address, one has it, or the table would have a domain twice and be refused whole.
    """
    svc, ns, domain = ref.service, ref.namespace, mesh.cluster_domain(q)
    hosts = [f"{svc}.{ns}", f"{svc}.{ns}.svc", f"{svc}.{ns}.svc.{domain}"]
    if view == ns:
        hosts.insert(0, svc)
    service = shape(q, ref.key)
    hosts.extend(
        f"[{address}]" if ":" in address else address
        for address in (service.addresses if service else ())
        if service_at(q, address) == ref.key
    )
    return _with_port(tuple(hosts), ref.port)


def _with_port(hosts: tuple[str, ...], port: int) -> tuple[str, ...]:
    named = tuple(f"{host}:{port}" for host in hosts)
    return (*named, *hosts) if port == DEFAULT_PORT else named


@query
def port_host(q: Reader, view: str, ref: PortRef) -> VirtualHost:
    """The virtual host of a Service port."""
    name = routes(ref.namespace, ref.service, ref.port)
    return VirtualHost(name, domains(q, view, ref), port_routes(q, view, ref))


@query
def outside_host(q: Reader, host: str, port: int) -> VirtualHost:
    """The virtual host of a host outside the mesh: forwarded as it is."""
    cluster = outside(host, port)
    shown = str(Authority(host, None))
    route = Route("outside", Match(), Forward((Backend(cluster),)))
    return VirtualHost(cluster, _with_port((shown,), port), (route, CONNECT))


@query
def dead_host(q: Reader, dead: Dead) -> VirtualHost | None:
    """The virtual host of an authority that leads nowhere: every request gets the reason. None
    for a malformed one.

    Where the authority leads somewhere by now, the host still answers, with 503: its stream is
    about to get the right one.
    """
    meaning = resolve(q, dead.namespace, dead.authority)
    if meaning == MALFORMED:
        return None
    reply = Respond(503, f"plait: {dead.authority} has just become known; ask again\n")
    if isinstance(meaning, Refused):
        reply = Respond(meaning.status, f"plait: {meaning.text}\n")
    route = Route("refused", Match(), reply)
    return VirtualHost(refused_host(dead.authority), (dead.authority,), (route, CONNECT))


def host_of(q: Reader, view: str, target: PortRef | Outside | Dead) -> VirtualHost | None:
    """The virtual host of a destination for clients of a view."""
    match target:
        case PortRef():
            return port_host(q, view, target)
        case Outside():
            return outside_host(q, target.host, target.port)
        case _:
            return dead_host(q, target)
