"""Pods as network namespaces: a hub with a bridge, and pods behind it on veth pairs.

    hub   br0 10.77.0.1/16, fd00:77::1/64; routes; the control plane; the outside (198.51.100.1)
    pod N eth0 10.77.0.N/16, on request fd00:77::N/64; everything else by way of the hub

Nothing is made in the machine's own namespace. Names are ``plait-PID-NUMBER-POD``; `close` removes
all of them, also after a failure, and what a killed run left is removed by the next. A process is
started in a pod by a prefix to its command that keeps its process id.
"""

import asyncio
import contextlib
import ctypes
import itertools
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.envoy import place

ROOT_UID, APP_UID, PROXY_UID = 0, 1000, 1337
HUB, OUTSIDE = "10.77.0.1", "198.51.100.1"
SERVICES: Final = "10.96.0.0/16"
"""Service addresses. They are routed to the hub, which says that they are unreachable: whoever
reaches one was redirected."""
NAMESPACES: Final = Path("/run/netns")
_NAME = re.compile(r"plait-(\d+)-\d+-.+")
_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


class Namespace:
    """One network namespace, and sockets in it."""

    def __init__(self, name: str, address: str, address6: str = "") -> None:
        self.name = name
        self.address = address
        self.address6 = address6
        self._threads: dict[int, ThreadPoolExecutor] = {}

    def command(self, uid: int, *words: str) -> list[str]:
        """A command that runs ``words`` here as a user. Dies with the thread that starts it."""
        user = (f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--pdeathsig=KILL")
        return ["ip", "netns", "exec", self.name, "setpriv", *user, *words]

    def socket(self, family: int = socket.AF_INET, uid: int = APP_UID) -> socket.socket:
        """A TCP socket here, of a user."""
        if uid not in self._threads:
            self._threads[uid] = ThreadPoolExecutor(1, "netns", self._enter, (uid,))
        return self._threads[uid].submit(socket.socket, family, socket.SOCK_STREAM).result()

    @contextlib.contextmanager
    def inside(self, uid: int = APP_UID) -> Iterator[None]:
        """Clients and servers of this context have their sockets here."""
        with place.inside(lambda family: self.socket(family, uid)):
            yield

    def _enter(self, uid: int) -> None:
        # Both hold for the calling thread alone (setns(2), setfsuid(2)).
        with (NAMESPACES / self.name).open() as file:
            if _LIBC.setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {self.name}")
        _LIBC.setfsuid(uid)

    def run(self, *words: str, uid: int = ROOT_UID) -> str:
        """Run a command here to its end; its output. AssertionError when it fails."""
        done = subprocess.run(
            self.command(uid, *words), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def close(self) -> None:
        for thread in self._threads.values():
            thread.shutdown()


class Network:
    """Make it, add pods, and close it whatever happens."""

    def __init__(self) -> None:
        sweep()
        self._prefix = f"plait-{os.getpid()}-{next(_numbers)}"
        self.hub = Namespace(f"{self._prefix}-hub", HUB)
        self.pods: dict[str, Namespace] = {}
        try:
            self._make_hub()
        except BaseException:
            self.close()
            raise

    def _make_hub(self) -> None:
        hub = self.hub.name
        _ip(f"netns add {hub}")
        _ip(
            "link set lo up",
            f"address add {OUTSIDE}/32 dev lo",
            "link add br0 type bridge",
            f"address add {HUB}/16 dev br0",
            "address add fd00:77::1/64 dev br0 nodad",
            "link set br0 up",
            f"route add unreachable {SERVICES}",
            inside=hub,
        )
        self.hub.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def add(self, number: int, name: str, *, ipv6: bool = False) -> Namespace:
        """A pod with address 10.77.0.``number`` (2 to 254), with ``ipv6`` fd00:77::``number``."""
        address6 = f"fd00:77::{number:x}" if ipv6 else ""
        pod = Namespace(f"{self._prefix}-{name}", f"10.77.0.{number}", address6)
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
    """Remove the namespaces of runs that were killed; their processes died with them."""
    for path in sorted(NAMESPACES.iterdir()) if NAMESPACES.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            _delete(path.name)


def _delete(name: str) -> None:
    if (NAMESPACES / name).exists():
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _ip(*lines: str, inside: str = "") -> None:
    where = ["-n", inside] if inside else []
    done = subprocess.run(
        ["ip", *where, "-batch", "-"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"ip {lines}: {done.stderr}"


async def refusal(namespace: Namespace, address: str, port: int, uid: int = APP_UID) -> str:
    """How a connect from a namespace fails: the error's name, ``timeout``; empty: it does not."""
    with namespace.inside(uid):
        try:
            async with asyncio.timeout(5):
                _, writer = await place.connect(address, port)
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return type(error).__name__
    writer.close()
    return ""
