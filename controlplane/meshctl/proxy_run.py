"""`meshctl proxy run`: start a pod's sidecar here and keep its token fresh.

It is a supervisor and no more: Envoy is a child in the foreground, signals are passed on, the exit
status is Envoy's. While the control plane is away the old token stays, and renewal is tried again
until it is back; Envoy goes on with what it has.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer

from controlplane.meshctl import names, options
from controlplane.meshctl.client import Client, call
from controlplane.meshctl.output import print_error
from controlplane.meshctl.proxy_files import fetch_files, fetch_token
from controlplane.meshctl.trouble import Trouble
from sidecar.files import SidecarFiles
from sidecar.launch import EnvoyUnusable, check_envoy, envoy_command, find_envoy

HELP = """Run the sidecar of a pod on this machine, until Envoy ends.

Fetches bootstrap, roots and token, starts Envoy, renews the token before it expires, passes
signals on, and exits with Envoy's status. What follows -- goes to Envoy.

[bold]Examples[/bold]

  meshctl proxy run web.shop

  meshctl proxy run web -n shop --dir ./web -- --log-level info

  meshctl proxy run web.shop --uid 1337   [dim]# as root, behind python -m sidecar.redirect[/dim]
"""

RENEW_AT = 0.5
"""Share of the token's lifetime after which it is renewed."""
RETRY = 5.0
"""Seconds between attempts while the control plane does not answer."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def run(
    name: options.Pod,
    envoy_args: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ENVOY_ARGS...]", help="Arguments of Envoy.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            help="Directory of the sidecar's files. \\[default: a temporary one]",
            metavar="DIR",
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    uid: Annotated[
        int | None,
        typer.Option(
            "--uid",
            help="User that Envoy runs as; takes root. Redirect mode: 1337, by which the kernel"
            " tells Envoy from its application. \\[default: yours]",
            metavar="UID",
            min=1,
            show_default=False,
        ),
    ] = None,
    namespace: options.Namespace = None,
    state: options.State = None,
) -> None:
    if uid is not None and os.geteuid() not in (0, uid):
        raise Trouble("running Envoy as another user takes root", "Run it as root")
    where, pod = names.pod_name(name, namespace)
    try:
        envoy = find_envoy()
        check_envoy(envoy)
    except EnvoyUnusable as error:
        raise Trouble(error.reason, error.remedy) from None

    async def inside(client: Client) -> int:
        async with AsyncExitStack() as stack:
            if directory is None:
                made = stack.enter_context(tempfile.TemporaryDirectory(prefix="plait-"))
                home = Path(made)
            else:
                home = directory.resolve()
            bootstrap, token = await fetch_files(client, where, pod, home, uid)
            command = merged(envoy_command(envoy, bootstrap), envoy_args or ())
            renewal = asyncio.create_task(
                renew(client, (where, pod), SidecarFiles(home, uid), token.lifetime)
            )
            try:
                return await run_child(command, uid)
            finally:
                renewal.cancel()
                await asyncio.wait({renewal})

    raise typer.Exit(call(state, inside))


def merged(command: Sequence[str], extra: Sequence[str]) -> list[str]:
    """``command`` with ``extra`` options in place of its own: Envoy refuses one given twice."""
    given = {each.partition("=")[0] for each in extra if each.startswith("-")}
    kept: list[str] = []
    dropping = False
    for part in command:
        if part.startswith("-"):
            dropping = part in given
        if not dropping:
            kept.append(part)
    return [*kept, *extra]


async def renew(client: Client, pod: tuple[str, str], files: SidecarFiles, lifetime: float) -> None:
    """Replace the token at half of each lifetime (seconds), until cancelled."""
    while True:
        await asyncio.sleep(lifetime * RENEW_AT)
        while True:
            try:
                token = await fetch_token(client, *pod)
                files.renew_token(token.token)
            except (Trouble, OSError) as error:
                print_error(f"meshctl: the token is not renewed yet: {error}")
                await asyncio.sleep(RETRY)
            else:
                lifetime = token.lifetime
                break


async def start_child(command: Sequence[str], uid: int | None) -> asyncio.subprocess.Process:
    """Start a command as a user (None: this one). Raises OSError."""
    if uid is None:
        return await asyncio.create_subprocess_exec(*command, start_new_session=True)
    # Opened before the user changes: the program may lie where that user cannot look.
    program = os.open(command[0], os.O_RDONLY | os.O_CLOEXEC)
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            executable=f"/proc/self/fd/{program}",
            pass_fds=(program,),
            user=uid,
            group=uid,
            extra_groups=(),
            start_new_session=True,
        )
    finally:
        os.close(program)


async def run_child(command: Sequence[str], uid: int | None = None) -> int:
    """Run a command in the foreground, passing signals on; its exit status, or 128 + signal."""
    loop = asyncio.get_running_loop()
    early: list[signal.Signals] = []
    child: asyncio.subprocess.Process | None = None

    def pass_on(number: signal.Signals) -> None:
        if child is None:
            early.append(number)
        elif child.returncode is None:
            child.send_signal(number)

    for number in PASSED_ON:
        loop.add_signal_handler(number, pass_on, number)
    try:
        # A session of its own: Ctrl-C in the terminal then reaches Envoy once, through us.
        child = await start_child(command, uid)
        for number in early:
            pass_on(number)
        status = await child.wait()
    except OSError as error:
        raise Trouble(f"cannot start {command[0]}: {os.strerror(error.errno or 0)}") from None
    finally:
        for number in PASSED_ON:
            loop.remove_signal_handler(number)
    return status if status >= 0 else 128 - status
