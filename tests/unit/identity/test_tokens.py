"""File-mode tokens: what they say, and every way of being refused."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.durable import StateError
from controlplane.identity import tokens
from controlplane.identity.tokens import Claims, Denial, Rejected, TokenKey, Workload
from tests.fakes.clock import ManualClock

WORKLOAD = Workload("local", "shop", "web-1", "web")
ID = "spiffe://example.org/ns/shop/sa/web"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> TokenKey:
    return tokens.load_or_create(tmp_path_factory.mktemp("state") / "tokens")


def good(clock: ManualClock) -> dict[str, Any]:
    now = int(clock.now().timestamp())
    return {
        "iss": "plait",
        "aud": "plait",
        "sub": ID,
        "iat": now,
        "exp": now + 3600,
        "jti": "a",
        "plait": {"cluster": "local", "namespace": "shop", "pod": "web-1", "account": "web"},
    }


def encode(key: TokenKey, claims: dict[str, Any], **headers: Any) -> str:
    return jwt.encode(claims, key.key, "ES256", headers={"kid": key.key_id, **headers})


def denial(key: TokenKey, token: str, clock: ManualClock) -> Denial:
    answer = tokens.verify(key, token, clock.now())
    assert isinstance(answer, Rejected)
    assert answer.text
    assert not token or token not in answer.text
    return answer.kind


def test_round_trip(key: TokenKey, clock: ManualClock) -> None:
    token = tokens.sign(key, WORKLOAD, ID, clock.now(), timedelta(hours=2))
    claims = tokens.verify(key, token.reveal(), clock.now())
    assert isinstance(claims, Claims)
    assert claims.workload == WORKLOAD
    assert claims.subject == ID
    assert claims.issued_at == clock.now()
    assert claims.expires_at == clock.now() + timedelta(hours=2)
    assert claims.token_id


def test_key_is_made_once(tmp_path: Path) -> None:
    made = tokens.load_or_create(tmp_path / "tokens")
    found = tokens.load_or_create(tmp_path / "tokens")
    assert (made.created, found.created) == (True, False)
    assert made.key_id == found.key_id
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "tokens" / "key.pem").stat().st_mode & 0o777 == 0o600


def test_a_missing_key_among_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "retired.pem").write_bytes(b"")
    with pytest.raises(StateError, match="the file is missing") as caught:
        tokens.load_or_create(tmp_path)
    assert caught.value.path == tmp_path / "key.pem"
    (tmp_path / "key.pem").mkdir()
    with pytest.raises(StateError, match="is a directory"):
        tokens.load_or_create(tmp_path)


def test_expired(key: TokenKey, clock: ManualClock) -> None:
    token = tokens.sign(key, WORKLOAD, ID, clock.now(), timedelta(hours=1)).reveal()
    clock.pass_time(timedelta(minutes=59, seconds=59))
    assert isinstance(tokens.verify(key, token, clock.now()), Claims)
    clock.pass_time(timedelta(seconds=1))
    assert denial(key, token, clock) is Denial.EXPIRED


def test_a_token_from_a_clock_that_is_ahead_is_accepted(key: TokenKey, clock: ManualClock) -> None:
    token = tokens.sign(key, WORKLOAD, ID, clock.now() + timedelta(days=1)).reveal()
    assert isinstance(tokens.verify(key, token, clock.now()), Claims)


def test_another_control_planes_key(key: TokenKey, clock: ManualClock, tmp_path: Path) -> None:
    other = tokens.load_or_create(tmp_path / "tokens")
    token = tokens.sign(other, WORKLOAD, ID, clock.now()).reveal()
    assert denial(key, token, clock) is Denial.UNKNOWN_KEY
    forged = encode(other, good(clock), kid=key.key_id)
    assert denial(key, forged, clock) is Denial.MALFORMED


def test_missing(key: TokenKey, clock: ManualClock) -> None:
    assert denial(key, "", clock) is Denial.MISSING


def test_wrong_audience(key: TokenKey, clock: ManualClock) -> None:
    for audience in ("plait-admin", ["kubernetes"], ["plait-admin", "x"]):
        assert denial(key, encode(key, good(clock) | {"aud": audience}), clock) is (
            Denial.WRONG_AUDIENCE
        )


@pytest.mark.parametrize("claim", ["iss", "sub", "iat", "exp", "jti", "plait"])
def test_a_missing_claim(key: TokenKey, clock: ManualClock, claim: str) -> None:
    claims = good(clock)
    del claims[claim]
    assert denial(key, encode(key, claims), clock) is Denial.MALFORMED


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "someone"},
        {"sub": "web"},
        {"sub": "spiffe://example.org/ns/shop/sa/other"},
        {"sub": "spiffe://example.org/ns/other/sa/web"},
        {"sub": "spiffe://example.org/ns/shop/sa/\ud800"},
        {"exp": "tomorrow"},
        {"exp": 10**30},
        {"exp": True},
        {"iat": None},
        {"plait": "web"},
        {"plait": {"cluster": "local", "namespace": "shop", "pod": "web-1"}},
        {"plait": {"cluster": "local", "namespace": "shop", "pod": "", "account": "web"}},
        {"plait": {"cluster": "local", "namespace": "shop", "pod": 7, "account": "web"}},
    ],
)
def test_a_claim_of_the_wrong_form(
    key: TokenKey, clock: ManualClock, change: dict[str, Any]
) -> None:
    answer = tokens.verify(key, encode(key, good(clock) | change), clock.now())
    assert isinstance(answer, Rejected)


def test_no_other_algorithm_is_accepted(key: TokenKey, clock: ManualClock) -> None:
    header, payload, signature = encode(key, good(clock)).split(".")
    for algorithm in ("none", "HS256", "RS256"):
        fields = json.loads(urlsafe_b64decode(header + "=="))
        changed = json.dumps(fields | {"alg": algorithm}).encode()
        encoded = urlsafe_b64encode(changed).rstrip(b"=").decode()
        for tail in (signature, ""):
            assert denial(key, f"{encoded}.{payload}.{tail}", clock) is Denial.MALFORMED


@given(st.text(max_size=300) | st.from_regex(r"[\w-]{0,90}\.[\w-]{0,90}\.[\w-]{0,90}"))
def test_garbage_is_refused(key: TokenKey, text: str) -> None:
    assert isinstance(tokens.verify(key, text, ManualClock().now()), Rejected)


def test_a_token_has_one_text(key: TokenKey, clock: ManualClock) -> None:
    token = encode(key, good(clock))
    for other in (f"{token}==", f"{token}=", f"{token[:-4]}!{token[-4:]}", token[:-1] + "B"):
        assert denial(key, other, clock) is Denial.MALFORMED


def test_a_huge_token_is_not_parsed(key: TokenKey, clock: ManualClock) -> None:
    claims = good(clock) | {"padding": "x" * 10_000}
    assert denial(key, encode(key, claims), clock) is Denial.MALFORMED
