"""A load process: some of the sidecars of a bench, each on a TLS connection of its own.

Commands (JSON lines): ``open`` connects streams and brings them to rest, ``arm`` awaits one
response on every stream, ``leave`` closes all, ``reconnect`` opens all again with the versions
held. Answers carry CLOCK_MONOTONIC times, which all processes of a machine share.
"""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import grpc

from tests.bench.process import messages, say
from tests.fakes.ads_client import METHOD
from tests.fakes.delta_wire import decode_response, encode_request, nonce_of, text

PROBE = "type.googleapis.com/plait.bench.Probe"
_HEAD = 2  # tag and length of the type URL, which Plait writes first


class Sidecar:
    """One stream. It ACKs everything and remembers versions while it is ``learning``."""

    def __init__(self, fleet: "Fleet", node: str, token: str) -> None:
        self._fleet = fleet
        self._node = node
        self._metadata = (("authorization", f"Bearer {token}"),)
        self.versions: dict[str, dict[str, str]] = {}
        self.resources = 0
        self.size = 0
        self._acks: dict[bytes, bytes] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self, port: int) -> None:
        """Connect and subscribe with the versions held. ``rested`` is set when every name that
        was subscribed to is answered or held, and a name that does not exist was answered: the
        server answers in order, so nothing else is on its way. (Of a server that speaks no xDS:
        when it has answered at all.)"""
        self.close()
        names = {name for each in self._fleet.subscriptions.values() for name in each}
        held = (name for each in self.versions.values() for name in each)
        self._unanswered = names.difference(held, "*")
        self._probed = False
        self.rested: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._channel = grpc.aio.secure_channel(
            f"localhost:{port}",
            self._fleet.credentials,
            options=(
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_receive_message_length", -1),
            ),
        )
        self._call = self._channel.stream_stream(METHOD)(metadata=self._metadata)
        node = self._node
        for type_url, names in self._fleet.subscriptions.items():
            request = encode_request(
                type_url, node=node, subscribe=names, versions=self.versions.get(type_url)
            )
            node = ""
            await self._call.write(request)
        if self._fleet.learning:
            await self._call.write(encode_request(PROBE, subscribe=["nothing"]))
        self._task = asyncio.create_task(self._serve())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._call.cancel()
            self._fleet.closing.append(self._channel)
            self._task = None

    async def _serve(self) -> None:
        read, write = self._call.read, self._call.write
        while (data := await read()) is not grpc.aio.EOF:
            end = _HEAD + data[1]
            kind = data[_HEAD:end]
            ack = self._acks.get(kind)
            if ack is None:
                ack = self._acks[kind] = text(2, kind)
            await write(ack + text(6, nonce_of(data)))
            self._fleet.answered()
            if self._fleet.learning:
                self._learn(data)
            elif not self.rested.done():
                self.rested.set_result(None)
        say(error=f"{self._node}: {await self._call.code()} {await self._call.details()}")

    def _learn(self, data: bytes) -> None:
        response = decode_response(data)
        if response.type_url == PROBE:
            self._probed = True
            self._rest()
            return
        held = self.versions.setdefault(response.type_url, {})
        self.resources += len(response.resources)
        self.size += sum(len(each.body) for each in response.resources)
        for each in response.resources:
            held[each.name] = each.version
        for name in response.removed:
            held.pop(name, None)
        if self._unanswered:
            self._unanswered.difference_update(response.names, response.removed)
            self._rest()

    def _rest(self) -> None:
        if self._probed and not self._unanswered and not self.rested.done():
            self.rested.set_result(None)


class Fleet:
    """The streams of this process to one server."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.credentials = grpc.ssl_channel_credentials(message["roots"].encode())
        self.subscriptions: dict[str, list[str]] = message["subscriptions"]
        self.learning = message.get("learning", True)
        self.closing: list[grpc.aio.Channel] = []
        self.sidecars = [Sidecar(self, node, token) for node, token in message["identities"]]
        self._left = 0
        self._done: Callable[[], None] = lambda: None

    async def open(self, port: int) -> None:
        for start in range(0, len(self.sidecars), 50):
            await asyncio.gather(*(each.open(port) for each in self.sidecars[start : start + 50]))
        await asyncio.gather(*(each.rested for each in self.sidecars))
        for channel in self.closing:
            await channel.close()
        self.closing.clear()

    def arm(self, done: Callable[[], None]) -> None:
        """Call ``done`` after as many responses as there are streams."""
        self.learning = False
        self._left = len(self.sidecars)
        self._done = done

    def answered(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._done()

    def totals(self) -> dict[str, int]:
        """Resources and bytes of resources received since the last call."""
        found = {
            "resources": sum(each.resources for each in self.sidecars),
            "size": sum(each.size for each in self.sidecars),
        }
        for each in self.sidecars:
            each.resources = each.size = 0
        return found

    async def close(self) -> None:
        for each in self.sidecars:
            each.close()
        for channel in self.closing:
            await channel.close()
        self.closing.clear()


async def main() -> None:
    lines = await messages()
    fleets: dict[str, Fleet] = {}
    while line := await lines.readline():
        message = json.loads(line)
        name = message["fleet"]
        if message["do"] == "open":
            fleets[name] = Fleet(message)
            await fleets[name].open(message["port"])
            say(opened=len(fleets[name].sidecars), **fleets[name].totals())
        elif message["do"] == "reconnect":
            fleets[name].learning = True
            fleets[name].credentials = grpc.ssl_channel_credentials(message["roots"].encode())
            await fleets[name].open(message["port"])
            say(**fleets[name].totals())
        elif message["do"] == "leave":
            await fleets[name].close()
            say(left=True)
        elif message["do"] == "arm":
            fleets[name].arm(lambda: say(done=time.monotonic()))
            say(armed=True)
    for fleet in fleets.values():
        await fleet.close()


if __name__ == "__main__":
    asyncio.run(main())
