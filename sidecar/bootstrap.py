"""The one JSON file that a stock Envoy starts with. Pure: a workload in, a dict out.

It says who the sidecar is, where the control plane is and how to trust it; all the rest comes over
the one delta ADS stream. Messages: envoy.config.bootstrap.v3.Bootstrap and what it refers to. No
secret stands in it: the token and the roots are files beside it, which Envoy watches (`files`).
"""

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sidecar import stats
from xds import names, versions

MAX_SOCKET_PATH: Final = 107
"""Bytes of a Unix socket's path on Linux (sockaddr_un), without the final zero."""

BOOTSTRAP_FILE: Final = "bootstrap.json"
SDS_DIRECTORY: Final = "sds"
"""Envoy watches the directory of such a file, whatever changes in it: nothing else is put there."""
CREDENTIAL_SDS_FILE: Final = f"{SDS_DIRECTORY}/token.yaml"
ROOTS_SDS_FILE: Final = f"{SDS_DIRECTORY}/roots.yaml"
CREDENTIAL_DIRECTORY: Final = "token"
CREDENTIAL_FILE: Final = "token"
ROOTS_DIRECTORY: Final = "roots"
ROOTS_FILE: Final = "roots.pem"
ADMIN_SOCKET: Final = "admin.sock"
ROOTS_NAME: Final = "control-plane"
"""Name of the roots inside `ROOTS_SDS_FILE`; it tells them from ``roots|<trust-domain>``."""

BATCH: Final = 500
"""Most statistics in one message of a report, about 50 KB; a report may take several."""
REPORT_INTERVAL: Final = timedelta(seconds=10)

_TYPE: Final = "type.googleapis.com/envoy."
_FOREVER: Final = "0s"
"""initial_fetch_timeout: never start half configured."""


class BootstrapError(ValueError):
    """A sidecar that cannot be described; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One workload's Envoy."""

    cluster: str
    namespace: str
    pod: str
    owner: str
    """Workload that owns the pod; Envoy calls it the node's cluster."""
    host: str
    """The control plane's xDS listener: an address or a DNS name."""
    port: int
    directory: Path
    """Where `SidecarFiles` puts the files, as Envoy will see it."""
    server_name: str = ""
    """Name or address that the control plane's certificate must hold; default: `host`."""
    capture: str = "proxy"
    report_interval: timedelta = REPORT_INTERVAL
    """How often it reports its statistics to the control plane."""

    @property
    def node_id(self) -> str:
        """``<cluster>/<namespace>/<pod>``, which the token must match."""
        return f"{self.cluster}/{self.namespace}/{self.pod}"


def bootstrap(sidecar: Sidecar) -> dict[str, Any]:
    """The bootstrap as JSON-ready data. Raises `BootstrapError`."""
    if not sidecar.directory.is_absolute():
        raise BootstrapError(f"{sidecar.directory} is relative; Envoy needs an absolute directory")
    admin = sidecar.directory / ADMIN_SOCKET
    if len(str(admin).encode()) > MAX_SOCKET_PATH:
        raise BootstrapError(
            f"{admin} is longer than {MAX_SOCKET_PATH} bytes, the most that a Unix socket may have;"
            " choose a shorter directory"
        )
    return {
        "node": {
            "id": sidecar.node_id,
            "cluster": sidecar.owner,
            "metadata": {"capture": sidecar.capture, "v": versions.BOOTSTRAP},
        },
        # 0600: whoever opens it can read the configuration and stop the sidecar.
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "cluster_manager": {"local_cluster_name": names.LOCAL_CLUSTER},
        "dynamic_resources": {
            "ads_config": _ads(),
            "cds_config": _over_ads(_FOREVER),
            "lds_config": _over_ads(_FOREVER),
        },
        "static_resources": {"clusters": [_control_plane(sidecar), _local()]},
        "stats_config": {"stats_matcher": stats.matcher()},
        "stats_flush_interval": f"{sidecar.report_interval.total_seconds():.3f}s",
        "stats_sinks": [_reports()],
    }


def token_sds(directory: Path) -> dict[str, Any]:
    """The file that tells Envoy where its token is.

    What the bootstrap itself names is not read again when the file changes; what comes by SDS from
    a file, with a watched directory, is.
    """
    source = _watched(directory / CREDENTIAL_DIRECTORY, CREDENTIAL_FILE)
    return _sds_file({"name": "token", "generic_secret": {"secret": source}})


