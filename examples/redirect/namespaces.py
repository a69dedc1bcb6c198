"""Pods as network namespaces: a hub with a bridge, and pods behind it on veth pairs. Needs root.

    hub   br0 10.77.0.1/16, fd00:77::1/64; routes; what is outside the pods (198.51.100.1 as well)
    pod N eth0 10.77.0.N/16, on request fd00:77::N/64; everything else by way of the hub

Nothing is made in the machine's own namespace. Names are ``plait-PID-NUMBER-POD``; `Network.close`
removes all of them, and what a killed process left is removed by the next `Network`. A process is
started in a pod by a prefix to its command that keeps its process id.
"""

import ctypes
import itertools
import os
import re
import subprocess
from pathlib import Path
from typing import Final, Generic, TypeVar

HUB, OUTSIDE = "10.77.0.1", "198.51.100.1"
PODS: Final = "10.77.0.0/16"
SERVICES: Final = "10.96.0.0/16"
"""Service addresses. They are routed to the hub, which says that they are unreachable: whoever
reaches one was redirected."""
NAMESPACES: Final = Path("/run/netns")
_NAME: Final = re.compile(r"plait-(\d+)-\d+-.+")
_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


class Namespace:
    """One network namespace. `address6` is empty where it has none."""

    def __init__(self, name: str, address: str, address6: str = "") -> None:
        self.name = name
        self.address = address
        self.address6 = address6

    def command(self, *words: str, uid: int | None = None, orphaned: str = "KILL") -> list[str]:
        """A command that runs ``words`` here, as a user (None: this one). Its process gets the
        signal ``orphaned`` when the thread that starts it ends."""
        user = [] if uid is None else [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        become = ["setpriv", *user, f"--pdeathsig={orphaned}"]
        return ["ip", "netns", "exec", self.name, *become, *words]

    def run(self, *words: str, uid: int | None = None) -> str:
        """Run a command to its end; its output. OSError with its own words when it fails."""
        command = self.command(*words, uid=uid)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def enter(self) -> None:
        """Move the calling thread, and all that it starts from now on, in here."""
        with (NAMESPACES / self.name).open() as file:
            if _LIBC.setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter namespace {self.name}")

    def close(self) -> None:
        """Let go of what is held here."""


N = TypeVar("N", bound=Namespace)


class Network(Generic[N]):
    """Make it, add pods, and close it whatever happens. ``kind``: the class of its namespaces."""

    def __init__(self, kind: type[N]) -> None:
        sweep()
        self._kind = kind
        self._prefix = f"plait-{os.getpid()}-{next(_numbers)}"
        self.hub = kind(f"{self._prefix}-hub", HUB)
        self.pods: dict[str, N] = {}
        try:
            self._make_hub()
        except BaseException:
            self.close()
            raise

    def _make_hub(self) -> None:
        _ip(f"netns add {self.hub.name}")
        _ip(
            "link set lo up",
            f"address add {OUTSIDE}/32 dev lo",
            "link add br0 type bridge",
            f"address add {HUB}/16 dev br0",
            "address add fd00:77::1/64 dev br0 nodad",
            "link set br0 up",
            f"route add unreachable {SERVICES}",
            inside=self.hub.name,
        )
        self.hub.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def add(self, number: int, name: str, *, ipv6: bool = False) -> N:
        """A pod with address 10.77.0.``number`` (2 to 254), with ``ipv6`` fd00:77::``number``."""
        address6 = f"fd00:77::{number:x}" if ipv6 else ""
        pod = self._kind(f"{self._prefix}-{name}", f"10.77.0.{number}", address6)
        self.pods[name] = pod
        _ip(f"netns add {pod.name}")
        port = f"p{number}"
        _ip(f"link add {port} type veth peer name eth0 netns {pod.name}", inside=self.hub.name)
        _ip(f"link set {port} master br0", f"link set {port} up", inside=self.hub.name)
        six = [f"address add {address6}/64 dev eth0 nodad"] if ipv6 else []
        six_route = ["route add default via fd00:77::1"] if ipv6 else []
        _ip(
            "link set lo up",
            f"address add {pod.address}/16 dev eth0",
            *six,
            "link set eth0 up",
            f"route add default via {HUB}",
            *six_route,
            inside=pod.name,
        )
        return pod

    def remove(self, name: str) -> None:
        """Remove a pod's namespace; its processes must have ended."""
        pod = self.pods.pop(name)
        pod.close()
        _delete(pod.name)

    def close(self) -> None:
        for name in list(self.pods):
            self.remove(name)
        self.hub.close()
        _delete(self.hub.name)


def sweep() -> None:
    """Remove the namespaces of processes that were killed; what ran in them died with them."""
    for path in sorted(NAMESPACES.iterdir()) if NAMESPACES.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            _delete(path.name)


def _delete(name: str) -> None:
    if (NAMESPACES / name).exists():
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _ip(*lines: str, inside: str = "") -> None:
    command = ["ip", *(["-n", inside] if inside else []), "-batch", "-"]
    done = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(f"ip {'; '.join(lines)}: {done.stderr.strip()}")
