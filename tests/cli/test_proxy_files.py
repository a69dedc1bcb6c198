"""`meshctl proxy bootstrap`, `token` and `run`: files, renewal, signals, the exit status."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controlplane.meshctl.proxy_run import merged, run_child
from controlplane.meshctl.trouble import Exit, Trouble
from tests.cli.conftest import Called, Mesh
from tests.fakes.inspector import JWT, KEY

Meshctl = Callable[..., Called]


def test_bootstrap_is_printed(mesh: Mesh, meshctl: Meshctl) -> None:
    called = meshctl("proxy", "bootstrap", "web.shop")
    assert called.code == 0
    config = json.loads(called.out)
    assert config["node"]["id"] == "local/shop/web"
    assert JWT not in called.out
    assert mesh.fake.tokens == 0


def test_bootstrap_writes_files_that_only_the_owner_reads(
    mesh: Mesh, meshctl: Meshctl, state: Path
) -> None:
    out = state / "web"
    called = meshctl("proxy", "bootstrap", "web.shop", "--out", str(out))
    assert called.code == 0
    assert called.out == (
        "wrote STATE/web/bootstrap.json\nthe token expires at 2026-01-03T03:04:05Z\n"
    )
    assert (out / "token" / "token").read_text() == f"{JWT}1"
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    for path in out.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_token_is_printed_or_renewed_in_place(mesh: Mesh, meshctl: Meshctl, state: Path) -> None:
    assert meshctl("proxy", "token", "web.shop").out == f"{JWT}1\n"
    out = state / "web"
    early = meshctl("proxy", "token", "web.shop", "--out", str(out))
    assert early.code == Exit.PROBLEMS
    assert "Write them first: meshctl proxy bootstrap web.shop --out STATE/web" in early.err
    meshctl("proxy", "bootstrap", "web.shop", "--out", str(out))
    renewed = meshctl("proxy", "token", "web.shop", "--out", str(out))
    assert renewed.code == 0
    assert JWT not in renewed.out
    assert (out / "token" / "token").read_text() == f"{JWT}4"


def test_an_application_gets_a_bootstrap_of_grpc_and_a_certificate(
    mesh: Mesh, meshctl: Meshctl, state: Path
) -> None:
    out = state / "client"
    called = meshctl("proxy", "bootstrap", "web.shop", "--proxyless", "--out", str(out))
    assert called.code == 0
    assert called.out == (
        "wrote STATE/client/bootstrap.json\nthe token expires at 2026-01-03T03:04:05Z\n"
        "the certificate expires at 2026-01-02T04:04:05Z\nstart the application with:\n"
        "  GRPC_XDS_BOOTSTRAP=STATE/client/bootstrap.json\n"
        "  GRPC_EXPERIMENTAL_XDS_BOOTSTRAP_CALL_CREDS=true\n"
        "  GRPC_EXPERIMENTAL_XDS_SNI=true\n"
    )
    config = json.loads((out / "bootstrap.json").read_text())
    (server,) = config["xds_servers"]
    assert Path(server["call_creds"][0]["config"]["jwt_token_file"]).read_text() == f"{JWT}1"
    provider = config["certificate_providers"]["default"]["config"]
    assert Path(provider["certificate_file"]).read_text() == "chain 2"
    assert Path(provider["private_key_file"]).read_text() == f"{KEY}2"
    for path in out.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    renewed = meshctl("proxy", "token", "web.shop", "--out", str(out))
    assert "wrote a certificate; it expires at 2026-01-02T04:04:05Z" in renewed.out
    assert KEY not in renewed.out
    assert Path(provider["certificate_file"]).read_text() == "chain 4"
    assert Path(provider["private_key_file"]).read_text() == f"{KEY}4"


def test_an_applications_bootstrap_is_printed_without_secrets(mesh: Mesh, meshctl: Meshctl) -> None:
    called = meshctl("proxy", "bootstrap", "web.shop", "--proxyless")
    node = json.loads(called.out)["node"]
    assert node["metadata"] == {"capture": "proxyless", "v": 1, "certificates": True}
    assert mesh.fake.tokens == 0


def test_a_directory_that_cannot_be_written(mesh: Mesh, meshctl: Meshctl, state: Path) -> None:
    (state / "file").write_text("")
    called = meshctl("proxy", "bootstrap", "web.shop", "--out", str(state / "file" / "web"))
    assert called.code == Exit.PROBLEMS
    assert "cannot write the sidecar's files: STATE/file" in called.err


def test_a_directory_too_deep_for_envoys_socket(mesh: Mesh, meshctl: Meshctl, state: Path) -> None:
    called = meshctl("proxy", "bootstrap", "web.shop", "--out", str(state / ("d" * 100)))
    assert called.code == Exit.PROBLEMS
    assert "Choose another directory" in called.err


def test_envoys_options_replace_ours() -> None:
    ours = ["envoy", "-c", "f", "--concurrency", "1", "--flag", "--log-level", "warning"]
    assert merged(ours, ["--log-level=info", "--flag"]) == [
        *("envoy", "-c", "f", "--concurrency", "1", "--log-level=info", "--flag")
    ]
    assert merged(ours, []) == ours


async def test_the_childs_status_is_ours() -> None:
    assert await run_child(["/bin/sh", "-c", "exit 7"]) == 7
    assert await run_child(["/bin/sh", "-c", "kill -KILL $$"]) == 128 + signal.SIGKILL


async def test_signals_reach_the_child(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'exit 9' TERM; : > {ready}; while :; do sleep 0.05; done"
    running = asyncio.create_task(run_child(["/bin/sh", "-c", script]))
    async with asyncio.timeout(20):
        while not ready.exists():
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 9


async def test_a_child_that_cannot_start() -> None:
    with pytest.raises(Trouble, match="cannot start /nonexistent/envoy: No such file"):
        await run_child(["/nonexistent/envoy"])


def self_signed() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.envoy
def test_run_starts_a_real_envoy_and_renews_its_token(mesh: Mesh, state: Path) -> None:
    mesh.fake.roots = self_signed()
    mesh.fake.hosts = ("127.0.0.1", 9)
    mesh.fake.lifetime = 1.0
    home = state / "web"
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from controlplane.meshctl.cli import main; main()",
            *("proxy", "run", "web", "-n", "shop", "--dir", str(home)),
            *("--", "--log-level", "error"),
        ],
        env=os.environ | {"PLAIT_STATE": str(state)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        token = home / "token" / "token"
        while not (
            token.exists()
            and token.read_text() not in (f"{JWT}1", f"{JWT}2")
            and (home / "admin.sock").exists()
        ):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
