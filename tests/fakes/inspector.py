"""An Inspector over plain values, for the admin API and meshctl: a bookstore of four sidecars."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from controlplane.api.decode import reference
from controlplane.api.problem import ObjectRef, Problem, Reason, Severity, Source
from controlplane.app import views
from controlplane.app.inspect import Refused, not_found
from controlplane.app.views import Delivery
from xds.types import SHORT

ROUTE = ObjectRef("HTTPRoute", "shop", "reviews")
SERVICE = ObjectRef("Service", "shop", "reviews")
PODS = ("ratings.shop", "reviews-v1.shop", "reviews-v2.shop", "web.shop")
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ3ZWIifQ.c2lnbmF0dXJl"
KEY = "-----BEGIN PRIVATE KEY----- "
READY = views.Readiness(True)
AUTHORITY = views.Authority("cluster.local", "3f9a11c2", "2036-01-01T00:00:00Z", 3)

WARNING = Problem(
    ObjectRef("TrafficPolicy", "shop", "ratings"),
    Reason.UNKNOWN_FIELD,
    "unknown field 'conections'",
    "Did you mean connections?",
    "spec.conections",
    Severity.WARNING,
    Source("policies.yaml", 7),
)
ERROR = Problem(
    ROUTE,
    Reason.BACKEND_NOT_FOUND,
    "there is no Service shop/reviews-v3",
    "Create it, or name an existing one",
    "spec.rules[0].backendRefs[1]",
    Severity.ERROR,
    Source("routes.yaml", 12),
)


def services() -> dict[ObjectRef, views.Manifest]:
    refs = [
        ObjectRef("Service", namespace, name)
        for namespace, name in (
            ("shop", "ratings"),
            ("shop", "reviews"),
            ("shop", "reviews-v1"),
            ("shop", "reviews-v2"),
            ("pay", "ledger"),
        )
    ]
    return {
        ref: views.Manifest(
            ref,
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": ref.name, "namespace": ref.namespace},
            },
            Source("services.yaml", 1),
        )
        for ref in refs
    }


@dataclass
class FakeInspector:
    """Everything it answers can be set; `acknowledge` lets waiting sidecars answer."""

    state: str = ""
    problem_list: tuple[Problem, ...] = (WARNING,)
    readiness: views.Readiness = READY
    objects: dict[ObjectRef, views.Manifest] = field(default_factory=services)
    concerned: tuple[str, ...] = PODS[1:]
    """Pods that every object concerns; the first pod is not connected."""
    waiting: set[str] = field(default_factory=set)
    """Pods that do not acknowledge until told."""
    rejecting: dict[str, str] = field(default_factory=dict)
    """Envoy's reason by pod."""
    hosts: tuple[str, int] = ("127.0.0.1", 15012)
    roots: str = "-----BEGIN CERTIFICATE-----\n"
    tokens: int = 0
    lifetime: float = 86_400.0
    failure: Exception | None = None
    """Raised by `status`: a bug of ours."""

    def __post_init__(self) -> None:
        self._moment = 1
        self._changed = asyncio.Event()
        self.serials = {pod: f"{n:02X}A0" for n, pod in enumerate(PODS, 1)}

    # --- the test's side ------------------------------------------------------------------

    def touch(self) -> None:
        self._moment += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def acknowledge(self, *pods: str) -> None:
        self.waiting.difference_update(pods)
        self.touch()

    # --- the Inspector's side -------------------------------------------------------------

    def version(self) -> views.Version:
        return views.Version("9.8.7", "3.11.7", "2.2.0")

    def ready(self) -> views.Readiness:
        return self.readiness

    def status(self) -> views.Status:
        if self.failure:
            raise self.failure
        counts = {"Service": len(self.objects), "Pod": 4, "HTTPRoute": 1}
        return views.Status(
            version="9.8.7",
            pid=4711,
            state=self.state,
            started="2026-01-02T03:04:05Z",
            listen="127.0.0.1:15012",
            metrics="127.0.0.1:15014",
            revision=17,
            pending=0,
            readiness=self.readiness,
            sources=(views.SourceStatus("files", "manifests", self.readiness.ready, 10),),
            objects=tuple(views.Count(name, count) for name, count in sorted(counts.items())),
            sidecars=views.SidecarCounts(
                3,
                3 - len(self.waiting) - len(self.rejecting),
                len(self.waiting),
                len(self.rejecting),
            ),
            authority=AUTHORITY,
            errors=sum(p.severity is Severity.ERROR for p in self.problem_list),
            warnings=sum(p.severity is Severity.WARNING for p in self.problem_list),
        )

    def problems(self) -> views.Problems:
        return views.Problems(self.problem_list)

    async def proxies(self) -> views.Proxies:
        return views.Proxies(tuple(self._summary(pod) for pod in PODS))

    def _summary(self, pod: str) -> views.ProxySummary:
        workload = pod.partition(".")[0]
        if pod == "ratings.shop":
            return views.ProxySummary(pod, workload, connected=False)
        rejected, waiting = int(pod in self.rejecting), int(pod in self.waiting)
        return views.ProxySummary(
            pod,
            workload,
            connected=True,
            since="2026-01-02T03:05:00Z",
            node=f"local/shop/{workload}",
            capture="proxy",
            resources=12,
            acked=12 - rejected - waiting,
            waiting=waiting,
            rejected=rejected,
            expires="2026-01-03T03:05:00Z",
            learnt=3,
            promoted=2,
            asked=5,
            memory=None if workload == "web" else 6_543_210,
            acked_ago=125.0,
            serial="5af3" * 10,
            not_after="2026-01-02T04:05:00Z",
            not_after_in=3_600.0,
        )

    def evict(
        self, namespace: str, pod: str, destinations: Sequence[str], idle: float | None
    ) -> views.Eviction:
        name = self._known(namespace, pod)
        known = {"reviews.shop:9080", "ledger.pay:9000"}
        evicted = tuple(each for each in destinations if each == "reviews.shop:9080")
        if idle is not None:
            evicted = (*evicted, "ratings.shop:9080")
        kept = tuple(
            views.KeptDestination(each, "2 open TCP connections would be cut")
            for each in destinations
            if each == "ledger.pay:9000"
        )
        return views.Eviction(name, evicted, kept, tuple(d for d in destinations if d not in known))

    def proxy(self, namespace: str, pod: str, *, bodies: bool) -> views.ProxyConfig:
        name = self._known(namespace, pod)
        listener = {"name": "proxy", "address": "127.0.1.1:15080"}
        rejection = self.rejecting.get(name, "")
        resources = (
            views.ResourceView(
                "cds", "h|shop|reviews|9080", Delivery.ACKED, False, "a1", "a1", "a1",
                objects=(SERVICE,),
            ),
            views.ResourceView(
                "eds", "e|shop|reviews|9080", Delivery.SENT, True, "b2", "b2", "b1",
                objects=(SERVICE,),
            ),
            views.ResourceView(
                "sds", "identity", Delivery.ACKED, True, "leaf|3f9a11c2|04A0|1|2",
                "leaf|3f9a11c2|04A0|1|2", "leaf|3f9a11c2|04A0|1|2",
                body={"name": "identity", "privateKey": "[redacted]"} if bodies else None,
            ),
            views.ResourceView(
                "lds", "proxy", Delivery.ACKED, False, "c3", "c3", "c3",
                body=listener if bodies else None,
            ),
            views.ResourceView(
                "rds", "px", views.delivery("d5", "d5", "d4", rejection), True, "d5", "d5", "d4",
                rejection, (ROUTE,),
            ),
        )  # fmt: skip
        return views.ProxyConfig(self._summary(name), resources)

    def _known(self, namespace: str, pod: str) -> str:
        name = f"{pod}.{namespace}"
        if name not in PODS:
            raise not_found(f"sidecar {name}", "List them with meshctl proxy list")
        return name

    def why(self, type_url: str, name: str, pod: tuple[str, str] | None) -> views.Why:
        if name == "px" and pod is None:
            raise Refused(
                views.Failure("px differs from sidecar to sidecar", "Add --pod", problems=()),
                409,
            )
        if name not in ("px", "h|shop|reviews|9080"):
            raise not_found(f"{SHORT[type_url]} {name}", "List names with meshctl proxy config POD")
        service = views.WhyNode(
            "Service shop/reviews", "object", 3, SERVICE, Source("services.yaml", 1)
        )
        tree = views.WhyNode(
            "service_cluster(shop/reviews:9080, h)",
            "query",
            9,
            children=(
                views.WhyNode("service_port(shop/reviews, 9080)", "query", 3, children=(service,)),
                views.WhyNode(
                    "effective_policy(shop/reviews)",
                    "query",
                    9,
                    children=(
                        views.WhyNode(
                            "TrafficPolicy by target (shop, Service, reviews)",
                            "lookup",
                            absent=True,
                        ),
                        replace(service, repeated=True),
                    ),
                ),
            ),
        )
        at = f"{pod[1]}.{pod[0]}" if pod else ""
        return views.Why(SHORT[type_url], name, "a1", tree, at, 3)

    def simulate(
        self,
        source: tuple[str, str],
        authority: str,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
    ) -> views.Simulated:
        pod = self._known(*source)
        if authority.startswith("nowhere"):
            return views.Simulated(
                pod, authority, method, path, "respond", status=502,
                lines=(f"no Service is called {authority}",), problems=(ERROR,),
            )  # fmt: skip
        lines = [f"{authority} is Service shop/reviews port 9080", "rule 0 matches: path prefix /"]
        lines += [f"header {name}: {value}" for name, value in headers]
        return views.Simulated(
            pod, authority, method, path, "forward", "shop/reviews:9080", "shop/reviews", "rule-0",
            ("RoutePolicy shop/reviews",),
            (
                views.Share("reviews-v1", "h|shop|reviews-v1|9080", 80, 80.0, "mTLS", 1),
                views.Share("reviews-v2", "h|shop|reviews-v2|9080", 20, 20.0, "mTLS", 1),
            ),
            "2s", "2 on 5xx", 0, tuple(lines), promotion="virtual host r|shop|reviews|9080",
            held="yes", fault="10 % wait 2s, 1 % get 503",
        )  # fmt: skip

    def progress(self, ref: ObjectRef) -> views.Progress:
        if ref not in self.objects:
            raise not_found(str(ref), "Check kind, namespace and name")
        concerned = self.concerned
        waiting = tuple(pod for pod in concerned if pod in self.waiting)
        rejected = tuple(
            views.Rejection(pod, "rds", "px", reason) for pod, reason in self.rejecting.items()
        )
        acked = len(concerned) - len(waiting) - len(rejected)
        return views.Progress(ref, "hash-1", True, len(concerned), acked, waiting, rejected)

    async def changed(self, since: int) -> int:
        while self._moment <= since:
            await self._changed.wait()
        return self._moment

    async def apply(
        self, documents: Sequence[Mapping[str, Any]], *, dry_run: bool
    ) -> views.ApplyResult:
        stored = []
        for document in documents:
            ref = reference(dict(document))
            old = self.objects.get(ref)
            if old is not None and old.source is not None:
                problem = Problem(
                    ref,
                    Reason.CONFLICTED,
                    f"stands in {old.source} too",
                    "Change that file instead",
                )
                return views.ApplyResult((), (problem,))
            same = old is not None and old.manifest == document
            action = (
                views.Action.UNCHANGED if same
                else views.Action.CONFIGURED if old else views.Action.CREATED
            )  # fmt: skip
            stored.append((views.Applied(ref, action, "hash-1"), dict(document)))
        if not dry_run:
            for applied, document in stored:
                self.objects[applied.object] = views.Manifest(applied.object, document)
            self.touch()
        return views.ApplyResult(tuple(applied for applied, _ in stored))

    async def delete(self, ref: ObjectRef) -> views.Applied:
        if ref not in self.objects:
            raise not_found(str(ref), "Check kind, namespace and name")
        source = self.objects[ref].source
        if source is not None:
            raise Refused(
                views.Failure(f"{ref} stands in {source}", "Remove it there", str(ref)), 409
            )
        del self.objects[ref]
        self.touch()
        return views.Applied(ref, views.Action.DELETED)

    def get(self, kind: str, namespace: str | None, name: str | None) -> views.Manifests:
        return views.Manifests(
            tuple(
                item
                for ref, item in sorted(self.objects.items())
                if ref.kind == kind
                and namespace in (None, ref.namespace)
                and name in (None, ref.name)
            )
        )

    def certs(self, pod: tuple[str, str] | None) -> views.Certificates:
        chosen = [f"{pod[1]}.{pod[0]}"] if pod else [p for p in PODS if p != "ratings.shop"]
        return views.Certificates(
            AUTHORITY,
            tuple(
                views.Certificate(
                    name,
                    f"spiffe://cluster.local/ns/shop/sa/{name.partition('.')[0]}",
                    self.serials[name],
                    "3f9a11c2",
                    "2026-01-02T03:00:00Z",
                    "2026-01-02T04:00:00Z",
                    "2026-01-02T03:31:00Z",
                    name not in self.waiting,
                )
                for name in chosen
            ),
        )

    async def rotate(self, pod: tuple[str, str] | None) -> views.Rotation:
        chosen = [self._known(*pod)] if pod else [p for p in PODS if p != "ratings.shop"]
        old = {name: self.serials[name] for name in chosen}
        for name in chosen:
            self.serials[name] = self.serials[name][:2] + "B1"
        return self.rotation(old)

    def rotation(self, serials: Mapping[str, str]) -> views.Rotation:
        return views.Rotation(
            tuple(
                views.RotatedCertificate(pod, old, self.serials[pod], pod not in self.waiting)
                for pod, old in serials.items()
            )
        )

    def token(self, namespace: str, pod: str) -> views.Token:
        self.tokens += 1
        token = f"{JWT}{self.tokens}"
        return views.Token(
            self._known(namespace, pod), token, "2026-01-03T03:04:05Z", self.lifetime
        )

    def leaf(self, namespace: str, pod: str) -> views.Leaf:
        self.tokens += 1
        name = self._known(namespace, pod)
        key = f"{KEY}{self.tokens}"
        return views.Leaf(name, f"chain {self.tokens}", key, "2026-01-02T04:04:05Z")

    def bootstrap(self, namespace: str, pod: str) -> views.Bootstrap:
        name = self._known(namespace, pod)
        host, port = self.hosts
        return views.Bootstrap(name, "local", pod, host, port, self.roots)
