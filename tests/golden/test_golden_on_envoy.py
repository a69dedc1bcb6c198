"""A real Envoy takes everything that the golden cases produce: no cluster, load assignment,
listener or route is refused."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controlplane.translate.mesh import trust_domain
from tests.golden.case import Case
from tests.golden.case import names as cases
from tests.unit.envoy_under_test import free_port, run, serve
from tests.unit.test_build_envoy import Authority
from xds import names, types
from xds.build import listeners, routes, secrets
from xds.ir.listener import Chain, Codec, Direction, Http, Listener
from xds.ir.secret import LeafSecret, PrivateBytes, RootsSecret
from xds.names import roots_secret, spiffe_id
from xds.wire.resource import Resource

pytestmark = pytest.mark.envoy

LOOPBACK = "127.0.0.1"
MINUTE = timedelta(minutes=1)


def asking(port: int) -> Listener:
    """The HTTP proxy on a free port, for cases that show no sidecar; Envoy then wants ``px``."""
    filters = Http("proxy", Codec.AUTO, "px", Direction.OUTBOUND, asks=True)
    return Listener("asking", LOOPBACK, port, Direction.OUTBOUND, (Chain("proxy", filters),))


@pytest.mark.parametrize("name", cases())
async def test_envoy_takes_it(name: str, tmp_path: Path) -> None:
    case = Case(name)
    case.files()
    loose = {**case.held, **{(types.LISTENER, name): each for name, each in case.unbound.items()}}
    views = sorted({*case.fragments, *case.contacts}) or ["shop"]
    for namespace in views:
        hosts = case.fragments.get(namespace, {})
        fragments = tuple(hosts.values())
        contacts = case.contacts.get(namespace, {})
        resources = [
            *loose.values(),
            *case.answers,
            routes.join_first_contact(contacts.values()),
            *identity(case),
            routes.join_proxy_routes("px", fragments),
            routes.join_proxy_routes("pxfc", fragments),
            listeners.listener(asking(free_port()), MINUTE),
        ]
        async with serve() as ads:
            ads.hold("golden", *resources)
            async with run("golden", ads, tmp_path / namespace) as envoy:
                assert ads.rejections == []
                dump = json.loads(await envoy.admin("/config_dump"))["configs"]
        clusters = {name for type_url, name in case.held if type_url == types.CLUSTER}
        clusters |= {each.name for each in case.answers}
        assert set(named(dump, "dynamic_active_clusters", "cluster")) == clusters
        tables = named(dump, "dynamic_route_configs", "route_config")
        proxied = {host["name"] for host in tables["px"]["virtual_hosts"]}
        assert proxied == {*hosts, "*"}
        if names.FIRST_CONTACT_ROUTES in tables:
            looped = tables[names.FIRST_CONTACT_ROUTES].get("virtual_hosts", [])
            assert {host["name"] for host in looped} == set(contacts)


def identity(case: Case) -> tuple[Resource, Resource]:
    domain = case.graph.read(trust_domain)
    authority = Authority()
    chain, key = authority.leaf(spiffe_id(domain, "shop", "golden"))
    return (
        secrets.leaf(LeafSecret("identity", chain, PrivateBytes(key), "leaf|1")),
        secrets.roots(RootsSecret(roots_secret(domain), authority.root)),
    )


def named(dump: list[dict[str, Any]], section: str, kind: str) -> dict[str, dict[str, Any]]:
    """What stands in a section of Envoy's config dump, by name."""
    found = (each[kind] for part in dump for each in part.get(section, []))
    return {each["name"]: each for each in found}
