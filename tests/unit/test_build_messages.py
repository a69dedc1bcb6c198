"""Details of what `xds.build` makes that a running Envoy would not show at once."""

from datetime import timedelta
from typing import Any

import pytest
from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.envoy.config.route.v3 import RouteConfiguration
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import Secret, TlsCertificate
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryResponse

from xds import types
from xds.build import clusters, endpoints, listeners, routes, secrets
from xds.build.filters.order import ORDER
from xds.build.tls import NOBODY
from xds.ir.cluster import EdsCluster, StaticCluster, UpstreamTls, Wire
from xds.ir.endpoint import Endpoint, Health
from xds.ir.listener import Chain, Codec, Direction, DownstreamTls, Http, Listener, Tcp
from xds.ir.route import Backend, Forward, Match, PathPrefix, Route, RouteTable, VirtualHost
from xds.ir.secret import LeafSecret, PrivateBytes
from xds.wire.dump import readable
from xds.wire.encode import encode
from xds.wire.resource import Resource, make

TLS13 = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
REVIEWS = "spiffe://cluster.local/ns/shop/sa/reviews"


def shown(resource: Resource) -> dict[str, Any]:
    found: dict[str, Any] = readable(resource)["resource"]
    return found


def unpacked(resource: Resource) -> Any:
    response = DeltaDiscoveryResponse.parse(resource.entry)
    packed = response.resources[0].resource
    assert packed is not None
    return packed.unpack()


def http_chain(**changes: Any) -> dict[str, Any]:
    values = {
        "stat_prefix": "x",
        "codec": Codec.AUTO,
        "routes": "px",
        "direction": Direction.OUTBOUND,
        **changes,
    }
    chain = Chain("x", Http(**values))
    source = Listener("x", "127.0.0.1", 1, Direction.OUTBOUND, (chain,))
    only = shown(listeners.listener(source, timedelta(minutes=1)))["filter_chains"][0]["filters"][0]
    found: dict[str, Any] = only["typed_config"]
    return found


def upstream_context(tls: UpstreamTls) -> dict[str, Any]:
    made = shown(clusters.cluster(EdsCluster("h|a|b|1", "e|a|b|1", Wire.HTTP2, tls)))
    mtls, plain = made["transport_socket_matches"]
    assert mtls["match"] == {"tls": "mtls"}
    assert plain["match"] == {}
    found: dict[str, Any] = mtls["transport_socket"]["typed_config"]
    return found


def test_an_upstream_names_tls13_its_peers_and_both_secrets() -> None:
    context = upstream_context(UpstreamTls("p1.b.a.cluster.local", "cluster.local", (REVIEWS,)))
    common = context["common_tls_context"]
    assert common["tls_params"] == TLS13
    assert context["sni"] == "p1.b.a.cluster.local"
    assert common["tls_certificate_sds_secret_configs"][0]["name"] == "identity"
    validation = common["combined_validation_context"]
    assert validation["validation_context_sds_secret_config"]["name"] == "roots|cluster.local"
    sans = validation["default_validation_context"]["match_typed_subject_alt_names"]
    assert sans == [{"san_type": "URI", "matcher": {"exact": REVIEWS}}]


def test_without_peers_no_certificate_is_accepted() -> None:
    context = upstream_context(UpstreamTls("sni", "cluster.local", ()))
    validation = context["common_tls_context"]["combined_validation_context"]
    sans = validation["default_validation_context"]["match_typed_subject_alt_names"]
    assert sans == [{"san_type": "URI", "matcher": {"exact": NOBODY}}]


