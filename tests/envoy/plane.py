"""A control plane of fixed wishes: the real identity and the real service, no translation.

Every stream gets its own leaf, the roots, and the resources that the test names.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from controlplane.identity import tokens
from controlplane.identity.authenticate import TokenAuthenticator
from controlplane.identity.clock import Clock, SystemClock
from controlplane.identity.leaves import Leaves
from controlplane.identity.server_tls import server_certificate
from controlplane.identity.slots import Keep, Withheld
from controlplane.identity.state import open_state
from sidecar.bootstrap import REPORT_INTERVAL, Sidecar
from sidecar.files import SidecarFiles
from xds import names, types
from xds.build.endpoints import assignment
from xds.build.secrets import leaf, roots
from xds.serve.auth import Principal
from xds.serve.observer import Unobserved
from xds.serve.service import Service
from xds.serve.session import Session
from xds.wire.metrics import Report
from xds.wire.request import Node
from xds.wire.resource import Resource

TRUST_DOMAIN = "example.org"
CLUSTER = "local"


class Refusals(Unobserved):
    """Records streams that were refused or ended, as ``CODE: detail``."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def denied(self, code: str, detail: str) -> None:
        self.seen.append(f"{code}: {detail}")

    def closed(self, code: str, detail: str) -> None:
        if code != "OK":
            self.seen.append(f"{code}: {detail}")


class Recorder:
    """Keeps what sidecars report, with the size of each message."""

    def __init__(self) -> None:
        self.streams = 0
        self.seen: list[tuple[str, Report, int]] = []

    def opened(self) -> None:
        self.streams += 1

    def reported(self, node: Node, report: Report, size: int) -> None:
        self.seen.append((node.id, report, size))

    def closed(self) -> None:
        self.streams -= 1


class Plane:
    """One control plane on ``address``; use as an asynchronous context."""

    def __init__(self, state: Path, address: str, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.identity = open_state(state, self.clock.now())
        self.leaves = Leaves(self.identity.authority, self.clock)
        self.refusals = Refusals()
        self.sessions: list[Session] = []
        self.principals: list[Principal] = []
        self.kept: list[str] = []
        """Versions of leaves that reconnecting clients kept."""
        self.acks: list[tuple[str, str, str]] = []
        """(type URL, name, version), as they come."""
        self.wishes: list[tuple[Resource, str]] = []
        """Resources and, of an EDS cluster, its endpoint name."""
        self.reports = Recorder()
        certificate = server_certificate(self.identity.authority, (address,), self.clock.now())
        self.service = Service(
            self,
            TokenAuthenticator(self.identity.token_key, self.clock),
            credentials=grpc.ssl_server_credentials([certificate.pair()]),
            address=f"{address}:0",
            observer=self.refusals,
            clock=self.clock.monotonic,
            reports=self.reports,
        )
        self.address = address

    async def __aenter__(self) -> Self:
        await self.service.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.service.stop(0)

    # What a workload gets to start with.

    def workload(self, pod: str, account: str = "web") -> tokens.Workload:
        return tokens.Workload(CLUSTER, "shop", pod, account)

    def token(
        self, pod: str, account: str = "web", lifetime: timedelta = tokens.DEFAULT_LIFETIME
    ) -> str:
        workload = self.workload(pod, account)
        subject = names.spiffe_id(TRUST_DOMAIN, workload.namespace, account)
        now = self.clock.now()
        return tokens.sign(self.identity.token_key, workload, subject, now, lifetime).reveal()

    def sidecar(
        self,
        pod: str,
        directory: Path,
        capture: str = "proxy",
        report_interval: timedelta = REPORT_INTERVAL,
    ) -> Sidecar:
        return Sidecar(
            cluster=CLUSTER,
            namespace="shop",
            pod=pod,
            owner="web",
            host=self.address,
            port=self.service.port,
            directory=directory,
            capture=capture,
            report_interval=report_interval,
        )

    def files(
        self,
        pod: str,
        directory: Path,
        token: str | None = None,
        report_interval: timedelta = REPORT_INTERVAL,
    ) -> SidecarFiles:
        """Write the files of ``pod``'s sidecar, with its own token unless another is given."""
        files = SidecarFiles(directory)
        files.write(
            self.sidecar(pod, directory, report_interval=report_interval),
            self.token(pod) if token is None else token,
            self.identity.authority.bundle,
        )
        return files

    # xds.serve.handler.Handler

    def opened(self, session: Session) -> None:
        self.sessions.append(session)
        assert session.principal is not None
        self.principals.append(session.principal)
        for resource, endpoints in self.wishes:
            session.want(resource.type_url, resource.name, resource, endpoints=endpoints)
        local = assignment(names.LOCAL_CLUSTER, ())
        session.want(types.ENDPOINT, names.LOCAL_CLUSTER, local)
        bundle = roots(self.leaves.roots(TRUST_DOMAIN))
        session.want(types.SECRET, bundle.name, bundle)

    def asked(self, session: Session, wanted: tuple[str, ...], first: bool) -> None:
        for name in wanted:
            session.want(types.CLUSTER, name, None)

    def started(self, session: Session, type_url: str, held: Mapping[str, str]) -> None: ...

    def subscribed(self, session: Session, type_url: str, wanted: tuple[str, ...]) -> None:
        if type_url == types.SECRET and names.IDENTITY_SECRET in wanted:
            self.send_leaf(session)

    def acked(
        self,
        session: Session,
        type_url: str,
        resources: tuple[tuple[str, str], ...],
        trial: bool,
    ) -> None:
        self.acks += [(type_url, name, version) for name, version in resources]

    def nacked(
        self,
        session: Session,
        type_url: str,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...],
        message: str,
        trial: bool,
    ) -> None:
        raise AssertionError(f"Envoy rejected {[each.name for each in resources]}: {message}")

    def closed(self, session: Session) -> None:
        self.sessions.remove(session)
        self.leaves.forget(session)

    # What tests do while it runs.

    def send_leaf(self, session: Session) -> None:
        """Answer ``identity``: the stream's workload keeps what it reports, or gets a new one."""
        assert session.principal is not None
        subject = str(session.principal.claims["subject"])
        reported = session.acked(types.SECRET).get(names.IDENTITY_SECRET, "")
        answer = self.leaves.leaf_for(session, subject, reported)
        assert not isinstance(answer, Withheld)
        if isinstance(answer, Keep):
            self.kept.append(answer.version)
            session.want(
                types.SECRET,
                names.IDENTITY_SECRET,
                Resource(types.SECRET, names.IDENTITY_SECRET, answer.version, b""),
            )
        else:
            session.want(types.SECRET, names.IDENTITY_SECRET, leaf(answer))

    def rotate(self) -> None:
        """Renew every stream's leaf now."""
        for session in self.sessions:
            answer = self.leaves.renew(session)
            assert not isinstance(answer, Withheld)
            session.want(types.SECRET, names.IDENTITY_SECRET, leaf(answer))

    def wish(self, resources: Iterable[tuple[Resource, str]]) -> None:
        """What every later stream gets beside its secrets."""
        self.wishes += resources
