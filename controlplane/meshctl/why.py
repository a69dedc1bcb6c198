"""`meshctl why`: the tree of values and objects that a resource was made from."""

from collections.abc import Iterator
from typing import Annotated

import typer

from controlplane.app.views import Why, WhyNode
from controlplane.meshctl import names, options
from controlplane.meshctl.client import call
from controlplane.meshctl.output import Output, amount, print_result
from controlplane.meshctl.trouble import misused

HELP = """Explain why a resource is as it is: every value and object it was made from.

TYPE is cluster, endpoints, listener or route; NAME as in `meshctl proxy config`. A name
that differs from sidecar to sidecar (px) needs --pod.

[bold]Examples[/bold]

  meshctl why cluster 'h|shop|reviews|9080'

  meshctl why route px --pod web.shop
"""


def run(
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="Resource type.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Resource name.")],
    pod: Annotated[
        str | None,
        typer.Option(
            "--pod",
            help="The sidecar that is meant, POD or POD.NAMESPACE.",
            autocompletion=options.complete_pod,
        ),
    ] = None,
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    short = names.resource_type(kind)
    if short == "sds":
        raise misused(
            "a secret is made by the certificate authority, not from objects",
            "See it with meshctl certs POD",
        )
    chosen = names.pod_name(pod, namespace) if pod else (None, None)
    why = call(
        state,
        lambda client: client.get(
            Why, "/v1/why", type=short, name=name, namespace=chosen[0], pod=chosen[1]
        ),
    )
    print_result(why, output, blocks)


def blocks(why: Why) -> Iterator[str]:
    at = f" at {why.pod}" if why.pod else ""
    used = amount(why.sidecars, "sidecar")
    yield f"{why.type} {why.name}{at}   version {why.version or '-'}   used by {used}"
    yield _text(why.tree)
    yield from _branches(why.tree, "")


def _branches(node: WhyNode, indent: str) -> Iterator[str]:
    for n, child in enumerate(node.children):
        last = n == len(node.children) - 1
        yield f"{indent}{'└─ ' if last else '├─ '}{_text(child)}"
        yield from _branches(child, indent + ("   " if last else "│  "))


def _text(node: WhyNode) -> str:
    text = node.text
    if node.absent:
        text += "   (absent)"
    if node.source:
        text += f"   {node.source}"
    if node.repeated:
        text += "   (see above)"
    elif node.changed:
        text += f"   changed at {node.changed}"
    return text
