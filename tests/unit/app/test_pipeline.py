"""From a transaction to streams in slices: nothing overtakes what it needs."""

import asyncio
import itertools
from pathlib import Path

from controlplane.app.debounce import DebounceSettings
from controlplane.app.pipeline import Pipeline
from controlplane.rollout.signal import Signal
from controlplane.sources.manifests import load
from controlplane.telemetry.traces import Traces
from controlplane.world.transaction import Put
from tests.unit.rollout.mesh import BASE, Client, Mesh, service
from xds import types


def puts(text: str) -> list[Put]:  # type: ignore[type-arg]  # rows of several kinds
    return [Put(taken.table, taken.key, taken.row) for taken in load(text).rows]


def piped(mesh: Mesh) -> Pipeline:
    """A pipeline whose clock moves at each look, so that a slice is a node or two."""
    ticks = itertools.count()
    settings = DebounceSettings(0.0, 0.0, 0.0)
    pipeline = Pipeline(
        mesh.graph,
        mesh.edge,
        Signal(),
        Traces(None),
        settings,
        lambda: next(ticks) * 0.0015,
        lambda: None,
        lambda seconds: None,
    )
    pipeline.loaded()
    return pipeline


async def passed(pipeline: Pipeline, *texts: str) -> None:
    running = asyncio.create_task(pipeline.run())
    pipeline.apply([each for text in texts for each in puts(text)], ())
    async with asyncio.timeout(10):
        while not pipeline.idle:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def follow(client: Client) -> None:
    """Take responses in the next turn of the loop, as the writer of a stream does."""
    client.batches.clear()
    loop = asyncio.get_running_loop()
    client.session.wake = lambda: loop.call_soon(client.drain) and None


async def test_an_endpoint_with_a_new_identity_never_overtakes_its_cluster(tmp_path: Path) -> None:
    names = ("reviews", "ratings", "one", "two", "three")
    texts = [service(name, str(number + 7)) for number, name in enumerate(names)]
    mesh = Mesh(tmp_path, BASE, *texts)
    web = mesh.connect("web")
    for name in names:
        web.ask(name)
    follow(web)
    moved = [
        text.replace("serviceAccountName: ", "serviceAccountName: new-").replace("127.1.", "127.2.")
        for text in texts
    ]
    await passed(piped(mesh), *moved)
    order = [(kind, name) for kind, batch in web.batches for name in batch]
    for name in names:
        cluster = order.index((types.CLUSTER, f"h|shop|{name}|80"))
        assignment = order.index((types.ENDPOINT, f"e|shop|{name}|80"))
        assert cluster < assignment, name
    assert web.session.settled


async def test_what_a_long_pass_changed_arrives_whole(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, BASE, service("reviews", "7"))
    web = mesh.connect("web")
    web.ask("reviews")
    web.ask("later")
    follow(web)
    await passed(piped(mesh), service("later", "9"))
    assert "h|shop|later|80" in web.held[types.CLUSTER]
    assert "e|shop|later|80" in web.held[types.ENDPOINT]
    assert web.session.settled
