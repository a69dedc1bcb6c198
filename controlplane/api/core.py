"""The parts of Namespace, Service, EndpointSlice and Pod that Plait reads, in Kubernetes' form.

Every other field of these kinds is listed as unread, so that a dump of kubectl passes without a
word and a misspelt field does not.
Source: Kubernetes API reference, v1 and discovery.k8s.io/v1 (1.36).
"""

from typing import Annotated, ClassVar

from pydantic import Field

from controlplane.api.base import Model, Name

PortNumber = Annotated[int, Field(ge=1, le=65535)]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


class OwnerReference(Model):
    UNREAD: ClassVar = _names("apiVersion uid blockOwnerDeletion")

    kind: str
    name: str
    controller: bool | None = None


class ObjectMeta(Model):
    """Lists and maps that Kubernetes prints as null are read as empty."""

    UNREAD: ClassVar = _names(
        "generateName selfLink resourceVersion deletionGracePeriodSeconds finalizers managedFields"
    )

    name: Name
    namespace: (
        Annotated[str, Field(max_length=63, pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")] | None
    ) = None
    uid: str | None = None
    generation: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    owner_references: tuple[OwnerReference, ...] | None = None


class NamespaceBody(Model):
    UNREAD: ClassVar = _names("spec status")


class ServicePort(Model):
    UNREAD: ClassVar = _names("nodePort")

    port: PortNumber
    name: str | None = None
    protocol: str | None = None
    app_protocol: str | None = None
    target_port: int | str | None = None


class ServiceSpec(Model):
    UNREAD: ClassVar = _names(
        "allocateLoadBalancerNodePorts externalIPs externalTrafficPolicy healthCheckNodePort "
        "internalTrafficPolicy ipFamilies ipFamilyPolicy loadBalancerClass loadBalancerIP "
        "loadBalancerSourceRanges publishNotReadyAddresses sessionAffinity sessionAffinityConfig "
        "trafficDistribution"
    )

    type: str | None = None
    cluster_ip: Annotated[str | None, Field(alias="clusterIP")] = None
    cluster_ips: Annotated[tuple[str, ...] | None, Field(alias="clusterIPs")] = None
    external_name: str | None = None
    ports: tuple[ServicePort, ...] | None = None
    selector: dict[str, str] | None = None


class ServiceBody(Model):
    UNREAD: ClassVar = _names("status")

    spec: ServiceSpec


class EndpointConditions(Model):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ObjectReference(Model):
    UNREAD: ClassVar = _names("apiVersion fieldPath resourceVersion uid")

    kind: str | None = None
    name: str | None = None
    namespace: str | None = None


class ForZone(Model):
    name: str


class EndpointHints(Model):
    UNREAD: ClassVar = _names("forNodes")

    for_zones: tuple[ForZone, ...] | None = None


class SliceEndpoint(Model):
    UNREAD: ClassVar = _names("hostname deprecatedTopology")

    addresses: tuple[str, ...]
    conditions: EndpointConditions | None = None
    zone: str | None = None
    node_name: str | None = None
    target_ref: ObjectReference | None = None
    hints: EndpointHints | None = None


class SlicePort(Model):
    port: PortNumber | None = None
    name: str | None = None
    protocol: str | None = None
    app_protocol: str | None = None


class EndpointSliceBody(Model):
    address_type: Annotated[str, Field(pattern="^(IPv4|IPv6|FQDN)$")]
    endpoints: tuple[SliceEndpoint, ...] | None = None
    ports: tuple[SlicePort, ...] | None = None


class ContainerPort(Model):
    UNREAD: ClassVar = _names("hostIP hostPort")

    container_port: PortNumber
    name: str | None = None
    protocol: str | None = None


class Container(Model):
    UNREAD: ClassVar = _names(
        "args command env envFrom image imagePullPolicy lifecycle livenessProbe readinessProbe "
        "resizePolicy resources restartPolicyRules securityContext startupProbe stdin stdinOnce "
        "terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir"
    )

    name: str
    ports: tuple[ContainerPort, ...] | None = None
    restart_policy: str | None = None


class PodSpec(Model):
    UNREAD: ClassVar = _names(
        "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy "
        "enableServiceLinks ephemeralContainers hostAliases hostIPC hostPID hostUsers hostname "
        "hostnameOverride imagePullSecrets nodeSelector os overhead preemptionPolicy priority "
        "priorityClassName readinessGates resourceClaims resources restartPolicy runtimeClassName "
        "schedulerName schedulingGates securityContext serviceAccount setHostnameAsFQDN "
        "shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations "
        "topologySpreadConstraints volumes workloadRef schedulingGroup"
    )

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] | None = None
    service_account_name: str | None = None
    node_name: str | None = None
    host_network: bool | None = None


class PodAddress(Model):
    ip: str


class PodCondition(Model):
    UNREAD: ClassVar = _names("lastProbeTime lastTransitionTime message observedGeneration reason")

    type: str
    status: str


class PodStatus(Model):
    UNREAD: ClassVar = _names(
        "allocatedResources containerStatuses ephemeralContainerStatuses "
        "extendedResourceClaimStatus hostIP hostIPs initContainerStatuses message "
        "nominatedNodeName observedGeneration qosClass reason resize resourceClaimStatuses "
        "resources startTime"
    )

    phase: str | None = None
    pod_ip: Annotated[str | None, Field(alias="podIP")] = None
    pod_ips: Annotated[tuple[PodAddress, ...] | None, Field(alias="podIPs")] = None
    conditions: tuple[PodCondition, ...] | None = None


class PodBody(Model):
    spec: PodSpec = Field(default_factory=PodSpec)
    status: PodStatus | None = None
