"""A gRPC client without a sidecar: ``python client.py TARGET [CALLS]``, TARGET as in xds:///….

Only two things differ from any other client: the target, and the credentials, which take the
certificate from the bootstrap where the control plane asks for mutual TLS, and plain text else.
"""

import sys
from collections import Counter

import grpc
import grpc.experimental


def call(target: str, calls: int) -> Counter[str]:
    """How often each reply came."""
    plain = grpc.experimental.insecure_channel_credentials()
    replies: Counter[str] = Counter()
    with grpc.secure_channel(target, grpc.xds_channel_credentials(plain)) as channel:
        hello = channel.unary_unary("/shop.Greeter/Hello")
        for _ in range(calls):
            try:
                replies[hello(b"", timeout=10).decode()] += 1
            except grpc.RpcError as error:
                replies[f"{error.code().name}: {error.details()}"] += 1
    return replies


if __name__ == "__main__":
    for reply, times in sorted(call(sys.argv[1], int([*sys.argv, "1"][2])).items()):
        print(f"{times:6}  {reply}")
