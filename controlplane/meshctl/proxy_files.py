"""`meshctl proxy bootstrap` and `meshctl proxy token`: what a sidecar is started with."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from controlplane.app.views import Bootstrap, Leaf, Token
from controlplane.meshctl import names, options
from controlplane.meshctl.client import Client, call, proxy_path
from controlplane.meshctl.output import Output, print_result
from controlplane.meshctl.trouble import Trouble
from sidecar.bootstrap import BootstrapError, Sidecar, bootstrap
from sidecar.files import SidecarFiles
from sidecar.proxyless import CAPTURE, ProxylessFiles, environment, grpc_bootstrap

FILES_HELP = """Write what the sidecar of a pod starts with: bootstrap, token and roots.

For a gRPC application without a sidecar (--proxyless, or a pod with the annotation
mesh.plait.dev/capture: proxyless) it is the bootstrap of gRPC's own xDS client, with a certificate.

Without --out the bootstrap alone is printed, for a look at it. The token is short-lived: whoever
starts Envoy with these files renews it with `meshctl proxy token POD --out DIR`, or uses
`meshctl proxy run`, which does it all.

[bold]Examples[/bold]

  meshctl proxy bootstrap web.shop --out /run/plait/web

  envoy -c /run/plait/web/bootstrap.json

  meshctl proxy bootstrap client.shop --proxyless --out /run/plait/client
"""

RENEWAL_HELP = """Obtain a token for the sidecar of a pod.

With --out it replaces the token in a directory of `meshctl proxy bootstrap`, and the certificate
of a gRPC application; a running client uses them from its next stream or connection on. Without,
it is printed: treat it as a password.

[bold]Examples[/bold]

  meshctl proxy token web.shop --out /run/plait/web

  meshctl proxy token web.shop
"""

Out = Annotated[
    Path | None,
    typer.Option("--out", help="Directory of the sidecar's files.", metavar="DIR", file_okay=False),
]


Proxyless = Annotated[
    bool, typer.Option("--proxyless", help="For gRPC's own xDS client, without a sidecar.")
]


@dataclass(frozen=True, slots=True)
class Written:
    pod: str
    bootstrap: str
    """Path for ``envoy -c``, or ``GRPC_XDS_BOOTSTRAP``."""
    token_expires: str
    environment: dict[str, str] = field(default_factory=dict)
    """What a gRPC application needs in its environment."""
    certificate_expires: str = ""


def _written(each: Written) -> Iterable[str]:
    yield f"wrote {each.bootstrap}"
    yield f"the token expires at {each.token_expires}"
    if each.environment:
        yield f"the certificate expires at {each.certificate_expires}"
        yield "start the application with:"
        yield from (f"  {name}={value}" for name, value in each.environment.items())


@dataclass(frozen=True, slots=True)
class Renewed:
    pod: str
    token: str
    """The token itself, or the path where it was written."""
    expires: str
    certificate_expires: str = ""
    """Of the certificate that was written too."""


def _renewed(each: Renewed) -> Iterable[str]:
    yield f"wrote {each.token}; it expires at {each.expires}"
    if each.certificate_expires:
        yield f"wrote a certificate; it expires at {each.certificate_expires}"


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
    proxyless: Proxyless = False,
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    where, name = names.pod_name(pod, namespace)
    facts = call(state, lambda client: client.get(Bootstrap, proxy_path(where, name, "bootstrap")))
    application = proxyless or facts.capture == CAPTURE
    if out is None:
        describe = grpc_bootstrap if application else bootstrap
        config = describe(sidecar_of(facts, Path.cwd()))
        form = Output.JSON if output is Output.TABLE else output
        print_result(config, form, lambda shown: [json.dumps(shown)])
        return
    directory = out.resolve()
    if application:
        written = call(state, lambda client: _fetch_application(client, facts, directory))
    else:
        path, token = call(state, lambda client: fetch_files(client, where, name, directory))
        written = Written(f"{name}.{where}", str(path), token.expires)
    print_result(written, output, _written)


async def _fetch_application(client: Client, facts: Bootstrap, directory: Path) -> Written:
    """Write all files of an application without a sidecar. Raises Trouble."""
    pod, _, namespace = facts.pod.rpartition(".")
    token = await fetch_token(client, namespace, pod)
    leaf = await client.post(Leaf, proxy_path(namespace, pod, "leaf"))
    try:
        path = ProxylessFiles(directory).write(
            sidecar_of(facts, directory),
            token.token,
            facts.roots.encode(),
            leaf.chain.encode(),
            leaf.key.encode(),
        )
    except BootstrapError as error:
        raise Trouble(str(error), "Let `plait serve --listen` name the address") from None
    except OSError as error:
        raise unwritable(directory, error) from None
    return Written(facts.pod, str(path), token.expires, environment(path), leaf.expires)


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
    files = ProxylessFiles(out.resolve())
    if not files.bootstrap.is_file():
        raise Trouble(
            f"{out} holds no sidecar's files",
            f"Write them first: meshctl proxy bootstrap {pod} --out {out}",
        )
    leaf = None
    if files.identity.is_dir():
        leaf = call(state, lambda client: client.post(Leaf, proxy_path(where, name, "leaf")))
    try:
        files.renew_token(token.token)
        if leaf is not None:
            files.renew_identity(leaf.chain.encode(), leaf.key.encode())
    except OSError as error:
        raise unwritable(out, error) from None
    print_result(
        Renewed(token.pod, str(files.token), token.expires, leaf.expires if leaf else ""),
        output,
        _renewed,
    )
