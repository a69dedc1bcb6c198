"""Addresses of Services: stable, distinct, inside the range, kept over restarts."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.sources.addresses import DEFAULT_RANGE, Addresses, parse_range, restore
from controlplane.sources.files import FilesSource
from controlplane.world.rows import Key, Service
from tests.unit.sources.recorder import Recorder, replace, running, service, write


def named(name: str, *addresses: str, type: str = "ClusterIP") -> Service:
    return Service(Key("default", "shop", name), type=type, cluster_ips=addresses)


def test_who_gets_one() -> None:
    services = [
        named("plain"),
        named("node", type="NodePort"),
        named("headless", "None"),
        named("fixed", "10.0.0.1"),
        named("external", type="ExternalName"),
    ]
    given = Addresses().assign(services, DEFAULT_RANGE).given
    assert given.keys() == {"shop/plain", "shop/node"}
    assert all(ipaddress.ip_address(address) in DEFAULT_RANGE for address in given.values())


@given(st.lists(st.text("abc", min_size=1, max_size=4), unique=True, max_size=40))
def test_order_does_not_matter(names: list[str]) -> None:
    network = ipaddress.ip_network("10.1.0.0/26")
    services = [named(name) for name in names]
    one = Addresses().assign(services, network)
    assert one.given == Addresses().assign(reversed(services), network).given
    assert len(set(one.given.values())) == len(names)
    assert one.assign(services, network) is one
    assert restore(one.dump()) == one


def test_a_full_range_leaves_some_without() -> None:
    network = ipaddress.ip_network("10.1.0.0/30")
    given = Addresses().assign([named(name) for name in "abc"], network).given
    assert given.keys() == {"shop/a", "shop/b"}
    assert set(given.values()) == {"10.1.0.1", "10.1.0.2"}


def test_an_address_that_someone_else_fixes_is_given_up() -> None:
    first = Addresses().assign([named("a")], DEFAULT_RANGE)
    address = first.given["shop/a"]
    second = first.assign([named("a"), named("b", address)], DEFAULT_RANGE)
    assert second.given["shop/a"] != address


def test_a_service_that_comes_back_is_found_where_it_was() -> None:
    first = Addresses().assign([named("a")], DEFAULT_RANGE)
    gone = first.assign([], DEFAULT_RANGE)
    assert gone.assign([named("a")], DEFAULT_RANGE).given == first.given


def test_the_vanished_leave_when_the_range_is_half_full() -> None:
    network = ipaddress.ip_network("10.1.0.0/29")
    first = Addresses().assign([named(name) for name in "abcde"], network)
    assert first.assign([named("f")], network).given.keys() == {"shop/f"}


@pytest.mark.parametrize("text", ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/31", "x/8"])
def test_no_range(text: str) -> None:
    assert parse_range(text) is None


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"version": 1}', b'{"version": 1, "range": "10.0.0.0/8"}']
)
def test_a_damaged_file(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        restore(data)


def settings(text: str) -> str:
    return (
        "apiVersion: mesh.plait.dev/v1alpha1\nkind: MeshConfig\n"
        f"metadata: {{name: default, namespace: plait-system}}\nspec: {{serviceRange: {text}}}\n"
    )


def address(recorder: Recorder, name: str = "a") -> str:
    return str(recorder.world["Service", "shop", name].cluster_ips[0])


async def test_kept_over_a_restart(tmp_path: Path) -> None:
    tree, kept = tmp_path / "tree", tmp_path / "addresses.json"
    write(tree, {"a.yaml": service("a"), "mesh.yaml": settings("10.9.0.0/29")})
    async with running(FilesSource(tree, addresses=kept)) as recorder:
        before = address(recorder)
        for other in "bcdef":
            write(tree, {f"{other}.yaml": service(other)})
        await recorder.until(lambda: len(recorder.names) == 7)
        assert address(recorder) == before
    (tree / "b.yaml").unlink()
    async with running(FilesSource(tree, addresses=kept)) as recorder:
        assert address(recorder) == before


async def test_another_range_moves_them_and_a_bad_one_does_not(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": service("a")})
    async with running(FilesSource(tmp_path)) as recorder:
        before = address(recorder)
        assert before.startswith("240.0.")
        write(tmp_path, {"mesh.yaml": settings("10.9.0.0/16")})
        await recorder.until(lambda: address(recorder).startswith("10.9."))
        replace(tmp_path, "mesh.yaml", settings("10.9.0.0/99"))
        await recorder.until(lambda: bool(recorder.problems))
        assert recorder.texts == [
            "mesh.yaml:1: MeshConfig plait-system/default: spec.serviceRange: is no range of "
            "addresses; 10.9.0.0/16 stays in use. "
            "Write one with at least four addresses, such as 240.0.0.0/16"
        ]
        assert address(recorder).startswith("10.9.")


async def test_a_full_range_is_a_problem(tmp_path: Path) -> None:
    texts = "---\n".join(service(name) for name in "abc")
    write(tmp_path, {"a.yaml": texts, "mesh.yaml": settings("10.9.0.0/30")})
    async with running(FilesSource(tmp_path)) as recorder:
        assert recorder.texts == [
            "a.yaml:11: Service shop/c: spec.clusterIP: gets no address: every one of 10.9.0.0/30 "
            "is taken. Set a larger serviceRange in MeshConfig, or spec.clusterIP"
        ]


async def test_a_damaged_address_file_is_a_problem(tmp_path: Path) -> None:
    tree, kept = tmp_path / "tree", tmp_path / "addresses.json"
    write(tree, {"a.yaml": service("a")})
    kept.write_text("{}")
    async with running(FilesSource(tree, addresses=kept)) as recorder:
        assert address(recorder)
    assert restore(kept.read_bytes()).given.keys() == {"shop/a"}
