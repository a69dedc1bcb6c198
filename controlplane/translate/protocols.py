"""What is spoken on a port: appProtocol, then the prefix of the port's name, else undeclared.

Sources: Kubernetes Service ``appProtocol`` (KEP-3726 for the kubernetes.io/ values) and the port
naming that other meshes use (``http-web``, ``grpc``).
"""

from enum import StrEnum
from typing import Final


class Protocol(StrEnum):
    HTTP = "http"
    """HTTP/1.1 to the application."""
    HTTP2 = "http2"
    """HTTP/2 to the application: http2, grpc, h2c."""
    TCP = "tcp"
    TLS = "tls"
    """The application's own TLS, passed through."""
    UNDECLARED = "undeclared"

    @property
    def http(self) -> bool:
        """May be reached with HTTP. An undeclared port may: its client says what it speaks."""
        return self not in (Protocol.TCP, Protocol.TLS)


_APP_PROTOCOLS: Final = {
    "http": Protocol.HTTP,
    "kubernetes.io/ws": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "h2c": Protocol.HTTP2,
    "grpc": Protocol.HTTP2,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "https": Protocol.TLS,
    "tls": Protocol.TLS,
    "kubernetes.io/wss": Protocol.TLS,
}
_NAME_PREFIXES: Final = {
    "http": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "h2c": Protocol.HTTP2,
    "grpc": Protocol.HTTP2,
    "https": Protocol.TLS,
    "tls": Protocol.TLS,
    "tcp": Protocol.TCP,
    "mongo": Protocol.TCP,
    "mysql": Protocol.TCP,
    "postgres": Protocol.TCP,
    "redis": Protocol.TCP,
}


def protocol_of(app_protocol: str, port_name: str) -> Protocol:
    """The declared protocol of a port. An appProtocol that is not HTTP or TLS means TCP."""
    if app_protocol:
        return _APP_PROTOCOLS.get(app_protocol.lower(), Protocol.TCP)
    return _NAME_PREFIXES.get(port_name.lower().partition("-")[0], Protocol.UNDECLARED)
