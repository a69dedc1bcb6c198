"""Finding Envoy, and saying in one line why it does not run here."""

from pathlib import Path

import pytest

from sidecar.launch import EnvoyUnusable, check_envoy, envoy_command, find_envoy


def program(path: Path, text: str, mode: int = 0o755) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def script(path: Path, *lines: str) -> Path:
    return program(path, "\n".join(("#!/bin/sh", *lines, "")))


def reason(envoy: Path) -> str:
    with pytest.raises(EnvoyUnusable) as caught:
        check_envoy(envoy)
    assert caught.value.remedy
    return caught.value.reason


@pytest.mark.envoy
def test_the_installed_envoy_runs() -> None:
    major, minor, _ = check_envoy(find_envoy())
    assert (major, minor) >= (1, 30)


def test_version_of_any_envoy(tmp_path: Path) -> None:
    envoy = script(tmp_path / "envoy", "echo 'envoy  version: 9e55/1.38.2/Clean/RELEASE/BoringSSL'")
    assert check_envoy(envoy) == (1, 38, 2)


def test_another_architecture(tmp_path: Path) -> None:
    foreign = program(tmp_path / "envoy", "\x7fELF no such machine")
    assert "architecture" in reason(foreign)
    wrapper = script(
        tmp_path / "wrapper", "echo 'OSError: [Errno 8] Exec format error' >&2; exit 1"
    )
    assert "architecture" in reason(wrapper)


def test_missing_loader(tmp_path: Path) -> None:
    assert "GNU C library" in reason(program(tmp_path / "envoy", "#!/lib/no-such-loader\n"))


def test_old_c_library(tmp_path: Path) -> None:
    line = "/lib/libc.so.6: version GLIBC_2.31 not found (required by envoy)"
    envoy = script(tmp_path / "envoy", f"echo '{line}' >&2; exit 1")
    assert "needs a newer C library" in reason(envoy)
    assert "GLIBC_2.31" in reason(envoy)


def test_other_failures(tmp_path: Path) -> None:
    assert "does not exist" in reason(tmp_path / "nothing")
    assert "may not be executed" in reason(program(tmp_path / "plain", "text", 0o644))
    assert reason(script(tmp_path / "loud", "echo first; echo last >&2; exit 3")).endswith("last")
    assert reason(script(tmp_path / "silent", "exit 3")).endswith("exit status 3")
    assert "failed" in reason(script(tmp_path / "other", "echo hello"))


def test_command(tmp_path: Path) -> None:
    command = envoy_command(Path("/bin/envoy"), tmp_path / "b.json", concurrency=2)
    text = " ".join(command)
    assert text.startswith(f"/bin/envoy -c {tmp_path}/b.json --concurrency 2 --drain-time-s 5 ")
    assert "--disable-hot-restart" in command
