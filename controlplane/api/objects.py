"""Bodies of the kinds whose spec is read whole: an object without apiVersion, kind and metadata."""

from typing import ClassVar

from pydantic import Field

from controlplane.api.base import Model
from controlplane.api.gateway import HTTPRouteSpec
from controlplane.api.mesh import MeshConfigSpec, MutualTLSSpec
from controlplane.api.policy import (
    RoutePolicySpec,
    TrafficPolicySpec,
    TrafficShiftSpec,
    TrafficShiftStatus,
)

_STATUS = frozenset({"status"})


class HTTPRouteBody(Model):
    UNREAD: ClassVar = _STATUS

    spec: HTTPRouteSpec


class MeshConfigBody(Model):
    UNREAD: ClassVar = _STATUS

    spec: MeshConfigSpec = Field(default_factory=MeshConfigSpec)


class MutualTLSBody(Model):
    UNREAD: ClassVar = _STATUS

    spec: MutualTLSSpec = Field(default_factory=MutualTLSSpec)


class TrafficPolicyBody(Model):
    UNREAD: ClassVar = _STATUS

    spec: TrafficPolicySpec = Field(default_factory=TrafficPolicySpec)


class RoutePolicyBody(Model):
    UNREAD: ClassVar = _STATUS

    spec: RoutePolicySpec = Field(default_factory=RoutePolicySpec)


class TrafficShiftBody(Model):
    spec: TrafficShiftSpec
    status: TrafficShiftStatus | None = None
