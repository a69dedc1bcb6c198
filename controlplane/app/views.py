"""Every answer of the admin API, as frozen dataclasses. `meshctl` prints these and nothing else.

Their JSON (`controlplane.app.codec`) is what `meshctl -o json` prints: adding a field is fine,
renaming or removing one breaks scripts. Times are RFC 3339 in UTC, durations are seconds, a pod
is written ``NAME.NAMESPACE``. No answer holds key material except `Token`.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from controlplane.api.problem import ObjectRef, Problem, Severity, Source


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call was refused. ``object`` and ``field`` say where, ``remedy`` what to do."""

    message: str
    remedy: str = ""
    object: str = ""
    field: str = ""
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Version:
    version: str
    python: str = ""
    envoy_api: str = ""
    """Version of the Envoy API package that resources are built with."""


# --- status -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source of objects. ``detail`` says why it is not synced; empty otherwise."""

    name: str
    location: str
    synced: bool
    objects: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ready when every source is synced and its objects are applied. ``reasons``: why not."""

    ready: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class SidecarCounts:
    """``connected`` = ``current`` + ``waiting`` + ``rejecting``."""

    connected: int = 0
    current: int = 0
    """Have acknowledged everything that is meant for them."""
    waiting: int = 0
    rejecting: int = 0
    """Refused something; they keep the last good configuration."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The certificate authority in use."""

    trust_domain: str
    issuer: str
    """Key id of the issuing certificate."""
    not_after: str
    leaves: int = 0
    """Workload certificates that are held by connected sidecars."""


@dataclass(frozen=True, slots=True)
class Status:
    version: str
    pid: int
    state: str
    """The state directory."""
    started: str
    listen: str
    """Address of the xDS server."""
    metrics: str
    """Address of /healthz, /readyz and /metrics."""
    revision: int
    pending: int
    """Values that await evaluation."""
    readiness: Readiness
    sources: tuple[SourceStatus, ...] = ()
    objects: tuple[Count, ...] = ()
    """Objects by kind."""
    sidecars: SidecarCounts = SidecarCounts()
    authority: Authority | None = None
    errors: int = 0
    """Problems of severity error; see `meshctl status`."""
    warnings: int = 0


@dataclass(frozen=True, slots=True)
class Problems:
    problems: tuple[Problem, ...] = ()

    def count(self, severity: Severity) -> int:
        return sum(1 for problem in self.problems if problem.severity is severity)


# --- sidecars -----------------------------------------------------------------------------


class Delivery(StrEnum):
    """What is known of a resource at one sidecar. Only ``ACKED`` means that Envoy holds it in
    the version that is meant."""

    ACKED = "acked"
    SENT = "sent"
    """Sent, no answer yet; Envoy may still use ``acked``."""
    WAITING = "waiting"
    """Meant for this sidecar, not sent yet."""
    REJECTED = "rejected"
    """Refused (NACK); Envoy still uses ``acked``, if any."""
    REMOVING = "removing"
    """Must leave the sidecar, which may still hold it."""
    ABSENT = "absent"
    """Asked for by the sidecar; there is no such resource, and it was told so."""


@dataclass(frozen=True, slots=True)
class ResourceView:
    """One resource at one sidecar. A version is empty where there is none."""

    type: str
    """cds, eds, sds, lds or rds (`xds.types.SHORT`)."""
    name: str
    state: Delivery
    asked: bool = False
    """The sidecar subscribes to it, by name or by wildcard."""
    wish: str = ""
    """Version that is meant for the sidecar; NOT what Envoy holds."""
    sent: str = ""
    acked: str = ""
    """Version that Envoy accepted last."""
    nack: str = ""
    """Envoy's reason for refusing."""
    objects: tuple[ObjectRef, ...] = ()
    """Objects that the resource was made from."""
    body: dict[str, Any] | None = None
    """Content of version ``acked`` where it is still known; secrets are redacted."""


def delivery(wish: str, sent: str, acked: str, nack: str) -> Delivery:
    """The state of a resource from its versions (empty: none) and Envoy's complaint."""
    if nack:
        return Delivery.REJECTED
    if not wish:
        return Delivery.REMOVING if acked or sent else Delivery.ABSENT
    if acked == wish:
        return Delivery.ACKED
    return Delivery.SENT if sent == wish else Delivery.WAITING


@dataclass(frozen=True, slots=True)
class ProxySummary:
    """One line of `meshctl proxy list`: a connected sidecar, or a pod that should have one."""

    pod: str
    workload: str
    connected: bool
    since: str = ""
    """When the stream opened."""
    node: str = ""
    """Envoy's node id."""
    capture: str = ""
    """proxy or redirect."""
    resources: int = 0
    """Resources meant for it."""
    acked: int = 0
    waiting: int = 0
    rejected: int = 0
    expires: str = ""
    """When its token, and so its stream, ends."""
    learnt: int = 0
    """Destinations that its workload knows; each of its pods starts with them."""
    promoted: int = 0
    """Destinations that it holds."""
    asked: int = 0
    """Names that it has asked for since it started; it keeps a trace of each."""
    exhausted: bool = False
    """It asked for so many names that no destination is taken back from it any more."""
    memory: int | None = None
    """Bytes that Envoy has allocated, as it last reported; null: it has not."""
    acked_ago: float | None = None
    """Seconds since it last acknowledged anything; null: never."""
    serial: str = ""
    """Serial number of its certificate, hexadecimal as Envoy prints it."""
    not_after: str = ""
    """When that certificate ends."""
    not_after_in: float | None = None
    """Seconds until then, below zero when it has ended; null: it holds none."""


