"""`meshctl proxy evict`: take destinations back from a sidecar, which asks again when it needs
them."""

from typing import Annotated

import typer

from controlplane.api.base import parse_duration
from controlplane.app.views import Eviction
from controlplane.meshctl import names, options
from controlplane.meshctl.client import call, proxy_path
from controlplane.meshctl.output import Output, print_result
from controlplane.meshctl.trouble import Exit, misused

HELP = """Take destinations that a sidecar has learnt back from it.

A destination is SERVICE.NAMESPACE with or without :PORT, or an authority or ADDRESS:PORT that the
sidecar asked for. The next request to it asks the control plane again and loses nothing. A
destination with open TCP connections stays, since they would be cut, and so does one that was just
asked for. MeshConfig `onDemand` does the same by itself for what is idle.

[bold]Examples[/bold]

  meshctl proxy evict web.shop reviews.shop:9080

  meshctl proxy evict web.shop --idle 5m
"""


def run(
    name: options.Pod,
    destinations: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DESTINATION...]", help="What to take back.", show_default=False),
    ] = None,
    idle: Annotated[
        str | None,
        typer.Option(
            "--idle",
            metavar="DURATION",
            help="Also what was not used for so long, for example 5m.",
            show_default=False,
        ),
    ] = None,
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    if not destinations and idle is None:
        raise misused(
            "nothing is named that is to be evicted",
            "Name destinations, or give --idle with a duration",
        )
    seconds = _seconds(idle) if idle is not None else None
    path = proxy_path(*names.pod_name(name, namespace), "evict")
    body = {"destinations": destinations or [], "idle": seconds}
    done = call(state, lambda client: client.post(Eviction, path, body))
    print_result(done, output, _lines)
    raise typer.Exit(Exit.PROBLEMS if done.kept or done.unknown else Exit.OK)


def _seconds(text: str) -> float:
    try:
        return float(parse_duration(text).total_seconds())
    except ValueError as error:
        raise misused(f"--idle: {error}", "Write a duration such as 30s or 5m") from None


def _lines(done: Eviction) -> list[str]:
    lines = [f"{each}: evicted from {done.pod}" for each in done.evicted]
    lines += [f"{each.destination}: kept: {each.reason}" for each in done.kept]
    lines += [f"{each}: {done.pod} has learnt no such destination" for each in done.unknown]
    return lines or [f"{done.pod} has nothing that is idle for so long"]
