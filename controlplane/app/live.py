"""The running control plane as the admin API sees it: implements `controlplane.app.inspect`."""

import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version as package_version
from typing import Any

from controlplane.api.problem import ObjectRef, Severity
from controlplane.app import views
from controlplane.app.inspect import not_found
from controlplane.app.live_identity import Identities
from controlplane.app.live_objects import Objects
from controlplane.app.live_parts import LiveParts
from controlplane.app.live_sidecars import Sidecars, text
from controlplane.app.live_simulation import held, simulated
from controlplane.app.release import release
from controlplane.app.statedir import CannotStart
from controlplane.telemetry.mesh import MeshReadings
from controlplane.world.rows import Key
from controlplane.world.schema import PODS, TABLES
from controlplane.world.tables import Table
from xds.serve.service import Service

_log = logging.getLogger(__name__)


class Live:
    """See the module. ``open`` starts serving once the sources are synced."""

    def __init__(self, parts: LiveParts) -> None:
        self._parts = parts
        self._sidecars = Sidecars(parts)
        self._objects = Objects(parts)
        self._identities = Identities(parts, self._sidecars)
        self._serving = False
        self._started = parts.clock.now()
        self.metrics_address = ""

    async def open(self, service: Service) -> None:
        """Everything is loaded: bind the xDS port and become ready."""
        self._parts.pipeline.loaded()
        try:
            self._identities.port = await service.start()
        except OSError as error:
            raise CannotStart(
                str(error), "Stop what listens there, or give another --listen"
            ) from None
        self._serving = True
        self._parts.signal.bump()
        listen = self._parts.settings.listen._replace(port=self._identities.port)
        _log.info("ready", extra={"listen": str(listen)})

    # --- status --------------------------------------------------------------------------------

    def version(self) -> views.Version:
        return views.Version(
            version=release(),
            python=platform.python_version(),
            envoy_api=package_version("envoy-data-plane"),
        )

    def ready(self) -> views.Readiness:
        reasons = []
        if not self._parts.source.synced.is_set():
            reasons.append(f"source {self._parts.source.name} is not synced")
        if not self._serving:
            reasons.append("xds is not served yet")
        return views.Readiness(not reasons, tuple(reasons))

    def _sizes(self) -> dict[str, int]:
        """Objects by kind, kinds without any left out."""
        tables: dict[str, Table[Key, Any]] = dict(TABLES)
        world = self._parts.graph.world
        sizes = {name: len(world.rows(table)) for name, table in sorted(tables.items())}
        return {name: count for name, count in sizes.items() if count}

    def _severities(self) -> dict[str, int]:
        counts = dict.fromkeys((severity.value for severity in Severity), 0)
        for problem in self._objects.problems():
            counts[problem.severity.value] += 1
        return counts

    def readings(self) -> MeshReadings:
        """What the metrics of the mesh are read from, at each scrape."""
        source = self._parts.source
        return MeshReadings(
            objects=self._sizes,
            problems=self._severities,
            synced=lambda: {source.name: int(source.synced.is_set())},
            leaves=lambda: self._identities.authority().leaves,
        )

    def status(self) -> views.Status:
        parts = self._parts
        counts = tuple(views.Count(name, count) for name, count in self._sizes().items())
        severities = self._severities()
        source = views.SourceStatus(
            name=parts.source.name,
            location=str(parts.settings.directory),
            synced=parts.source.synced.is_set(),
            objects=sum(each.count for each in counts),
        )
        listen = parts.settings.listen
        return views.Status(
            version=release(),
            pid=os.getpid(),
            state=str(parts.settings.state),
            started=text(self._started),
            listen=str(listen._replace(port=self._identities.port)),
            metrics=self.metrics_address,
            revision=parts.graph.revision,
            pending=parts.graph.pending,
            readiness=self.ready(),
            sources=(source,),
            objects=counts,
            sidecars=self._sidecars.counts(),
            authority=self._identities.authority(),
            errors=severities[Severity.ERROR],
            warnings=severities[Severity.WARNING],
        )

    def problems(self) -> views.Problems:
        return views.Problems(self._objects.problems())

    # --- sidecars ------------------------------------------------------------------------------

    async def proxies(self) -> views.Proxies:
        return await self._sidecars.proxies()

    def proxy(self, namespace: str, pod: str, *, bodies: bool) -> views.ProxyConfig:
        return self._sidecars.config(namespace, pod, bodies=bodies)

    def evict(
        self, namespace: str, pod: str, destinations: Sequence[str], idle: float | None
    ) -> views.Eviction:
        return self._sidecars.evict(namespace, pod, destinations, idle)

    def why(self, type_url: str, name: str, pod: tuple[str, str] | None) -> views.Why:
        return self._sidecars.why(type_url, name, pod)

    def simulate(
        self,
        source: tuple[str, str],
        authority: str,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
    ) -> views.Simulated:
        key = Key(self._parts.settings.cluster, *source)
        if self._parts.graph.world.get(PODS, key) is None:
            raise not_found(f"pod {source[0]}/{source[1]}", "See the pods: meshctl proxy list")
        found = simulated(self._parts.graph, key, authority, method, path, tuple(headers))
        members = {member.pod: member for member in self._sidecars.members()}
        edge = self._parts.edge
        now = held(found, members.get(key), edge.eviction, self._parts.learnt)
        return replace(found, held=now)

    # --- objects -------------------------------------------------------------------------------

    def progress(self, ref: ObjectRef) -> views.Progress:
        return self._objects.progress(ref)

    async def changed(self, since: int) -> int:
        return await self._parts.signal.changed(since)

    async def apply(
        self, documents: Sequence[Mapping[str, Any]], *, dry_run: bool
    ) -> views.ApplyResult:
        return await self._objects.apply(documents, dry_run=dry_run)

    async def delete(self, ref: ObjectRef) -> views.Applied:
        return await self._objects.delete(ref)

    def get(self, kind: str, namespace: str | None, name: str | None) -> views.Manifests:
        return self._objects.get(kind, namespace, name)

    # --- identity ------------------------------------------------------------------------------

    def certs(self, pod: tuple[str, str] | None) -> views.Certificates:
        return self._identities.certs(pod)

    async def rotate(self, pod: tuple[str, str] | None) -> views.Rotation:
        return self._identities.rotate(pod)

    def rotation(self, serials: Mapping[str, str]) -> views.Rotation:
        return self._identities.rotation(serials)

    def token(self, namespace: str, pod: str) -> views.Token:
        return self._identities.token(namespace, pod)

    def leaf(self, namespace: str, pod: str) -> views.Leaf:
        return self._identities.leaf(namespace, pod)

    def bootstrap(self, namespace: str, pod: str) -> views.Bootstrap:
        return self._identities.bootstrap(namespace, pod)
