"""A whole mesh in network namespaces: the control plane at the hub, each pod with its Envoy behind
redirection. Applications and clients run in the test; their sockets are a pod's, of uid 1000.

Service number N has address 10.96.0.N, pod number N 10.77.0.N, so manifests need no table.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import aiohttp

from sidecar.bootstrap import Sidecar as Description
from sidecar.files import SidecarFiles
from sidecar.redirect.exclusions import plan_of
from sidecar.redirect.plan import RedirectPlan, nft
from tests.envoy.mesh import manifests
from tests.envoy.mesh.apps import App, Lines
from tests.envoy.mesh.clients import Reply, http1, http2, say
from tests.envoy.mesh.manifests import Document
from tests.envoy.mesh.mesh import Mesh, Sidecar
from tests.envoy.mesh.plait import METRICS_PORT, Plait
from tests.envoy.netns.network import HUB, PROXY_UID, SERVICES, Namespace, Network

ANY: Final = "0.0.0.0"
PODS: Final = "10.77.0.0/16"


def vip(number: int) -> str:
    """The address of Service ``number``."""
    return f"10.96.0.{number}"


def settings(**spec: Any) -> Document:
    """The MeshConfig, with the ranges of `Network`."""
    return manifests.mesh_config(meshRanges=[PODS], serviceRange=SERVICES, **spec)


def service(
    name: str,
    number: int,
    *ports: tuple[int, str, str],
    selector: dict[str, str] | None = None,
    headless: bool = False,
) -> Document:
    """`manifests.service` at an address of its own, or ``headless``."""
    made = manifests.service(name, ports, selector)
    made["spec"]["clusterIP"] = "None" if headless else vip(number)
    return made


class HubPlait(Plait):
    """`plait serve` in the hub's namespace."""

    def __init__(self, base: Path, tree: Path, hub: Namespace, *extra: str) -> None:
        super().__init__(base, tree, HUB, *extra)
        self._hub = hub
        self._command = hub.command(*self._command)

    def session(self) -> aiohttp.ClientSession:
        """HTTP from the hub."""

        def made(info: Any) -> socket.socket:
            sock = self._hub.socket(info[0])
            sock.setblocking(False)
            return sock

        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=made))

    async def scrape(self) -> str:
        url = f"http://{HUB}:{METRICS_PORT}/metrics"
        async with self.session() as session, session.get(url) as response:
            return await response.text()


class PodSidecar(Sidecar):
    """An Envoy of uid 1337 in its pod's namespace."""

    def __init__(self, pod: str, namespace: Namespace, files: SidecarFiles) -> None:
        super().__init__(pod, namespace.address, files)
        self._binary = self.command[0]
        self._namespace = namespace

    async def start(self) -> None:
        """As `EnvoyProcess.start`."""
        self.log.touch()
        self.own()
        # Opened before the user changes: the binary may lie where that user cannot look.
        binary = os.open(self._binary, os.O_RDONLY)
        try:
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._namespace.command(
                        f"/proc/self/fd/{binary}", *self.command[1:], uid=PROXY_UID
                    ),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(binary,),
                )
        finally:
            os.close(binary)

    def own(self) -> None:
        """Give the files to the user that Envoy runs as."""
        for path in (self.directory, *self.directory.rglob("*")):
            os.chown(path, PROXY_UID, PROXY_UID, follow_symlinks=False)


