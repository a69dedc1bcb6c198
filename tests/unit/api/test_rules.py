"""Every CEL rule on a passing and a failing case, with the exact problem that a user reads."""

from typing import Any

import pytest

from controlplane.api.cel import evaluate, model_rules
from controlplane.api.decode import decode
from controlplane.api.problem import Severity
from controlplane.api.registry import BY_KIND, KINDS
from controlplane.api.shape import fields

SHIFT = {"targetRef": {"name": "reviews"}}
BACKEND = {"name": "a", "port": 80}
PREFIX = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"hostname": "a"}}
REWRITE = {"type": "URLRewrite", "urlRewrite": {"path": PREFIX}}
SET = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}
REPLY = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["x"]}}
GATEWAY = "gateway.networking.k8s.io"


def hashed(key: Any, algorithm: str = "Maglev") -> dict[str, Any]:
    return {"loadBalancing": {"algorithm": algorithm, "hashOn": key}}


def matched(**path: str) -> dict[str, Any]:
    return {"rules": [{"matches": [{"path": path}]}]}


def filtered(*filters: dict[str, Any], **rule: Any) -> dict[str, Any]:
    return {"rules": [{"filters": list(filters)} | rule]}


# kind, a spec that obeys, a spec that does not, field and text of the problem
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "TrafficShift",
        SHIFT | {"weights": [{"name": "a", "weight": 0}, {"name": "b", "weight": 1}]},
        SHIFT | {"weights": [{"name": "a", "weight": 0}, {"name": "b", "weight": 0}]},
        "spec.weights: all weights are zero, so no request could go anywhere. "
        "Give at least one Service a weight above zero",
    ),
    (
        "TrafficShift",
        SHIFT | {"weights": [{"name": "a", "weight": 1}, {"name": "b", "weight": 1}]},
        SHIFT | {"weights": [{"name": "a", "weight": 1}, {"name": "a", "weight": 2}]},
        "spec.weights: a Service stands in weights more than once. Name each Service once",
    ),
    (
        "TrafficPolicy",
        hashed([{"source": "Header", "name": "x-user"}]),
        hashed([{"source": "Header"}]),
        "spec.loadBalancing.hashOn[0].name: a header or cookie to hash has no name. "
        "Set name, or use source SourceAddress",
    ),
    (
        "TrafficPolicy",
        hashed([{"source": "SourceAddress"}]),
        hashed([{"source": "SourceAddress", "name": "x"}]),
        "spec.loadBalancing.hashOn[0].name: name has no meaning for SourceAddress. "
        "Remove name, or use source Header or Cookie",
    ),
    (
        "TrafficPolicy",
        hashed([{"source": "SourceAddress"}], "RingHash"),
        hashed([{"source": "SourceAddress"}], "Random"),
        "spec.loadBalancing.hashOn: hashOn is used by RingHash and Maglev alone. "
        "Set algorithm to one of them, or remove hashOn",
    ),
    (
        "TrafficPolicy",
        {"loadBalancing": {"algorithm": "RoundRobin"}},
        {"loadBalancing": {"algorithm": "RingHash"}},
        "spec.loadBalancing.hashOn: RingHash and Maglev need something to hash. "
        "Add hashOn, for example {source: Header, name: x-user}",
    ),
    (
        "TrafficPolicy",
        {"outlierDetection": {"interval": "1ms"}},
        {"outlierDetection": {"interval": "0s"}},
        "spec.outlierDetection.interval: interval is zero. "
        "Write a duration above zero, or remove interval for the default",
    ),
    (
        "TrafficPolicy",
        {"outlierDetection": {"baseEjectionTime": "30s"}},
        {"outlierDetection": {"baseEjectionTime": "0ms"}},
        "spec.outlierDetection.baseEjectionTime: baseEjectionTime is zero. "
        "Write a duration above zero, or remove baseEjectionTime for the default",
    ),
    (
        "TrafficPolicy",
        {"connection": {"connectTimeout": "250ms", "idleTimeout": "0s"}},
        {"connection": {"connectTimeout": "0s"}},
        "spec.connection.connectTimeout: connectTimeout is zero. "
        "Write a duration above zero, or remove connectTimeout for the default",
    ),
    (
        "TrafficPolicy",
        {"connection": {"tcpKeepalive": {"time": "1s"}}},
        {"connection": {"tcpKeepalive": {"time": "999ms"}}},
        "spec.connection.tcpKeepalive.time: time is below one second. Use 1s or more",
    ),
    (
        "TrafficPolicy",
        {"connection": {"tcpKeepalive": {"interval": "1m"}}},
        {"connection": {"tcpKeepalive": {"interval": "0s"}}},
        "spec.connection.tcpKeepalive.interval: interval is below one second. Use 1s or more",
    ),
    (
        "TrafficPolicy",
        {"targetRefs": [{"name": "a"}, {"kind": "Service", "group": "", "name": "b"}]},
        {"targetRefs": [{"kind": "HTTPRoute", "group": GATEWAY, "name": "a"}]},
        "spec.targetRefs: a TrafficPolicy applies to Services alone. "
        "Name the Service whose traffic it is for",
    ),
    (
        "RoutePolicy",
        {"targetRefs": [{"kind": "HTTPRoute", "group": GATEWAY, "name": "a"}]},
        {"targetRefs": [{"kind": "Gateway", "name": "a"}]},
        "spec.targetRefs[0].kind: a policy cannot apply to this kind. Use Service or HTTPRoute",
    ),
    (
        "RoutePolicy",
        {"targetRefs": [{"group": "", "name": "a"}]},
        {"targetRefs": [{"kind": "HTTPRoute", "name": "a"}]},
        "spec.targetRefs[0].group: the group does not fit the kind. "
        f"Use {GATEWAY} for an HTTPRoute, and no group for a Service",
    ),
    (
        "RoutePolicy",
        {"retry": {"attempts": 1, "backoff": {"base": "25ms"}}},
        {"retry": {"attempts": 1, "backoff": {"base": "0s"}}},
        "spec.retry.backoff.base: base is zero. "
        "Write a duration above zero, or remove base for the default",
    ),
    (
        "RoutePolicy",
        {"retry": {"attempts": 1, "backoff": {"base": "1s", "max": "1000ms"}}},
        {"retry": {"attempts": 1, "backoff": {"base": "1m", "max": "59s"}}},
        "spec.retry.backoff.max: base is longer than max. Make max at least as long as base",
    ),
    (
        "RoutePolicy",
        {"retry": {"attempts": 1, "retryOn": ["retriable-status-codes"], "statusCodes": [503]}},
        {"retry": {"attempts": 1, "retryOn": ["retriable-status-codes"]}},
        "spec.retry.statusCodes: retriable-status-codes needs to know which. "
        "List them in statusCodes",
    ),
    (
        "RoutePolicy",
        {"retry": {"attempts": 1, "retryOn": ["5xx"]}},
        {"retry": {"attempts": 1, "statusCodes": [503]}},
        "spec.retry.statusCodes: statusCodes takes no effect. "
        "Add retriable-status-codes to retryOn",
    ),
    (
        "RoutePolicy",
        {"retry": {"attempts": 1, "perTryTimeout": "1s"}},
        {"retry": {"attempts": 1, "perTryTimeout": "0s"}},
        "spec.retry.perTryTimeout: perTryTimeout is zero. "
        "Write a duration above zero, or remove perTryTimeout for the default",
    ),
    (
        "RoutePolicy",
        {"timeout": "0s", "retry": {"attempts": 1, "perTryTimeout": "1h"}},
        {"timeout": "1s", "retry": {"attempts": 1, "perTryTimeout": "1001ms"}},
        "spec.retry.perTryTimeout: one try may take longer than the whole request. "
        "Lower retry.perTryTimeout, or raise timeout",
    ),
    (
        "RoutePolicy",
        {"fault": {"abort": {"status": 503, "percent": 100}}},
        {"fault": {}},
        "spec.fault: a fault with neither delay nor abort does nothing. "
        "Add one of them, or remove fault",
    ),
    (
        "RoutePolicy",
        {"fault": {"delay": {"duration": "1ms", "percent": 12.5}}},
        {"fault": {"delay": {"duration": "0s", "percent": 12.5}}},
        "spec.fault.delay.duration: a delay of zero is none. "
        "Write a duration above zero, or percent 0 to turn the delay off",
    ),
    (
        "RoutePolicy",
        {"fault": {"delay": {"duration": "60m", "percent": 1}}},
        {"fault": {"delay": {"duration": "1h1ms", "percent": 1}}},
        "spec.fault.delay.duration: a delay is longer than one hour. Use 1h or less",
    ),
    (
        "RoutePolicy",
        {"fault": {"delay": {"duration": "1s", "percent": 0}}},
        {"fault": {"delay": {"duration": "1s", "percent": 0.00009}}},
        "spec.fault.delay.percent: percent is finer than one in a million. "
        "Use 0.0001 or more, or 0 for none",
    ),
    (
        "RoutePolicy",
        {"fault": {"abort": {"grpcStatus": 14, "percent": 1}}},
        {"fault": {"abort": {"status": 503, "grpcStatus": 14, "percent": 1}}},
        "spec.fault.abort.status: an abort gives one answer. "
        "Set either status (HTTP) or grpcStatus",
    ),
    (
        "RoutePolicy",
        {"fault": {"abort": {"status": 200, "percent": 0.0001}}},
        {"fault": {"abort": {"percent": 1}}},
        "spec.fault.abort.status: an abort gives one answer. "
        "Set either status (HTTP) or grpcStatus",
    ),
    (
        "RoutePolicy",
        {"fault": {"abort": {"status": 599, "percent": 0.0001}}},
        {"fault": {"abort": {"status": 599, "percent": 0.00005}}},
        "spec.fault.abort.percent: percent is finer than one in a million. "
        "Use 0.0001 or more, or 0 for none",
    ),
    (
        "MeshConfig",
        {"certificates": {"lifetime": "1m"}},
        {"certificates": {"lifetime": "59s"}},
        "spec.certificates.lifetime: a certificate's lifetime is below one minute. "
        "Use 1m or more; the default is 1h",
    ),
    (
        "MeshConfig",
        {"certificates": {"maxConnectionDuration": "1s"}},
        {"certificates": {"maxConnectionDuration": "0s"}},
        "spec.certificates.maxConnectionDuration: a connection's longest life is below one second. "
        "Use 1s or more",
    ),
    (
        "MeshConfig",
        {"onDemand": {"bucket": "1s"}},
        {"onDemand": {"bucket": "10ms"}},
        "spec.onDemand.bucket: a time bucket is shorter than one second. "
        "Use 1s or more; the default is 1m",
    ),
    (
        "MeshConfig",
        {"onDemand": {"idle": "1s"}},
        {"onDemand": {"idle": "999ms"}},
        "spec.onDemand.idle: destinations would count as idle at once. "
        "Use 1s or more; the default is 30m",
    ),
    (
        "MeshConfig",
        {"onDemand": {"floor": 7, "ceiling": 7}},
        {"onDemand": {"ceiling": 9}},
        "spec.onDemand.floor: the floor is above the ceiling. "
        "Keep floor (default 10) at most at ceiling (default 500)",
    ),
    (
        "HTTPRoute",
        matched(type="RegularExpression", value="[a-z]//+"),
        matched(value="a"),
        "spec.rules[0].matches[0].path.value: a path does not begin with '/'. Put '/' in front",
    ),
    (
        "HTTPRoute",
        matched(value="/a/"),
        matched(type="Exact", value="/a//b"),
        "spec.rules[0].matches[0].path.value: a path contains '//', which no request has after "
        "normalisation. Write one '/'",
    ),
    (
        "HTTPRoute",
        filtered(
            {
                "type": "URLRewrite",
                "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/"}},
            }
        ),
        filtered({"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath"}}}),
        "spec.rules[0].filters[0].urlRewrite.path.replaceFullPath: ReplaceFullPath has no path. "
        "Set replaceFullPath",
    ),
    (
        "HTTPRoute",
        filtered(REWRITE),
        filtered({"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch"}}}),
        "spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch: ReplacePrefixMatch has no "
        "prefix. Set replacePrefixMatch",
    ),
    *(
        (
            "HTTPRoute",
            filtered(good),
            filtered({"type": good["type"]}),
            f"spec.rules[0].filters[0].{field}: a {good['type']} filter says nothing. Set {field}",
        )
        for good in (SET, REPLY, REDIRECT, REWRITE)
        for field in good
        if field != "type"
    ),
    *(
        (
            "HTTPRoute",
            filtered(other),
            filtered(other | {field: good[field]}),
            f"spec.rules[0].filters[0].{field}: {field} belongs to a filter of another type. "
            f"Set type to {good['type']}, or remove {field}",
        )
        for good, other in ((SET, REPLY), (REPLY, SET), (REDIRECT, SET), (REWRITE, SET))
        for field in good
        if field != "type"
    ),
    *(
        (
            "HTTPRoute",
            filtered(good),
            filtered(good, good),
            f"spec.rules[0].filters: {good['type']} stands more than once among the filters. "
            "Put the changes into one filter",
        )
        for good in (SET, REPLY, REDIRECT, REWRITE)
    ),
    (
        "HTTPRoute",
        filtered(REWRITE, SET),
        filtered(REWRITE, REDIRECT),
        "spec.rules[0].filters: a rule both redirects and rewrites. Keep one of the two filters",
    ),
    (
        "HTTPRoute",
        filtered(REDIRECT, backendRefs=[]),
        filtered(REDIRECT, backendRefs=[BACKEND]),
        "spec.rules[0].backendRefs: a rule that redirects has backends, which are never reached. "
        "Remove backendRefs",
    ),
    (
        "HTTPRoute",
        filtered(REWRITE, matches=[{"path": {"value": "/a"}}, {"method": "GET"}]),
        filtered(REWRITE, matches=[{"path": {"type": "Exact", "value": "/a"}}]),
        "spec.rules[0].matches: ReplacePrefixMatch needs a prefix to replace. "
        "Match the path with type PathPrefix",
    ),
    (
        "HTTPRoute",
        {"rules": [{"backendRefs": [BACKEND, {"group": "x.dev", "kind": "Y", "name": "z"}]}]},
        {"rules": [{"backendRefs": [{"name": "a"}]}]},
        "spec.rules[0].backendRefs[0].port: a Service as backend has no port. "
        "Set port to one of the Service's ports",
    ),
    (
        "HTTPRoute",
        {"rules": [{"timeouts": {"request": "0s", "backendRequest": "1s"}}]},
        {"rules": [{"timeouts": {"request": "1s", "backendRequest": "2s"}}]},
        "spec.rules[0].timeouts.backendRequest: one try may take longer than the whole request. "
        "Lower backendRequest, or raise request",
    ),
]


