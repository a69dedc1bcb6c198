"""What meshctl stores, over a real server: what cannot be stored is refused in words."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Called, Serve, until_ready
from tests.cli.test_admin import ask
from tests.cli.test_restart import troubled

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


def test_a_dry_run_says_what_would_be_done(
    serve: Serve, meshctl: Meshctl, state: Path, tmp_path: Path
) -> None:
    until_ready(meshctl, serve())
    manifest = tmp_path / "made.json"

    def would(port: int) -> list[str]:
        spec = {"ports": [{"port": port}]}  # it is given an address, and would keep it
        manifest.write_text(json.dumps(SERVICE | {"spec": spec}))
        told = meshctl("apply", "-f", str(manifest), "--dry-run")
        assert told.code == 0
        return told.out.splitlines()

    assert would(80) == ["Service shop/made created (dry run)"]
    assert not list((state / "objects").glob("*"))
    assert meshctl("apply", "-f", str(manifest)).out == "Service shop/made created\n"
    stored = (state / "objects" / "Service.shop.made.json").read_bytes()
    assert would(80) == ["Service shop/made unchanged (dry run)"]
    assert would(81) == ["Service shop/made configured (dry run)"]
    assert (state / "objects" / "Service.shop.made.json").read_bytes() == stored


def test_an_unknown_kind_is_told_once(serve: Serve, meshctl: Meshctl, tmp_path: Path) -> None:
    until_ready(meshctl, serve())
    manifest = tmp_path / "made.json"
    manifest.write_text(json.dumps(SERVICE | {"kind": "Servcie"}))
    called = meshctl("apply", "-f", str(manifest))
    assert called.code == 1
    [line] = called.out.splitlines()
    assert "Did you mean Service?" in line


def test_waiting_for_an_invalid_object_says_what_is_wrong(
    serve: Serve, meshctl: Meshctl, manifests: Path
) -> None:
    (manifests / "bad.json").write_text(json.dumps(SERVICE | {"spec": {"ports": [{"port": 0}]}}))
    serve()
    troubled(meshctl)
    called = meshctl("wait", "svc/made", "-n", "shop", "--timeout", "10s")
    assert called.code == 1
    assert "bad.json:1: Service shop/made is not in effect: spec.ports[0].port: " in called.err


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
