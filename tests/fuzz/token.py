"""Fuzz target of what admits a stream: ``python -m tests.fuzz.token FOUND [-runs=N]``.

From the metadata of a call to its `Principal`, and on to the node that it claims. The first byte
of an input says what the rest is: metadata; changes to tokens that were signed; claims, or a header
and claims, to be signed here, which only the key's holder can do; a node. The key is fixed and
signs deterministically, so that an input always means the same.

Whatever comes, the answer is a principal or `Denied`. A token that was changed anywhere, or put
together from others, is never accepted; a principal is exactly the workload that was signed; and no
refusal repeats a part of the token.
"""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Coroutine
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.fuzz.guided import instrumented, run

if TYPE_CHECKING:
    import grpc

with instrumented("token"):
    from controlplane.identity import tokens
    from controlplane.identity.authenticate import TokenAuthenticator
    from xds.serve.auth import Principal, authenticated

from tests.fakes.clock import ManualClock
from xds.serve.limits import Denied
from xds.wire.request import Node

T = TypeVar("T")

CLOCK = ManualClock()
NOW = int(CLOCK.now().timestamp())
HOUR = int(timedelta(hours=1).total_seconds())
SECRET = ec.derive_private_key(20261124, ec.SECP256R1())
KEY = tokens.token_key(SECRET, created=False)
JUDGE = TokenAuthenticator(KEY, CLOCK)
HEADER = json.dumps({"alg": "ES256", "kid": KEY.key_id, "typ": "JWT"}).encode()
PIECE = re.compile(r"[\w-]{24,}", re.ASCII)
"""A part of a token that no sentence holds by chance."""


def claims(pod: str, account: str, **others: Any) -> dict[str, Any]:
    about = {"cluster": "local", "namespace": "shop", "pod": pod, "account": account}
    return {
        "iss": "plait",
        "aud": "plait",
        "sub": f"spiffe://example.org/ns/shop/sa/{account}",
        "iat": NOW,
        "exp": NOW + HOUR,
        "jti": f"id-of-{pod}",
        "plait": about,
        **others,
    }


def signed(payload: bytes, header: bytes = HEADER) -> str:
    """A compact JWS of any header and payload (RFC 7515 7.1), by the fixed key."""
    text = b".".join(urlsafe_b64encode(each).rstrip(b"=") for each in (header, payload))
    r, s = decode_dss_signature(SECRET.sign(text, ec.ECDSA(SHA256(), deterministic_signing=True)))
    signature = urlsafe_b64encode(r.to_bytes(32) + s.to_bytes(32)).rstrip(b"=")
    return f"{text.decode()}.{signature.decode()}"


TOKENS = {
    signed(json.dumps(each).encode()): each["plait"]
    for each in (claims("web-1", "web"), claims("ledger-1", "ledger"), claims("web-2", "web"))
}
"""What was signed for workloads, and for which."""
TEXTS = [*TOKENS]
OWN = "local/shop/web-1"


