"""What users read when something is wrong, and the exit code that scripts see."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.meshctl.trouble import Exit
from tests.cli.conftest import Called, Mesh

Meshctl = Callable[..., Called]


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("proxy", "list"),
        ("traffic-shift", "set", "a", "b=1"),
        ("certs", "rotate", "--all"),
        ("wait", "svc/reviews"),
        ("proxy", "run", "web"),
    ],
)
def test_no_server_says_so_with_socket_and_command(
    command: tuple[str, ...], meshctl: Meshctl
) -> None:
    called = meshctl(*command)
    assert (called.code, called.out) == (Exit.PROBLEMS, "")
    assert called.err == (
        "meshctl: the control plane is not running: nobody answers on STATE/admin.sock\n"
        "         Start it with: plait serve --source files DIR --state STATE\n"
        "         or name another state directory with --state or PLAIT_STATE.\n"
    )


def test_a_dead_servers_socket_is_no_server(meshctl: Meshctl, state: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(state / "admin.sock"))
    assert "nobody answers on STATE/admin.sock" in meshctl("status").err


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("proxy", "config", "web.shop", "rows"), "'rows' is no resource type"),
        (("proxy", "config", ".shop"), "'.shop' is no pod"),
        (("why", "thing", "x"), "'thing' is no resource type"),
        (("why", "secret", "identity"), "See it with meshctl certs POD"),
        (("wait", "reviews"), "'reviews' is no TYPE/NAME"),
        (("wait", "htproute/x"), "Perhaps httproute/x is meant"),
        (("wait", "svc/x", "--timeout", "soon"), "Write --timeout 30s"),
        (("simulate", "web.shop", "reviews", "-H", "x"), "'x' is no header"),
        (("simulate", "web.shop", ""), "DST is empty"),
        (("traffic-shift", "set", "reviews", "a:1"), "'a:1' is no weight"),
        (("traffic-shift", "set", "reviews", "a=-1"), "'a=-1' is no weight"),
        (("traffic-shift", "set", "reviews", "a=1", "a=2"), "a has two weights"),
        (("traffic-shift", "set", "reviews", "a=0", "b=0"), "all weights are zero"),
        (("traffic-shift", "set", "reviews", "a=1000001"), "weight 1000001 is too large"),
        (("certs", "rotate"), "name one pod, or all"),
        (("certs", "rotate", "web.shop", "--all"), "name one pod, or all"),
        (("proxy", "evict", "web.shop"), "nothing is named that is to be evicted"),
        (("proxy", "evict", "web.shop", "--idle", "soon"), "is not a duration"),
        (("apply", "-f", "nowhere.yaml"), "cannot read nowhere.yaml: no such file or directory"),
        (("validate", "-f", "nowhere.yaml"), "cannot read nowhere.yaml"),
        (("status", "-o", "xml"), "xml"),
        (("nonsense",), "nonsense"),
    ],
)
def test_wrong_usage_is_2(
    command: tuple[str, ...], text: str, mesh: Mesh, meshctl: Meshctl
) -> None:
    called = meshctl(*command)
    assert called.code == Exit.USAGE
    assert text in called.err
    assert "Traceback" not in called.err


def test_unknown_sidecar(mesh: Mesh, meshctl: Meshctl) -> None:
    called = meshctl("proxy", "config", "web")
    assert called.code == Exit.PROBLEMS
    assert called.err == (
        "meshctl: sidecar web.default not found\n         List them with meshctl proxy list.\n"
    )


@pytest.mark.parametrize(
    ("weights", "remedy"),
    [
        ("reviews-v3=1", "Did you mean reviews-v2?"),
        ("ledger=1", "It is in namespace pay: add -n pay"),
        ("zzz=1", "Services of namespace shop: ratings, reviews, reviews-v1, reviews-v2"),
    ],
)
def test_a_shift_names_only_live_services(
    weights: str, remedy: str, mesh: Mesh, meshctl: Meshctl
) -> None:
    called = meshctl("traffic-shift", "set", "reviews", weights, "-n", "shop")
    assert called.code == Exit.PROBLEMS
    assert f"no Service shop/{weights.partition('=')[0]}" in called.err
    assert remedy in called.err
    assert meshctl("traffic-shift", "get").out == "no traffic shifts\n"


def test_bad_yaml_names_file_and_line(mesh: Mesh, meshctl: Meshctl, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("kind: Service\n---\nkind: [\n")
    called = meshctl("apply", "-f", str(broken))
    assert called.code == Exit.PROBLEMS
    assert f"meshctl: {broken}:3: is not YAML" in called.err


def test_a_bug_of_the_server_is_called_one(mesh: Mesh, meshctl: Meshctl) -> None:
    mesh.fake.failure = ZeroDivisionError("a bug")
    called = meshctl("status")
    assert called.code == Exit.PROBLEMS
    assert "the control plane failed to answer (500 Internal Server Error)" in called.err
    assert "its log has the details" in called.err


def test_wait_times_out_and_names_who_is_missing(mesh: Mesh, meshctl: Meshctl) -> None:
    mesh.fake.waiting = {"web.shop", "reviews-v2.shop"}
    called = meshctl("wait", "svc/reviews", "-n", "shop", "--timeout", "200ms")
    assert called.code == Exit.TIMED_OUT
    assert called.out == (
        "Service shop/reviews: acknowledged by 1 of 3 sidecars; timed out\n"
        "2 sidecars not acknowledged:\n  reviews-v2.shop\n  web.shop\n"
    )


def test_wait_looks_once_with_no_time(mesh: Mesh, meshctl: Meshctl) -> None:
    mesh.fake.waiting = {"web.shop"}
    assert meshctl("wait", "svc/reviews", "-n", "shop", "--timeout", "0s").code == Exit.TIMED_OUT
    mesh.fake.waiting = set()
    assert meshctl("wait", "svc/reviews", "-n", "shop", "--timeout", "0s").code == Exit.OK


def test_wait_returns_with_the_last_acknowledgement(mesh: Mesh, meshctl: Meshctl) -> None:
    mesh.fake.waiting = {"web.shop", "reviews-v2.shop"}

    def acknowledge() -> None:
        mesh.use(lambda: mesh.fake.acknowledge("web.shop"))
        mesh.use(lambda: mesh.fake.acknowledge("reviews-v2.shop"))

    timer = threading.Timer(0.2, acknowledge)
    started = time.monotonic()
    timer.start()
    called = meshctl("wait", "svc/reviews", "-n", "shop", "--timeout", "30s")
    took = time.monotonic() - started
    timer.join()
    assert (called.code, called.out) == (
        Exit.OK,
        "Service shop/reviews: acknowledged by 3 of 3 sidecars\n",
    )
    assert 0.2 <= took < 30


def test_a_server_that_ends_meanwhile(mesh: Mesh, meshctl: Meshctl) -> None:
    mesh.fake.waiting = {"web.shop"}
    timer = threading.Timer(0.2, lambda: mesh.use(mesh.stop.set))
    timer.start()
    called = meshctl("wait", "svc/reviews", "-n", "shop", "--timeout", "30s")
    timer.join()
    assert called.code == Exit.PROBLEMS
    assert "the control plane ended before its answer was complete" in called.err


def test_wait_reports_a_rejection(mesh: Mesh, meshctl: Meshctl) -> None:
    mesh.fake.rejecting = {"web.shop": "duplicate domain"}
    called = meshctl("wait", "svc/reviews", "-n", "shop")
    assert called.code == Exit.PROBLEMS
    assert "rejected by web.shop: rds px: duplicate domain" in called.out


def test_wait_for_an_unknown_object(mesh: Mesh, meshctl: Meshctl) -> None:
    called = meshctl("wait", "svc/reviews")
    assert called.code == Exit.PROBLEMS
    assert "Service default/reviews not found" in called.err


def test_rotation_times_out_and_names_who_is_missing(mesh: Mesh, meshctl: Meshctl) -> None:
    mesh.fake.waiting = {"web.shop"}
    called = meshctl("certs", "rotate", "--all", "--timeout", "200ms")
    assert called.code == Exit.TIMED_OUT
    assert "timed out; 1 sidecar not acknowledged: web.shop" in called.out


def test_version_without_a_server(meshctl: Meshctl) -> None:
    called = meshctl("version")
    assert called.code == Exit.OK
    assert "control plane   unknown: the control plane is not running" in called.out
