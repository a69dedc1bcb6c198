"""Runs the example on loopback, in half a minute: ``python examples/grpc-proxyless/run.py``.

Starts `plait serve`, the servers and the one sidecar, then calls: plainly, through a shift, with a
server gone, over mutual TLS, and to a name that does not exist. Exit status 0: all as it should be.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
CONTROL_PLANE = "127.40.0.1:15012"
SERVERS = {
    "greeter-v1-a": "127.40.0.11:9090",
    "greeter-v1-b": "127.40.0.12:9090",
    "greeter-v2": "127.40.0.13:9090",
    "vault": "127.40.0.22:9090",
}
GREETER = "xds:///greeter.shop.svc.cluster.local:9000"
VAULT = "xds:///vault.shop.svc.cluster.local:9000"
NOBODY = "xds:///greter.shop.svc.cluster.local:9000"
DEADLINE = 30.0


def script(name: str, module: str) -> list[str]:
    beside = Path(sys.executable).with_name(name)
    return (
        [str(beside)]
        if beside.exists()
        else [sys.executable, "-c", f"from {module} import main; main()"]
    )


class Example:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, "PLAIT_STATE": str(directory / "state")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.failed = 0

    def start(self, name: str, *words: str) -> None:
        log = (self.directory / f"{name}.log").open("wb")
        self.processes[name] = subprocess.Popen(
            words, stdout=log, stderr=log, cwd=REPOSITORY, env=self.environment
        )

    def stop(self, *names: str) -> None:
        for name in names or tuple(self.processes):
            process = self.processes.pop(name)
            process.terminate()
            process.wait()

    def meshctl(self, *words: str, quiet: bool = False) -> bool:
        if not quiet:
            print(f"$ meshctl {' '.join(words)}")
        command = [*script("meshctl", "controlplane.meshctl.cli"), *words]
        done = subprocess.run(
            command,
            check=False,
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if not quiet:
            print(done.stdout + done.stderr, end="")
        return done.returncode == 0

    def call(self, target: str, calls: int = 100) -> list[str]:
        """Lines of the client, a new process each time."""
        command = [sys.executable, str(HERE / "client.py"), target, str(calls)]
        done = subprocess.run(
            command, check=False, env=self.environment, capture_output=True, text=True
        )
        return done.stdout.splitlines()

    def expect(self, what: str, target: str, fits: Callable[[list[str]], bool]) -> None:
        """Call until the replies fit."""
        print(f"\n{what}\n$ python client.py {target} 100")
        end = time.monotonic() + DEADLINE
        while not fits(found := self.call(target)) and time.monotonic() < end:
            time.sleep(0.2)
        print("\n".join(found))
        if not fits(found):
            self.failed += 1
            print("  ... which is not what this example is meant to show")

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE
        while not ready():
            if time.monotonic() > end:
                sys.exit(f"not {what} within {DEADLINE:.0f} s; logs are in {self.directory}")
            time.sleep(0.2)


def names(*wanted: str) -> Callable[[list[str]], bool]:
    """Whether the replies come from these servers and no others."""
    return lambda lines: sorted(line.split()[1] for line in lines) == sorted(wanted)


def play(example: Example) -> None:
    state = str(example.directory / "state")
    plait = script("plait", "controlplane.app.cli")
    source = ("--source", "files", str(HERE / "manifests"), "--state", state)
    metrics = ("--metrics-address", "127.40.0.1:15014")
    example.start("plait", *plait, "serve", *source, "--listen", CONTROL_PLANE, *metrics)
    for name, address in SERVERS.items():
        example.start(name, sys.executable, str(HERE / "server.py"), name, address)
    example.wait("serving", lambda: example.meshctl("status", quiet=True))
    meshctl = script("meshctl", "controlplane.meshctl.cli")
    example.start("vault-sidecar", *meshctl, "proxy", "run", "vault.shop")

    files = example.directory / "client"
    example.meshctl("proxy", "bootstrap", "client.shop", "--out", str(files))
    example.environment |= {
        "GRPC_XDS_BOOTSTRAP": str(files / "bootstrap.json"),
        "GRPC_EXPERIMENTAL_XDS_BOOTSTRAP_CALL_CREDS": "true",
        "GRPC_EXPERIMENTAL_XDS_SNI": "true",
    }
    one, two = "greeter-v1-a", "greeter-v1-b"
    example.expect("Both pods of the Service answer.", GREETER, names(one, two))
    print()
    shift = ("traffic-shift", "set", "greeter", "greeter-v1=75", "greeter-v2=25", "-n", "shop")
    example.meshctl(*shift)
    example.expect("A quarter of the calls moves.", GREETER, names(one, two, "greeter-v2"))
    example.stop(two)
    example.expect("A pod has died: its calls go to the rest.", GREETER, names(one, "greeter-v2"))
    example.expect("A strict sidecar knows the caller by its certificate.", VAULT, names("vault"))
    example.expect(
        "A mistyped name fails at once, and says why.",
        NOBODY,
        lambda lines: len(lines) == 1 and "did you mean greeter?" in lines[0],
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="plait-grpc-") as directory:
        example = Example(Path(directory))
        try:
            play(example)
        finally:
            example.stop()
    print("\nall as it should be" if not example.failed else f"\n{example.failed} failed")
    sys.exit(bool(example.failed))


if __name__ == "__main__":
    main()
