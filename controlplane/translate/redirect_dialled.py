"""Redirect mode: from a name that an application uses to the address that it dials, for
explanations. The cluster's DNS does that for the application; no query of a sidecar's needs it.
"""

from ipaddress import ip_address
from typing import NamedTuple

from controlplane.graph import Reader
from controlplane.translate import mesh
from controlplane.translate.authority import (
    DEFAULT_PORT,
    MALFORMED,
    Refused,
    parse,
    resolve,
    split_service,
)
from controlplane.translate.endpoints import target_port
from controlplane.translate.instances import addresses_of
from controlplane.translate.members import pods_of
from controlplane.translate.redirect_contact import Contact, contact
from controlplane.translate.scope import Scope
from controlplane.translate.services import Shape, find_service, shape
from controlplane.world.rows import Key
from xds import types
from xds.names import socket_address


class Dialled(NamedTuple):
    """``where`` is ``IP:port``, empty when no address of the mesh is dialled: then ``refused``, or
    a host outside, of which ``note`` says more."""

    where: str
    contact: Contact | None
    refused: Refused | None = None
    note: str = ""

    @property
    def promotion(self) -> str:
        """Whether connections get a listener of their own, and why not."""
        if self.contact is None:
            return "no: it is no address of the mesh"
        for wanted in self.contact.needs:
            if wanted.type_url == types.LISTENER:
                return f"listener {wanted.name}"
        return f"no: {self.contact.reason}"


def dialled(q: Reader, namespace: str, text: str, scope: Scope, zone: str) -> Dialled:
    """What a redirected client of ``namespace`` dials for an authority; without a port, 80."""
    authority = parse(text)
    if authority is None:
        return Dialled("", None, MALFORMED)
    host, port = authority.host, authority.port or DEFAULT_PORT
    try:
        return _at(q, namespace, str(ip_address(host)), port, scope, zone)
    except ValueError:
        pass
    parts = split_service(host, namespace, mesh.cluster_domain(q))
    key = find_service(q, *parts) if parts else None
    service = shape(q, key) if key else None
    if service is None:
        meaning = resolve(q, namespace, text)
        refused = meaning if isinstance(meaning, Refused) else None
        return Dialled("", None, refused, f"{host} is outside the mesh")
    if service.external_name:
        return Dialled(
            "", None, None, f"{host} is an alias of {service.external_name}, outside the mesh"
        )
    if service.addresses:
        return _at(q, namespace, service.addresses[0], port, scope, zone)
    return _headless(q, namespace, service, port, scope, zone)


def _at(
    q: Reader, namespace: str, address: str, port: int, scope: Scope, zone: str, note: str = ""
) -> Dialled:
    found = contact(q, namespace, address, port, scope, zone)
    return Dialled(socket_address(address, port), found, note=note)


def _headless(
    q: Reader, namespace: str, service: Shape, port: int, scope: Scope, zone: str
) -> Dialled:
    """DNS gives the pods' addresses; each is a destination of its own."""
    name = f"{service.key.namespace}/{service.key.name}"
    for pod in pods_of(q, service.key):
        for address in addresses_of(q, pod)[:1]:
            number = _number(q, service, pod, port)
            note = (
                f"Service {name} is headless: each pod is dialled by its own address, and the "
                f"application chooses the port, here {number}"
            )
            return _at(q, namespace, address, number, scope, zone, note)
    text = f"Service {name} has neither an address nor a pod with one"
    return Dialled("", None, Refused(503, text))


def _number(q: Reader, service: Shape, pod: Key, port: int) -> int:
    """The pod's port behind a Service port, else the number itself."""
    declared = service.port(port)
    found = target_port(q, pod, declared.target, port) if declared else None
    return found or port
