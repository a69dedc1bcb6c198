"""A gRPC server of the tests: every call is answered with its name and the caller's identity."""

from typing import Any

import grpc

from tests.envoy.mesh.grpc_caller import METHOD


class Greeter:
    """``start`` once for each address."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._servers: list[Any] = []

    async def start(self, address: str, port: int) -> None:
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        _, service, method = METHOD.split("/")
        handler = grpc.unary_unary_rpc_method_handler(self._hello)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        server.add_insecure_port(f"{address}:{port}")
        await server.start()
        self._servers.append(server)

    async def stop(self, grace: float = 0.0) -> None:
        for server in self._servers:
            await server.stop(grace)

    async def _hello(self, _: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        metadata = dict(context.invocation_metadata() or ())
        parts = str(metadata.get("x-forwarded-client-cert", "")).split(";")
        caller = "".join(part.removeprefix("URI=") for part in parts if part.startswith("URI="))
        return f"{self.name} {caller}".strip().encode()
