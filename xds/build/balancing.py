"""Load balancing, circuit breakers and outlier detection of clusters.

Sources: envoy.config.cluster.v3.LoadBalancingPolicy, CircuitBreakers, OutlierDetection.
"""

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    ClusterCommonLbConfig,
    LoadBalancingPolicy,
    LoadBalancingPolicyPolicy,
    OutlierDetection,
)
from envoy_data_plane.envoy.extensions.load_balancing_policies.least_request.v3 import LeastRequest
from envoy_data_plane.envoy.extensions.load_balancing_policies.maglev.v3 import Maglev
from envoy_data_plane.envoy.extensions.load_balancing_policies.random.v3 import Random
from envoy_data_plane.envoy.extensions.load_balancing_policies.ring_hash.v3 import RingHash
from envoy_data_plane.envoy.extensions.load_balancing_policies.round_robin.v3 import RoundRobin
from envoy_data_plane.envoy.type.v3 import Percent

from xds.build.config import extension
from xds.ir import cluster as ir

_PREFIX = "envoy.load_balancing_policies."

LAST_RESORT = ClusterCommonLbConfig(healthy_panic_threshold=Percent(value=1.0))
"""Draining endpoints are used only when next to none is healthy. Envoy's own threshold, 50 %,
would send requests to draining pods in every quick rolling restart."""


def balancing(policy: ir.LoadBalancing) -> LoadBalancingPolicy:
    """The one policy of a cluster."""
    match policy:
        case ir.RoundRobin():
            chosen = extension(_PREFIX + "round_robin", RoundRobin())
        case ir.Random():
            chosen = extension(_PREFIX + "random", Random())
        case ir.LeastRequest(choices):
            chosen = extension(_PREFIX + "least_request", LeastRequest(choice_count=choices))
        case ir.Hashed("maglev"):
            chosen = extension(_PREFIX + "maglev", Maglev())
        case ir.Hashed():
            chosen = extension(_PREFIX + "ring_hash", RingHash())
    return LoadBalancingPolicy(policies=[LoadBalancingPolicyPolicy(typed_extension_config=chosen)])


def breakers(limits: ir.CircuitBreakers) -> CircuitBreakers | None:
    """Thresholds of the default priority; what is ``None`` keeps Envoy's default."""
    if limits == ir.CircuitBreakers():
        return None
    threshold = CircuitBreakersThresholds(
        max_connections=limits.max_connections,
        max_pending_requests=limits.max_pending_requests,
        max_requests=limits.max_requests,
        max_retries=limits.max_retries,
    )
    return CircuitBreakers(thresholds=[threshold])


def outliers(detection: ir.OutlierDetection | None) -> OutlierDetection | None:
    """Ejection by consecutive errors. Every other detector, on by default in Envoy, is off."""
    if detection is None:
        return None
    gateway = detection.consecutive_gateway_errors
    return OutlierDetection(
        consecutive_5xx=detection.consecutive_5xx,
        enforcing_consecutive_5xx=0 if detection.consecutive_5xx is None else 100,
        consecutive_gateway_failure=gateway,
        enforcing_consecutive_gateway_failure=0 if gateway is None else 100,
        enforcing_success_rate=0,
        interval=detection.interval,
        base_ejection_time=detection.base_ejection_time,
        max_ejection_percent=detection.max_ejection_percent,
    )
