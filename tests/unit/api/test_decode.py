"""Decoding: what is accepted, what is refused and warned about, each with its exact text."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controlplane.api import core
from controlplane.api.decode import decode, expand
from controlplane.api.explain import nearest
from controlplane.api.paths import FieldPath, format_path, parse_path
from controlplane.api.registry import KINDS

PLAIT = "apiVersion: mesh.plait.dev/v1alpha1"
ROUTE = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute"


def read(text: str) -> tuple[bool, list[str]]:
    outcome = decode(yaml.safe_load(text))
    texts = [f"{p.severity} {p.reason} {p}" for p in outcome.problems]
    return outcome.object is not None, texts


ACCEPTED = {
    "Namespace": "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {a: b}}\n"
    "spec: {finalizers: [kubernetes]}\nstatus: {phase: Active}",
    "Service": "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: null}\n"
    "spec:\n  clusterIP: 10.0.0.1\n  clusterIPs: [10.0.0.1]\n  sessionAffinity: None\n"
    "  internalTrafficPolicy: Cluster\n  ipFamilies: [IPv4]\n  ipFamilyPolicy: SingleStack\n"
    "  ports: [{name: http, port: 80, targetPort: web, nodePort: 3000, appProtocol: null}]\n"
    "status: {loadBalancer: {}}",
    "headless Service": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
    "spec: {clusterIP: None, ports: [{port: 80, targetPort: 8080, protocol: UDP}]}",
    "ExternalName": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
    "spec: {type: ExternalName, externalName: example.org}",
    "EndpointSlice": "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
    "metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\n"
    "endpoints:\n- addresses: [10.0.0.1]\n  conditions: {ready: true, serving: null}\n"
    "  zone: z\n  nodeName: n\n  hints: {forZones: [{name: z}]}\n"
    "  targetRef: {kind: Pod, name: p, namespace: d, uid: u}\nports: [{name: http, port: 80}]",
    "Pod": "apiVersion: v1\nkind: Pod\nmetadata: {name: a, ownerReferences: [{kind: ReplicaSet,"
    " name: a-1, controller: true, uid: u, apiVersion: apps/v1, blockOwnerDeletion: true}]}\n"
    "spec:\n  containers: [{name: app, image: x, ports: [{containerPort: 80}], env: []}]\n"
    "  tolerations: []\nstatus: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}],"
    " conditions: [{type: Ready, status: 'True', lastProbeTime: null}], startTime: x}",
    "HTTPRoute": ROUTE + "\nmetadata: {name: a}\nspec:\n"
    "  parentRefs: [{group: '', kind: Service, name: a, port: 80}]\n"
    "  rules:\n  - matches: [{path: {type: Exact, value: /a}, method: GET}]\n"
    "    backendRefs: [{name: b, port: 80, weight: 3}]\n    timeouts: {request: 1m30s}\n"
    "status: {parents: []}",
    "MeshConfig": PLAIT + "\nkind: MeshConfig\nmetadata: {name: default}\n"
    "spec: {trustDomain: example.org, outside: Refuse, meshRanges: ['10.0.0.0/8', 'fd00::/8']}",
    "MutualTLS": PLAIT + "\nkind: MutualTLS\nmetadata: {name: a}\n"
    "spec: {mode: Strict, selector: {matchLabels: {app: a}}}\nstatus: {conditions: []}",
    "TrafficPolicy": PLAIT + "\nkind: TrafficPolicy\nmetadata: {name: a}\n"
    "spec: {targetRefs: [{name: a}], outlierDetection: {consecutive5xx: 3}}",
    "RoutePolicy": PLAIT + "\nkind: RoutePolicy\nmetadata: {name: a}\n"
    "spec: {retry: {attempts: 2, retryOn: [5xx]}, timeout: 3s}",
    "TrafficShift": PLAIT + "\nkind: TrafficShift\nmetadata: {name: a}\n"
    "spec: {targetRef: {name: a}, weights: [{name: b, weight: 1}]}\n"
    "status: {weights: [{name: b, weight: 1}], conditions: [], observedGeneration: 3}",
}


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(text: str) -> None:
    assert read(text) == (True, [])


REFUSED = {
    "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: '80'}]}": [
        "Service default/a: spec.ports[0].port: must be a whole number, not '80'. "
        "Write a whole number, without quotes"
    ],
    "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 70000}]}": [
        "Service default/a: spec.ports[0].port: 70000 is too large. Use at most 65535"
    ],
    "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: {port: 80}}": [
        "Service default/a: spec.ports: must be a list, not a map. "
        "Write a list: begin each item with a dash"
    ],
    "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{targetPort: true,"
    " port: 1}]}": [
        "Service default/a: spec.ports[0].targetPort: must be a whole number, not true. "
        "Write a whole number, without quotes"
    ],
    "apiVersion: v1\nkind: Service\nmetadata: {name: A_b}\nspec: {}": [
        "Service default/A_b: metadata.name: 'A_b' is not a name. Use lower-case letters, digits, "
        "'-' and '.', with a letter or digit at both ends"
    ],
    "apiVersion: v1\nkind: Service\nmetadata: {namespace: shop}\nspec: {}": [
        "Service shop/?: metadata.name: is required. Add it"
    ],
    "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {app: yes}}\nspec: {}": [
        "Service default/a: metadata.labels.app: must be text, not true. "
        "Put it in quotes: YAML takes yes, no, on, off, y and n for booleans"
    ],
    "apiVersion: v1\nkind: Service\nmetadata: {name: a}": [
        "Service default/a: spec: is required. Add it"
    ],
    "apiVersion: v1\nkind: Namespace\nmetadata: nothing": [
        "Namespace ?: metadata: must be a map, not 'nothing'. Write a map: one `key: value` a line"
    ],
    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\n"
    "addressType: IPv5\nendpoints: [{addresses: 10.0.0.1}]": [
        "EndpointSlice default/a: addressType: 'IPv5' is not supported. "
        "Write one of IPv4, IPv6, FQDN",
        "EndpointSlice default/a: endpoints[0].addresses: must be a list, not '10.0.0.1'. "
        "Write a list: begin each item with a dash",
    ],
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{ports: []}]}": [
        "Pod default/a: spec.containers[0].name: is required. Add it"
    ],
    ROUTE + "\nmetadata: {name: a}\nspec: {rules: [{matches: [{method: get}]}]}": [
        "HTTPRoute default/a: spec.rules[0].matches[0].method: 'get' is not supported. "
        "Did you mean GET? Write one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE or "
        "PATCH"
    ],
    ROUTE + "\nmetadata: {name: a}\nspec: {rules: [{filters: [{type: RequestMirror}]}]}": [
        "HTTPRoute default/a: spec.rules[0].filters[0].type: 'RequestMirror' is not supported. "
        "Did you mean RequestRedirect? Write one of RequestHeaderModifier, ResponseHeaderModifier, "
        "RequestRedirect or URLRewrite"
    ],
    ROUTE + "\nmetadata: {name: a}\nspec: {rules: [{timeouts: {request: 5}}]}": [
        "HTTPRoute default/a: spec.rules[0].timeouts.request: 5 is not a duration. "
        "Write for example 250ms, 10s or 1h30m"
    ],
    ROUTE + "\nmetadata: {name: a}\nspec: {rules: [{matches: [{headers: [{name: 'a:',"
    " value: b}]}]}]}": [
        "HTTPRoute default/a: spec.rules[0].matches[0].headers[0].name: 'a:' is not a header's "
        "name. Use letters, digits and '-', without a colon"
    ],
    PLAIT + "\nkind: MutualTLS\nmetadata: {name: a}\nspec: {mode: strict}": [
        "MutualTLS default/a: spec.mode: 'strict' is not supported. Did you mean Strict? "
        "Write one of Permissive or Strict"
    ],
    PLAIT + "\nkind: TrafficShift\nmetadata: {name: a}\nspec: {weights: []}": [
        "TrafficShift default/a: spec.targetRef: is required. Add it",
        "TrafficShift default/a: spec.weights: has 0 entries. Use at least 1",
    ],
    PLAIT + "\nkind: TrafficShift\nmetadata: {name: a}\n"
    "spec: {targetRef: {kind: Pod, name: b}, weights: [{name: b, weight: -1}]}": [
        "TrafficShift default/a: spec.targetRef.kind: 'Pod' is not supported. Write Service",
        "TrafficShift default/a: spec.weights[0].weight: -1 is too small. Use at least 0",
    ],
    PLAIT + "\nkind: RoutePolicy\nmetadata: {name: a}\nspec: {retry: {attempts: 1.5}}": [
        "RoutePolicy default/a: spec.retry.attempts: must be a whole number, not 1.5. "
        "Write a whole number, without quotes"
    ],
    PLAIT + "\nkind: RoutePolicy\nmetadata: {name: a}\nspec: {fault: {abort: {status: 199,"
    " percent: '5'}, delay: {duration: 1s, percent: 100.0001}}}": [
        "RoutePolicy default/a: spec.fault.delay.percent: 100.0001 is too large. Use at most 100.0",
        "RoutePolicy default/a: spec.fault.abort.status: 199 is too small. Use at least 200",
        "RoutePolicy default/a: spec.fault.abort.percent: must be a number, not '5'. "
        "Write a number, without quotes",
    ],
    PLAIT + "\nkind: RoutePolicy\nmetadata: {name: a}\nspec: {fault: {abort: {grpcStatus: 0,"
    " percent: .nan}, delay: {percent: 1}}}": [
        "RoutePolicy default/a: spec.fault.delay.duration: is required. Add it",
        "RoutePolicy default/a: spec.fault.abort.grpcStatus: 0 is too small. Use at least 1",
        "RoutePolicy default/a: spec.fault.abort.percent: must be a finite number, not nan. "
        "Write a number",
    ],
    PLAIT + "\nkind: TrafficPolicy\nmetadata: {name: a}\nspec: {outlierDetection:"
    " {maxEjectionPercent: 101}}": [
        "TrafficPolicy default/a: spec.outlierDetection.maxEjectionPercent: 101 is too large. "
        "Use at most 100"
    ],
    PLAIT + "\nkind: MeshConfig\nmetadata: {name: default}\nspec: {trustDomain: ''}": [
        "MeshConfig default/default: spec.trustDomain: is empty. Write at least one character"
    ],
    "- a\n- b": ["Document ?: is not an object. Write a map with apiVersion, kind and metadata"],
    "kind: Service": [
        "Service default/?: apiVersion: is required. Add it, or move the file out of the directory"
    ],
    "apiVersion: v1": [
        "Document default/?: kind: is required. Add it, or move the file out of the directory"
    ],
}


@pytest.mark.parametrize(
    ("text", "problems"), REFUSED.items(), ids=[v[0][:60] for v in REFUSED.values()]
)
def test_refused(text: str, problems: list[str]) -> None:
    accepted, texts = read(text)
    assert texts == [f"error Invalid {problem}" for problem in problems]
    assert not accepted


WARNED = {
    "apiVersion: v1\nkind: Service\nmetadata: {name: a, lables: {}}\nspec: {selecter: {}}": (
        True,
        "warning UnknownField Service default/a: metadata.lables: unknown field; it is ignored. "
        "Did you mean labels?",
        "warning UnknownField Service default/a: spec.selecter: unknown field; it is ignored. "
        "Did you mean selector?",
    ),
    PLAIT + "\nkind: TrafficShift\nmetadata: {name: a}\n"
    "spec: {target_ref: {name: a}, targetRef: {name: a}, weights: [{name: b, weight: 1, x: 1}]}": (
        True,
        "warning UnknownField TrafficShift default/a: spec.target_ref: unknown field; it is "
        "ignored. Did you mean targetRef?",
        "warning UnknownField TrafficShift default/a: spec.weights[0].x: unknown field; it is "
        "ignored. Known here: name, weight",
    ),
    ROUTE + "\nmetadata: {name: a}\nspec: {rules: [{retry: {attempts: 3}}]}": (
        True,
        "warning UnknownField HTTPRoute default/a: spec.rules[0].retry: Plait does not carry this "
        "out; it is ignored. Remove it, or do without",
    ),
    "apiVersion: v1\nkind: Servcie\nmetadata: {name: a}": (
        False,
        "warning UnknownKind Servcie default/a: kind: unknown kind 'Servcie'; the object is "
        "ignored. Did you mean Service?",
    ),
    PLAIT + "\nkind: TrafficSplit\nmetadata: {name: a}": (
        False,
        "warning UnknownKind TrafficSplit default/a: kind: unknown kind 'TrafficSplit'; the object "
        "is ignored. Did you mean TrafficShift?",
    ),
    PLAIT + "\nkind: Deployment\nmetadata: {name: a}": (
        False,
        "warning UnknownKind Deployment default/a: kind: unknown kind 'Deployment'; the object is "
        "ignored. Known here: MeshConfig, MutualTLS, TrafficPolicy, RoutePolicy, TrafficShift",
    ),
    "apiVersion: mesh.plait.dev/v1\nkind: TrafficShift\nmetadata: {name: a}": (
        False,
        "warning UnknownKind TrafficShift default/a: apiVersion: 'mesh.plait.dev/v1' has no "
        "TrafficShift that Plait reads; the object is ignored. Write mesh.plait.dev/v1alpha1",
    ),
    "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: a}": (
        False,
        "warning UnknownKind GRPCRoute default/a: kind: Plait does not read GRPCRoute; it is "
        "ignored. Do without it",
    ),
}


@pytest.mark.parametrize("text", WARNED)
def test_warned(text: str) -> None:
    accepted, *problems = WARNED[text]
    assert read(text) == (accepted, problems)


@pytest.mark.parametrize(
    "head",
    ["v1 ConfigMap", "apps/v1 Deployment", "batch/v1 CronJob", "v1 Secret",
     "cert-manager.io/v1 Certificate", "networking.k8s.io/v1 Ingress",
     "serving.knative.dev/v1 Service"],
)  # fmt: skip
def test_kinds_of_others_pass_in_silence(head: str) -> None:
    version, kind = head.split()
    assert read(f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}") == (False, [])


def test_lists_are_expanded() -> None:
    item = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
    nested = {
        "kind": "List",
        "apiVersion": "v1",
        "items": [item, {"kind": "List", "items": [item]}],
    }
    assert [path for path, _ in expand(nested)] == [("items", 0), ("items", 1, "items", 0)]
    typed = {"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}}]}
    assert list(expand(typed)) == [
        (("items", 0), {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})
    ]
    assert list(expand(item)) == [((), item)]


def test_null_is_as_good_as_absent() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: null}"
    outcome = decode(yaml.safe_load(text))
    assert outcome.object is not None
    assert outcome.object.body == core.PodBody()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "spec", "name", "ports", "labels", "rules", "weights", "retry", "x"]
            ),
            inner,
        )
    ),
    max_leaves=15,
)


@given(st.sampled_from(KINDS), JSON, JSON)
def test_nothing_raises(kind: Any, metadata: Any, spec: Any) -> None:
    document = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata} | (
        spec if isinstance(spec, dict) else {"spec": spec}
    )
    outcome = decode(document)
    for problem in outcome.problems:
        assert problem.message
        assert problem.remedy


PATHS = st.lists(st.one_of(st.integers(0, 99), st.text("ab-_./ ", min_size=1)), max_size=4)


@given(PATHS.map(tuple))
def test_a_path_is_read_as_it_is_printed(path: FieldPath) -> None:
    assert parse_path(format_path(path)) == path


def test_a_path_in_a_problem_may_be_any_text() -> None:
    assert parse_path("metadata.annotations[a.b/c]") == ("metadata", "annotations", "a.b/c")
    assert parse_path("spec.a: b") == ("spec", "a")
    assert parse_path("") == parse_path("%") == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("retries", "retry"), ("on", "retryOn"), ("Target", "targetRefs"), ("zzz", "")],
)
def test_nearest(name: str, meant: str) -> None:
    assert nearest(name, ["targetRefs", "retry", "timeout", "retryOn"]) == meant
