"""What the demo reads from outside: Plait's metrics and admin API, Envoy's counters and logs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.bookstore.http1 import Address, BadReply, Connection

Samples = dict[str, dict[str, float]]
"""Metric name → its labels as exposed (``type="cds"``; empty for none) → value."""


def parse_metrics(text: str) -> Samples:
    """The Prometheus text format, without timestamps."""
    samples: Samples = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        series, _, value = line.rpartition(" ")
        name, _, labels = series.partition("{")
        samples.setdefault(name, {})[labels.rstrip("}")] = float(value)
    return samples


async def admin(state: Path, path: str) -> Any:
    """An answer of the control plane's admin API, which `meshctl -o json` prints.

    For what is asked again and again; whatever the demo shows is typed as a command.
    Raises OSError or EOFError when the control plane is away.
    """
    status, text = await _get(await Connection.open_unix(str(state / "admin.sock")), path)
    if status != 200:
        raise BadReply(f"{path}: status {status}: {text[:200]}")
    return json.loads(text)


async def _get(connection: Connection, path: str) -> tuple[int, str]:
    try:
        reply = await connection.get("localhost", path)
    finally:
        connection.close()
    return reply.status, reply.body.decode(errors="replace")


async def metrics(address: Address) -> Samples:
    """Raises OSError or EOFError when the control plane is away."""
    status, text = await _get(await Connection.open(address), "/metrics")
    if status != 200:
        raise BadReply(f"{address}/metrics: status {status}")
    return parse_metrics(text)


async def ready(address: Address) -> bool:
    """Whether the control plane says that it is ready; False as well when it is away."""
    try:
        return (await _get(await Connection.open(address), "/readyz"))[0] == 200
    except (OSError, EOFError):
        return False


RECEIVED = "cluster.xds.upstream_cx_rx_bytes_total"


async def received_bytes(admin: Path) -> int:
    """Bytes that an Envoy has received from the control plane, by its own count."""
    connection = await Connection.open_unix(str(admin))
    _, text = await _get(connection, f"/stats?filter=^{RECEIVED.replace('.', '%5C.')}$")
    name, _, value = text.strip().partition(": ")
    if name != RECEIVED:
        raise BadReply(f"{admin}: Envoy has no counter {RECEIVED}: {text[:80]!r}")
    return int(value)


@dataclass(slots=True)
class AccessLog:
    """The growing access log of one sidecar, read from where the last read ended."""

    path: Path
    offset: int = 0

    def skip(self) -> None:
        """Leave out everything written so far."""
        self.offset = self.path.stat().st_size

    def entries(self, containing: str = "") -> Iterator[dict[str, Any]]:
        """New JSON lines that contain a text (case ignored); other lines are left out."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        whole, _, _ = data.rpartition(b"\n")
        self.offset += len(whole) + 1 if whole else 0
        wanted = containing.lower().encode()
        for line in whole.splitlines():
            if not line.startswith(b"{") or wanted not in line.lower():
                continue
            try:
                yield json.loads(line)
            except ValueError:
                continue