def roots_sds(directory: Path) -> dict[str, Any]:
    """The file that tells Envoy where the roots of the control plane are."""
    source = _watched(directory / ROOTS_DIRECTORY, ROOTS_FILE)
    return _sds_file({"name": ROOTS_NAME, "validation_context": {"trusted_ca": source}})


def _sds_file(secret: dict[str, Any]) -> dict[str, Any]:
    # One secret a file: Envoy refuses a file of two.
    kind = f"{_TYPE}extensions.transport_sockets.tls.v3.Secret"
    return {"resources": [{"@type": kind, **secret}]}


def _watched(directory: Path, name: str) -> dict[str, Any]:
    return {"filename": str(directory / name), "watched_directory": {"path": str(directory)}}


def _from_file(path: Path) -> dict[str, Any]:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _over_ads(timeout: str | None = None) -> dict[str, Any]:
    source: dict[str, Any] = {"ads": {}, "resource_api_version": "V3"}
    return source | ({"initial_fetch_timeout": timeout} if timeout else {})


def _ads() -> dict[str, Any]:
    return {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        # The node is 61 KB (its list of extensions): once a stream is enough.
        "set_node_on_first_message_only": True,
        "grpc_services": [
            {
                "envoy_grpc": {
                    "cluster_name": names.XDS_CLUSTER,
                    "retry_policy": {
                        "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}
                    },
                }
            }
        ],
    }


def _reports() -> dict[str, Any]:
    """Tells the control plane which destinations are used, and how large the sidecar is.

    Counters are reported whole: a report that is lost then costs nothing. Names are not taken apart
    into labels, which would break addresses. Of histograms, which nobody reads here, the lesser
    form. The stream's token is injected by the cluster (`_control_plane`).
    """
    return {
        "name": "envoy.stat_sinks.metrics_service",
        "typed_config": {
            "@type": f"{_TYPE}config.metrics.v3.MetricsServiceConfig",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": names.XDS_CLUSTER}},
            "report_counters_as_deltas": False,
            "emit_tags_as_labels": False,
            "histogram_emit_mode": "SUMMARY",
            "batch_size": BATCH,
        },
    }


def _local() -> dict[str, Any]:
    # For zone-aware balancing. Envoy refuses to start when the cluster that it is told to be in is
    # not a static one; its endpoints are always answered, possibly with none.
    return {
        "name": names.LOCAL_CLUSTER,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": _over_ads()},
    }


def _control_plane(sidecar: Sidecar) -> dict[str, Any]:
    address = {"socket_address": {"address": sidecar.host, "port_value": sidecar.port}}
    return {
        "name": names.XDS_CLUSTER,
        "type": "STATIC" if _is_address(sidecar.host) else "STRICT_DNS",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": names.XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": _tls(sidecar),
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        # A control plane that vanished without a word is noticed within 15 s.
                        "connection_keepalive": {"interval": "10s", "timeout": "5s"}
                    }
                },
                "http_filters": [_token_filter(sidecar.directory), _CODEC],
            }
        },
    }


_CODEC: Final[dict[str, Any]] = {
    "name": "codec",
    "typed_config": {"@type": f"{_TYPE}extensions.filters.http.upstream_codec.v3.UpstreamCodec"},
}


def _token_filter(directory: Path) -> dict[str, Any]:
    source = _from_file(directory / CREDENTIAL_SDS_FILE)
    return {
        "name": "token",
        "typed_config": {
            "@type": f"{_TYPE}extensions.filters.http.credential_injector.v3.CredentialInjector",
            "overwrite": True,
            "credential": {
                "name": "generic",
                "typed_config": {
                    "@type": f"{_TYPE}extensions.http.injected_credentials.generic.v3.Generic",
                    "header_value_prefix": "Bearer ",
                    "credential": {"name": "token", "sds_config": source},
                },
            },
        },
    }


def _tls(sidecar: Sidecar) -> dict[str, Any]:
    name = sidecar.server_name or sidecar.host
    is_address = _is_address(name)
    san = {"san_type": "IP_ADDRESS" if is_address else "DNS", "matcher": {"exact": name}}
    tls: dict[str, Any] = {
        "@type": f"{_TYPE}extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_3",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "alpn_protocols": ["h2"],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [san]},
                "validation_context_sds_secret_config": {
                    "name": ROOTS_NAME,
                    "sds_config": _from_file(sidecar.directory / ROOTS_SDS_FILE),
                },
            },
        },
    }
    return tls if is_address else tls | {"sni": name}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
