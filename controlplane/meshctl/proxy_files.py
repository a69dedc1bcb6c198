"""`meshctl proxy bootstrap` and `meshctl proxy token`: what a sidecar is started with."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from controlplane.app.views import Bootstrap, Token
from controlplane.meshctl import names, options
from controlplane.meshctl.client import Client, call, proxy_path
from controlplane.meshctl.output import Output, print_result
from controlplane.meshctl.trouble import Trouble
from sidecar.bootstrap import BootstrapError, Sidecar, bootstrap
from sidecar.files import SidecarFiles

FILES_HELP = """Write what the sidecar of a pod starts with: bootstrap, token and roots.

Without --out the bootstrap alone is printed, for a look at it. The token is short-lived: whoever
starts Envoy with these files renews it with `meshctl proxy token POD --out DIR`, or uses
`meshctl proxy run`, which does it all.

[bold]Examples[/bold]

  meshctl proxy bootstrap web.shop --out /run/plait/web

  envoy -c /run/plait/web/bootstrap.json
"""

RENEWAL_HELP = """Obtain a token for the sidecar of a pod.

With --out it replaces the token in a directory of `meshctl proxy bootstrap`; a running Envoy uses
it from its next stream on. Without, it is printed: treat it as a password.

[bold]Examples[/bold]

  meshctl proxy token web.shop --out /run/plait/web

  meshctl proxy token web.shop
"""

Out = Annotated[
    Path | None,
    typer.Option("--out", help="Directory of the sidecar's files.", metavar="DIR", file_okay=False),
]


@dataclass(frozen=True, slots=True)
class Written:
    pod: str
    bootstrap: str
    """Path for ``envoy -c``."""
    token_expires: str


@dataclass(frozen=True, slots=True)
class Renewed:
    pod: str
    token: str
    """The token itself, or the path where it was written."""
    expires: str


def sidecar_of(facts: Bootstrap, directory: Path) -> Sidecar:
    """The sidecar that the server described, with its files in ``directory`` (absolute)."""
    pod, _, namespace = facts.pod.rpartition(".")
    return Sidecar(
        cluster=facts.cluster,
        namespace=namespace,
        pod=pod,
        owner=facts.owner,
        host=facts.host,
        port=facts.port,
        directory=directory,
        server_name=facts.server_name,
        capture=facts.capture,
        report_interval=timedelta(seconds=facts.report_interval),
    )


async def fetch_token(client: Client, namespace: str, pod: str) -> Token:
    return await client.post(Token, proxy_path(namespace, pod, "token"))


async def fetch_files(
    client: Client, namespace: str, pod: str, directory: Path, owner: int | None = None
) -> tuple[Path, Token]:
    """Write all files of a sidecar; the bootstrap's path and the token. Raises Trouble.

    ``owner``: see `SidecarFiles`.
    """
    facts = await client.get(Bootstrap, proxy_path(namespace, pod, "bootstrap"))
    token = await fetch_token(client, namespace, pod)
    try:
        path = SidecarFiles(directory, owner).write(
            sidecar_of(facts, directory), token.token, facts.roots.encode()
        )
    except BootstrapError as error:
        raise Trouble(str(error), "Choose another directory") from None
    except OSError as error:
        raise unwritable(directory, error) from None
    return path, token


def unwritable(directory: Path, error: OSError) -> Trouble:
    return Trouble(
        f"cannot write the sidecar's files: {error.filename or directory}:"
        f" {(error.strerror or str(error)).lower()}",
        "Choose a directory that can be written",
    )


def run_bootstrap(
    pod: options.Pod,
    out: Out = None,
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    where, name = names.pod_name(pod, namespace)
    if out is None:
        facts = call(
            state, lambda client: client.get(Bootstrap, proxy_path(where, name, "bootstrap"))
        )
        config = bootstrap(sidecar_of(facts, Path.cwd()))
        form = Output.JSON if output is Output.TABLE else output
        print_result(config, form, lambda shown: [json.dumps(shown)])
        return
    directory = out.resolve()
    path, token = call(state, lambda client: fetch_files(client, where, name, directory))
    written = Written(f"{name}.{where}", str(path), token.expires)
    print_result(
        written,
        output,
        lambda each: [f"wrote {each.bootstrap}", f"the token expires at {each.token_expires}"],
    )


def run_token(
    pod: options.Pod,
    out: Out = None,
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    where, name = names.pod_name(pod, namespace)
    token = call(state, lambda client: fetch_token(client, where, name))
    if out is None:
        print_result(
            Renewed(token.pod, token.token, token.expires), output, lambda each: [each.token]
        )
        return
    files = SidecarFiles(out.resolve())
    if not files.bootstrap.is_file():
        raise Trouble(
            f"{out} holds no sidecar's files",
            f"Write them first: meshctl proxy bootstrap {pod} --out {out}",
        )
    try:
        files.renew_token(token.token)
    except OSError as error:
        raise unwritable(out, error) from None
    print_result(
        Renewed(token.pod, str(files.token), token.expires),
        output,
        lambda each: [f"wrote {each.token}; it expires at {each.expires}"],
    )