class NetMesh(Mesh):
    """As `Mesh`, in namespaces. Pods are added by `add` before anything runs in them."""

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.base.chmod(0o711)  # Envoys of another user reach their directories in it
        self.network = Network()
        self.plait: HubPlait = HubPlait(self.base, self.tree, self.network.hub, *options)
        self.sidecars: dict[str, PodSidecar] = {}  # type: ignore[assignment]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            self.network.close()

    # --- pods ----------------------------------------------------------------------------------

    def add(
        self,
        number: int,
        name: str,
        *,
        meshed: bool = True,
        ipv6: bool = False,
        annotations: dict[str, str] | None = None,
        **options: Any,
    ) -> Document:
        """Make a pod's namespace, with redirection if it is ``meshed``; its manifest.

        ``ipv6``: with an address of that family beside the other.
        """
        made = self.network.add(number, name, ipv6=ipv6)
        given = dict(annotations or {})
        if meshed:
            self.redirect(made, given)
        return self.manifest(name, meshed=meshed, annotations=given, **options)

    def manifest(
        self,
        name: str,
        *,
        meshed: bool = True,
        annotations: dict[str, str] | None = None,
        **options: Any,
    ) -> Document:
        """The manifest of a pod that was added, once more."""
        made = self.network.pods[name]
        pod = manifests.pod(name, made.address, **options)
        if made.address6:
            pod["status"]["podIPs"] = [{"ip": made.address}, {"ip": made.address6}]
        capture = {"mesh.plait.dev/capture": "redirect"} if meshed else {}
        pod["metadata"]["annotations"] |= capture | (annotations or {})
        return pod

    def redirect(self, pod: Namespace, annotations: dict[str, str]) -> None:
        """Apply the plan of a pod's annotations, as its init container does."""
        plan = plan_of(annotations, [pod.address, *([pod.address6] if pod.address6 else [])])
        assert isinstance(plan, RedirectPlan), plan
        pod.run("nft", nft(plan))

    @contextlib.contextmanager
    def inside(self, pod: str) -> Iterator[None]:
        """Clients of this context are the application of a pod."""
        with self.network.pods[pod].inside():
            yield

    async def serve_http(self, pod: str, *ports: int, name: str = "") -> App:
        """An application of a pod that answers HTTP on each of these ports."""
        app = App(name or pod)
        with self.inside(pod):
            for port in ports:
                await app.start(ANY, port)
                if address6 := self.network.pods[pod].address6:
                    await app.start(address6, port)
        self._apps.append(app)
        return app

    async def serve_lines(self, pod: str, port: int, banner: bytes = b"") -> Lines:
        lines = Lines(banner)
        with self.inside(pod):
            await lines.start(ANY, port)
        self._apps.append(lines)
        return lines

    # --- sidecars ------------------------------------------------------------------------------

    async def bring_up(self, *pods: str) -> None:
        """Start the sidecars of these pods at once, and wait until they hold everything."""
        await asyncio.gather(*(self.bring(pod) for pod in pods))
        await self.plait.settled(len(self.sidecars))

    async def bring(self, pod: str) -> PodSidecar:
        sidecar = PodSidecar(pod, self.network.pods[pod], await self.files(pod))
        self.sidecars[pod] = sidecar
        await sidecar.start()
        await sidecar.ready()
        return sidecar

    async def files(self, pod: str, name: str = "") -> SidecarFiles:
        facts = await self.plait.get(f"/v1/proxies/{manifests.NAMESPACE}/{pod}/bootstrap")
        assert facts["capture"] == "redirect", facts
        directory = self.base / (name or pod)
        description = Description(
            cluster=facts["cluster"],
            namespace=manifests.NAMESPACE,
            pod=pod,
            owner=facts["owner"],
            host=facts["host"],
            port=facts["port"],
            directory=directory,
            capture=facts["capture"],
            report_interval=timedelta(seconds=facts["reportInterval"]),
        )
        files = SidecarFiles(directory)
        files.write(description, await self.token(pod), facts["roots"].encode())
        return files

    async def end(self, pod: str) -> None:
        """Stop a pod's sidecar and forget it."""
        await self.sidecars.pop(pod).stop()

    async def promoted(self, pod: str) -> set[str]:
        """Names of the listeners of promoted destinations that a sidecar holds, warmed up."""
        dump = await self.sidecars[pod].dumped("ListenersConfigDump")
        active = (e["name"] for e in dump.get("dynamic_listeners", ()) if "active_state" in e)
        return {name for name in active if name.startswith("p|")}

    async def until_promoted(self, pod: str, address: str, port: int) -> None:
        async def there() -> bool:
            return f"p|{address}:{port}" in await self.promoted(pod)

        await self.sidecars[pod].until(f"holding p|{address}:{port}", there)

    async def asked(self, pod: str) -> set[str]:
        """Asked-for names that a sidecar holds a cluster of."""
        return {name for name in await self.sidecars[pod].clusters() if name.startswith("f|")}

    # --- clients -------------------------------------------------------------------------------

    async def http1(
        self, pod: str, address: str, path: str = "/", port: int = 80, **options: Any
    ) -> Reply:
        """One request of a pod's application to an address, on a connection of its own."""
        with self.inside(pod):
            return await http1(address, port, options.pop("authority", address), path, **options)

    async def http2(
        self, pod: str, address: str, path: str = "/", port: int = 80, **options: Any
    ) -> Reply:
        with self.inside(pod):
            return await http2(address, port, options.pop("authority", address), path, **options)

    async def say(
        self, pod: str, address: str, port: int, *lines: bytes, banner: bool = False
    ) -> list[bytes]:
        with self.inside(pod):
            return await say(address, port, *lines, banner=banner)

    async def closed(self, pod: str, address: str, port: int, *send: bytes) -> bool:
        """Whether a connection ends without a single byte of answer."""
        try:
            return await self.say(pod, address, port, *(send or (b"hello\n",))) == [b""]
        except (OSError, EOFError):
            return True
