"""What meshctl stores, over a real server: what cannot be stored is refused in words."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Called, Serve, until_ready
from tests.cli.test_admin import ask

Meshctl = Callable[..., Called]

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "made", "namespace": "shop"},
    "spec": {"clusterIP": "240.0.9.9", "ports": [{"port": 80}]},
}


def test_objects_are_stored_or_refused(serve: Serve, meshctl: Meshctl, state: Path) -> None:
    until_ready(meshctl, serve())
    asyncio.run(stored_or_refused(state))


async def stored_or_refused(state: Path) -> None:
    status, _ = await ask(state, "POST", "/v1/apply", json={"documents": [SERVICE]})
    assert status == 200
    stored = state / "objects" / "Service.shop.made.json"
    before = stored.read_bytes()

    # Another version of the kind would be stored in its place, and never read.
    other = SERVICE | {"apiVersion": "v2"}
    _, body = await ask(state, "POST", "/v1/apply", json={"documents": [other]})
    assert isinstance(body, dict)
    assert [each["severity"] for each in body["problems"]] == ["error"]
    assert stored.read_bytes() == before

    status, body = await ask(state, "GET", "/v1/objects/Service?namespace=shop&name=made")
    assert isinstance(body, dict)
    assert status == 200

    for name in ("..%2F..%2Fca%2Fkey", "%2e%2e", "a%00b"):
        status, body = await ask(state, "DELETE", f"/v1/objects/Service/shop/{name}")
        assert status == 404, (name, body)
    assert (state / "ca" / "key.pem").is_file()

    deep = "[" * 100_000
    status, _ = await ask(state, "POST", "/v1/apply", data=deep.encode())
    assert status == 422

    stored.unlink()
    (state / "objects").rmdir()
    (state / "objects").write_text("in the way")
    status, body = await ask(state, "POST", "/v1/apply", json={"documents": [SERVICE]})
    assert status == 500
    assert isinstance(body, dict)
    assert "objects" in body["error"]["message"]
    assert body["error"]["remedy"]
