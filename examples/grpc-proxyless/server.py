"""A gRPC server that knows nothing of a mesh: ``python server.py NAME ADDRESS:PORT``.

It answers with its name, and with the caller's identity where a sidecar in front of it says so.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

SERVICE, METHOD = "shop.Greeter", "Hello"


def serve(name: str, address: str) -> None:
    def hello(request: bytes, context: grpc.ServicerContext) -> bytes:
        headers = dict(context.invocation_metadata())
        proof = str(headers.get("x-forwarded-client-cert", "")).split(";")
        caller = [part[4:] for part in proof if part.startswith("URI=")]
        return " ".join([name, *caller]).encode()

    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(hello)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),)
    )
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(*sys.argv[1:])
