"""Pods as network namespaces (`examples.redirect.namespaces`), and sockets in them."""

import asyncio
import contextlib
import ctypes
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from examples.redirect import namespaces
from examples.redirect.namespaces import HUB as HUB
from examples.redirect.namespaces import NAMESPACES as NAMESPACES
from examples.redirect.namespaces import OUTSIDE as OUTSIDE
from examples.redirect.namespaces import SERVICES as SERVICES
from examples.redirect.namespaces import sweep as sweep
from tests.envoy import place

ROOT_UID, APP_UID, PROXY_UID = 0, 1000, 1337
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class Namespace(namespaces.Namespace):
    """A namespace whose sockets a test can hold."""

    def __init__(self, name: str, address: str, address6: str = "") -> None:
        super().__init__(name, address, address6)
        self._threads: dict[int, ThreadPoolExecutor] = {}

    def socket(self, family: int = socket.AF_INET, uid: int = APP_UID) -> socket.socket:
        """A TCP socket here, of a user."""
        if uid not in self._threads:
            self._threads[uid] = ThreadPoolExecutor(1, "netns", self._become, (uid,))
        return self._threads[uid].submit(socket.socket, family, socket.SOCK_STREAM).result()

    def _become(self, uid: int) -> None:
        # Both hold for the calling thread alone (setns(2), setfsuid(2)).
        self.enter()
        _LIBC.setfsuid(uid)

    @contextlib.contextmanager
    def inside(self, uid: int = APP_UID) -> Iterator[None]:
        """Clients and servers of this context have their sockets here."""
        with place.inside(lambda family: self.socket(family, uid)):
            yield

    def close(self) -> None:
        for thread in self._threads.values():
            thread.shutdown()


class Network(namespaces.Network[Namespace]):
    def __init__(self) -> None:
        super().__init__(Namespace)


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
