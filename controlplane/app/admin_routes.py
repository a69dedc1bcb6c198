"""The admin API's paths: each reads its parameters, calls the Inspector, and answers JSON.

Objects are ``/v1/objects/KIND/NAMESPACE/NAME``, sidecars ``/v1/proxies/NAMESPACE/POD``. A
cluster-scoped object's namespace is ``-``. The paths are the contract with `meshctl` of this
version and the one before.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from controlplane.api.problem import ObjectRef
from controlplane.app.codec import to_json
from controlplane.app.inspect import Inspector, Refused
from controlplane.app.views import Failure, Progress, Rotation
from xds.types import SHORT

TYPE_URLS = {short: url for url, short in SHORT.items()}
CLUSTER_SCOPED = "-"
PAUSES = 4
"""How many times as long as a look at the progress took, the next one waits."""


def routes(inspector: Inspector) -> Iterable[web.AbstractRouteDef]:
    """All routes over one Inspector."""
    return [
        *_reads(inspector),
        *_sidecars(inspector),
        *_objects(inspector),
        *_waits(inspector),
        *_certificates(inspector),
    ]


def _reads(inspector: Inspector) -> Iterable[web.AbstractRouteDef]:
    def simple(answer: Callable[[], object]) -> Callable[[web.Request], Any]:
        async def handler(_: web.Request) -> web.Response:
            return await _answered(answer())

        return handler

    async def proxies(_: web.Request) -> web.Response:
        return await _answered(await inspector.proxies())

    async def why(request: web.Request) -> web.Response:
        short = _required(request, "type")
        if short not in TYPE_URLS:
            raise _nonsense(f"unknown resource type {short!r}", f"Use {', '.join(TYPE_URLS)}")
        answer = inspector.why(TYPE_URLS[short], _required(request, "name"), _pod(request))
        return web.json_response(to_json(answer))

    async def simulate(request: web.Request) -> web.Response:
        asked = await _body(request)
        answer = inspector.simulate(
            (_text(asked, "namespace"), _text(asked, "pod")),
            _text(asked, "authority"),
            _text(asked, "method"),
            _text(asked, "path"),
            _headers(asked),
        )
        return web.json_response(to_json(answer))

    return [
        web.get("/v1/version", simple(inspector.version)),
        web.get("/v1/ready", simple(inspector.ready)),
        web.get("/v1/status", simple(inspector.status)),
        web.get("/v1/problems", simple(inspector.problems)),
        web.get("/v1/proxies", proxies),
        web.get("/v1/why", why),
        web.post("/v1/simulate", simulate),
    ]


def _sidecars(inspector: Inspector) -> Iterable[web.AbstractRouteDef]:
    async def proxy(request: web.Request) -> web.Response:
        bodies = request.query.get("bodies") == "true"
        answer = inspector.proxy(*_path_pod(request), bodies=bodies)
        return web.json_response(to_json(answer))

    async def token(request: web.Request) -> web.Response:
        return web.json_response(to_json(inspector.token(*_path_pod(request))))

    async def leaf(request: web.Request) -> web.Response:
        return web.json_response(to_json(inspector.leaf(*_path_pod(request))))

    async def bootstrap(request: web.Request) -> web.Response:
        return web.json_response(to_json(inspector.bootstrap(*_path_pod(request))))

    async def evict(request: web.Request) -> web.Response:
        asked = await _body(request)
        names, idle = asked.get("destinations"), asked.get("idle")
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise _nonsense("destinations is no list of names", "Use meshctl proxy evict")
        if idle is not None and not (isinstance(idle, int | float) and idle >= 0):
            raise _nonsense("idle is no number of seconds", "Use meshctl proxy evict")
        answer = inspector.evict(*_path_pod(request), names, idle)
        return web.json_response(to_json(answer))

    return [
        web.get("/v1/proxies/{namespace}/{pod}", proxy),
        web.post("/v1/proxies/{namespace}/{pod}/evict", evict),
        web.post("/v1/proxies/{namespace}/{pod}/token", token),
        web.post("/v1/proxies/{namespace}/{pod}/leaf", leaf),
        web.get("/v1/proxies/{namespace}/{pod}/bootstrap", bootstrap),
    ]


def _objects(inspector: Inspector) -> Iterable[web.AbstractRouteDef]:
    async def get(request: web.Request) -> web.Response:
        answer = inspector.get(
            request.match_info["kind"], request.query.get("namespace"), request.query.get("name")
        )
        return web.json_response(to_json(answer))

    async def apply(request: web.Request) -> web.Response:
        documents = (await _body(request)).get("documents")
        if not isinstance(documents, list) or not all(isinstance(d, dict) for d in documents):
            raise _nonsense("the body has no list of documents", "Use meshctl apply")
        answer = await inspector.apply(documents, dry_run=request.query.get("dryRun") == "true")
        return web.json_response(to_json(answer))

    async def delete(request: web.Request) -> web.Response:
        return web.json_response(to_json(await inspector.delete(_object(request))))

    return [
        web.get("/v1/objects/{kind}", get),
        web.post("/v1/apply", apply),
        web.delete("/v1/objects/{kind}/{namespace}/{name}", delete),
    ]


def _waits(inspector: Inspector) -> Iterable[web.AbstractRouteDef]:
    async def progress(request: web.Request) -> web.Response:
        return web.json_response(to_json(inspector.progress(_object(request))))

    async def wait(request: web.Request) -> web.StreamResponse:
        ref = _object(request)
        return await _follow(request, inspector, lambda: inspector.progress(ref))

    return [
        web.get("/v1/progress/{kind}/{namespace}/{name}", progress),
        web.get("/v1/wait/{kind}/{namespace}/{name}", wait),
    ]


def _certificates(inspector: Inspector) -> Iterable[web.AbstractRouteDef]:
    async def certs(request: web.Request) -> web.Response:
        return await _answered(inspector.certs(_pod(request)))

    async def rotate(request: web.Request) -> web.StreamResponse:
        started = await inspector.rotate(_pod(request))
        serials = {item.pod: item.old for item in started.rotated}
        return await _follow(request, inspector, lambda: inspector.rotation(serials))

    return [web.get("/v1/certs", certs), web.post("/v1/certs/rotate", rotate)]


def _encoded(answer: object) -> bytes:
    return json.dumps(to_json(answer)).encode()


async def _answered(answer: object) -> web.Response:
    """A JSON response. An answer about every sidecar or object is large: a thread encodes it, and
    the event loop serves streams meanwhile."""
    body = await asyncio.to_thread(_encoded, answer)
    return web.Response(body=body, content_type="application/json", charset="utf-8")


async def _follow(
    request: web.Request, inspector: Inspector, read: Callable[[], Progress | Rotation]
) -> web.StreamResponse:
    """One JSON line for each distinct answer of ``read``, until it is done or the caller leaves.
    A thousand ACKs are no thousand looks at a thousand sidecars: looking takes a part of the time.

    The first read happens before the response starts, so that a refusal has its status.
    """
    moment = await inspector.changed(0)
    answer = read()
    response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
    await response.prepare(request)
    while True:
        await response.write(await asyncio.to_thread(_encoded, answer) + b"\n")
        if answer.done:
            break
        before = answer
        while answer == before:
            moment = await inspector.changed(moment)
            begun = time.monotonic()
            answer = read()
            await asyncio.sleep(PAUSES * (time.monotonic() - begun))
    await response.write_eof()
    return response


def _object(request: web.Request) -> ObjectRef:
    info = request.match_info
    namespace = "" if info["namespace"] == CLUSTER_SCOPED else info["namespace"]
    return ObjectRef(info["kind"], namespace, info["name"])


def _path_pod(request: web.Request) -> tuple[str, str]:
    return request.match_info["namespace"], request.match_info["pod"]


def _pod(request: web.Request) -> tuple[str, str] | None:
    """Query parameters ``namespace`` and ``pod``; None without a pod."""
    if "pod" not in request.query:
        return None
    return _required(request, "namespace"), _required(request, "pod")


def _required(request: web.Request, name: str) -> str:
    value = request.query.get(name, "")
    if not value:
        raise _nonsense(f"parameter {name} is missing", "Use meshctl of this version")
    return value


async def _body(request: web.Request) -> Mapping[str, Any]:
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise _nonsense("the body is no JSON object", "Use meshctl of this version")
    return body


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise _nonsense(f"{name} is missing or no text", "Use meshctl of this version")
    return value


def _headers(body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    pairs = body.get("headers", [])
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in pairs
    ):
        raise _nonsense("headers is no list of pairs", "Use meshctl of this version")
    return tuple((name, value) for name, value in pairs)


def _nonsense(message: str, remedy: str) -> Refused:
    return Refused(Failure(message, remedy), 422)
