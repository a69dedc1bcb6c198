"""A /24 of 127/8 for one test alone, also beside other test runs on the same machine.

The claim on ``127.A.B`` is an abstract Unix socket of that name: the kernel allows one, and drops
it when its process dies.
"""

import os
import socket
from types import TracebackType
from typing import Final, Self

FIRST, LAST = 64, 250
"""Second octet. 127.0 stays free for what people run by hand, 127.255 holds the broadcast."""
COUNT: Final = (LAST - FIRST) * 254


class Loopback:
    """Addresses ``127.A.B.1`` to ``127.A.B.254``; any port of them is free."""

    def __init__(self) -> None:
        start = int.from_bytes(os.urandom(4), "big")
        for offset in range(COUNT):
            high, low = divmod((start + offset) % COUNT, 254)
            self._prefix = f"127.{FIRST + high}.{1 + low}"
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                lock.bind(f"\0plait-test-{self._prefix}")
            except OSError:
                lock.close()
                continue
            self._lock = lock
            return
        raise RuntimeError("every loopback network is claimed by a running test")

    def address(self, host: int) -> str:
        """The address with this last octet, 1 to 254."""
        if not 1 <= host <= 254:
            raise ValueError(f"{host} is no host number")
        return f"{self._prefix}.{host}"

    def close(self) -> None:
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
