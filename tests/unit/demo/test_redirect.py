"""The redirect demo's manifests and commands, without root."""

import os
from pathlib import Path

import pytest

from controlplane.sources.validate import validate
from examples.bookstore.demo import layout
from examples.bookstore.http1 import Address, of_authority
from examples.redirect import __main__ as command
from examples.redirect.mode import MANIFESTS, listening, services
from sidecar.redirect.exclusions import plan_of
from sidecar.redirect.plan import RedirectPlan

DOCS = layout.documents(MANIFESTS)


def test_the_manifests_are_the_bookstores_at_other_addresses() -> None:
    assert validate([MANIFESTS], strict=True) == []
    here = [(doc["kind"], doc["metadata"]["name"]) for doc in DOCS]
    there = [(doc["kind"], doc["metadata"]["name"]) for doc in layout.documents(layout.MANIFESTS)]
    assert here == there


def test_every_pod_is_redirected_at_an_address_of_its_own() -> None:
    pods = layout.workloads(DOCS)
    assert len({pod.sidecar for pod in pods.values()}) == len(pods)
    assert all(pod.program.host == pod.sidecar for pod in pods.values())
    for doc in DOCS:
        if doc["kind"] == "Pod":
            annotations = doc["metadata"]["annotations"]
            assert annotations["mesh.plait.dev/capture"] == "redirect"
            plan = plan_of(annotations, [doc["status"]["podIP"]])
            assert isinstance(plan, RedirectPlan)
            assert bool(plan.exclude_outbound_ranges) == (doc["metadata"]["name"] == "web")


def test_every_service_has_an_address_of_its_own() -> None:
    found = services(DOCS)
    assert found["ledger"].port == 9000
    assert len(set(found.values())) == len(found) == 6


def test_services_are_dialled_by_name() -> None:
    assert of_authority("reviews") == Address("reviews", 80)
    assert of_authority("reviews:81") == Address("reviews", 81)


def test_who_listens_is_seen_from_outside() -> None:
    assert not listening(os.getpid(), 1)
    assert not listening(2**22 + 1, 80)


def test_what_is_in_the_way_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "root" in command.lacking() or "apt install iproute2" in command.lacking()
