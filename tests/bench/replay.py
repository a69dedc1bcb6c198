"""A bare grpc.aio server that sends recorded responses to every stream: the baseline of a cold
start. Nothing is parsed; what clients send is read and dropped.

``python -m tests.bench.replay FRAMES [CERTIFICATES]``: the file of responses (JSON list of base64),
and a directory with a server certificate, or none for plaintext.
"""

import asyncio
import json
import sys
from base64 import b64decode
from pathlib import Path

import grpc

from tests.bench.edge_server import certificate
from tests.bench.process import messages, say
from tests.fakes.tls import server_credentials
from xds.serve.service import DELTA, OPTIONS, SERVICE


async def main() -> None:
    frames = [b64decode(each) for each in json.loads(Path(sys.argv[1]).read_text())]

    async def serve(_: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        await context.read()
        for frame in frames:
            await context.write(frame)
        while await context.read() is not grpc.aio.EOF:
            pass

    server = grpc.aio.server(options=OPTIONS)
    method = grpc.stream_stream_rpc_method_handler(serve, None, None)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {DELTA: method}),)
    )
    if len(sys.argv) > 2:
        pair = server_credentials(*certificate(sys.argv[2]))
        port = server.add_secure_port("127.0.0.1:0", pair)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    say(port=port)
    lines = await messages()
    while await lines.readline():
        pass
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(main())
