"""What the admin API needs from the running control plane: reads of live state, and commands.

The admin API (`controlplane.app.admin`) turns HTTP into these calls and nothing more; the live
implementation stands over the stream edge, the graph and the object store. Everything is called
on the event loop. Methods that are not ``async`` answer at once from memory.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from controlplane.api.problem import ObjectRef
from controlplane.app import views


class Refused(Exception):
    """The request cannot be answered, and it is the caller who can change that.

    ``status`` is the HTTP status: 404 nothing of that name, 409 a conflict with another object or
    with the state of the mesh, 422 the request makes no sense. ``failure`` is shown to the user.
    """

    def __init__(self, failure: views.Failure, status: int = 422) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.status = status


def not_found(what: str, remedy: str) -> Refused:
    """A 404: ``what`` reads like ``pod shop/web``."""
    return Refused(views.Failure(f"{what} not found", remedy, object=what), 404)


class Inspector(Protocol):
    """Live state and commands. Pods are ``namespace, name``; every method may raise Refused."""

    def version(self) -> views.Version: ...

    def ready(self) -> views.Readiness:
        """Cheap: called by probes."""
        ...

    def status(self) -> views.Status: ...

    def problems(self) -> views.Problems:
        """All problems of all objects, sorted by severity, then object."""
        ...

    async def proxies(self) -> views.Proxies:
        """Connected sidecars, and pods with a sidecar that are not connected, sorted by pod."""
        ...

    def proxy(self, namespace: str, pod: str, *, bodies: bool) -> views.ProxyConfig:
        """Every resource of one connected sidecar, sorted by push order of its type, then name.

        ``bodies``: with the content of acknowledged versions, secrets redacted.
        Refused 404: no such pod, or not connected.
        """
        ...

    def evict(
        self, namespace: str, pod: str, destinations: Sequence[str], idle: float | None
    ) -> views.Eviction:
        """Take destinations back from a connected sidecar: those named, and those unused for
        ``idle`` seconds; returns once that is handed to its stream. Refused 404 as `proxy`."""
        ...

    def why(self, type_url: str, name: str, pod: tuple[str, str] | None) -> views.Why:
        """The tree of values and objects that a resource was made from.

        ``pod`` (namespace, name) chooses a sidecar where several hold different resources of one
        name. Refused 404: nobody holds it; 409: ambiguous, the failure names the pods.
        """
        ...

    def simulate(
        self,
        source: tuple[str, str],
        authority: str,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
    ) -> views.Simulated:
        """What a request from pod ``source`` would meet, evaluated on the IR that is served."""
        ...

    def progress(self, ref: ObjectRef) -> views.Progress:
        """How far the newest content of an object has come. Refused 404: no such object."""
        ...

    async def changed(self, since: int) -> int:
        """Return a counter greater than ``since``, as soon as it is: it grows whenever an answer
        of `progress`, `certs` or `ready` may have changed. ``since`` 0 returns at once."""
        ...

    async def apply(
        self, documents: Sequence[Mapping[str, Any]], *, dry_run: bool
    ) -> views.ApplyResult:
        """Validate and store manifests, all or nothing; returns when the world holds them.

        An object that also stands in the user's tree is a Problem (CONFLICTED) naming the file.
        ``dry_run``: validate, and say what would be done.
        """
        ...

    async def delete(self, ref: ObjectRef) -> views.Applied:
        """Remove an object that `apply` stored. Refused 404; 409 for one in the user's tree."""
        ...

    def get(self, kind: str, namespace: str | None, name: str | None) -> views.Manifests:
        """Objects as stored; ``None`` means all. An unknown kind is Refused 404."""
        ...

    def certs(self, pod: tuple[str, str] | None) -> views.Certificates: ...

    async def rotate(self, pod: tuple[str, str] | None) -> views.Rotation:
        """Issue new certificates for one connected sidecar, or for all; returns once they are
        handed to the streams, not once they are acknowledged (see `rotation`)."""
        ...

    def rotation(self, serials: Mapping[str, str]) -> views.Rotation:
        """How far a rotation has come; ``serials`` are old serials by pod ``NAME.NAMESPACE``."""
        ...

    def token(self, namespace: str, pod: str) -> views.Token:
        """A new token for a pod's sidecar. Refused 404 without a Pod object."""
        ...

    def leaf(self, namespace: str, pod: str) -> views.Leaf:
        """A certificate and its key for a pod's application. Refused 404 without a Pod object, 503
        while the authority cannot issue."""
        ...

    def bootstrap(self, namespace: str, pod: str) -> views.Bootstrap:
        """Refused 404 without a Pod object."""
        ...
