"""What the HTTP programs share: their command line, who called, and how they are served."""

import argparse
import json
import re
from typing import Any

from aiohttp import web

from examples.bookstore.http1 import Address, BadReply, Pool, Reply, parse_address

KEEP_ALIVE = 7_200
"""Seconds. Longer than Envoy keeps an idle upstream connection (one hour), so that it is never
the program that closes one just as Envoy sends a request on it."""


def arguments(description: str) -> argparse.Namespace:
    """``listen`` (`Address`), ``proxy`` (`Address`; None: services are dialled), ``version``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--listen", type=parse_address, required=True, metavar="HOST:PORT")
    parser.add_argument(
        "--proxy",
        type=parse_address,
        metavar="HOST:PORT",
        default=Address("127.0.0.1", 15080),
        help="the sidecar's HTTP proxy port, where outgoing requests go",
    )
    parser.add_argument(
        "--dial",
        dest="proxy",
        action="store_const",
        const=None,
        help="dial other services by their names, where connections are redirected to the sidecar",
    )
    parser.add_argument("--version", default="v1")
    return parser.parse_args()


_URI = re.compile(r"(?:^|;)URI=\"?([^;,\"]*)")


def caller(header: str) -> str:
    """The SPIFFE id in ``x-forwarded-client-cert`` as the own sidecar wrote it; empty if absent.

    The last element is that of the nearest hop; what stands before it came from the caller.
    """
    element = header.rpartition(",")[2]
    found = _URI.search(element)
    return found.group(1) if found else ""


def own_part(request: web.Request, service: str) -> dict[str, Any]:
    """The first fields of every reply: service, version, caller."""
    return {
        "service": service,
        "version": request.app[VERSION],
        "caller": caller(request.headers.get("x-forwarded-client-cert", "")),
    }


async def ask(request: web.Request, authority: str, path: str) -> Any:
    """GET another service through the own sidecar and decode its JSON.

    A caller that closes its connection after this request gets a new connection here too, so
    that its freshness reaches the mesh. Raises `web.HTTPBadGateway` that says what was answered.
    """
    fresh = request.headers.get("connection", "").lower() == "close"
    try:
        reply: Reply = await request.app[OUT].get(authority, path, fresh=fresh)
    except (OSError, EOFError, BadReply) as error:
        raise web.HTTPBadGateway(text=f"{authority}: {type(error).__name__}: {error}") from error
    if reply.status != 200:
        text = reply.body.decode(errors="replace")[:200]
        raise web.HTTPBadGateway(text=f"{authority}: status {reply.status}: {text}")
    return json.loads(reply.body)


VERSION: web.AppKey[str] = web.AppKey("version", str)
OUT: web.AppKey[Pool] = web.AppKey("out", Pool)


def application(handler: Any, path: str, version: str, proxy: Address | None) -> web.Application:
    """An application with one page, its version, and an outgoing pool (`Pool`) to ``proxy``."""
    app = web.Application()
    app[VERSION] = version
    app[OUT] = Pool(proxy)
    app.router.add_get(path, handler)

    async def close(app: web.Application) -> None:
        app[OUT].close()

    app.on_cleanup.append(close)
    return app


def serve(app: web.Application, listen: Address) -> None:
    """Serve until SIGINT or SIGTERM."""
    web.run_app(
        app,
        host=listen.host,
        port=listen.port,
        keepalive_timeout=KEEP_ALIVE,
        access_log=None,
        print=None,
        shutdown_timeout=1,
    )
