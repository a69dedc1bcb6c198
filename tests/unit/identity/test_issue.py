"""Certificates: the profile of X509-SVID, and the name of the control plane's listener."""

import ssl
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from controlplane.identity import spiffe
from controlplane.identity.ca import Authority
from controlplane.identity.issue import issue
from controlplane.identity.keys import key_from_pem, key_id
from controlplane.identity.rotate import BACKDATE
from controlplane.identity.server_tls import server_certificate
from controlplane.identity.slots import parse_version
from tests.fakes.clock import ManualClock

ID = "spiffe://example.org/ns/shop/sa/web"
HOUR = timedelta(hours=1)


def test_leaf_follows_the_svid_profile(authority: Authority, clock: ManualClock) -> None:
    secret, _ = issue(authority, ID, clock.now(), HOUR)
    leaf = x509.load_pem_x509_certificate(secret.chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert list(names.value) == [x509.UniformResourceIdentifier(ID)]
    assert not list(leaf.subject)
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert not constraints.value.ca
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    assert not usage.value.crl_sign
    assert set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }
    public = leaf.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert isinstance(public.curve, ec.SECP256R1)
    leaf.verify_directly_issued_by(authority.certificate)
    assert key_id(key_from_pem(secret.key).public_key()) == key_id(public)


def test_version_names_the_leaf(authority: Authority, clock: ManualClock) -> None:
    secret, version = issue(authority, ID, clock.now(), HOUR)
    leaf = x509.load_pem_x509_certificate(secret.chain)
    assert secret.version == (
        f"leaf|{authority.key_id}|{leaf.serial_number:x}"
        f"|{leaf.not_valid_before_utc.timestamp():.0f}"
        f"|{leaf.not_valid_after_utc.timestamp():.0f}"
    )
    assert parse_version(secret.version) == version
    assert leaf.not_valid_before_utc == clock.now() - BACKDATE
    assert leaf.not_valid_after_utc == clock.now() + HOUR


@pytest.mark.parametrize(
    "text",
    [
        "",
        "leaf",
        "leaf|x|1|2|3",
        "leaf|0123456789abcdef|1|2",
        "leaf|0123456789abcdef|1|2|3|4",
        "leaf|0123456789abcdef|1|2|999999999999",
        "leaf|0123456789abcdef|1|-2|3",
        "leaf|0123456789abcdef|1|2|3\n",
        "leaf|0123456789abcdef|" + "f" * 41 + "|2|3",
        "9f86d081884c7d65",
    ],
)
def test_a_version_that_is_none(text: str) -> None:
    assert parse_version(text) is None


def test_every_leaf_has_its_own_key_and_serial(authority: Authority, clock: ManualClock) -> None:
    leaves = [issue(authority, ID, clock.now(), HOUR) for _ in range(20)]
    assert len({secret.key for secret, _ in leaves}) == 20
    assert len({version.serial for _, version in leaves}) == 20


def test_a_leaf_does_not_outlive_its_authority(authority: Authority, clock: ManualClock) -> None:
    near_the_end = authority.not_after - timedelta(minutes=10)
    _, version = issue(authority, ID, near_the_end, HOUR)
    assert version.not_after == authority.not_after


def test_server_certificate_names(authority: Authority, clock: ManualClock) -> None:
    made = server_certificate(authority, ("plait.plait-system.svc", "::1"), clock.now())
    leaf = x509.load_pem_x509_certificate(made.chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "plait.plait-system.svc"]
    addresses = names.get_values_for_type(x509.IPAddress)
    assert [str(address) for address in addresses] == ["127.0.0.1", "::1"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == []
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    leaf.verify_directly_issued_by(authority.certificate)


def test_openssl_accepts_leaf_and_key(
    authority: Authority, clock: ManualClock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret, _ = issue(authority, ID, clock.now(), HOUR)
    pair = tmp_path_factory.mktemp("pair") / "pair.pem"
    pair.write_bytes(bytes(secret.chain) + bytes(secret.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    context.load_verify_locations(cadata=authority.bundle.decode())
    assert context.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 1}


def test_spiffe_ids() -> None:
    parsed = spiffe.parse(ID)
    assert parsed == spiffe.SpiffeId("example.org", "shop", "web")
    assert str(parsed) == ID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://example.org",
        "spiffe://example.org/ns/shop/sa/",
        "spiffe://example.org/ns/../sa/web",
        "spiffe://example.org/ns/shop/sa/web/x",
        "spiffe://Example.org/ns/shop/sa/web",
        "https://example.org/ns/shop/sa/web",
        "spiffe://example.org/ns/shop/sa/w%65b",
        "spiffe://user@example.org/ns/shop/sa/web",
        "spiffe://example.org/ns/shop/sa/" + "w" * 2048,
    ],
)
def test_what_is_no_workload_id(text: str) -> None:
    assert spiffe.parse(text) is None
