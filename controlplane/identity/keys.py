"""P-256 keys: making, writing and reading them. Envoy accepts no other curve for a leaf.

A private key as text is `PrivateBytes` from the moment it exists, so that no repr shows it.
"""

import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from xds.ir.secret import PrivateBytes

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


def make_key() -> PrivateKey:
    """A new P-256 key, in memory alone."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: PrivateKey) -> PrivateBytes:
    """PKCS #8, unencrypted: the form that Envoy's ``inline_bytes`` and our state files take."""
    return PrivateBytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def key_from_pem(pem: bytes) -> PrivateKey:
    """Read a P-256 key. Raises ValueError that says what stands there instead, never its bytes."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("it holds no unencrypted private key in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("it holds a key of another kind than P-256")
    return key


def key_id(key: PublicKey) -> str:
    """16 hex digits that name a public key: the start of its SubjectPublicKeyInfo's SHA-256."""
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).hexdigest()[:16]
