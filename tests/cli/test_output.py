"""The text and the JSON of every command, word for word."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from controlplane.meshctl.trouble import Exit
from tests.cli.conftest import GOLDEN, Called, Mesh
from tests.fakes.inspector import ERROR

Meshctl = Callable[..., Called]
Golden = Callable[[str, str], None]

COMMANDS = {
    "status": ("status",),
    "proxy-list": ("proxy", "list"),
    "proxy-config": ("proxy", "config", "web.shop"),
    "proxy-config-secrets": ("proxy", "config", "web", "secrets", "-n", "shop", "--body"),
    "proxy-evict": ("proxy", "evict", "web.shop", "reviews.shop:9080", "--idle", "5m"),
    "why": ("why", "cluster", "h|shop|reviews|9080"),
    "simulate": (
        "simulate", "web.shop", "reviews:9080", "get", "/reviews/1", "-H", "X-User: ann",
    ),
    "wait": ("wait", "svc/reviews", "-n", "shop"),
    "traffic-shift-set": (
        "traffic-shift", "set", "reviews", "reviews-v1=80", "reviews-v2=20", "-n", "shop",
    ),
    "certs": ("certs",),
    "certs-pod": ("certs", "web.shop"),
    "certs-rotate": ("certs", "rotate", "--all"),
    "version": ("version",),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_text(name: str, mesh: Mesh, meshctl: Meshctl, golden: Golden) -> None:
    called = meshctl(*COMMANDS[name])
    assert (called.code, called.err) == (0, "")
    golden(f"{name}.txt", called.out)


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_the_same_value_as_yaml(
    name: str, mesh: Mesh, meshctl: Meshctl, golden: Golden
) -> None:
    as_json = meshctl(*COMMANDS[name], "-o", "json")
    assert as_json.code == 0
    golden(f"{name}.json", as_json.out)
    if name not in ("traffic-shift-set", "certs-rotate"):  # these change what the next call sees
        assert yaml.safe_load(meshctl(*COMMANDS[name], "-o", "yaml").out) == json.loads(as_json.out)


def test_every_golden_file_is_of_a_command() -> None:
    expected = {f"{name}.{kind}" for name in COMMANDS for kind in ("txt", "json")}
    assert {path.name for path in GOLDEN.iterdir()} == expected


def test_status_of_an_unwell_mesh(mesh: Mesh, meshctl: Meshctl) -> None:
    mesh.fake.problem_list = (ERROR,)
    mesh.fake.rejecting = {"web.shop": "duplicate domain"}
    called = meshctl("status")
    assert called.code == Exit.PROBLEMS
    assert "1 rejecting" in called.out
    assert (
        "error: routes.yaml:12: HTTPRoute shop/reviews: spec.rules[0].backendRefs[1]:"
        " there is no Service shop/reviews-v3. Create it, or name an existing one" in called.out
    )


def test_rejected_resource_shows_what_envoy_said(mesh: Mesh, meshctl: Meshctl) -> None:
    mesh.fake.rejecting = {"web.shop": "duplicate domain"}
    called = meshctl("proxy", "config", "web.shop", "routes")
    assert called.code == Exit.PROBLEMS
    assert re.search(r"rds +px +rejected +yes +d5 +d4\n", called.out)
    assert "rds px: duplicate domain (made from HTTPRoute shop/reviews)" in called.out


def test_the_wish_is_never_shown_as_held(mesh: Mesh, meshctl: Meshctl) -> None:
    row = next(
        line for line in meshctl("proxy", "config", "web.shop").out.splitlines() if "eds" in line
    )
    assert row.split()[2:] == ["sent", "yes", "b2", "b1"]


def test_proxy_list_of_one_namespace(mesh: Mesh, meshctl: Meshctl) -> None:
    assert "web.shop" in meshctl("proxy", "list", "-n", "shop").out
    assert meshctl("proxy", "list", "-n", "pay").out == "no sidecars\n"


def test_proxy_list_fits_a_terminal_and_leaves_out_nothing(mesh: Mesh, meshctl: Meshctl) -> None:
    narrow = meshctl("proxy", "list").out.splitlines()
    assert max(map(len, narrow)) <= 80
    assert narrow[2].split() == [
        *("reviews-v1.shop", "proxy", "current", "2m", "ago", "2/3", "5", "6.5", "MB", "1h"),
    ]
    wide = meshctl("proxy", "list", "-o", "wide").out.splitlines()
    assert wide[2].split() == [
        *("reviews-v1.shop", "reviews-v1", "proxy", "current", "12/12", "2m", "ago", "3", "2"),
        *("5", "6.5", "MB", "5af35af3…", "2026-01-02T04:05:00Z"),
    ]


def test_simulate_reports_problems_in_the_exit_code(mesh: Mesh, meshctl: Meshctl) -> None:
    called = meshctl("simulate", "web.shop", "nowhere")
    assert called.code == Exit.PROBLEMS
    assert "respond 502" in called.out


def test_why_of_one_sidecar(mesh: Mesh, meshctl: Meshctl) -> None:
    ambiguous = meshctl("why", "route", "px")
    assert (ambiguous.code, ambiguous.out) == (Exit.PROBLEMS, "")
    assert "px differs from sidecar to sidecar\n         Add --pod." in ambiguous.err
    assert "px at web.shop" in meshctl("why", "route", "px", "--pod", "web.shop").out


def test_traffic_shift_set_then_get(mesh: Mesh, meshctl: Meshctl) -> None:
    assert meshctl("traffic-shift", "get").out == "no traffic shifts\n"
    meshctl("traffic-shift", "set", "reviews", "reviews-v2=1", "-n", "shop")
    again = meshctl(
        "traffic-shift", "set", "reviews", "reviews-v1=1", "reviews-v2=3", "-n", "shop", "--wait"
    )
    assert again.code == 0
    assert "reviews configured: reviews-v1 25 %, reviews-v2 75 %" in again.out
    assert "acknowledged by 3 of 3 sidecars" in again.out
    assert re.search(r"\d\.\d{3} s from the command to the last acknowledgement", again.out)
    assert "reviews-v1 25 %, reviews-v2 75 %   meshctl" in meshctl("traffic-shift", "get").out
    missing = meshctl("traffic-shift", "get", "ratings", "-n", "shop")
    assert missing.code == Exit.PROBLEMS
    assert "no traffic shift of Service shop/ratings" in missing.err


def test_a_shift_that_nobody_uses_took_no_time(mesh: Mesh, meshctl: Meshctl) -> None:
    mesh.fake.concerned = ()
    called = meshctl("traffic-shift", "set", "reviews", "reviews-v2=1", "-n", "shop", "--wait")
    assert called.code == 0
    assert "no connected sidecar uses it" in called.out
    assert "last acknowledgement" not in called.out


def test_apply_delete(mesh: Mesh, meshctl: Meshctl, tmp_path: Path) -> None:
    manifest = tmp_path / "shift.yaml"
    manifest.write_text(
        "apiVersion: mesh.plait.dev/v1alpha1\nkind: TrafficShift\nmetadata: {name: reviews}\n"
        "spec:\n  targetRef: {name: reviews}\n  weights: [{name: reviews-v2, weight: 1}]\n"
    )
    dry = meshctl("apply", "-f", str(manifest), "-n", "shop", "--dry-run")
    assert (dry.code, dry.out) == (0, "TrafficShift shop/reviews created (dry run)\n")
    called = meshctl("apply", "-f", str(manifest), "-n", "shop", "--wait", "-o", "json")
    assert called.code == 0
    answer = json.loads(called.out)
    assert answer["result"]["objects"][0]["action"] == "created"
    assert answer["progress"][0]["acked"] == 3
    assert 0 < answer["seconds"] < 60
    deleted = meshctl("delete", "ts/reviews", "-n", "shop")
    assert (deleted.code, deleted.out) == (0, "TrafficShift shop/reviews deleted\n")


def test_a_conflict_with_the_users_tree_names_both_files(
    mesh: Mesh, meshctl: Meshctl, tmp_path: Path
) -> None:
    manifest = tmp_path / "mine.yaml"
    manifest.write_text(
        "# one of two\n---\napiVersion: v1\nkind: Service\n"
        "metadata: {name: reviews, namespace: shop}\nspec: {}\n"
    )
    called = meshctl("apply", "-f", str(manifest))
    assert called.code == Exit.PROBLEMS
    assert (
        f"error: {manifest}:3: Service shop/reviews: stands in services.yaml:1 too."
        " Change that file instead" in called.out
    )