def document(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": BY_KIND[kind].api_version,
        "kind": kind,
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": spec,
    }


@pytest.mark.parametrize(("kind", "good", "bad", "text"), CASES, ids=[c[3][:60] for c in CASES])
def test_a_rule(kind: str, good: dict[str, Any], bad: dict[str, Any], text: str) -> None:
    passing = decode(document(kind, good))
    assert [str(problem) for problem in passing.problems] == []
    assert passing.object is not None
    failing = decode(document(kind, bad))
    assert f"{kind} shop/x: {text}" in [str(problem) for problem in failing.problems]
    assert failing.object is None
    assert {problem.severity for problem in failing.problems} == {Severity.ERROR}


def all_rules() -> set[tuple[str, str]]:
    """(message, rule) of every rule on a model that some kind reaches."""
    found, seen, waiting = set(), set(), [kind.body for kind in KINDS]
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        found |= {(entry["message"], entry["rule"]) for entry in model_rules(model)}
        waiting += [nested for nested in fields(model).values() if nested is not None]
    return found


def test_every_rule_has_a_case() -> None:
    texts = [case[3] for case in CASES]
    missing = [m for m, _ in all_rules() if not any(text.endswith(m) for text in texts)]
    assert missing == []


def test_every_rule_says_what_to_do() -> None:
    for message, _ in all_rules():
        problem, _, remedy = message.partition(". ")
        assert problem
        assert remedy
        assert not message.endswith(".")


def test_an_error_in_a_rule_counts_as_a_violation() -> None:
    assert not evaluate("self.absent > 1", {})
    with pytest.raises(RuntimeError):
        evaluate("self.absent >", {})
