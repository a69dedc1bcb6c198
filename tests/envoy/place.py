"""Where a test's own sockets are made: on this machine, or elsewhere by `inside`.

A socket belongs to the network namespace of the thread that made it, and to that thread's user. So
clients and applications of a test stay in its event loop, and their sockets are a pod's.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Maker = Callable[[int], socket.socket]
"""Address family → a new TCP socket."""


def _here(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM)


_maker: ContextVar[Maker] = ContextVar("maker", default=_here)


@contextlib.contextmanager
def inside(maker: Maker) -> Iterator[None]:
    """Make the sockets of this context by ``maker``, and those of tasks that are begun in it."""
    token = _maker.set(maker)
    try:
        yield
    finally:
        _maker.reset(token)


def new_socket(address: str) -> socket.socket:
    """A TCP socket for an IP address of its family."""
    made = _maker.get()(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.setblocking(False)
    return made


async def connect(
    address: str, port: int, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to an IP address."""
    made = new_socket(address)
    try:
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        named = {"ssl": tls, "server_hostname": address} if tls else {}
        return await asyncio.open_connection(sock=made, **named)
    except BaseException:
        made.close()
        raise


def bound(address: str, port: int) -> socket.socket:
    """A socket bound to an IP address, for a server."""
    made = new_socket(address)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made
