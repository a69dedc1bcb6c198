"""The authority is made once, and otherwise loaded whole or not at all."""

import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from controlplane.durable import StateError
from controlplane.identity import state
from controlplane.identity.ca import load_or_create
from controlplane.identity.keys import key_to_pem, make_key
from tests.fakes.clock import ManualClock
from tests.fakes.full_disk import STEPS, FullDisk


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_made_once_then_loaded(tmp_path: Path, clock: ManualClock) -> None:
    made = load_or_create(tmp_path / "ca", clock.now())
    found = load_or_create(tmp_path / "ca", clock.now())
    assert made.created
    assert not found.created
    assert found.key_id == made.key_id
    assert found.roots("example.org").name == "roots|example.org"
    assert found.roots("example.org").roots == made.bundle


def test_modes(tmp_path: Path, clock: ManualClock) -> None:
    load_or_create(tmp_path / "ca", clock.now())
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ca").iterdir()} == {0o600}
    assert [path.name for path in tmp_path.iterdir()] == ["ca"]


def test_an_empty_directory_is_nothing(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "ca").mkdir()
    assert load_or_create(tmp_path / "ca", clock.now()).created


def test_the_root_is_one(tmp_path: Path, clock: ManualClock) -> None:
    root = load_or_create(tmp_path / "ca", clock.now()).certificate
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    assert constraints.value.path_length == 0
    usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature
    root.verify_directly_issued_by(root)


def _remove(name: str) -> Callable[[Path], None]:
    return lambda ca: (ca / name).unlink()


def _directory_at(name: str) -> Callable[[Path], None]:
    def change(ca: Path) -> None:
        (ca / name).unlink()
        (ca / name).mkdir()

    return change


def _write(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda ca: (ca / name).write_bytes(data) and None


def _other_key(ca: Path) -> None:
    (ca / "key.pem").write_bytes(key_to_pem(make_key()))


def _other_root(ca: Path) -> None:
    other = load_or_create(ca.parent / "other" / "ca", ManualClock().now())
    (ca / "roots.pem").write_bytes(other.bundle)


def _file_instead(ca: Path) -> None:
    shutil.rmtree(ca)
    ca.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "at", "reason"),
    [
        (_remove("key.pem"), "ca/key.pem", "missing"),
        (_remove("cert.pem"), "ca/cert.pem", "missing"),
        (_remove("roots.pem"), "ca/roots.pem", "missing"),
        (_directory_at("key.pem"), "ca/key.pem", "is a directory"),
        (_directory_at("cert.pem"), "ca/cert.pem", "is a directory"),
        (_file_instead, "ca", "not a directory"),
        (_write("key.pem", b""), "ca/key.pem", "no unencrypted private key"),
        (_write("cert.pem", b"hello"), "ca/cert.pem", "no certificate"),
        (_write("roots.pem", b""), "ca/roots.pem", "no certificate"),
        (_other_key, "ca/key.pem", "not that of"),
        (_other_root, "ca/roots.pem", "does not hold"),
        (lambda ca: (ca / "key.pem").chmod(0o644), "ca/key.pem", "others than its owner"),
    ],
)
def test_refuses_what_is_not_whole(
    tmp_path: Path, clock: ManualClock, damage: Callable[[Path], None], at: str, reason: str
) -> None:
    ca = tmp_path / "ca"
    load_or_create(ca, clock.now())
    damage(ca)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StateError, match=reason) as caught:
        load_or_create(ca, clock.now())
    assert caught.value.path == tmp_path / at
    assert caught.value.remedy
    assert sorted(tmp_path.rglob("*")) == before


def test_refuses_a_leaf_in_place_of_the_root(tmp_path: Path, clock: ManualClock) -> None:
    from controlplane.identity.server_tls import server_certificate

    authority = load_or_create(tmp_path / "ca", clock.now())
    leaf = server_certificate(authority, (), clock.now())
    (tmp_path / "ca" / "cert.pem").write_bytes(leaf.chain)
    (tmp_path / "ca" / "key.pem").write_bytes(leaf.key)
    with pytest.raises(StateError, match="no certificate of an authority"):
        load_or_create(tmp_path / "ca", clock.now())


def test_several_roots_are_trusted(tmp_path: Path, clock: ManualClock) -> None:
    mine = load_or_create(tmp_path / "ca", clock.now())
    other = load_or_create(tmp_path / "other", clock.now())
    (tmp_path / "ca" / "roots.pem").write_bytes(other.bundle + mine.bundle)
    assert load_or_create(tmp_path / "ca", clock.now()).bundle == other.bundle + mine.bundle


def failures(directory: Path, clock: ManualClock) -> list[tuple[str, int]]:
    disk = FullDisk()
    state.open_state(directory, clock.now(), fs=disk)
    return [(step, n) for step in STEPS for n in range(disk.steps.count(step))]


def test_a_full_disk_at_every_step(tmp_path: Path, clock: ManualClock) -> None:
    """Whatever step of the first start fails, the next start makes a whole set, or finds one."""
    cases = failures(tmp_path / "trial", clock)
    assert len(cases) >= 5 * 4  # create, write, fsync, rename and sync of four files at least
    for step, grace in cases:
        directory = tmp_path / f"{step}-{grace}"
        with pytest.raises(StateError, match="no space left") as caught:
            state.open_state(directory, clock.now(), fs=FullDisk(step, grace))
        assert caught.value.path.is_relative_to(directory)
        assert "Free space" in caught.value.remedy
        had_root = (directory / "ca" / "key.pem").exists()
        before = contents(directory / "ca") if had_root else {}
        opened = state.open_state(directory, clock.now())
        assert opened.authority.created is not had_root
        assert not had_root or contents(directory / "ca") == before
        again = state.open_state(directory, clock.now())
        assert again.authority.key_id == opened.authority.key_id
        assert again.token_key.key_id == opened.token_key.key_id


def test_an_authority_that_was_there_is_not_made_anew(tmp_path: Path, clock: ManualClock) -> None:
    state.open_state(tmp_path, clock.now())
    shutil.rmtree(tmp_path / "ca")
    with pytest.raises(StateError, match="the authority is gone") as caught:
        state.open_state(tmp_path, clock.now())
    assert caught.value.path == tmp_path / "ca"
    assert not (tmp_path / "ca").exists()
