"""A small delta ADS client over grpc.aio: what a test or a bench needs of a sidecar.

It keeps what it was given as Envoy does (by type and name), answers when told, and can misbehave:
raw bytes, no ACKs, no reading.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import grpc

from tests.fakes.delta_wire import Received, Response, decode_response, encode_request

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


@dataclass(slots=True)
class Ended(Exception):
    """The stream has ended; gRPC status name and details."""

    code: str
    detail: str


@dataclass
class AdsClient:
    """One stream. ``held``: type URL to name to resource, of ACKed responses."""

    channel: grpc.aio.Channel
    node: str = "c1/default/web"
    token: str = ""
    held: dict[str, dict[str, Received]] = field(default_factory=dict)
    bytes_received: int = 0
    resources_received: int = 0

    def __post_init__(self) -> None:
        self._first = True
        method = self.channel.stream_stream(METHOD)
        metadata = (("authorization", f"Bearer {self.token}"),) if self.token else None
        self.call = method(metadata=metadata)

    async def request(
        self,
        type_url: str,
        *,
        subscribe: Iterable[str] = (),
        unsubscribe: Iterable[str] = (),
        versions: Mapping[str, str] | None = None,
        nonce: str = "",
        error: str = "",
    ) -> None:
        """Send a request; the stream's first one carries the node."""
        node, self._first = (self.node if self._first else ""), False
        data = encode_request(
            type_url,
            node=node,
            subscribe=subscribe,
            unsubscribe=unsubscribe,
            versions=versions,
            nonce=nonce,
            error=error,
        )
        await self.raw(data)

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            Ended: the server has ended the stream.
        """
        try:
            await self.call.write(data)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._ended() from None

    async def receive(self, timeout: float = 10.0) -> Response:
        """The next response, neither ACKed nor applied.

        Raises:
            Ended: the server has ended the stream.
            TimeoutError: nothing came.
        """
        async with asyncio.timeout(timeout):
            try:
                data = await self.call.read()
            except grpc.aio.AioRpcError:
                raise await self._ended() from None
            if data is grpc.aio.EOF:
                raise await self._ended()
        response = decode_response(data)
        self.bytes_received += len(data)
        self.resources_received += len(response.resources)
        return response

    async def ack(self, response: Response) -> None:
        """Apply and accept a response."""
        held = self.held.setdefault(response.type_url, {})
        held.update({resource.name: resource for resource in response.resources})
        for name in response.removed:
            held.pop(name, None)
        await self.request(response.type_url, nonce=response.nonce)

    async def nack(self, response: Response, message: str = "rejected by the test") -> None:
        """Reject a response; nothing of it is applied."""
        await self.request(response.type_url, nonce=response.nonce, error=message)

    async def expect(self, type_url: str, timeout: float = 10.0) -> Response:
        """Receive and ACK one response, which must be of ``type_url``."""
        response = await self.receive(timeout)
        assert response.type_url == type_url, f"{response.type_url} came before {type_url}"
        await self.ack(response)
        return response

    def versions(self, type_url: str) -> dict[str, str]:
        """What a reconnect reports as initial_resource_versions."""
        return {name: found.version for name, found in self.held.get(type_url, {}).items()}

    async def quiet(self) -> None:
        """Assert that nothing is on its way: an unknown name is answered next."""
        probe = "probe.plait.test"
        await self.request("type.googleapis.com/plait.test.Probe", subscribe=[probe])
        response = await self.receive()
        assert response.removed == (probe,), f"unexpected {response}"
        await self.request(response.type_url, nonce=response.nonce, unsubscribe=[probe])

    async def close(self) -> None:
        """Cancel the stream; the channel stays."""
        self.call.cancel()
        try:
            await self.call.code()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise

    async def ended(self, timeout: float = 10.0) -> Ended:
        """Wait until the server ends the stream; responses before are dropped."""
        while True:
            try:
                await self.receive(timeout)
            except Ended as ended:
                return ended

    async def _ended(self) -> Ended:
        code = await self.call.code()
        return Ended(code.name, await self.call.details() or "")
