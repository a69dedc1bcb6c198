"""A golden case: ordinary manifests in, everything that translation makes of them out.

Every HTTP port of every Service is asked for from the Service's own namespace. Lines of the header
comment ask for more:

    # ask: NAMESPACE AUTHORITY      what a sidecar there gets for an authority
    # contact: NAMESPACE IP:PORT    what a redirected connection from there leads to
    # sidecar: POD.NAMESPACE        all that this pod's sidecar always holds
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from controlplane.graph import Graph, query
from controlplane.sources.manifests import load
from controlplane.translate import (
    clusters,
    hosts,
    inbound,
    outbound,
    redirect,
    redirect_contact,
    redirect_fixed,
    redirect_inbound,
    redirect_pods,
    redirect_promoted,
    redirect_resources,
    resources,
)
from controlplane.translate.endpoints import endpoints
from controlplane.translate.mesh import trust_domain
from controlplane.translate.problems import problems
from controlplane.translate.scope import LEVEL, PortRef, Scope, Wanted
from controlplane.translate.services import protocol
from controlplane.world.rows import Key
from controlplane.world.schema import SERVICES
from controlplane.world.transaction import Put
from tests.golden.plain import plain
from xds import types
from xds.build import listeners as build_listeners
from xds.build import routes as build_routes
from xds.ir.connect import CONNECT
from xds.ir.listener import Listener
from xds.names import AskedName, parse_socket
from xds.wire.dump import readable
from xds.wire.resource import Resource, make

CASES = Path(__file__).parent / "cases"
INPUT = "input.yaml"
CLUSTER = "default"
BUCKET = timedelta(minutes=1)
FILES = {
    types.CLUSTER: "clusters",
    types.ENDPOINT: "endpoints",
    types.LISTENER: "listeners",
    types.ROUTE: "tables",
}
"""Resource files by type; joined routes are virtual hosts, read back from their fragments."""


def names() -> list[str]:
    return sorted(path.name for path in CASES.iterdir() if path.is_dir())


@dataclass
class Case:
    """One case, loaded and translated."""

    name: str
    graph: Graph = field(default_factory=lambda: Graph(audit=True))
    ir: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    hosts: dict[str, Any] = field(default_factory=dict)
    held: dict[tuple[str, str], Resource] = field(default_factory=dict)
    """Everything that was produced, as it is sent; the virtual hosts are in ``fragments``."""
    fragments: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Virtual hosts by namespace of the client: one sidecar's table holds those of one."""
    contacts: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """The same for ``fc``."""
    answers: list[Resource] = field(default_factory=list)
    """Clusters under names that were asked for."""
    unbound: dict[str, Resource] = field(default_factory=dict)
    """Listeners on fixed ports, without their sockets: a test may not have the ports."""

    def files(self) -> dict[str, str]:
        """The texts of all golden files; a file for which nothing was produced is absent."""
        text = (CASES / self.name / INPUT).read_text()
        loaded = load(text, INPUT)
        self.graph.apply([Put(row.table, row.key, row.row) for row in loaded.rows])
        found = [str(problem) for problem in loaded.problems]
        for row in loaded.rows:
            problem = self.graph.read(problems, row.table.name, row.key)
            found.extend(f"{each.severity.value} {each.reason.value}: {each}" for each in problem)
        for namespace, authority in self._asks(text):
            self._ask(namespace, authority)
        for namespace, where in re.findall(r"^# contact: (\S+) (\S+)$", text, re.MULTILINE):
            self._contact(namespace, where)
        for pod in re.findall(r"^# sidecar: (\S+)$", text, re.MULTILINE):
            self._sidecar(pod)
        made: dict[str, Any] = {"ir": self.ir, "problems": found, "routes": self.hosts}
        for type_url, name in FILES.items():
            made[name] = self.resources.get(type_url, {})
        return {f"{name}.yaml": _dump(value) for name, value in made.items() if value}

    def _asks(self, text: str) -> Iterator[tuple[str, str]]:
        for key in sorted(self.graph.world.rows(SERVICES)):
            for port in self.graph.world.rows(SERVICES)[key].ports:
                ref = PortRef(*key, port.port)
                declared = self.graph.read(protocol, ref)
                if declared and declared.http:
                    yield key.namespace, f"{key.name}:{port.port}"
        for line in re.findall(r"^# ask: (\S+ \S+)$", text, re.MULTILINE):
            namespace, _, authority = line.partition(" ")
            yield namespace, authority

    def _ask(self, namespace: str, authority: str, zone: str = "") -> None:
        graph = self.graph
        scope = Scope("", graph.read(trust_domain), LEVEL)
        found = graph.read(resources.destination, namespace, authority, scope, zone)
        view, target, _ = found.fragment.args
        answer: dict[str, Any] = {"target": str(found.target)} if found.target else {}
        if found.reason:
            answer["reason"] = found.reason
        if view:
            answer["view"] = view
        if found.needs:
            answer["needs"] = [wanted.name for wanted in found.needs]
        self.ir.setdefault("destinations", {})[f"{namespace}: {authority}"] = answer
        host = graph.read(_host, view, target)
        if host is not None:
            label = _seen(host.name, view, target)
            self.ir.setdefault("hosts", {})[label] = _elided(plain(host))
            fragment = graph.read(resources.host_fragment, *found.fragment.args)
            assert fragment == build_routes.host_fragment(host)
            self.fragments.setdefault(namespace, {})[host.name] = fragment
            self.hosts[label] = _virtual_host(fragment)
        for wanted in found.needs:
            self._resource(wanted)

    def _contact(self, namespace: str, where: str) -> None:
        graph, place = self.graph, parse_socket(where)
        assert place is not None, where
        scope = Scope("", graph.read(trust_domain), LEVEL)
        found = graph.read(redirect_contact.contact, namespace, *place, scope)
        shown: dict[str, Any] = {"kind": found.kind, "answer": type(found.answer).__name__}
        if isinstance(found.answer, redirect_contact.Loop):
            shown["answer"] += f" {found.answer.port}"
        for name in ("reason", "target", "pod"):
            if value := getattr(found, name):
                shown[name] = str(value) if name != "pod" else f"{value.namespace}/{value.name}"
        shown["needs"] = [wanted.name for wanted in found.needs]
        self.ir.setdefault("contacts", {})[f"{namespace}: {where}"] = shown
        answer = redirect_contact.answer(found, str(AskedName("f", where, "1")))
        self.answers.append(answer)
        self.resources.setdefault(types.CLUSTER, {})[answer.name] = readable(answer)["resource"]
        if found.fragment:
            host = graph.read(redirect_promoted.contact_host, *found.fragment.args)
            fragment = graph.read(found.fragment.query, *found.fragment.args)
            assert fragment == build_routes.host_fragment(host)
            self.contacts.setdefault(namespace, {})[host.name] = fragment
            self.hosts[f"fc: {_seen(host.name, *found.fragment.args)}"] = _virtual_host(fragment)
        for wanted in found.needs:
            self._resource(wanted)

    def _sidecar(self, text: str) -> None:
        name, _, namespace = text.partition(".")
        pod = Key(CLUSTER, namespace, name)
        work = self.graph.read(resources.workload, pod)
        wanted = self.graph.read(resources.fixed, pod)
        self.ir.setdefault("sidecars", {})[text] = {
            "workload": plain(work),
            "fixed": [each.name for each in wanted],
        }
        for each in wanted:
            self._resource(each)

    def _resource(self, wanted: Wanted) -> None:
        found = self.graph.read(wanted.query, *wanted.args)
        assert found is not None, f"{wanted.name} is wanted and not there"
        assert (found.type_url, found.name) == (wanted.type_url, wanted.name)
        self.held[found.type_url, found.name] = found
        shown = _elided(readable(found)["resource"])
        name = wanted.name
        if wanted.type_url == types.ROUTE:
            name = _seen(name, *wanted.args[:2])
        self.resources.setdefault(wanted.type_url, {})[name] = shown
        if (value := self._ir(wanted)) is not None:
            section = self.ir.setdefault(FILES[wanted.type_url], {})
            section[name] = _elided(plain(value))
            if isinstance(value, Listener) and value.port in redirect.OWN_PORTS:
                loose = build_listeners.listener(replace(value, bind_to_port=False), BUCKET)
                self.unbound[value.name] = loose

    def _ir(self, wanted: Wanted) -> Any:
        graph, args = self.graph, wanted.args
        queries: dict[Any, Any] = {
            resources.service_cluster: clusters.service_cluster,
            resources.external_cluster: clusters.external_cluster,
            resources.outside_cluster: clusters.outside_cluster,
            resources.assignment: endpoints,
            resources.proxy_listener: outbound.proxy_listener,
            resources.loop_listener: outbound.loop_listener,
            resources.forward_listener: outbound.forward_listener_ir,
            resources.inbound_listener: inbound.inbound_listener_ir,
            resources.inbound_cluster: inbound.inbound_cluster_ir,
            redirect_fixed.outbound_listener: redirect.outbound_listener,
            redirect_resources.cluster_of_pods: redirect_pods.pods_cluster,
            redirect_resources.route_table: redirect_promoted.place_table,
        }
        pure: dict[Any, Any] = {
            redirect_fixed.loop_listener: redirect.loop_listener,
            redirect_fixed.detect_listener: redirect.detect_listener,
            redirect_fixed.inbound_listener: redirect_inbound.inbound_listener_of,
            redirect_fixed.passthrough_cluster: redirect.passthrough_cluster,
            redirect_fixed.inbound_cluster: redirect.inbound_cluster,
            redirect_resources.promoted_listener: redirect_promoted.listener_of,
        }
        if wanted.query in pure:
            return pure[wanted.query](*args)
        query = queries.get(wanted.query)
        return graph.read(query, *args) if query else None


