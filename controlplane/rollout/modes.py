"""What differs between capture modes when a sidecar asks for a destination.

*Proxy*: the target is an authority; promotion is a virtual host in ``px``; first contact takes the
loop listener of the pod. *Redirect*: the target is ``IP:port``; promotion is a listener of its own;
first contact has a virtual host in ``fc`` where the protocol is HTTP or unknown.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, Protocol

from controlplane.graph import Graph
from controlplane.rollout.learnt_lines import Reference
from controlplane.translate.forwards import PROXY_LOOP_PORT
from controlplane.translate.redirect_contact import (
    Backend,
    Contact,
    addresses_of_port,
    answer,
    contact,
)
from controlplane.translate.resources import Destination, destination
from controlplane.translate.scope import Part
from controlplane.translate.workloads import Capture, Workload
from xds.build.clusters import asked_backend, asked_cluster, asked_nothing
from xds.names import parse_promoted, parse_socket, socket_address
from xds.wire.resource import Resource

Table = Literal["px", "pxfc", "fc"]
Found = Destination | Contact
"""What a target leads to: both have ``needs``, ``fragment`` and ``target``."""
POD_CEILING: Final = 200
"""Most pods by address that are promoted at one sidecar; more (scrapers) are served directly."""


class Answer(NamedTuple):
    """The cluster under an asked-for name, and its load assignment, if it has one."""

    cluster: Resource
    endpoints: str = ""


class Mode(Protocol):
    """One capture mode. A *target* is what stands between the bars of an asked-for name."""

    capture: str
    """First letter of asked-for names."""
    tables: tuple[tuple[Table, bool], ...]
    """Joined route tables; True: only of targets in first contact."""
    sticky: bool
    """Whatever was asked for is promoted still, at a reconnect."""

    def normal(self, target: str) -> str:
        """The form in which equal targets are equal."""

    def part(self, work: Workload, target: str) -> Part:
        """The query of what a target leads to, a `Found`."""

    def answer(self, work: Workload, name: str, found: Found | None) -> Answer:
        """The cluster for an asked-for name of a promoted target."""

    def direct(self, name: str, found: Found | None) -> Answer | None:
        """The cluster that serves a target without promotion, if that is possible."""

    def learnt(self, graph: Graph, references: Iterable[Reference]) -> list[str]:
        """Targets of learnt references; those that are gone are left out."""

    def held(self, listeners: Iterable[str]) -> list[str]:
        """Targets that a reconnecting sidecar shows as promoted by the listeners it holds."""


class ProxyMode:
    capture = "a"
    tables: tuple[tuple[Table, bool], ...] = (("px", False), ("pxfc", True))
    sticky = True

    def normal(self, target: str) -> str:
        return target.lower()

    def part(self, work: Workload, target: str) -> Part:
        return Part(destination, (work.namespace, target, work.scope, work.zone))

    def answer(self, work: Workload, name: str, found: Found | None) -> Answer:
        return Answer(asked_cluster(name, work.address, PROXY_LOOP_PORT))

    def direct(self, name: str, found: Found | None) -> Answer | None:
        return None

    def learnt(self, graph: Graph, references: Iterable[Reference]) -> list[str]:
        return [f"{each.service}.{each.namespace}:{each.port}" for each in references]

    def held(self, listeners: Iterable[str]) -> list[str]:
        return []


class RedirectMode:
    capture = "f"
    tables: tuple[tuple[Table, bool], ...] = (("fc", True),)
    sticky = False

    def normal(self, target: str) -> str:
        return target

    def part(self, work: Workload, target: str) -> Part:
        address, port = parse_socket(target) or (target, 0)
        return Part(contact, (work.namespace, address, port, work.scope, work.zone))

    def answer(self, work: Workload, name: str, found: Found | None) -> Answer:
        if not isinstance(found, Contact):
            return Answer(asked_nothing(name))
        reply = found.answer
        endpoints = reply.endpoints if isinstance(reply, Backend) else ""
        return Answer(answer(found, name), endpoints)

    def direct(self, name: str, found: Found | None) -> Answer | None:
        if not isinstance(found, Contact) or found.direct is None:
            return None
        return Answer(asked_backend(name, found.direct.cluster), found.direct.endpoints)

    def learnt(self, graph: Graph, references: Iterable[Reference]) -> list[str]:
        return [
            socket_address(address, port)
            for each in references
            for address, port in graph.read(
                addresses_of_port, each.namespace, each.service, each.port
            )
        ]

    def held(self, listeners: Iterable[str]) -> list[str]:
        return [target for name in listeners if (target := parse_promoted(name))]


PROXY: Final[Mode] = ProxyMode()
REDIRECT: Final[Mode] = RedirectMode()


def mode_of(work: Workload) -> Mode:
    return REDIRECT if work.capture is Capture.REDIRECT else PROXY
