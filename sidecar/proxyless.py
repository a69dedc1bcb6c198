"""What a gRPC application without a sidecar starts with: the bootstrap of its own xDS client.

gRPC reads ``GRPC_XDS_BOOTSTRAP`` (a path) and trusts the control plane by the roots, as an Envoy
does. It presents the same bearer token (gRFC A97), and with certificates (gRFC A29, A65) it speaks
mutual TLS with sidecars. All three are files that it reads again, so they are renewed in place.

    DIR/                        0700
      bootstrap.json            what GRPC_XDS_BOOTSTRAP names
      token/token               the bearer token of the control-plane stream
      roots/roots.pem           what the control plane and all peers are verified against
      identity/certificate.pem  the workload's certificate
      identity/key.pem          and its key, replaced together
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar import bootstrap as layout
from sidecar.bootstrap import BootstrapError, Sidecar
from sidecar.files import CredentialFiles, in_json
from xds import versions

CAPTURE: Final = "proxyless"
PATH_VARIABLE: Final = "GRPC_XDS_BOOTSTRAP"
FEATURES: Final = ("GRPC_EXPERIMENTAL_XDS_BOOTSTRAP_CALL_CREDS", "GRPC_EXPERIMENTAL_XDS_SNI")
"""Variables that must be true, or gRPC presents no token (gRFC A97) and sends no SNI (A101); both
are still guarded in grpcio 1.85."""
PROVIDER: Final = "default"
"""Certificate provider that clusters with mutual TLS refer to (`xds.build.proxyless.PROVIDER`)."""

IDENTITY_DIRECTORY: Final = "identity"
CERTIFICATE_FILE: Final = "certificate.pem"
KEY_FILE: Final = "key.pem"
REFRESH: Final = "10s"
"""How often gRPC looks at the files."""


def grpc_bootstrap(application: Sidecar) -> dict[str, Any]:
    """The bootstrap as JSON-ready data. Raises `BootstrapError`."""
    home = application.directory
    if not home.is_absolute():
        raise BootstrapError(f"{home} is relative; gRPC needs an absolute directory")
    if application.server_name not in ("", application.host):
        raise BootstrapError(
            f"gRPC verifies the control plane by the host that it dials, {application.host}; "
            f"{application.server_name} cannot be given besides"
        )
    roots = str(home / layout.ROOTS_DIRECTORY / layout.ROOTS_FILE)
    token = str(home / layout.CREDENTIAL_DIRECTORY / layout.CREDENTIAL_FILE)
    identity = home / IDENTITY_DIRECTORY
    host = f"[{application.host}]" if ":" in application.host else application.host
    server = {
        "server_uri": f"{host}:{application.port}",
        "channel_creds": [{"type": "tls", "config": {"ca_certificate_file": roots}}],
        "call_creds": [{"type": "jwt_token_file", "config": {"jwt_token_file": token}}],
        "server_features": ["xds_v3"],
    }
    metadata = {"capture": CAPTURE, "v": versions.BOOTSTRAP, "certificates": True}
    provider = {
        "plugin_name": "file_watcher",
        "config": {
            "certificate_file": str(identity / CERTIFICATE_FILE),
            "private_key_file": str(identity / KEY_FILE),
            "ca_certificate_file": roots,
            "refresh_interval": REFRESH,
        },
    }
    return {
        "xds_servers": [server],
        "node": {"id": application.node_id, "cluster": application.owner, "metadata": metadata},
        "certificate_providers": {PROVIDER: provider},
    }


def environment(bootstrap: Path) -> dict[str, str]:
    """What the application's environment must hold for gRPC to use the bootstrap."""
    return {PATH_VARIABLE: str(bootstrap), **dict.fromkeys(FEATURES, "true")}


@dataclass(frozen=True, slots=True)
class ProxylessFiles(CredentialFiles):
    """The files of one application."""

    @property
    def identity(self) -> Path:
        return self.directory / IDENTITY_DIRECTORY

    def write(
        self, application: Sidecar, token: str, roots: bytes, chain: bytes, key: bytes
    ) -> Path:
        """Write everything; the path for ``GRPC_XDS_BOOTSTRAP``. `token` is the bare JWT, the rest
        PEM text. Raises `BootstrapError` when the application cannot be described."""
        configuration = grpc_bootstrap(application)
        self._make(self.directory)
        self.renew_token(token)
        self.renew_roots(roots)
        self.renew_identity(chain, key)
        self._replace(self.bootstrap, in_json(configuration))
        return self.bootstrap

    def renew_identity(self, chain: bytes, key: bytes) -> None:
        """Replace certificate and key together; new connections use them."""
        self._swap(self.identity, {CERTIFICATE_FILE: chain, KEY_FILE: key})
