"""The answer to CONNECT in proxy mode: 405 with a text that says what to do instead.

It ends every virtual host: CONNECT has no path, so no other route matches it.
"""

from typing import Final

from xds.ir.route import Match, Respond, Route

CONNECT: Final = Route(
    "connect",
    Match(method="CONNECT"),
    Respond(
        405,
        "plait: this proxy does not answer CONNECT. Send the request itself, with its full URL or "
        "Host (gRPC and HTTP/2: h2c with :authority). For TCP declare a forward: annotation "
        "mesh.plait.dev/tcp-forwards\n",
    ),
)