class Call:
    """The part of a call that is judged before a stream is served."""

    def __init__(self, metadata: list[tuple[str, str | bytes]]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return self._metadata

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


def finished(judging: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        judging.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    raise AssertionError("it waits")


def judged(metadata: list[tuple[str, str | bytes]]) -> Principal | None:
    """The principal of a call; None when it is refused, without a word of the token."""
    context = cast("grpc.aio.ServicerContext[bytes, bytes]", Call(metadata))
    try:
        return finished(authenticated(JUDGE, context, CLOCK.monotonic()))
    except Denied as refusal:
        denied = refusal
    assert denied.code == "UNAUTHENTICATED"
    assert denied.detail
    given = [value for _, value in metadata if isinstance(value, str)]
    pieces = [piece for value in given for piece in PIECE.findall(value)]
    assert not any(piece in denied.detail for piece in pieces)
    return None


def expect(principal: Principal, about: dict[str, str]) -> None:
    """It is the workload that was signed, and may call itself by no other name."""
    shown = {
        "cluster": principal.claims["cluster"],
        "namespace": principal.namespace,
        "pod": principal.workload,
        "account": principal.account,
    }
    assert shown == {name: about[name] for name in shown}
    assert principal.expires_at > CLOCK.monotonic()
    own = f"{about['cluster']}/{about['namespace']}/{about['pod']}"
    assert admitted(principal, Node(own))
    assert not admitted(principal, Node(own + "-")), own


def admitted(principal: Principal, node: Node) -> bool:
    try:
        JUDGE.admit(principal, node)
    except Denied as refusal:
        denied = refusal
    else:
        return True
    assert denied.code in ("PERMISSION_DENIED", "INVALID_ARGUMENT")
    return False


def read_metadata(data: bytes) -> None:
    """Lines of ``key: value``, as gRPC gives them: text, and bytes under names in ``-bin``."""
    metadata: list[tuple[str, str | bytes]] = []
    for line in data.split(b"\n"):
        name, _, value = line.partition(b": ")
        key = name.decode("latin-1")
        metadata.append((key, value if key.endswith("-bin") else value.decode(errors="replace")))
    principal = judged(metadata)
    if principal is not None:
        found = [value for key, value in metadata if key == "authorization"]
        last = found[-1]
        assert isinstance(last, str)
        expect(principal, TOKENS[last[len("bearer ") :].strip()])


def change_tokens(data: bytes) -> None:
    """Three bytes choose whose header, claims and signature; then changes of three bytes: where
    (two), and what to put in there; above 127 that character is taken out instead."""
    parts = [TEXTS[byte % len(TEXTS)].split(".")[place] for place, byte in enumerate(data[:3])]
    letters = list(".".join(parts))
    for start, end in pairwise(range(3, len(data) + 1, 3)):
        high, low, value = data[start:end]
        place = (high << 8 | low) % (len(letters) + 1)
        if value < 128:
            letters.insert(place, chr(value))
        else:
            del letters[place : place + 1]
    text = "".join(letters)
    principal = judged([("authorization", f"Bearer {text}")])
    if principal is not None:
        # White space around a token is no part of it (RFC 9110 5.5).
        expect(principal, TOKENS[text.strip()])


def sign_claims(data: bytes) -> None:
    accept_signed(signed(data), data)


def sign_both(data: bytes) -> None:
    header, _, payload = data.partition(b"\n")
    accept_signed(signed(payload, header), payload)


def accept_signed(token: str, payload: bytes) -> None:
    principal = judged([("authorization", f"Bearer {token}")])
    if principal is not None:
        expect(principal, json.loads(payload)["plait"])


def claim_node(data: bytes) -> None:
    """A node id, and the bootstrap's version as JSON, to the holder of a good token."""
    name, _, version = data.partition(b"\n")
    try:
        said = {"v": json.loads(version)} if version else {}
    except (ValueError, RecursionError):
        return
    principal = judged([("authorization", f"Bearer {TEXTS[0]}")])
    assert principal is not None
    claimed = name.decode(errors="replace")
    assert not admitted(principal, Node(claimed, metadata=said)) or claimed == OWN


KINDS = {
    b"m": read_metadata,
    b"t": change_tokens,
    b"c": sign_claims,
    b"h": sign_both,
    b"n": claim_node,
}


def one_input(data: bytes) -> None:
    kind = KINDS.get(data[:1])
    if kind is not None:
        kind(data[1:])


def seeds() -> dict[str, bytes]:
    """Where a run starts: inputs of each kind, some accepted and some refused."""
    first, second = TEXTS[:2]
    good = json.dumps(claims("api-1", "api")).encode()
    late = json.dumps(claims("api-1", "api", iat=NOW - HOUR, exp=NOW)).encode()
    other = json.dumps(claims("api-1", "api", sub="spiffe://example.org/ns/shop/sa/\ud800"))
    plain = json.dumps({"alg": "none", "kid": KEY.key_id}).encode()
    detached = json.dumps({"alg": "ES256", "kid": KEY.key_id, "b64": False, "crit": ["b64"]})
    # The last character of a signature holds four bits that no byte takes.
    last = (len(first) - 1).to_bytes(2)
    loose = chr(ord(first[-1]) + 1).encode()
    end = len(first).to_bytes(2)
    return {
        "good": b"m" + f"authorization: Bearer {first}".encode(),
        "twice": b"m" + f"authorization: bearer {second}\nauthorization: Bearer {first} ".encode(),
        "basic": b"myou: me\nx-bin: \xff\nauthorization: Basic dTpw",
        "whole": b"t\x00\x00\x00",
        "joined": b"t\x00\x01\x00",
        "borrowed": b"t\x01\x01\x00",
        "changed": b"t\x00\x00\x00" + b"\x00\x50x" + b"\x00\x10\xff",
        "loose": b"t\x00\x00\x00" + last + b"\xff" + last + loose,
        "inserted": b"t\x00\x00\x00" + last + b"!",
        "padded": b"t\x00\x00\x00" + (end + b"=") * 2,
        "claims": b"c" + good,
        "late": b"c" + late,
        "surrogate": b"c" + other.encode(),
        "no-account": b"c" + json.dumps(claims("api-1", "")).encode(),
        "header": b"h" + HEADER + b"\n" + good,
        "unsigned": b"h" + plain + b"\n" + good,
        "detached": b"h" + detached.encode() + b"\n",
        "node": b"n" + OWN.encode() + b"\n1",
        "stranger": b"nlocal/shop/web-2\n1.5",
    }


if __name__ == "__main__":
    run(one_input, seeds())
