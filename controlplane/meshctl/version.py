"""`meshctl version`: of meshctl, and of the control plane where one runs."""

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.app.release import release
from controlplane.app.views import Version
from controlplane.meshctl import options
from controlplane.meshctl.client import call
from controlplane.meshctl.output import Block, Output, print_result
from controlplane.meshctl.trouble import Trouble

HELP = """Show the versions of meshctl and of the control plane.

[bold]Examples[/bold]

  meshctl version

  meshctl version -o json
"""


@dataclass(frozen=True, slots=True)
class Versions:
    meshctl: str
    control_plane: Version | None
    reason: str = ""
    """Why the control plane's version is not known."""


def run(state: options.State = None, output: options.Format = Output.TABLE) -> None:
    own = release()
    try:
        versions = Versions(own, call(state, lambda client: client.get(Version, "/v1/version")))
    except Trouble as trouble:
        versions = Versions(own, None, str(trouble))
    print_result(versions, output, blocks)


def blocks(versions: Versions) -> Iterable[Block]:
    yield f"meshctl         {versions.meshctl}"
    served = versions.control_plane
    if served is None:
        yield f"control plane   unknown: {versions.reason}"
    else:
        yield (
            f"control plane   {served.version} (Python {served.python},"
            f" Envoy API {served.envoy_api})"
        )
