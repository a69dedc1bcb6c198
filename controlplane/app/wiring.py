"""The composition root: builds every part of `plait serve` and says what talks to what.

    files source ──transactions──► Pipeline ──changes──► Edge ◄──► ADS service ◄──► sidecars
                                      │                   │
                                    Graph            Verdicts, Learnt, Secrets
    admin API, health ──► Live (reads all of the above; stores what meshctl applies)

Start: claim the state directory, load the keys, read the whole source, then open the ports. A port
is never opened before every source is synced and applied.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import grpc

from controlplane.app.admin import AdminServer
from controlplane.app.http import HttpServer
from controlplane.app.issuance import IssuanceAlarm
from controlplane.app.live import Live
from controlplane.app.live_parts import LiveParts
from controlplane.app.pipeline import Pipeline
from controlplane.app.reports import SidecarReports
from controlplane.app.secrets import Secrets
from controlplane.app.settings import Address, Settings
from controlplane.app.statedir import CannotStart, Claim
from controlplane.app.supervisor import Part, stop_on_signal, supervise
from controlplane.durable import StateError, make_directory
from controlplane.graph import Graph
from controlplane.identity.authenticate import TokenAuthenticator
from controlplane.identity.clock import SystemClock
from controlplane.identity.leaves import Leaves
from controlplane.identity.server_tls import server_certificate
from controlplane.identity.state import IdentityState, open_state
from controlplane.rollout.delivery import Delivery
from controlplane.rollout.edge import Edge, EdgeParts
from controlplane.rollout.learnt import Learnt
from controlplane.rollout.prepare import prepare
from controlplane.rollout.signal import Signal
from controlplane.rollout.verdicts import Verdicts
from controlplane.sources.files import FilesSource
from controlplane.telemetry import engine, logs, mesh
from controlplane.telemetry.lag import LoopLag
from controlplane.telemetry.metrics import EVALUATION, Metrics
from controlplane.telemetry.traces import Traces, UnknownExporter, exporter_from
from controlplane.telemetry.xds import XdsMetrics
from controlplane.translate.mesh import mesh_config
from xds.build.warm import warm
from xds.serve.service import Service

GRACE = 2.0
"""Seconds that streams have to end when the server stops."""

_log = logging.getLogger(__name__)


class SourcePart:
    """Runs a source into the pipeline."""

    def __init__(self, source: FilesSource, pipeline: Pipeline) -> None:
        self.name = f"source {source.name}"
        self._source = source
        self._pipeline = pipeline

    async def run(self) -> None:
        await self._source.run(self._pipeline)


class ServicePart:
    """Serves xDS until cancelled, once the sources are synced."""

    name = "xds"

    def __init__(
        self,
        service: Service,
        source: FilesSource,
        live: Live,
        serving: asyncio.Event,
        prepared: Callable[[], Awaitable[object]],
    ) -> None:
        """``serving`` is set once the port is open, ``prepared`` awaited before it."""
        self._service = service
        self._source = source
        self._live = live
        self._serving = serving
        self._prepared = prepared

    async def run(self) -> None:
        try:
            await self._source.synced.wait()
            await self._prepared()
            await self._live.open(self._service)
            self._serving.set()
            await asyncio.Event().wait()
        finally:
            await self._service.stop(GRACE)


async def serve(settings: Settings) -> None:
    """Run the control plane until SIGTERM or SIGINT.

    Raises CannotStart and StateError, each with a remedy, before anything is served.
    """
    logs.configure(settings.logging.level, settings.logging.format, sys.stderr)
    with Claim(settings.state):
        try:
            traces = Traces(exporter_from())
        except UnknownExporter as error:
            raise CannotStart(str(error), error.remedy) from None
        try:
            await _serve(settings, traces)
        finally:
            traces.close()


async def _serve(settings: Settings, traces: Traces) -> None:
    warm()
    clock = SystemClock()
    keys = open_state(settings.state, clock.now())
    if keys.authority.created:
        _log.info("made a new certificate authority", extra={"issuer": keys.authority.key_id})
    metrics = Metrics()
    graph = Graph(clock=clock.monotonic)
    signal = Signal()
    leaves = Leaves(keys.authority, clock)
    secrets = Secrets(leaves)
    verdicts = Verdicts(graph)
    learnt = Learnt(settings.state / "learnt", lambda: clock.now().timestamp(), _report)
    learnt.load()
    delivery = Delivery(graph, verdicts)
    edge = Edge(EdgeParts(graph, learnt, secrets, verdicts, delivery, signal, clock.monotonic))

    def changed() -> None:
        lifetime: timedelta = graph.read(mesh_config).certificates.lifetime
        if leaves.lifetime != lifetime:
            leaves.lifetime = lifetime

    took = metrics.histogram(EVALUATION)
    pipeline = Pipeline(
        graph,
        edge,
        signal,
        traces,
        settings.debounce,
        clock.monotonic,
        changed,
        took.record,
    )
    source = _source(settings)
    service = _service(settings, keys, edge, clock, metrics)
    live = Live(
        LiveParts(
            settings,
            graph,
            edge,
            learnt,
            pipeline,
            source,
            keys,
            leaves,
            secrets,
            verdicts,
            delivery,
            signal,
            clock,
        )
    )
    alarm = IssuanceAlarm(
        metrics, leaves, lambda: sum(map(len, edge.members.values())), clock.monotonic
    )
    prepared = partial(prepare, graph, learnt, clock.monotonic)
    await _run(settings, metrics, graph, pipeline, source, service, live, alarm, prepared)


def _source(settings: Settings) -> FilesSource:
    objects = settings.state / "objects"
    make_directory(objects)
    return FilesSource(
        settings.directory,
        objects,
        settings.state / "addresses.json",
        last_good=settings.state / "rollout" / "last-good",
        cluster=settings.cluster,
    )


def _service(
    settings: Settings, keys: IdentityState, edge: Edge, clock: SystemClock, metrics: Metrics
) -> Service:
    certificate = server_certificate(keys.authority, _names(settings.listen), clock.now())
    return Service(
        edge,
        TokenAuthenticator(keys.token_key, clock),
        credentials=grpc.ssl_server_credentials([certificate.pair()]),
        address=str(settings.listen),
        observer=XdsMetrics(metrics),
        clock=clock.monotonic,
        reports=SidecarReports(metrics, edge),
    )


def _names(listen: Address) -> list[str]:
    """What sidecars may call the listener, beside localhost."""
    return [] if listen.host in ("0.0.0.0", "::") else [listen.host]  # noqa: S104  # compared


async def _run(
    settings: Settings,
    metrics: Metrics,
    graph: Graph,
    pipeline: Pipeline,
    source: FilesSource,
    service: Service,
    live: Live,
    alarm: IssuanceAlarm,
    prepared: Callable[[], Awaitable[object]],
) -> None:
    stop = asyncio.Event()
    stop_on_signal(asyncio.get_running_loop(), stop)
    engine.expose(metrics, graph)
    mesh.expose(metrics, live.readings())
    admin = AdminServer(settings.state, live)
    await admin.start()
    serving = asyncio.Event()
    lag = LoopLag(metrics, partial(engine.slowest, graph), serving)
    parts: list[Part] = [admin, lag, alarm]
    if settings.metrics is not None:
        http = HttpServer(settings.metrics, live.ready, metrics.exposition)
        await http.start()
        live.metrics_address = str(http.address)
        parts.append(http)
    if settings.recheck:
        parts.append(engine.Recheck(metrics, graph, settings.recheck.total_seconds()))
    parts += [
        pipeline,
        SourcePart(source, pipeline),
        ServicePart(service, source, live, serving, prepared),
    ]
    _log.info("starting", extra={"state": str(settings.state), "source": str(settings.directory)})
    await supervise(parts, stop)


def _report(error: StateError) -> None:
    _log.error("cannot keep what a workload learnt", extra={"error": str(error)})
