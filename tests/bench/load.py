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

from tests.bench.figures import note
from tests.bench.process import messages, say
from tests.fakes.ads_client import METHOD
from tests.fakes.delta_wire import decode_response, encode_request, nonce_of, text

PROBE = "type.googleapis.com/plait.bench.Probe"
_HEAD = 2  # tag and length of the type URL, which Plait writes first


_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))


def _credentials(message: dict[str, Any]) -> grpc.ChannelCredentials | None:
    """TLS, or none where there are no roots."""
    roots: str = message["roots"]
    return grpc.ssl_channel_credentials(roots.encode()) if roots else None


class Sidecar:
    """One stream. It ACKs everything and remembers versions while it is ``learning``."""

    def __init__(
        self,
        fleet: "Fleet",
        node: str,
        token: str,
        subscriptions: dict[str, list[str]] | None = None,
    ) -> None:
        self._fleet = fleet
        self.node = node
        self._subscriptions = subscriptions or fleet.subscriptions
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
        names = {name for each in self._subscriptions.values() for name in each}
        held = (name for each in self.versions.values() for name in each)
        self._unanswered = names.difference(held, "*")
        self._probed = False
        self.began = 0.0
        self.rested: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        credentials, where = self._fleet.credentials, f"localhost:{port}"
        self._channel = (
            grpc.aio.insecure_channel(where, options=_OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(where, credentials, options=_OPTIONS)
        )
        self._call = self._channel.stream_stream(METHOD)(metadata=self._metadata)
        node = self.node
        for type_url, names in self._subscriptions.items():
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
        fleet = self._fleet
        while (data := await read()) is not grpc.aio.EOF:
            if not self.began:
                self.began = time.monotonic()
            if fleet.frames is not None:
                fleet.frames.append(data)
            end = _HEAD + data[1]
            kind = data[_HEAD:end]
            ack = self._acks.get(kind)
            if ack is None:
                ack = self._acks[kind] = text(2, kind)
            await write(ack + text(6, nonce_of(data)))
            fleet.answered()
            if fleet.learning:
                self._learn(data)
            elif not self.rested.done():
                self.rested.set_result(None)
            if fleet.delay:
                await asyncio.sleep(fleet.delay)
            elif fleet.delay is None:
                await fleet.reading.wait()
        end = f"{self.node}: {await self._call.code()} {await self._call.details()}"
        note(end)
        fleet.lost.append(end)
        if not self.rested.done():
            self.rested.set_result(None)

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
        self.credentials = _credentials(message)
        self.subscriptions: dict[str, list[str]] = message["subscriptions"]
        self.learning = message.get("learning", True)
        self.closing: list[grpc.aio.Channel] = []
        self.at_once: int = message.get("atOnce", 50)
        self.delay: float | None = 0.0
        """Seconds before each read; ``None``: nothing is read."""
        self.reading = asyncio.Event()
        self.reading.set()
        self.lost: list[str] = []
        """Streams that the server ended, and how."""
        self.frames: list[bytes] | None = None
        """Responses are kept here, once there is a list."""
        self.sidecars = [Sidecar(self, *each) for each in message["identities"]]
        self._left = 0
        self._done: Callable[[], None] = lambda: None

    async def open(self, port: int) -> None:
        for start in range(0, len(self.sidecars), self.at_once):
            some = self.sidecars[start : start + self.at_once]
            await asyncio.gather(*(each.open(port) for each in some))
        await asyncio.gather(*(each.rested for each in self.sidecars))
        for channel in self.closing:
            await channel.close()
        self.closing.clear()

    def arm(self, done: Callable[[], None]) -> None:
        """Call ``done`` after as many responses as there are streams."""
        self.learning = False
        self._left = len(self.sidecars)
        self._done = done

    def behave(self, delay: float | None) -> None:
        self.delay = delay
        if delay is None:
            self.reading.clear()
        else:
            self.reading.set()

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
            at, fleet = time.monotonic(), fleets[name]
            first = max(each.began for each in fleet.sidecars)
            lost = len(fleet.lost)
            say(opened=len(fleet.sidecars), at=at, first=first, lost=lost, **fleet.totals())
        elif message["do"] == "reconnect":
            fleets[name].learning = True
            fleets[name].credentials = _credentials(message)
            await fleets[name].open(message["port"])
            say(**fleets[name].totals())
        elif message["do"] == "leave":
            await fleets[name].close()
            say(left=True)
        elif message["do"] == "behave":
            fleets[name].behave(message["delay"])
            say(behaves=True)
        elif message["do"] == "held":
            say(held={each.node: each.versions for each in fleets[name].sidecars})
        elif message["do"] == "arm":
            fleets[name].arm(lambda: say(done=time.monotonic()))
            say(armed=True)
    for fleet in fleets.values():
        await fleet.close()


if __name__ == "__main__":
    asyncio.run(main())
