"""Options and arguments that many commands share, with their completion from the live mesh.

Completion asks the server with a short timeout and is silent when there is none.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from controlplane.api.registry import KINDS
from controlplane.meshctl.output import Output, WideOutput

COMPLETION_TIMEOUT = 1.0
"""Seconds that a completion may take."""


def _completing(ctx: typer.Context) -> tuple[Path | None, str | None]:
    state, namespace = ctx.params.get("state"), ctx.params.get("namespace")
    return Path(state) if state else None, namespace


def _live(ctx: typer.Context, read: str) -> list[tuple[str, str]]:
    """(namespace, name) of live pods with sidecars, or of Services; nothing when unreachable."""
    from controlplane.app.views import Manifests, Proxies
    from controlplane.meshctl.client import Client
    from controlplane.meshctl.trouble import Trouble

    async def ask() -> list[tuple[str, str]]:
        state, namespace = _completing(ctx)
        async with Client(state, COMPLETION_TIMEOUT) as client:
            if read == "Service":
                found = await client.get(Manifests, "/v1/objects/Service", namespace=namespace)
                return [(item.object.namespace, item.object.name) for item in found.items]
            proxies = (await client.get(Proxies, "/v1/proxies")).proxies
            split = [proxy.pod.rpartition(".") for proxy in proxies]
            return [(ns, pod) for pod, _, ns in split if namespace in (None, ns)]

    import asyncio

    try:
        return asyncio.run(ask())
    except Trouble:
        return []


def complete_pod(ctx: typer.Context, incomplete: str) -> list[str]:
    namespaced = ctx.params.get("namespace") is not None
    names = [pod if namespaced else f"{pod}.{ns}" for ns, pod in _live(ctx, "Pod")]
    return [name for name in names if name.startswith(incomplete)]


def complete_service(ctx: typer.Context, incomplete: str) -> list[str]:
    return [name for _, name in _live(ctx, "Service") if name.startswith(incomplete)]


def complete_kind(incomplete: str) -> Iterator[str]:
    for row in KINDS:
        if row.kind.lower().startswith(incomplete.lower()):
            yield f"{row.kind.lower()}/"


State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="State directory of the control plane. \\[default: $XDG_STATE_HOME/plait]",
        envvar="PLAIT_STATE",
        show_default=False,
        metavar="DIR",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "-n",
        "--namespace",
        help="Namespace. \\[default: default]",
        envvar="PLAIT_NAMESPACE",
        show_default=False,
    ),
]
Format = Annotated[Output, typer.Option("-o", "--output", help="Form of the result.")]
WideFormat = Annotated[
    WideOutput, typer.Option("-o", "--output", help="Form of the result; wide: every column.")
]
Timeout = Annotated[
    str,
    typer.Option("--timeout", help="Longest time to wait, for example 30s or 2m."),
]
Pod = Annotated[
    str,
    typer.Argument(metavar="POD", help="POD or POD.NAMESPACE.", autocompletion=complete_pod),
]