@dataclass(frozen=True, slots=True)
class Proxies:
    proxies: tuple[ProxySummary, ...] = ()


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    proxy: ProxySummary
    resources: tuple[ResourceView, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptDestination:
    destination: str
    reason: str
    """Why it cannot be evicted now."""


@dataclass(frozen=True, slots=True)
class Eviction:
    """Destinations that were to leave a sidecar, as ``SERVICE.NAMESPACE:PORT`` or as it asked."""

    pod: str
    evicted: tuple[str, ...] = ()
    kept: tuple[KeptDestination, ...] = ()
    unknown: tuple[str, ...] = ()
    """What was named and is no destination of the sidecar."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What a sidecar's files are made from (`sidecar.bootstrap.Sidecar`); the token is apart."""

    pod: str
    cluster: str
    owner: str
    """The workload that owns the pod."""
    host: str
    """Where the sidecar connects."""
    port: int
    roots: str
    """PEM; what the control plane's certificate is verified against."""
    server_name: str = ""
    """Name in that certificate; empty: ``host``."""
    capture: str = "proxy"
    report_interval: float = 10.0
    """Seconds between two reports of its statistics."""


@dataclass(frozen=True, slots=True)
class Token:
    pod: str
    token: str = field(repr=False)
    expires: str
    lifetime: float
    """Seconds from now until ``expires``."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate for an application without a sidecar, with its key."""

    pod: str
    chain: str
    """PEM, leaf first."""
    key: str = field(repr=False)
    expires: str


# --- explanation --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WhyNode:
    """A value and what it was made from. ``text`` reads like ``service_port(shop/web, 80)``."""

    text: str
    kind: str
    """query, object (a row that was read) or lookup (an index that was read)."""
    changed: int = 0
    """World revision at which the value last changed."""
    object: ObjectRef | None = None
    source: Source | None = None
    absent: bool = False
    """The read found nothing; the value depends on that absence."""
    repeated: bool = False
    """Shown in full further up; its children are left out here."""
    children: tuple["WhyNode", ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    type: str
    name: str
    version: str
    tree: WhyNode
    pod: str = ""
    sidecars: int = 0
    """How many sidecars hold or want it."""


@dataclass(frozen=True, slots=True)
class Share:
    """One backend of a split."""

    service: str
    cluster: str
    weight: int
    percent: float
    mtls: str = ""
    """mTLS, plain or mixed, by its endpoints."""
    endpoints: int = 0


@dataclass(frozen=True, slots=True)
class Simulated:
    """What would happen to one request.

    ``outcome``: forward, redirect, respond, passthrough, tcp or refused.
    """

    source: str
    authority: str
    method: str
    path: str
    outcome: str
    service: str = ""
    """The Service that the authority names, ``namespace/name:port``."""
    route: str = ""
    rule: str = ""
    policies: tuple[str, ...] = ()
    split: tuple[Share, ...] = ()
    timeout: str = ""
    retries: str = ""
    status: int = 0
    """Status of a redirect or a reply that the sidecar makes itself."""
    lines: tuple[str, ...] = ()
    """The explanation, one step a line, in the order of evaluation."""
    problems: tuple[Problem, ...] = ()
    promotion: str = ""
    """What the sidecar holds for the destination once it was asked for, or ``no:`` and why not."""
    held: str = ""
    """Whether the sidecar holds that now: ``yes``, or ``no:`` and why not; empty where it never
    will."""
    fault: str = ""
    """Failures that the sidecar makes on purpose; empty: none."""


# --- changes ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rejection:
    pod: str
    type: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one object has come. ``total`` counts the sidecars that hold or want a resource
    that depends on it; a sidecar that it does not concern counts nowhere."""

    object: ObjectRef
    hash: str
    """Content hash of the object as stored."""
    applied: bool
    """The world holds that content and everything it changes is evaluated."""
    total: int = 0
    acked: int = 0
    waiting: tuple[str, ...] = ()
    """Pods that have not acknowledged, sorted."""
    rejected: tuple[Rejection, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Problems of the object itself."""

    @property
    def done(self) -> bool:
        """Nothing more will come: all have answered, some perhaps with a refusal."""
        return self.applied and not self.waiting

    @property
    def succeeded(self) -> bool:
        return (
            self.done
            and not self.rejected
            and not any(p.severity is Severity.ERROR for p in self.problems)
        )


class Action(StrEnum):
    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Applied:
    object: ObjectRef
    action: Action
    hash: str = ""


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """Either everything was stored, or nothing: with a problem of severity error ``objects``
    is empty. Warnings stand beside stored objects."""

    objects: tuple[Applied, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """An object as stored. ``source`` is the user's file; absent for what `meshctl` created."""

    object: ObjectRef
    manifest: dict[str, Any]
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Manifests:
    items: tuple[Manifest, ...] = ()


# --- identity -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certificate:
    """A workload certificate at one sidecar. ``serial`` is lower-case hexadecimal, as Envoy
    logs it."""

    pod: str
    spiffe_id: str
    serial: str
    issuer: str
    not_before: str
    not_after: str
    renews: str
    """When the control plane will issue the next one."""
    acked: bool
    """The sidecar has accepted it."""


@dataclass(frozen=True, slots=True)
class Certificates:
    authority: Authority
    certificates: tuple[Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class RotatedCertificate:
    pod: str
    old: str
    new: str
    """Serials."""
    acked: bool = False


@dataclass(frozen=True, slots=True)
class Rotation:
    rotated: tuple[RotatedCertificate, ...] = ()

    @property
    def done(self) -> bool:
        return all(item.acked for item in self.rotated)
