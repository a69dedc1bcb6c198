"""The client of the admin API: HTTP over the Unix socket of the state directory.

Every failure is a `Trouble` that says what to do: no server, another user's server, a refusal of
the server with its object, field and remedy.
"""

import asyncio
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import aiohttp

from controlplane.app.codec import Undecodable, from_json
from controlplane.app.statedir import ADMIN_SOCKET, default_state
from controlplane.app.views import Failure
from controlplane.meshctl.trouble import Trouble

T = TypeVar("T")

CLUSTER_SCOPED = "-"
ANSWER_TIMEOUT = 30.0
"""Seconds within which the server answers a call that does not wait for sidecars."""


class Client:
    """One connection pool to one server. Use as an async context manager."""

    def __init__(self, state: Path | None, timeout: float = ANSWER_TIMEOUT) -> None:
        self.state = state or default_state()
        self.socket = self.state / ADMIN_SOCKET
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            base_url="http://plait",
            connector=aiohttp.UnixConnector(str(self.socket)),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, shape: type[T], path: str, **query: str | None) -> T:
        """GET; parameters that are None are left out. Raises Trouble."""
        async with self._answer("GET", path, query) as response:
            return await self._read(shape, response)

    async def post(self, shape: type[T], path: str, body: object = None, **query: str | None) -> T:
        async with self._answer("POST", path, query, body) as response:
            return await self._read(shape, response)

    async def delete(self, shape: type[T], path: str) -> T:
        async with self._answer("DELETE", path, {}) as response:
            return await self._read(shape, response)

    async def follow(
        self, shape: type[T], path: str, method: str = "GET", **query: str | None
    ) -> AsyncGenerator[T, None]:
        """Answers as they come, one JSON line each; unlimited in time. Raises Trouble."""
        no_limit = aiohttp.ClientTimeout(total=None)
        async with self._answer(method, path, query, limit=no_limit) as response:
            try:
                async for line in response.content:
                    yield from_json(shape, json.loads(line))
            except aiohttp.ClientError:
                raise Trouble(
                    "the control plane ended before its answer was complete",
                    "See its log, and try again",
                ) from None

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | None],
        body: object = None,
        limit: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        given = {name: value for name, value in query.items() if value is not None}
        within = limit or aiohttp.ClientTimeout(total=self._timeout)
        try:
            response = await self._session.request(
                method,
                path,
                params=given,
                data=None if body is None else io.BytesIO(json.dumps(body).encode()),
                headers=None if body is None else {"Content-Type": "application/json"},
                timeout=within,
            )
        except aiohttp.ClientConnectorError as error:
            raise self._unreachable(error.os_error) from None
        except OSError as error:
            raise self._unreachable(error) from None
        except aiohttp.ClientError as error:
            raise Trouble(
                f"the control plane at {self.socket} broke off: {error}", "See its log"
            ) from None
        except TimeoutError:
            raise Trouble(
                f"the control plane at {self.socket} did not answer within {self._timeout:g} s",
                "See its log; it may be busy with a first load",
            ) from None
        async with response:
            if response.status >= 400:
                raise await _refusal(response)
            yield response

    async def _read(self, shape: type[T], response: aiohttp.ClientResponse) -> T:
        try:
            return from_json(shape, await response.json())
        except Undecodable as error:
            raise Trouble(
                f"meshctl does not understand the control plane's answer: {error}",
                "Use a meshctl of the control plane's version (meshctl version)",
            ) from None

    def _unreachable(self, error: OSError) -> Trouble:
        if isinstance(error, PermissionError):
            return Trouble(
                f"no permission to use {self.socket}",
                "Call meshctl as the user who runs plait serve, or as root",
            )
        if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
            return Trouble(
                f"the control plane is not running: nobody answers on {self.socket}",
                f"Start it with: plait serve --source files DIR --state {self.state}\n"
                "         or name another state directory with --state or PLAIT_STATE",
            )
        return Trouble(f"cannot connect to {self.socket}: {error}", "Name another --state")


async def _refusal(response: aiohttp.ClientResponse) -> Trouble:
    try:
        failure = from_json(Failure, (await response.json())["error"])
    except (aiohttp.ClientError, ValueError, KeyError, TypeError):
        return Trouble(
            f"the control plane failed to answer ({response.status} {response.reason})",
            "This is a bug of Plait; its log has the details",
        )
    where = f"{failure.field}: " if failure.field else ""
    return Trouble(where + failure.message, failure.remedy, problems=failure.problems)


def object_path(verb: str, kind: str, namespace: str, name: str) -> str:
    """``/v1/VERB/KIND/NAMESPACE/NAME``."""
    parts = (kind, namespace or CLUSTER_SCOPED, name)
    return f"/v1/{verb}/" + "/".join(quote(part, safe="") for part in parts)


def proxy_path(namespace: str, pod: str, leaf: str = "") -> str:
    path = f"/v1/proxies/{quote(namespace, safe='')}/{quote(pod, safe='')}"
    return f"{path}/{leaf}" if leaf else path


def call(state: Path | None, use: Callable[[Client], Awaitable[T]]) -> T:
    """Run ``use`` with a client, from a synchronous command."""

    async def inside() -> T:
        async with Client(state) as client:
            return await use(client)

    return asyncio.run(inside())
