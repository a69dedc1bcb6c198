"""The built-in certificate authority: one P-256 key in ``STATE/ca``, and the bundle of roots.

    ca/key.pem    the issuer's key (0600)
    ca/cert.pem   its self-signed certificate
    ca/roots.pem  every root that workloads trust; it holds cert.pem, and more while a root changes

The three are made together, in a directory beside it that is then renamed, and only where nothing
at all is there. Anything else that is not a complete, matching set refuses to load: a new root made
silently would cut off every workload that trusts the old one.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from controlplane.durable import (
    OS_FS,
    Fs,
    make_directory,
    state_error,
    write_durably,
)
from controlplane.identity.certificate import builder, issued_by, pem, random_serial, sign
from controlplane.identity.keyfile import entries, load, load_key, refuse
from controlplane.identity.keys import PrivateKey, PublicKey, key_id, key_to_pem, make_key
from xds import names
from xds.ir.secret import RootsSecret

KEY: Final = "key.pem"
CERTIFICATE: Final = "cert.pem"
ROOTS: Final = "roots.pem"
STAGING: Final = ".plait-ca"
"""Where a new authority is made before the rename; a leftover of a crash is overwritten."""

ROOT_LIFETIME: Final = timedelta(days=3650)
ROOT_BACKDATE: Final = timedelta(days=30)
"""A clock that was ahead when the root was made must not make it invalid afterwards."""

_RESTORE: Final = "Restore the ca directory from a backup, all three files together"


@dataclass(frozen=True, slots=True, eq=False)
class Authority:
    """A loaded authority. It signs; its key leaves it only as a signature."""

    key: PrivateKey = field(repr=False)
    certificate: x509.Certificate = field(repr=False)
    bundle: bytes = field(repr=False)
    """All trusted roots, PEM, concatenated."""
    key_id: str
    name: x509.Name
    """What its leaves call their issuer."""
    identifier: x509.AuthorityKeyIdentifier
    """Which of several roots made a leaf."""
    not_after: datetime
    created: bool
    """Made by this call, rather than found: worth a line in the log."""

    def roots(self, trust_domain: str) -> RootsSecret:
        """What workloads verify their peers of `trust_domain` against."""
        return RootsSecret(names.roots_secret(trust_domain), self.bundle)

    @property
    def not_before(self) -> datetime:
        return self.certificate.not_valid_before_utc


def load_or_create(directory: Path, now: datetime, *, fs: Fs = OS_FS) -> Authority:
    """The authority in `directory`, made when `directory` is absent or empty.

    Raises `StateError` naming the file and the remedy in every other case: a missing, unreadable,
    foreign or mismatching file, or a failed write (which leaves nothing behind that would load).
    """
    if not entries(directory):
        _create(directory, now, fs)
        return _load(directory, created=True)
    return _load(directory, created=False)


def _load(directory: Path, created: bool) -> Authority:
    key = load_key(directory / KEY, _RESTORE)
    certificate = _one_certificate(directory / CERTIFICATE)
    roots_path = directory / ROOTS
    bundle = load(roots_path, _RESTORE)
    if key_id(key.public_key()) != _key_id_of(certificate, directory / CERTIFICATE):
        raise refuse(directory / KEY, f"the key is not that of {directory / CERTIFICATE}", _RESTORE)
    if certificate not in _certificates(roots_path, bundle):
        raise refuse(
            roots_path,
            f"it does not hold {directory / CERTIFICATE}, so no peer would trust our leaves",
            f"Add the text of {CERTIFICATE} to it, or restore it from a backup",
        )
    return Authority(
        key,
        certificate,
        bundle,
        key_id(key.public_key()),
        certificate.subject,
        issued_by(key),
        certificate.not_valid_after_utc,
        created,
    )


def _certificates(path: Path, data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise refuse(path, "it holds no certificate in PEM form", _RESTORE) from None


def _one_certificate(path: Path) -> x509.Certificate:
    found = _certificates(path, load(path, _RESTORE))
    if len(found) != 1:
        raise refuse(path, f"it holds {len(found)} certificates instead of one", _RESTORE)
    return found[0]


def _key_id_of(certificate: x509.Certificate, path: Path) -> str:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        signs = constraints.ca
    except x509.ExtensionNotFound:
        signs = False
    public = certificate.public_key()
    if not signs or not isinstance(public, PublicKey):
        raise refuse(path, "it is no certificate of an authority with a P-256 key", _RESTORE)
    return key_id(public)


def _create(directory: Path, now: datetime, fs: Fs) -> None:
    key = make_key()
    certificate = pem(_self_signed(key, now))
    staging = directory.parent / STAGING
    make_directory(staging)
    write_durably(staging / KEY, key_to_pem(key), fs=fs)
    write_durably(staging / CERTIFICATE, certificate, fs=fs)
    write_durably(staging / ROOTS, certificate, fs=fs)
    try:
        fs.rename(staging, directory)
        fs.sync_directory(directory.parent)
    except OSError as error:
        raise state_error(directory, "rename", error) from error


def _self_signed(key: PrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Plait"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Plait root {key_id(key.public_key())}"),
        ]
    )
    certificate = (
        builder(key.public_key(), random_serial(), now - ROOT_BACKDATE, now + ROOT_LIFETIME)
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    return sign(certificate, key)