def test_a_downstream_requires_a_certificate_of_its_trust_domain() -> None:
    tls = DownstreamTls(("cluster.local",), ("plait-tcp",))
    chain = Chain("t", Tcp("t", "in|1|tcp", Direction.INBOUND), ("plait-tcp",), tls)
    source = Listener("in|1", "127.0.0.1", 1, Direction.INBOUND, (chain,), inspect_tls=True)
    made = shown(listeners.listener(source, timedelta(minutes=1)))
    context = made["filter_chains"][0]["transport_socket"]["typed_config"]
    assert context["require_client_certificate"] is True
    assert context["common_tls_context"]["tls_params"] == TLS13
    assert context["common_tls_context"]["alpn_protocols"] == ["plait-tcp"]
    validation = context["common_tls_context"]["combined_validation_context"]
    sans = validation["default_validation_context"]["match_typed_subject_alt_names"]
    assert sans == [{"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}]
    assert made["enable_reuse_port"] is False
    match = made["filter_chains"][0]["filter_chain_match"]
    assert match == {"transport_protocol": "tls", "application_protocols": ["plait-tcp"]}


def test_several_trust_domains_cannot_share_one_context() -> None:
    tls = DownstreamTls(("a", "b"), ())
    chain = Chain("t", Tcp("t", "c", Direction.INBOUND), (), tls)
    source = Listener("in|1", "127.0.0.1", 1, Direction.INBOUND, (chain,))
    with pytest.raises(ValueError, match="one trust domain"):
        listeners.listener(source, timedelta(minutes=1))


@pytest.mark.parametrize("strict", [True, False])
def test_silence_counts_as_plaintext_only_where_plaintext_is_served(strict: bool) -> None:
    tls = DownstreamTls(("cluster.local",), ("plait-tcp",))
    tcp = Tcp("t", "in|1|tcp", Direction.INBOUND)
    chains = [Chain("mtls", tcp, ("plait-tcp",), tls)]
    if not strict:
        chains.append(Chain("plain", tcp))
    source = Listener("in|1", "127.0.0.1", 1, Direction.INBOUND, tuple(chains), inspect_tls=True)
    made = shown(listeners.listener(source, timedelta(minutes=1)))
    assert ("continue_on_listener_filters_timeout" in made) is not strict


def test_filters_stand_in_their_order() -> None:
    names = [each["name"].rpartition(".")[2] for each in http_chain(asks=True)["http_filters"]]
    assert names == ["local_ratelimit", "on_demand", "fault", "set_filter_state", "router"]
    inbound = http_chain(direction=Direction.INBOUND)["http_filters"]
    assert [each["name"] for each in inbound] == ["envoy.filters.http.router"]
    assert all(place.reason for place in ORDER)


@pytest.mark.parametrize(
    ("bucket", "layout"),
    [
        (timedelta(seconds=1), "%s"),
        (timedelta(minutes=1), "%Y%m%d%H%M"),
        (timedelta(hours=1), "%Y%m%d%H"),
    ],
)
def test_the_bucket_of_asked_names(bucket: timedelta, layout: str) -> None:
    chain = Chain("x", Http("x", Codec.AUTO, "px", Direction.OUTBOUND, asks=True))
    source = Listener("proxy", "127.0.0.1", 1, Direction.OUTBOUND, (chain,))
    made = shown(listeners.listener(source, bucket))["filter_chains"][0]["filters"][0]
    early = made["typed_config"]["early_header_mutation_extensions"][0]["typed_config"]
    header = early["mutations"][0]["append"]["header"]
    assert header == {"key": "x-plait-ask", "value": f"a|%REQ(:AUTHORITY)%|%START_TIME({layout})%"}


@pytest.mark.parametrize("asks", [True, False])
def test_every_connection_manager_logs_and_takes_websockets(asks: bool) -> None:
    made = http_chain(asks=asks)
    assert made["upgrade_configs"] == [{"upgrade_type": "websocket"}]
    assert made["http2_protocol_options"] == {"allow_connect": True}
    line = made["access_log"][0]["typed_config"]["log_format"]["json_format"]
    assert list(line) == sorted(line)
    assert {"time", "route", "policies", "peer", "peer_serial", "upstream_peer"} < set(line)


def test_a_listener_says_nothing_of_faults() -> None:
    name = "envoy.filters.http.fault"
    [made] = [each for each in http_chain()["http_filters"] if each["name"] == name]
    assert list(made["typed_config"]) == ["@type"], "routes say it, so that no listener changes"


def test_the_loop_has_no_host_that_asks() -> None:
    fragment = routes.host_fragment(VirtualHost("web", ("web",), ()))
    proxy = shown(routes.join_proxy_routes("px", [fragment]))
    loop = shown(routes.join_proxy_routes("pxfc", [fragment]))
    assert [each["domains"] for each in proxy["virtual_hosts"]] == [["web"], ["*"]]
    assert [each["domains"] for each in loop["virtual_hosts"]] == [["web"]]
    [asks, *_] = proxy["virtual_hosts"][1]["routes"]
    assert "typed_per_filter_config" not in asks, "a fault there would be a second one"
    assert asks["route"]["rate_limits"] == [
        {"actions": [{"generic_key": {"descriptor_value": "ask"}}]}
    ]
    for made in (proxy, loop):
        assert made["validate_clusters"] is False
        assert made["request_headers_to_remove"] == ["x-plait-ask"]


def test_joined_hosts_are_the_whole_table() -> None:
    hosts = tuple(
        VirtualHost(name, (name,), (Route(name, Match(), Forward((Backend(name),))),))
        for name in ("a", "b", "c")
    )
    joined = unpacked(
        routes.join_proxy_routes("pxfc", [routes.host_fragment(host) for host in hosts])
    )
    whole: Any = routes.configuration(RouteTable("pxfc", hosts))
    assert joined == RouteConfiguration(
        name="pxfc",
        virtual_hosts=whole.virtual_hosts,
        validate_clusters=False,
        request_headers_to_remove=["x-plait-ask"],
    )


def test_joined_endpoints_are_the_whole_assignment() -> None:
    spread = tuple(
        Endpoint(f"10.0.0.{i}", 80, i, region="r", zone="ab"[i % 2], tls=i > 3) for i in range(6)
    )
    made = endpoints.assignment("e|a|b|1", [endpoints.fragment(spread), endpoints.fragment(())])
    whole = unpacked(made)
    assert isinstance(whole, ClusterLoadAssignment)
    assert encode(whole) in made.entry
    places = {
        each.locality.zone: [
            (point.endpoint.address.socket_address.address, point.load_balancing_weight)
            for point in each.lb_endpoints
        ]
        for each in whole.endpoints
    }
    # Weight 0 takes no traffic; weight 1 is Envoy's default and costs no bytes.
    assert places == {
        "a": [("10.0.0.2", 2), ("10.0.0.4", 4)],
        "b": [("10.0.0.1", None), ("10.0.0.3", 3), ("10.0.0.5", 5)],
    }


def test_health_and_mtls_of_endpoints() -> None:
    source = tuple(
        Endpoint("10.0.0.1", 80, health=health, tls=health is Health.HEALTHY) for health in Health
    )
    made = shown(endpoints.assignment("e", [endpoints.fragment(source)]))
    points = made["endpoints"][0]["lb_endpoints"]
    assert [each.get("health_status") for each in points] == [None, "DRAINING", "UNHEALTHY"]
    metadata = {"filter_metadata": {"envoy.transport_socket_match": {"tls": "mtls"}}}
    assert [each.get("metadata") for each in points] == [metadata, None, None]


def test_a_leaf_is_what_its_messages_say() -> None:
    source = LeafSecret("id", b"chain" * 50, PrivateBytes(b"key" * 90), "leaf|1")
    message = Secret(
        name="id",
        tls_certificate=TlsCertificate(
            certificate_chain=DataSource(inline_bytes=source.chain),
            private_key=DataSource(inline_bytes=bytes(source.key)),
        ),
    )
    assert secrets.leaf(source) == make(types.SECRET, "id", bytes(message), "leaf|1")


def test_an_asked_cluster_keeps_the_name_as_asked() -> None:
    name = "a|Reviews.Shop:9080|202611241200"
    made = clusters.asked_cluster(name, "127.0.0.1", 15081)
    assert (made.name, shown(made)["name"]) == (name, name)


def test_equal_values_make_equal_bytes() -> None:
    def make() -> Resource:
        return clusters.cluster(StaticCluster("in|1|h1", "127.0.0.1", 1, Wire.HTTP1))

    assert make() == make()


def test_a_request_without_a_timeout_may_last() -> None:
    table = RouteTable(
        "r", (VirtualHost("a", ("*",), (Route("a", Match(), Forward((Backend("h"),))),)),)
    )
    route = shown(routes.route_table(table))["virtual_hosts"][0]["routes"][0]
    assert route["route"] == {"cluster": "h", "timeout": "0s"}


@pytest.mark.parametrize("path", ["/", "/a", "/a/"])
def test_prefixes_match_whole_segments(path: str) -> None:
    table = RouteTable(
        "r",
        (
            VirtualHost(
                "a", ("*",), (Route("a", Match(PathPrefix(path)), Forward((Backend("h"),))),)
            ),
        ),
    )
    match = shown(routes.route_table(table))["virtual_hosts"][0]["routes"][0]["match"]
    assert match == ({"prefix": "/"} if path == "/" else {"path_separated_prefix": "/a"})
