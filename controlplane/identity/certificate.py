"""What every certificate of the built-in authority shares: serial, validity, key identifiers.

RFC 5280 section 4.1.2.2 (serial), 4.2.1.2 (subject key identifier); profile of leaves: SPIFFE
X509-SVID, https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md.
"""

import secrets
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from controlplane.identity.keys import PrivateKey, PublicKey

SERIAL_BITS = 127


def random_serial() -> int:
    """A serial for a certificate that nobody names by it."""
    return secrets.randbits(SERIAL_BITS) | 1


def builder(
    public: PublicKey, serial: int, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    """A certificate with its key, serial, whole seconds of validity and subject key identifier;
    names, uses and the issuer are the caller's."""
    return complete(x509.CertificateBuilder(), public, serial, not_before, not_after)


def complete(
    form: x509.CertificateBuilder,
    public: PublicKey,
    serial: int,
    not_before: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    """The same, on a form that has the rest already."""
    return (
        form.public_key(public)
        .serial_number(serial)
        .not_valid_before(not_before.replace(microsecond=0))
        .not_valid_after(not_after.replace(microsecond=0))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def sign(certificate: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    """Sign with ECDSA and SHA-256."""
    return certificate.sign(key, hashes.SHA256())


def end_entity_usage() -> x509.KeyUsage:
    """X509-SVID 4.3: digitalSignature alone; ECDHE needs nothing else."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def issued_by(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    """RFC 5280 4.2.1.1: names the issuer's key, so that a verifier with several roots finds it."""
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def pem(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM text."""
    return certificate.public_bytes(Encoding.PEM)