@query
def _host(q: Any, view: str, target: Any) -> Any:
    return hosts.host_of(q, view, target)


def _seen(name: str, view: str, place: Any) -> str:
    """Two namespaces may have different bytes under one name: those of a consumer say whose."""
    owner = getattr(place, "ref", place)
    foreign = view and owner is not None and owner.namespace != view
    return f"{name} ({view})" if foreign else name


def _virtual_host(fragment: bytes) -> Any:
    """A virtual host's fragment, read back as a route configuration of one host."""
    table = readable(make(types.ROUTE, "golden", fragment))["resource"]
    return _elided(table["virtual_hosts"][0])


def _elided(value: Any) -> Any:
    """Access logs and the answer to CONNECT are the same everywhere: only their place stays."""
    if isinstance(value, dict) and value.get("name") == CONNECT.name:
        return {"name": CONNECT.name, "elided": "405"}
    if isinstance(value, dict):
        return {
            key: "elided" if key == "access_log" else _elided(each) for key, each in value.items()
        }
    return [_elided(each) for each in value] if isinstance(value, list) else value


def _dump(value: Any) -> str:
    width = 10_000 if isinstance(value, list) else 100
    return yaml.safe_dump(value, sort_keys=False, width=width, allow_unicode=True)


def write(name: str) -> list[Path]:
    """Rewrite a case's golden files, remove those that nothing produces; returns what changed."""
    folder, changed = CASES / name, []
    files = Case(name).files()
    for path in folder.iterdir():
        if path.name != INPUT and path.name not in files:
            path.unlink()
            changed.append(path)
    for file, text in files.items():
        path = folder / file
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(path)
    return changed
