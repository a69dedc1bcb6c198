"""One row per kind. CRDs, the field reference, decoding and name completion all come from here."""

from dataclasses import dataclass

from controlplane.api import core, objects
from controlplane.api.base import GATEWAY_GROUP, GROUP, VERSION, Model

CATEGORY = "mesh"
"""``kubectl get mesh`` lists every kind of ours."""


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column of ``kubectl get``."""

    name: str
    type: str
    path: str
    description: str = ""
    priority: int = 0
    """Above zero: only with ``-o wide``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects that Plait reads."""

    group: str
    version: str
    kind: str
    plural: str
    body: type[Model]
    """The object without apiVersion, kind and metadata."""
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    columns: tuple[Column, ...] = ()
    status: bool = False
    """Has a status subresource that Plait writes."""
    summary: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def is_ours(self) -> bool:
        """Plait owns the CRD."""
        return self.group == GROUP


def _condition(name: str) -> Column:
    path = f'.status.conditions[?(@.type=="{name}")].status'
    return Column(name, "string", path)


_CONDITIONS = (
    _condition("Accepted"),
    _condition("Programmed"),
    Column("Age", "date", ".metadata.creationTimestamp"),
)


def _ours(
    kind: str, plural: str, body: type[Model], *short: str, columns: tuple[Column, ...] = ()
) -> Kind:
    spec = body.model_fields["spec"].annotation
    return Kind(
        group=GROUP,
        version=VERSION,
        kind=kind,
        plural=plural,
        body=body,
        short_names=short,
        columns=columns + _CONDITIONS,
        status=True,
        summary=" ".join((spec.__doc__ or "").split()),
    )


KINDS: tuple[Kind, ...] = (
    Kind("", "v1", "Namespace", "namespaces", core.NamespaceBody, ("ns",), namespaced=False),
    Kind("", "v1", "Service", "services", core.ServiceBody, ("svc",)),
    Kind("", "v1", "Pod", "pods", core.PodBody, ("po",)),
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", core.EndpointSliceBody),
    Kind(GATEWAY_GROUP, "v1", "HTTPRoute", "httproutes", objects.HTTPRouteBody),
    _ours(
        "MeshConfig",
        "meshconfigs",
        objects.MeshConfigBody,
        columns=(Column("Trust Domain", "string", ".spec.trustDomain"),),
    ),
    _ours(
        "MutualTLS",
        "mutualtlses",
        objects.MutualTLSBody,
        "mtls",
        columns=(Column("Mode", "string", ".spec.mode"),),
    ),
    _ours(
        "TrafficPolicy",
        "trafficpolicies",
        objects.TrafficPolicyBody,
        "tp",
        columns=(
            Column("Target", "string", ".spec.targetRefs[0].name"),
            Column("Balancing", "string", ".spec.loadBalancing.algorithm", priority=1),
        ),
    ),
    _ours(
        "RoutePolicy",
        "routepolicies",
        objects.RoutePolicyBody,
        "rp",
        columns=(
            Column("Target", "string", ".spec.targetRefs[0].name"),
            Column("Retries", "integer", ".spec.retry.attempts"),
            Column("Timeout", "string", ".spec.timeout"),
            Column("Delayed", "number", ".spec.fault.delay.percent", "In percent.", 1),
            Column("Aborted", "number", ".spec.fault.abort.percent", "In percent.", 1),
        ),
    ),
    _ours(
        "TrafficShift",
        "trafficshifts",
        objects.TrafficShiftBody,
        "ts",
        columns=(
            Column("Target", "string", ".spec.targetRef.name"),
            Column("Weights", "string", ".spec.weights"),
            Column("In Effect", "string", ".status.weights", priority=1),
        ),
    ),
)

BY_KIND: dict[str, Kind] = {row.kind: row for row in KINDS}
GROUPS: frozenset[str] = frozenset(row.group for row in KINDS)

_OTHER_KINDS = """
    Binding ComponentStatus ConfigMap Endpoints Event LimitRange Node PersistentVolume
    PersistentVolumeClaim PodTemplate ReplicationController ResourceQuota Secret ServiceAccount
    MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration
    ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
    CustomResourceDefinition APIService ControllerRevision DaemonSet Deployment ReplicaSet
    StatefulSet HorizontalPodAutoscaler CronJob Job CertificateSigningRequest ClusterTrustBundle
    Lease FlowSchema PriorityLevelConfiguration IngressClass Ingress IPAddress NetworkPolicy
    ServiceCIDR RuntimeClass PodDisruptionBudget ClusterRole ClusterRoleBinding Role RoleBinding
    PriorityClass CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment
    VolumeAttributesClass DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice
    Kustomization
"""
OTHER_KINDS: frozenset[str] = frozenset(_OTHER_KINDS.split())
"""Kinds of Kubernetes that Plait does not read: they pass in silence."""

_GATEWAY_KINDS = """
    BackendTLSPolicy Gateway GatewayClass GRPCRoute ListenerSet ReferenceGrant TCPRoute TLSRoute
    UDPRoute
"""
GATEWAY_KINDS: frozenset[str] = frozenset(_GATEWAY_KINDS.split())
"""Kinds of Gateway API that exist and that Plait does not read: warned about."""


def find(name: str) -> Kind | None:
    """A kind by kind, plural or short name, in any case, as kubectl takes them."""
    wanted = name.lower()
    for row in KINDS:
        if wanted in (row.kind.lower(), row.plural, *row.short_names):
            return row
    return None
