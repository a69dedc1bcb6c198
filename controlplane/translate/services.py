"""Services, narrowed to what other queries need of them.

`shape` is the fire wall: labels and annotations of a Service stop there. Only TCP ports are seen;
the mesh carries no UDP or SCTP.
"""

from dataclasses import dataclass
from typing import Final

from controlplane.graph import Reader, query
from controlplane.translate.protocols import Protocol, protocol_of
from controlplane.translate.scope import PortRef
from controlplane.world.rows import Key, Labels, ServicePort
from controlplane.world.schema import SERVICES, SERVICES_BY_ADDRESS, SERVICES_BY_NAME

EXTERNAL_NAME: Final = "ExternalName"


@dataclass(frozen=True, slots=True)
class Shape:
    """What translation reads of a Service."""

    key: Key
    ports: tuple[ServicePort, ...]
    selector: Labels
    addresses: tuple[str, ...]
    """Virtual addresses; empty for a headless Service."""
    external_name: str
    """Not empty for type ExternalName."""

    def port(self, number: int) -> ServicePort | None:
        return next((port for port in self.ports if port.port == number), None)

    def port_named(self, section: str) -> ServicePort | None:
        """The port with this name, or with this number written as text."""
        return next((p for p in self.ports if section in (p.name, str(p.port))), None)


@query
def shape(q: Reader, key: Key) -> Shape | None:
    row = q.get(SERVICES, key)
    if row is None:
        return None
    return Shape(
        key,
        tuple(port for port in row.ports if port.protocol == "TCP"),
        row.selector,
        tuple(ip for ip in row.cluster_ips if ip and ip != "None"),
        row.external_name.rstrip(".").lower() if row.type == EXTERNAL_NAME else "",
    )


@query
def find_service(q: Reader, namespace: str, name: str) -> Key | None:
    """The Service of that name in any cluster: a namespace is the same in all of them."""
    rows = q.find(SERVICES_BY_NAME, (namespace, name))
    return rows[0].key if rows else None


@query
def service_at(q: Reader, address: str) -> Key | None:
    """The Service with this virtual address; of several, the first by key."""
    rows = q.find(SERVICES_BY_ADDRESS, address)
    return rows[0].key if rows else None


@query
def service_port(q: Reader, ref: PortRef) -> ServicePort | None:
    service = shape(q, ref.key)
    return service.port(ref.port) if service else None


@query
def port_numbers(q: Reader, key: Key) -> tuple[int, ...]:
    service = shape(q, key)
    return tuple(port.port for port in service.ports) if service else ()


@query
def protocol(q: Reader, ref: PortRef) -> Protocol | None:
    """The declared protocol of a Service port; None when there is no such port.

    A Service of type ExternalName without ports may be asked for on any port.
    """
    service = shape(q, ref.key)
    if service is None:
        return None
    port = service.port(ref.port)
    if port is None:
        return Protocol.UNDECLARED if service.external_name and not service.ports else None
    return protocol_of(port.app_protocol, port.name)


@query
def external_host(q: Reader, key: Key) -> str:
    """The DNS name behind a Service of type ExternalName, else empty."""
    service = shape(q, key)
    return service.external_name if service else ""
