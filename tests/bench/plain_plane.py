"""The control plane's own parts in a process that serves plaintext, which `plait serve` never does.

``python -m tests.bench.plain_plane HOME`` reads HOME/tree and HOME/state, then says on which port
it listens. It ends when its standard input does.
"""

import asyncio
import sys
import time
from datetime import timedelta
from pathlib import Path

from controlplane.app.debounce import DebounceSettings
from controlplane.app.pipeline import Pipeline
from controlplane.app.secrets import Secrets
from controlplane.durable import make_directory
from controlplane.graph import Graph
from controlplane.identity.authenticate import TokenAuthenticator
from controlplane.identity.clock import SystemClock
from controlplane.identity.leaves import Leaves
from controlplane.identity.state import open_state
from controlplane.rollout.delivery import Delivery
from controlplane.rollout.edge import Edge, EdgeParts
from controlplane.rollout.learnt import Learnt
from controlplane.rollout.prepare import prepare
from controlplane.rollout.signal import Signal
from controlplane.rollout.verdicts import Verdicts
from controlplane.sources.files import FilesSource
from controlplane.telemetry.lag import LoopLag, WatchedLoop
from controlplane.telemetry.metrics import Metrics
from controlplane.telemetry.traces import Traces
from controlplane.telemetry.xds import XdsMetrics
from tests.bench.process import messages, say
from xds.build.warm import warm
from xds.serve.service import Service


async def main() -> None:
    home = Path(sys.argv[1])
    state, clock = home / "state", SystemClock()
    warm()
    keys = open_state(state, clock.now())
    metrics, graph, signal = Metrics(), Graph(clock=clock.monotonic), Signal()
    verdicts = Verdicts(graph)
    secrets = Secrets(Leaves(keys.authority, clock, timedelta(hours=1)))
    learnt = Learnt(state / "learnt", time.time, lambda error: print(error, file=sys.stderr))
    learnt.load()
    delivery = Delivery(graph, verdicts)
    edge = Edge(EdgeParts(graph, learnt, secrets, verdicts, delivery, signal, clock.monotonic))
    pipeline = Pipeline(
        *(graph, edge, signal, Traces(None), DebounceSettings(), clock.monotonic),
        changed=lambda: None,
        evaluated=lambda seconds: None,
    )
    make_directory(state / "objects")
    source = FilesSource(home / "tree", state / "objects", cluster="local")
    service = Service(
        edge,
        TokenAuthenticator(keys.token_key, clock),
        credentials=None,
        address="127.0.0.1:0",
        observer=XdsMetrics(metrics),
        clock=clock.monotonic,
    )
    lag = LoopLag(metrics)
    parts = [asyncio.create_task(each) for each in (source.run(pipeline), pipeline.run())]
    await source.synced.wait()
    await prepare(graph, learnt, clock.monotonic)
    pipeline.loaded()
    parts.append(asyncio.create_task(lag.run()))
    say(port=await service.start())
    lines = await messages()
    while await lines.readline():
        pass
    for part in parts:
        part.cancel()
    await service.stop(0)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        runner.run(main())
