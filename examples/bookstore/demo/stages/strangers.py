"""Stage 2: who is refused. Every inbound port, tried in plain text, with a leaf of another
authority, and, so that a refusal proves something, with a leaf of this mesh."""

import asyncio
import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from examples.bookstore.demo.context import Demo
from examples.bookstore.http1 import Address

TIMEOUT = 2.0
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""The client's preface with empty SETTINGS (RFC 9113, section 3.4)."""


@dataclass(frozen=True, slots=True)
class Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def leaf(self, spiffe_id: str, directory: Path, name: str) -> tuple[Path, Path]:
        """Issue a leaf of an hour; paths of its certificate and key, written as PEM 0600."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)]),
                critical=True,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
                ),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        paths = directory / f"{name}.pem", directory / f"{name}-key.pem"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].touch(0o600)
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths


def stranger() -> Authority:
    """An authority of nobody's mesh, with the name that Plait's has."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Plait root")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


def own(state: Path) -> Authority:
    """The mesh's own authority, from the files of the state directory."""
    key = serialization.load_pem_private_key((state / "ca" / "key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate((state / "ca" / "cert.pem").read_bytes())
    return Authority(key, certificate)


async def _answer(address: Address, say: bytes, context: ssl.SSLContext | None) -> bytes:
    """What comes back for ``say``: empty when the connection was refused at any point.

    Raises TimeoutError when it is neither answered nor closed.
    """
    async with asyncio.timeout(TIMEOUT):
        try:
            reader, writer = await asyncio.open_connection(*address, ssl=context)
        except OSError:  # ssl.SSLError is one
            return b""
        try:
            writer.write(say)
            return await reader.read(1024)
        except OSError:
            return b""
        finally:
            writer.close()


async def plaintext(address: Address) -> bool:
    """Whether a stranger who speaks plain HTTP gets a single byte of answer."""
    request = f"GET / HTTP/1.1\r\nhost: {address}\r\n\r\n"
    return await _answer(address, request.encode(), None) != b""


async def with_leaf(address: Address, leaf: tuple[Path, Path], alpn: str) -> bool:
    """Whether a client with this certificate gets a single byte of answer after the handshake.

    In TLS 1.3 a server refuses a client's certificate only after the client thinks it is through.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is the server that is on trial
    context.load_cert_chain(*leaf)
    context.set_alpn_protocols([alpn])
    say = b"hello\n" if alpn == "plait-tcp" else HTTP2_PREFACE
    return await _answer(address, say, context) != b""


async def run(demo: Demo) -> None:
    demo.stage("strangers at every door")
    doors = {w.name: w.inbound for w in demo.workloads.values()}
    identity = demo.workloads["web"].spiffe_id(demo.trust_domain)
    foreign = stranger().leaf(identity, demo.places.root, "foreign")
    known = own(demo.places.state).leaf(identity, demo.places.root, "known")
    alpn = {name: "plait-tcp" if name == "ledger" else "plait-h1" for name in doors}
    plain = [name for name, door in doors.items() if await plaintext(door)]
    other = [n for n, door in doors.items() if await with_leaf(door, foreign, alpn[n])]
    ours = [n for n, door in doors.items() if await with_leaf(door, known, alpn[n])]

    def figure(admitted: list[str]) -> str:
        refused = len(doors) - len(admitted)
        return f"{refused} of {len(doors)} doors refused" + "".join(f", not {n}" for n in admitted)

    demo.claim("STRICT: a plain-text stranger is refused", figure(plain), not plain)
    demo.claim(
        "STRICT: a leaf of another authority with web's name is refused", figure(other), not other
    )
    demo.claim(
        "control: the same client with a leaf of this mesh is let in",
        f"{len(ours)} of {len(doors)} doors",
        len(ours) == len(doors),
    )
