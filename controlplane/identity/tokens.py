"""Tokens of file mode: a JWT (ES256) that says which workload opens a stream.

Signed by a P-256 key in ``STATE/tokens/key.pem`` (0600), made when the directory is absent or
empty. Times are judged by the clock that is passed in. A token is a secret: `Token` prints as
``[redacted]``, and no rejection repeats any part of what was presented.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import jwt
from jwt.types import Options

from controlplane.durable import OS_FS, Fs, make_directory, write_durably
from controlplane.identity import spiffe
from controlplane.identity.keyfile import entries, load_key
from controlplane.identity.keys import PrivateKey, PublicKey, key_id, key_to_pem, make_key

AUDIENCE: Final = "plait"
ISSUER: Final = "plait"
ALGORITHM: Final = "ES256"
KEY: Final = "key.pem"
DEFAULT_LIFETIME: Final = timedelta(hours=24)
MAX_TOKEN: Final = 4096
"""Bytes; ours are about 500. A longer one is not parsed."""

_RESTORE = (
    "Restore the file from a backup, or empty the tokens directory: then every sidecar needs a"
    " new token (meshctl proxy token)"
)
_OPTIONS: Final[Options] = {
    "require": ["iss", "aud", "sub", "iat", "exp", "jti", "plait"],
    # The times are judged by our clock.
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


class Token(str):
    """A signed token. Printing it shows ``[redacted]``; `reveal` gives the text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "[redacted]"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("[redacted]", spec)

    def reveal(self) -> str:
        """The token's text, to be written to a 0600 file or sent over TLS."""
        return self.encode().decode()


@dataclass(frozen=True, slots=True)
class Workload:
    """Whom a token speaks for."""

    cluster: str
    namespace: str
    pod: str
    account: str


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    workload: Workload
    subject: str
    """SPIFFE id."""
    issued_at: datetime
    expires_at: datetime
    token_id: str
    """``jti``: names the token in a log without revealing it."""


class Denial(StrEnum):
    """Why a token is refused."""

    MISSING = "missing"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown-key"
    WRONG_AUDIENCE = "wrong-audience"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A refused token: a kind for metrics and a text for the log and the client."""

    kind: Denial
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class TokenKey:
    """Signs and verifies."""

    key: PrivateKey = field(repr=False)
    key_id: str
    created: bool
    """Made by this call, rather than found."""
    public: PublicKey = field(repr=False)
    header: str = field(repr=False)
    """First part of every token that it signs."""


def load_or_create(directory: Path, *, fs: Fs = OS_FS) -> TokenKey:
    """The key in `directory`, made when it is absent or empty.

    Raises `StateError` when something else is there than a readable P-256 key, or a write fails.
    """
    path = directory / KEY
    made = not (entries(directory) - {f".plait-{KEY}.tmp"})
    if made:
        make_directory(directory)
        write_durably(path, key_to_pem(make_key()), fs=fs)
    key = load_key(path, _RESTORE)
    return token_key(key, created=made)


def token_key(key: PrivateKey, *, created: bool) -> TokenKey:
    """What signs with ``key`` and verifies what it has signed."""
    public = key.public_key()
    name = key_id(public)
    signed = jwt.encode({}, key, algorithm=ALGORITHM, headers={"kid": name})
    return TokenKey(key, name, created, public, signed.partition(".")[0])


def sign(
    key: TokenKey,
    workload: Workload,
    subject: str,
    now: datetime,
    lifetime: timedelta = DEFAULT_LIFETIME,
) -> Token:
    """A token for `workload`, whose SPIFFE id is `subject`, valid for `lifetime` from `now`."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
        "jti": uuid4().hex,
        "plait": {
            "cluster": workload.cluster,
            "namespace": workload.namespace,
            "pod": workload.pod,
            "account": workload.account,
        },
    }
    return Token(jwt.encode(claims, key.key, algorithm=ALGORITHM, headers={"kid": key.key_id}))


def verify(key: TokenKey, token: str, now: datetime) -> Claims | Rejected:
    """Check signature, audience, times and shape of a presented token, which may be anything."""
    if not token:
        return Rejected(Denial.MISSING, "no bearer token was presented")
    # RFC 7515 2 has no padding; PyJWT takes it, and a token would have several texts.
    if len(token) > MAX_TOKEN or not token.isascii() or "=" in token:
        return _malformed("it is no JWT of ours")
    try:
        # Ours all have the same header, and PyJWT reads it once more below.
        if token.partition(".")[0] != key.header and (
            jwt.get_unverified_header(token).get("kid") != key.key_id
        ):
            return Rejected(
                Denial.UNKNOWN_KEY, "the token is signed by a key of another control plane"
            )
        payload = jwt.decode(
            token,
            key.public,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options=_OPTIONS,
        )
    except jwt.InvalidAudienceError:
        return Rejected(Denial.WRONG_AUDIENCE, f"the token is not meant for {AUDIENCE!r}")
    except jwt.InvalidSignatureError:
        return _malformed("its signature is wrong")
    except jwt.MissingRequiredClaimError as error:
        return _malformed(f"the claim {error.claim!r} is missing")
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
        return _malformed("it is no JWT of ours")
    claims = _claims(payload)
    if claims is None:
        return _malformed("a claim has the wrong form")
    if now >= claims.expires_at:
        when = claims.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return Rejected(
            Denial.EXPIRED, f"the token expired at {when}; get a new one (meshctl proxy token)"
        )
    return claims


def _malformed(why: str) -> Rejected:
    return Rejected(Denial.MALFORMED, f"the token cannot be used: {why}")


def _claims(payload: dict[str, Any]) -> Claims | None:
    about, subject, jti = payload["plait"], payload["sub"], payload["jti"]
    names = ("cluster", "namespace", "pod", "account")
    if not isinstance(about, dict) or not isinstance(subject, str) or not isinstance(jti, str):
        return None
    values = [about.get(name) for name in names]
    if not all(isinstance(value, str) and value for value in values):
        return None
    identity = spiffe.parse(subject)
    workload = Workload(*(str(value) for value in values))
    if identity is None or identity[1:] != (workload.namespace, workload.account):
        return None
    try:
        issued, expires = (
            datetime.fromtimestamp(int(payload[name]), UTC) for name in ("iat", "exp")
        )
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return Claims(workload, subject, issued, expires, jti)
