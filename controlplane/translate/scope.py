"""Keys of shared results: what a query may depend on beside the world.

Results are shared by every sidecar of one `Scope`. No node id, pod, address or zone is in the key
of a cluster or a virtual host: a mesh of 1,000 sidecars has one copy of each, not 1,000.
"""

from typing import Any, Final, NamedTuple

from controlplane.graph import AnyQuery
from controlplane.world.rows import Key
from xds.names import BackendName, ClusterKind

LEVEL: Final = 1
"""Protocol level between sidecars and control plane that this version writes."""


class Scope(NamedTuple):
    """Sidecars of one scope get the same bytes under the same name."""

    network: str
    trust_domain: str
    level: int


class PortRef(NamedTuple):
    """A port of a Service; ``port`` is the Service's number, never the pod's."""

    cluster: str
    namespace: str
    service: str
    port: int

    @property
    def key(self) -> Key:
        """The Service's row."""
        return Key(self.cluster, self.namespace, self.service)

    def backend(self, kind: ClusterKind) -> BackendName:
        return BackendName(kind, self.namespace, self.service, self.port)

    def __str__(self) -> str:
        return f"{self.service}.{self.namespace}:{self.port}"


class Part(NamedTuple):
    """A query and its arguments: what `Graph.subscribe` and `Graph.read` take."""

    query: AnyQuery
    args: tuple[Any, ...]


class Wanted(NamedTuple):
    """A resource that a stream is to hold. ``query(*args)`` gives it, or None when it is gone.

    ``endpoints`` is the name of the load assignment of an EDS cluster, else empty.
    """

    type_url: str
    name: str
    query: AnyQuery
    args: tuple[Any, ...]
    endpoints: str = ""
