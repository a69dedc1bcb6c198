"""No text that we make of an object shows a key or a token."""

import logging
import pickle
from pathlib import Path

import pytest

from controlplane.identity import state, tokens
from controlplane.identity.issue import issue
from controlplane.identity.leaves import Leaves
from controlplane.identity.rotate import BACKDATE
from controlplane.identity.server_tls import server_certificate
from tests.fakes.clock import ManualClock

ID = "spiffe://example.org/ns/shop/sa/web"


def secrets_in(pem: bytes) -> list[str]:
    return [line for line in pem.decode().splitlines() if line and "-----" not in line]


def test_nothing_shows_key_material(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    opened = state.open_state(tmp_path, clock.now())
    workload = tokens.Workload("local", "shop", "web-1", "web")
    token = tokens.sign(opened.token_key, workload, ID, clock.now())
    leaf, version = issue(opened.authority, ID, clock.now(), BACKDATE)
    server = server_certificate(opened.authority, (), clock.now())
    leaves = Leaves(opened.authority, clock)
    given = leaves.leaf_for("a", ID)
    hidden = [token.reveal(), *token.reveal().split(".")]
    for path in (tmp_path / "ca" / "key.pem", tmp_path / "tokens" / "key.pem"):
        hidden += secrets_in(path.read_bytes())
    for pem in (leaf.key, server.key, given.key):  # type: ignore[union-attr]
        hidden += secrets_in(pem)
    with caplog.at_level(logging.DEBUG):
        for each in (
            opened,
            opened.authority,
            opened.token_key,
            token,
            (token, [token], {"token": token}),
            leaf,
            leaf.key,
            version,
            server,
            leaves,
            leaves.slot("a"),
            given,
        ):
            logging.getLogger("test").info("%s %r", each, each)
            logging.getLogger("test").info(f"{each} {each!r}")  # noqa: G004
    text = caplog.text
    assert "LeafSecret" in text
    assert [part for part in hidden if part in text] == []


def test_a_token_is_revealed_only_on_purpose(tmp_path: Path, clock: ManualClock) -> None:
    key = tokens.load_or_create(tmp_path / "tokens")
    workload = tokens.Workload("local", "shop", "web-1", "web")
    token = tokens.sign(key, workload, ID, clock.now())
    assert str(token) == repr(token) == f"{token}" == f"{token:>10}" == "[redacted]"
    assert token.reveal().count(".") == 2
    assert type(token.reveal()) is str


def test_keys_cannot_be_pickled(tmp_path: Path, clock: ManualClock) -> None:
    opened = state.open_state(tmp_path, clock.now())
    with pytest.raises(TypeError):
        pickle.dumps(opened.authority)
