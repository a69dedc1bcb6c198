"""The bookstore's programs. None of them knows of Plait: HTTP callers use their sidecar as an
HTTP proxy, TCP callers dial a port of their sidecar."""
