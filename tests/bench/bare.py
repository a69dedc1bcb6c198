"""The least a gRPC server in Python can do: the baseline of the fan-out.

Read/write API, identity serialisers, TLS and channel arguments of the control plane, one prebuilt
response; ACKs are read and not parsed. One task per stream and one future for all of them.
"""

import asyncio
import json
import sys

import grpc

from tests.bench.edge_server import RESPONSE_SIZE, certificate
from tests.bench.process import messages, say
from tests.fakes.handler import resource
from tests.fakes.tls import server_credentials
from xds.serve.service import DELTA, OPTIONS, SERVICE
from xds.types import ENDPOINT
from xds.wire.response import join, with_nonce


class Bare:
    """Pushes the response to every stream when told."""

    def __init__(self) -> None:
        entry = resource(ENDPOINT, "e|default|svc-0|80", "1", RESPONSE_SIZE).entry
        self.response = with_nonce(join(ENDPOINT, [entry]), "1")
        self.signal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.streams = 0
        self.ready = 0
        self.acks = 0

    async def serve(self, _: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        self.streams += 1
        await context.read()
        await context.write(self.response)
        await context.read()
        self.ready += 1
        while True:
            await self.signal
            await context.write(self.response)
            if await context.read() is grpc.aio.EOF:
                return
            self.acks += 1
            if self.acks == self.streams:
                say(acked=True)

    async def push(self) -> None:
        while self.ready < self.streams:
            await asyncio.sleep(0.001)
        self.acks = 0
        signal, self.signal = self.signal, asyncio.get_running_loop().create_future()
        signal.set_result(None)


async def main() -> None:
    pair = certificate(sys.argv[1])
    bare = Bare()
    server = grpc.aio.server(options=OPTIONS)
    method = grpc.stream_stream_rpc_method_handler(bare.serve, None, None)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {DELTA: method}),)
    )
    port = server.add_secure_port("127.0.0.1:0", server_credentials(*pair))
    await server.start()
    say(port=port)
    lines = await messages()
    while line := await lines.readline():
        if json.loads(line)["do"] == "change":
            await bare.push()
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main())
