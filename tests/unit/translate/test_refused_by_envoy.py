"""What Envoy would refuse in a route never reaches it: it is a problem, and answered with a 500."""

from typing import Any

import pytest

from controlplane.api.problem import Reason
from controlplane.sources.manifests import load
from controlplane.translate.rules import outcome
from tests.unit.translate.meshes import backend, found, key, mesh, pod, port, route, service
from xds.ir.route import Forward, Respond

BREAK = "contains a line break or a zero byte, which no message can carry"
NOT_A_HEADER = "host cannot be changed as a header"


def changes(kind: str, change: dict[str, Any]) -> dict[str, Any]:
    field = "urlRewrite" if kind == "URLRewrite" else kind[0].lower() + kind[1:]
    return {"type": kind, field: change}


@pytest.mark.parametrize(
    ("filters", "field", "message"),
    [
        (
            changes("RequestHeaderModifier", {"set": [{"name": "Host", "value": "x"}]}),
            "requestHeaderModifier.set[0].name",
            f"{NOT_A_HEADER}; urlRewrite.hostname does that",
        ),
        (
            changes("ResponseHeaderModifier", {"add": [{"name": "host", "value": "x"}]}),
            "responseHeaderModifier.add[0].name",
            NOT_A_HEADER,
        ),
        (
            changes("RequestHeaderModifier", {"remove": ["x-a", "HOST"]}),
            "requestHeaderModifier.remove[1]",
            f"{NOT_A_HEADER}; urlRewrite.hostname does that",
        ),
        (
            changes("ResponseHeaderModifier", {"set": [{"name": "x-a", "value": "one\ntwo"}]}),
            "responseHeaderModifier.set[0].value",
            BREAK,
        ),
        (
            changes("URLRewrite", {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/a\n"}}),
            "urlRewrite.path",
            BREAK,
        ),
    ],
)
def test_a_rule_s_filter(filters: dict[str, Any], field: str, message: str) -> None:
    rule = {"filters": [filters], "backendRefs": [backend("a")]}
    graph = mesh(service("a"), pod("a", "10.0.0.1"), route("r", "a", rule))
    [problem] = found(graph, "HTTPRoute", "r")
    assert (problem.field, problem.message) == (f"spec.rules[0].filters[0].{field}", message)
    assert problem.reason is Reason.INVALID
    action = graph.read(outcome, port("a"), key("r"), 0).action
    assert isinstance(action, Respond)
    assert action.status == 500
    assert message in action.body


def test_a_backend_s_filter_costs_its_share() -> None:
    bad = changes("RequestHeaderModifier", {"set": [{"name": "host", "value": "x"}]})
    refs = [backend("a", 3), {**backend("b"), "filters": [bad]}]
    graph = mesh(service("a"), service("b"), route("r", "a", {"backendRefs": refs}))
    [problem] = found(graph, "HTTPRoute", "r")
    assert problem.field == (
        "spec.rules[0].backendRefs[1].filters[0].requestHeaderModifier.set[0].name"
    )
    assert problem.remedy == "Correct it; until then its share of the requests gets a 500"
    result = graph.read(outcome, port("a"), key("r"), 0)
    assert isinstance(result.action, Forward)
    assert result.refused == 250_000


@pytest.mark.parametrize("value", ["/a?b", "/a#b"])
@pytest.mark.parametrize("kind", ["PathPrefix", "Exact"])
def test_a_path_with_a_query(kind: str, value: str) -> None:
    rule = {"matches": [{"path": {"type": kind, "value": value}}], "backendRefs": [backend("a")]}
    [problem] = found(mesh(service("a"), route("r", "a", rule)), "HTTPRoute", "r")
    assert problem.field == "spec.rules[0].matches[0].path.value"
    assert problem.message == f"{value!r} contains ? or #, which no path does"


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (
            changes("RequestRedirect", {"statusCode": 304}),
            "requestRedirect.statusCode",
            "304 is not supported",
        ),
        (
            changes("RequestHeaderModifier", {"set": [{"name": ":path", "value": "/"}]}),
            "requestHeaderModifier.set[0].name",
            "':path' is not a header's name",
        ),
    ],
)
def test_what_decoding_refuses_already(change: dict[str, Any], field: str, message: str) -> None:
    loaded = load([route("r", "a", {"filters": [change]})])
    assert loaded.rows == []
    [problem] = loaded.problems
    assert problem.field == f"spec.rules[0].filters[0].{field}"
    assert message in problem.message
