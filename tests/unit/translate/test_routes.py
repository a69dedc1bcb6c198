"""Routes of a Service port: shares, views, shifts, limits, and what ends every virtual host."""

from datetime import timedelta
from typing import Any

import pytest

from controlplane.graph import Graph
from controlplane.translate.attached import view
from controlplane.translate.routes import port_routes, upstreams
from tests.unit.translate.meshes import backend, mesh, own, port, route, service
from xds.ir.connect import CONNECT
from xds.ir.route import Backend, Forward, Redirect, Respond, Route


def read(graph: Graph, seen: str = "shop", name: str = "a") -> tuple[Route, ...]:
    return graph.read(port_routes, seen, port(name))


def split(made: Route) -> dict[str, int]:
    assert isinstance(made.action, Forward)
    return {each.cluster.split("|")[2]: each.weight for each in made.action.backends}


SERVICES = [service(name) for name in ("a", "a1", "a2")]
BOTH = {"backendRefs": [backend("a1", 9), backend("a2", 1)]}


def shift(*weights: tuple[str, int], target: str = "a") -> dict[str, Any]:
    pairs = [{"name": name, "weight": weight} for name, weight in weights]
    return own("TrafficShift", "s", {"targetRef": {"name": target}, "weights": pairs})


def test_a_port_without_routes_is_forwarded_to_itself() -> None:
    made = read(mesh(*SERVICES))
    assert [each.name for each in made] == ["default", "connect"]
    assert made[0].action == Forward((Backend("h|shop|a|80"),))


def test_connect_ends_every_virtual_host() -> None:
    graph = mesh(*SERVICES, route("r", "a", BOTH))
    assert read(graph)[-1] == CONNECT
    assert [each.name for each in read(graph)] == ["shop/r/0", "unmatched", "connect"]


@pytest.mark.parametrize(
    ("weights", "share"), [((3, 1), 250_000), ((0, 1), None), ((1, 0), 0), ((999, 1), 1000)]
)
def test_a_missing_backend_keeps_its_share_and_it_gets_500(
    weights: tuple[int, int], share: int | None
) -> None:
    rule = {"backendRefs": [backend("a", weights[0]), backend("gone", weights[1])]}
    made = read(mesh(*SERVICES, route("r", "a", rule)))
    if share is None:
        assert isinstance(made[0].action, Respond)
        assert made[0].action.status == 500
        assert made[0].match.share is None
        return
    if share:
        refused = made[0]
        assert (refused.name, refused.match.share) == ("shop/r/0/refused", share)
        assert isinstance(refused.action, Respond)
        assert "there is no Service shop/gone" in refused.action.body
    forwarded = made[1 if share else 0]
    assert split(forwarded) == {"a": weights[0]}
    assert forwarded.match.share is None


def test_a_shift_replaces_the_weights_of_the_rules_with_its_services() -> None:
    other = {"matches": [{"path": {"value": "/x"}}], "backendRefs": [backend("a1")]}
    graph = mesh(*SERVICES, route("r", "a", other, BOTH), shift(("a1", 1), ("a2", 4)))
    by_name = {made.name: made for made in read(graph)}
    assert split(by_name["shop/r/0"]) == {"a1": 1}
    assert split(by_name["shop/r/1"]) == {"a1": 1, "a2": 4}
    assert by_name["shop/r/1"].origin.policies == ("TrafficShift shop/s",)
    assert "default" not in by_name
    assert "unmatched" in by_name


def test_a_shift_makes_a_default_rule_where_no_rule_has_its_services() -> None:
    assert split(read(mesh(*SERVICES, shift(("a1", 1), ("a2", 4))))[0]) == {"a1": 1, "a2": 4}
    other = {"matches": [{"path": {"value": "/x"}}], "backendRefs": [backend("a1")]}
    made = read(mesh(*SERVICES, route("r", "a", other), shift(("a1", 1), ("a2", 4))))
    assert [each.name for each in made] == ["shop/r/0", "default", "connect"]
    assert split(made[1]) == {"a1": 1, "a2": 4}


def test_a_cluster_without_a_share_is_wanted_all_the_same() -> None:
    graph = mesh(*SERVICES, shift(("a1", 1), ("a2", 0)))
    assert [each.name for each in graph.read(upstreams, "shop", port("a"))] == [
        "h|shop|a1|80",
        "h|shop|a2|80",
    ]


def test_the_namespace_is_in_a_key_only_where_it_matters() -> None:
    consumer = route("r", "a", BOTH, namespace="client", parent_namespace="shop")
    graph = mesh(*SERVICES, consumer)
    assert graph.read(view, "shop", port("a")) == "shop"
    assert graph.read(view, "client", port("a")) == "client"
    assert graph.read(view, "other", port("a")) == ""
    assert read(graph, "")[0].name == "default"
    assert read(graph, "client")[0].name == "client/r/0"


def test_consumer_routes_come_instead_of_the_producers() -> None:
    graph = mesh(
        *SERVICES,
        route("r", "a", {"backendRefs": [backend("a1")]}),
        route("c", "a", {"backendRefs": [{**backend("a2"), "namespace": "shop"}]},
              namespace="client", parent_namespace="shop"),
    )  # fmt: skip
    assert split(read(graph, "client")[0]) == {"a2": 1}
    assert split(read(graph, "")[0]) == {"a1": 1}


def limits(timeouts: dict[str, str], policy: dict[str, Any] | None = None) -> Forward:
    objects = [own("RoutePolicy", "p", policy)] if policy else []
    rule = {"backendRefs": [backend("a")], "timeouts": timeouts}
    action = read(mesh(*SERVICES, route("r", "a", rule), *objects))[0].action
    assert isinstance(action, Forward)
    return action


def test_timeouts() -> None:
    def seconds(value: float) -> timedelta:
        return timedelta(seconds=value)

    assert limits({}).timeout is None
    assert limits({"request": "3s"}).timeout == seconds(3)
    assert limits({"request": "0s"}, {"timeout": "9s"}).timeout is None
    assert limits({}, {"timeout": "9s"}).timeout == seconds(9)
    assert limits({"request": "3s", "backendRequest": "1s"}).timeout == seconds(1), "only one try"
    again = limits({"request": "3s", "backendRequest": "1s"}, {"retry": {"attempts": 2}})
    assert again.timeout == seconds(3)
    assert again.retry is not None
    assert again.retry.per_try_timeout == seconds(1)


def test_a_redirect_to_a_new_scheme_names_its_port_where_the_client_names_another() -> None:
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}
    alt = {"name": "http-alt", "port": 8080}
    http = {"name": "http", "port": 80}
    graph = mesh(service("a", http, alt), route("r", "a", {"filters": [redirect]}))
    for number, expected in ((80, None), (8080, 443)):
        action = graph.read(port_routes, "shop", port("a", number))[0].action
        assert isinstance(action, Redirect)
        assert action.port == expected


def test_the_older_route_wins_a_tie_whatever_its_name() -> None:
    def tie(*created: str) -> str:
        rules = [{"backendRefs": [backend(name)]} for name in ("a1", "a2")]
        first = route("x", "a", rules[0], created=created[0])
        second = route("y", "a", rules[1], created=created[1])
        return next(iter(split(read(mesh(*SERVICES, first, second))[0])))

    assert tie("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z") == "a1"
    assert tie("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z") == "a2"
    assert tie("", "") == "a1"
