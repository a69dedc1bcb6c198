"""Settings of one `plait serve`, read once at its start: flags, then PLAIT_* variables, then these
defaults. Frozen; a part gets the values it needs, never the whole.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from controlplane.app.debounce import DebounceSettings
from controlplane.app.statedir import ADMIN_SOCKET, default_state


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Parse ``127.0.0.1:15012`` or ``[::1]:15012``; port 0 lets the system choose.

    Raises ValueError with an example.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not (colon and host and port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise ValueError(f"{text!r} is no address; write HOST:PORT, for example 127.0.0.1:15012")
    return Address(host, int(port))


class SourceKind(StrEnum):
    FILES = "files"


class LogFormat(StrEnum):
    AUTO = "auto"
    """``console`` on a terminal, else ``json``."""
    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


DEFAULT_LISTEN = Address("127.0.0.1", 15012)
DEFAULT_METRICS = Address("127.0.0.1", 15014)
DEFAULT_DEBOUNCE = DebounceSettings()


@dataclass(frozen=True, slots=True)
class Logging:
    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.AUTO


@dataclass(frozen=True, slots=True)
class Settings:
    directory: Path
    """Files source: the tree of manifests that is watched."""
    state: Path = field(default_factory=default_state)
    source: SourceKind = SourceKind.FILES
    listen: Address = DEFAULT_LISTEN
    """Where sidecars connect (xDS over TLS)."""
    metrics: Address | None = DEFAULT_METRICS
    """/healthz, /readyz and /metrics; None: not served."""
    cluster: str = "local"
    """Name of this cluster: the first part of every Envoy node id."""
    debounce: DebounceSettings = DEFAULT_DEBOUNCE
    token_lifetime: timedelta = timedelta(hours=24)
    """Lifetime of the tokens that `meshctl proxy token` and `proxy run` obtain."""
    recheck: timedelta = timedelta(seconds=1)
    """Interval at which one memoised value is evaluated afresh and compared; 0: never."""
    report_interval: timedelta = timedelta(seconds=10)
    """How often sidecars report which destinations they use; fixed in their bootstraps."""
    logging: Logging = Logging()

    @property
    def admin_socket(self) -> Path:
        return self.state / ADMIN_SOCKET
