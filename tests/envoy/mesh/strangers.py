"""TLS clients outside the mesh that hold a certificate: of its own authority or of another."""

import ssl
from pathlib import Path

from controlplane.identity.clock import SystemClock
from controlplane.identity.leaves import Leaves
from controlplane.identity.state import open_state
from xds.ir.secret import LeafSecret


def tls_client(state: Path, directory: Path, spiffe_id: str, alpn: str) -> ssl.SSLContext:
    """A context that offers ``alpn`` and shows a certificate for ``spiffe_id`` by the authority in
    ``state``, which is made when there is none. It trusts every server: the server is on trial."""
    clock = SystemClock()
    secret = Leaves(open_state(state, clock.now()).authority, clock).leaf_for(spiffe_id, spiffe_id)
    assert isinstance(secret, LeafSecret)
    path = directory / "stranger.pem"
    path.touch(mode=0o600)
    path.write_bytes(bytes(secret.chain) + bytes(secret.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(path)
    if alpn:
        context.set_alpn_protocols([alpn])
    path.unlink()
    return context
