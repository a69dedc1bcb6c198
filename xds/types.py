"""Type URLs of xDS resources and the order in which they are pushed.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol, "Eventual consistency
considerations": clusters and endpoints before the listeners and routes that refer to them.
"""

from typing import Final

_PREFIX: Final = "type.googleapis.com/envoy."

CLUSTER: Final = _PREFIX + "config.cluster.v3.Cluster"
ENDPOINT: Final = _PREFIX + "config.endpoint.v3.ClusterLoadAssignment"
SECRET: Final = _PREFIX + "extensions.transport_sockets.tls.v3.Secret"
EXTENSION: Final = _PREFIX + "config.core.v3.TypedExtensionConfig"
LISTENER: Final = _PREFIX + "config.listener.v3.Listener"
ROUTE: Final = _PREFIX + "config.route.v3.RouteConfiguration"

PUSH_ORDER: Final = (CLUSTER, ENDPOINT, SECRET, EXTENSION, LISTENER, ROUTE)
"""Additions and changes go out in this order; removals in the reverse one, after all ACKs."""

SHORT: Final = {
    CLUSTER: "cds",
    ENDPOINT: "eds",
    SECRET: "sds",
    EXTENSION: "ecds",
    LISTENER: "lds",
    ROUTE: "rds",
}
"""The field's abbreviations, for metrics, logs and commands."""
