"""Which of Envoy's statistics a sidecar keeps: what its user reads, and nothing else.

The list is fixed when Envoy starts, and each statistic costs memory in every cluster of every
sidecar, so it is an allow-list. It holds:

- requests by response class, their total, how many are active, and their time, upstream and
  downstream: traffic, errors and latency of a workload and of each destination;
- connections: total, active, failed to connect; TCP bytes of declared forwards;
- idleness: ``upstream_rq_total``, ``upstream_rq_active``, ``upstream_cx_total`` and
  ``upstream_cx_active`` of each cluster tell a destination that is no longer used;
- ``membership_healthy`` and ``membership_total``: endpoints; the TCP probe's answer needs them;
- TLS handshakes and why they failed;
- the server's own memory, uptime and version, and the state of its configuration: accepted and
  rejected updates, the connection to the control plane and the bytes on it.
"""

from typing import Any, Final

PREFIXES: Final = (
    "server.",
    "cluster_manager.",
    "listener_manager.",
    "control_plane.",
    "sds.",
    "cluster.xds.",
)
"""Kept whole: there is one of each in a sidecar, however many destinations it has."""

SUFFIXES: Final = (
    "membership_healthy",
    "membership_total",
    "ssl.connection_error",
    "ssl.fail_verify_error",
    "ssl.fail_verify_no_cert",
    "ssl.fail_verify_san",
    "ssl.handshake",
    "upstream_cx_active",
    "upstream_cx_connect_fail",
    "upstream_cx_total",
    "upstream_rq_1xx",
    "upstream_rq_2xx",
    "upstream_rq_3xx",
    "upstream_rq_4xx",
    "upstream_rq_5xx",
    "upstream_rq_active",
    "upstream_rq_time",
    "upstream_rq_total",
    "downstream_cx_active",
    "downstream_cx_rx_bytes_total",
    "downstream_cx_total",
    "downstream_cx_tx_bytes_total",
    "downstream_rq_1xx",
    "downstream_rq_2xx",
    "downstream_rq_3xx",
    "downstream_rq_4xx",
    "downstream_rq_5xx",
    "downstream_rq_active",
    "downstream_rq_time",
    "downstream_rq_total",
)
"""Last parts of a name. Zones, virtual clusters, single response codes and workers, which end in
the same words, stand elsewhere in the name and are cut by `WHERE`."""

WHERE: Final = r"((cluster|http|tcp)\.[^.]+|listener\.([0-9.]+_[0-9]+|[^.]+))"
"""A statistic's owner. Names of ours hold no dots; a listener's IPv4 address does."""


def matcher() -> dict[str, Any]:
    """envoy.config.metrics.v3.StatsMatcher."""
    names = "|".join(suffix.replace(".", r"\.") for suffix in SUFFIXES)
    patterns: list[dict[str, Any]] = [{"prefix": prefix} for prefix in PREFIXES]
    patterns.append({"safe_regex": {"regex": rf"{WHERE}\.({names})"}})
    return {"inclusion_list": {"patterns": patterns}}
