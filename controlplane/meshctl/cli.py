"""`meshctl`: the commands and how they are grouped. Each stands in a file of its own.

Exit codes: 0 ok, 1 problems found or the command failed, 2 wrong usage, 3 rolled back, 4 timed out,
5 something would change.
"""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from controlplane.meshctl import (
    apply,
    certs,
    proxy,
    proxy_files,
    proxy_run,
    shift,
    simulate,
    status,
    validate,
    version,
    wait,
    why,
)
from controlplane.meshctl.output import print_error
from controlplane.meshctl.trouble import Trouble

HELP = """Look into a Plait mesh and change it.

Commands speak to the control plane through the socket in its state directory: --state or
PLAIT_STATE.
Names are written TYPE/NAME for objects and POD or POD.NAMESPACE for sidecars.
"""

CONTEXT = {"help_option_names": ["-h", "--help"]}


class ListByDefault(TyperGroup):
    """A group whose command ``list`` may be left out: ``meshctl certs web.shop``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["list", *args])


def _group(name: str, help_text: str, kind: type[TyperGroup] = TyperGroup) -> typer.Typer:
    return typer.Typer(
        name=name,
        help=help_text,
        cls=kind,
        no_args_is_help=kind is TyperGroup,
        rich_markup_mode="rich",
        context_settings=CONTEXT,
    )


app = typer.Typer(
    name="meshctl",
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)
app.command("status", help=status.HELP)(status.run)

proxies = _group("proxy", "The sidecars: what they hold, and how they are started.")
proxies.command("list", help=proxy.LIST_HELP)(proxy.run_list)
proxies.command("config", help=proxy.CONFIG_HELP)(proxy.run_config)
proxies.command("bootstrap", help=proxy_files.FILES_HELP)(proxy_files.run_bootstrap)
proxies.command("token", help=proxy_files.RENEWAL_HELP)(proxy_files.run_token)
proxies.command("run", help=proxy_run.HELP)(proxy_run.run)
app.add_typer(proxies)

app.command("why", help=why.HELP)(why.run)
app.command("simulate", help=simulate.HELP)(simulate.run)
app.command("validate", help=validate.HELP)(validate.run)
app.command("apply", help=apply.HELP)(apply.run)
app.command("delete", help=apply.DELETE_HELP)(apply.run_delete)
app.command("wait", help=wait.HELP)(wait.run)

shifts = _group("traffic-shift", "How a Service's traffic is split over other Services.")
shifts.command("set", help=shift.SET_HELP)(shift.run_set)
shifts.command("get", help=shift.GET_HELP)(shift.run_get)
app.add_typer(shifts)

certificates = _group("certs", certs.HELP, ListByDefault)
certificates.command("list", help=certs.HELP)(certs.run_list)
certificates.command("rotate", help=certs.ROTATE_HELP)(certs.run_rotate)
app.add_typer(certificates)

app.command("version", help=version.HELP)(version.run)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command `meshctl`; exits."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="meshctl")
    except Trouble as trouble:
        print_error(trouble.text())
        sys.exit(trouble.code)
