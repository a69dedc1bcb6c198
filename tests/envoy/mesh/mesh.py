"""A whole mesh on loopback: `plait serve` over a tree of manifests, sidecars, applications.

Pod number N (from 1) has address .10N, its application .10N+1 of the test's /24, so manifests and
processes agree without a table.
"""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from sidecar.bootstrap import Sidecar as Description
from sidecar.files import SidecarFiles
from tests.envoy.loopback import Loopback
from tests.envoy.mesh import manifests
from tests.envoy.mesh.apps import App, Lines
from tests.envoy.mesh.clients import Reply, http1, http2
from tests.envoy.mesh.manifests import Document
from tests.envoy.mesh.plait import Plait, until
from tests.envoy.process import EnvoyProcess

PROXY, LOOP = 15080, 15081
FLUSH = ("--file-flush-interval-msec", "20")
"""Access logs at once; Envoy's default is 10 s."""

Line = dict[str, Any]


class Sidecar(EnvoyProcess):
    """An Envoy with a pod's identity."""

    def __init__(self, pod: str, address: str, files: SidecarFiles) -> None:
        super().__init__(files.directory, files.bootstrap)
        self.command += FLUSH
        self.pod = pod
        self.address = address
        self.files = files

    async def get_http1(self, authority: str, path: str = "/", **options: Any) -> Reply:
        """One HTTP/1.1 request of the pod's application through its proxy port."""
        return await http1(self.address, PROXY, authority, path, **options)

    async def get_http2(self, authority: str, path: str = "/", **options: Any) -> Reply:
        return await http2(self.address, PROXY, authority, path, **options)

    def access(self, **fields: Any) -> list[Line]:
        """Access-log lines with these fields."""
        found = []
        for text in self.log.read_text(errors="replace").splitlines():
            if text.startswith("{"):
                try:
                    line = json.loads(text)
                except ValueError:
                    continue  # half written
                if all(line.get(name) == value for name, value in fields.items()):
                    found.append(line)
        return found

    async def logged(self, count: int = 1, **fields: Any) -> list[Line]:
        """Wait for so many access-log lines with these fields."""

        async def lines() -> list[Line]:
            found = self.access(**fields)
            return found if len(found) >= count else []

        return await self.until(f"logging {count} x {fields}", lines)

    async def clusters(self) -> dict[str, Document]:
        """Dynamic clusters of the config dump, by name."""
        dump = await self.dumped("ClustersConfigDump")
        return {each["cluster"]["name"]: each for each in dump.get("dynamic_active_clusters", [])}


class Mesh:
    """Use as an asynchronous context; nothing runs before `serve`."""

    def __init__(self, *options: str) -> None:
        """``options`` go to `plait serve`."""
        self.net = Loopback()
        self.base = Path(tempfile.mkdtemp(prefix="plait-"))
        self.tree = self.base / "manifests"
        self.tree.mkdir()
        self.plait = Plait(self.base, self.tree, self.net.address(1), *options)
        self.sidecars: dict[str, Sidecar] = {}
        self.broken = False
        """A test failed: keep the directory."""
        self._apps: list[App | Lines] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for app in self._apps:
            await app.stop()
        await asyncio.gather(*(each.stop() for each in self.sidecars.values()))
        await self.plait.stop()
        self.net.close()
        if kind is None and not self.broken:
            shutil.rmtree(self.base)

    # --- addresses and manifests ---------------------------------------------------------------

    def address(self, number: int) -> str:
        """Address of pod ``number``, where its sidecar listens."""
        return self.net.address(10 * number)

    def app_address(self, number: int) -> str:
        return self.net.address(10 * number + 1)

    def pod(self, number: int, name: str, *, meshed: bool = True, **options: Any) -> Document:
        """`manifests.pod` at the addresses of ``number``."""
        app = self.app_address(number) if meshed else ""
        return manifests.pod(name, self.address(number), app, **options)

    def write(self, name: str, *documents: Document) -> None:
        """Write a file of the tree in one step; without documents it goes."""
        path = self.tree / f"{name}.yaml"
        if not documents:
            path.unlink()
            return
        new = self.base / "new"
        new.write_text(yaml.safe_dump_all(documents))
        os.replace(new, path)

    # --- processes -----------------------------------------------------------------------------

    async def serve(self) -> None:
        await self.plait.start()

    async def app(self, number: int, name: str, *ports: int, meshed: bool = True) -> App:
        """An application of pod ``number`` that answers HTTP on each of these ports."""
        app = App(name)
        address = self.app_address(number) if meshed else self.address(number)
        for port in ports:
            await app.start(address, port)
        self._apps.append(app)
        return app

    async def lines(self, number: int, port: int, banner: bytes = b"") -> Lines:
        lines = Lines(banner)
        await lines.start(self.app_address(number), port)
        self._apps.append(lines)
        return lines

    async def files(self, pod: str, name: str = "") -> SidecarFiles:
        """Fetch a sidecar's files as `meshctl proxy bootstrap` does."""
        facts = await self.plait.get(f"/v1/proxies/{manifests.NAMESPACE}/{pod}/bootstrap")
        directory = self.base / (name or pod)
        description = Description(
            cluster=facts["cluster"],
            namespace=manifests.NAMESPACE,
            pod=pod,
            owner=facts["owner"],
            host=facts["host"],
            port=facts["port"],
            directory=directory,
            report_interval=timedelta(seconds=facts["reportInterval"]),
        )
        files = SidecarFiles(directory)
        files.write(description, await self.token(pod), facts["roots"].encode())
        return files

    async def token(self, pod: str) -> str:
        answer = await self.plait.post(f"/v1/proxies/{manifests.NAMESPACE}/{pod}/token")
        return str(answer["token"])

    async def sidecar(
        self, number: int, pod: str, name: str = "", *, ready: bool = True
    ) -> Sidecar:
        """Start the sidecar of a pod. ``name``: of its directory, where it is not the pod's."""
        files = await self.files(pod, name)
        sidecar = Sidecar(pod, self.address(number), files)
        self.sidecars[name or pod] = sidecar
        await sidecar.start()
        if ready:
            await sidecar.ready()
        return sidecar

    async def until_pod(self, name: str) -> None:
        """Wait until the control plane has read a pod's manifest."""

        async def known() -> bool:
            found = (await self.plait.get("/v1/objects/Pod", name=name))["items"]
            return any(each["object"]["name"] == name for each in found)

        await until(f"aware of pod {name}", known)

    async def start_sidecars(self, **numbers: int) -> None:
        """Start several at once, and wait until all hold what is meant for them."""
        started = (self.sidecar(number, pod.replace("_", "-")) for pod, number in numbers.items())
        await asyncio.gather(*started)
        await self.plait.settled(len(self.sidecars))

    async def until_reply(
        self, sidecar: Sidecar, authority: str, fits: Callable[[Reply], bool], path: str = "/"
    ) -> Reply:
        """Ask until a reply fits."""

        async def ask() -> Reply | None:
            reply = await sidecar.get_http1(authority, path)
            return reply if fits(reply) else None

        reply = await until(f"answered as meant by {authority}{path}", ask)
        assert reply is not None
        return reply
