"""The certificate of the xDS listener, signed by the built-in authority at every start.

Sidecars verify it against the roots file of their bootstrap and by name, so a workload's leaf,
which carries a SPIFFE id and no host name, cannot pose as the control plane. The key stays in
memory.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controlplane.identity.ca import Authority
from controlplane.identity.certificate import (
    builder,
    end_entity_usage,
    issued_by,
    pem,
    random_serial,
    sign,
)
from controlplane.identity.keys import key_to_pem, make_key
from controlplane.identity.rotate import BACKDATE
from xds.ir.secret import PrivateBytes

LIFETIME: Final = timedelta(days=365)
"""Long, since an open listener keeps its certificate: renewed at each start."""
ALWAYS: Final = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A chain and its key, PEM."""

    chain: bytes
    key: PrivateBytes = field(repr=False)
    not_after: datetime

    def pair(self) -> tuple[bytes, bytes]:
        """Key and chain as ``grpc.ssl_server_credentials([pair])`` takes them: plain bytes."""
        return bytes(self.key), self.chain


def server_certificate(
    authority: Authority, names: Iterable[str], now: datetime
) -> ServerCertificate:
    """A certificate for localhost, 127.0.0.1 and `names` (DNS names or addresses)."""
    key = make_key()
    not_after = min(now + LIFETIME, authority.not_after)
    alternatives = [_name(text) for text in dict.fromkeys((*ALWAYS, *names))]
    certificate = sign(
        builder(key.public_key(), random_serial(), now - BACKDATE, not_after)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plait xds")]))
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(end_entity_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issued_by(authority.key), critical=False),
        authority.key,
    )
    return ServerCertificate(pem(certificate), key_to_pem(key), not_after)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
