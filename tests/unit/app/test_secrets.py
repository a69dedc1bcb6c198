"""Renewal of leaves in the periodic work, and the alarm on how many are made."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from controlplane.app.issuance import IssuanceAlarm
from controlplane.app.secrets import BATCH, LOOK, Secrets
from controlplane.identity.ca import load_or_create
from controlplane.identity.leaves import Leaves
from controlplane.identity.rate import FLOOR, usual
from controlplane.rollout.member import Member
from controlplane.telemetry.metrics import Metrics
from tests.unit.rollout.mesh import BASE, Mesh
from xds import types
from xds.names import IDENTITY_SECRET

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


class Plane:
    """Streams of one pod, each with a leaf, and the clock that is moved."""

    def __init__(self, state: Path, streams: int) -> None:
        mesh = Mesh(state / "learnt", BASE)
        self.clock = mesh.clock
        self.leaves = Leaves(load_or_create(state / "ca", self.clock.now()), self.clock)
        self.secrets = Secrets(self.leaves)
        self.clients = [mesh.connect("web") for _ in range(streams)]
        self.members: list[Member] = [m for each in mesh.edge.members.values() for m in each]
        for member in self.members:
            self.secrets.subscribed(member, (IDENTITY_SECRET,))

    def tick(self) -> None:
        self.secrets.tick(self.clock.monotonic())

    def wishes(self) -> list[str]:
        """The leaf that each stream is to hold, as the client will see it."""
        return [m.session.wishes(types.SECRET)[IDENTITY_SECRET].version for m in self.members]


def test_what_the_clock_calls_invalid_is_renewed(tmp_path: Path) -> None:
    plane = Plane(tmp_path, 2)
    plane.tick()
    before = plane.wishes()
    plane.clock.set_by(2 * HOUR)
    plane.clock.pass_time(timedelta(seconds=LOOK - 1))
    plane.tick()
    assert plane.wishes() == before  # looked at every five seconds, no sooner
    plane.clock.pass_time(SECOND)
    plane.tick()
    assert not set(plane.wishes()) & set(before)
    assert plane.leaves.invalid() == ()
    after = plane.wishes()
    plane.clock.pass_time(timedelta(seconds=LOOK))
    plane.tick()
    assert plane.wishes() == after
    plane.clock.set_by(-30 * HOUR)  # further back than a leaf is dated back
    plane.clock.pass_time(timedelta(seconds=LOOK))
    plane.tick()
    assert not set(plane.wishes()) & set(after)
    assert plane.leaves.invalid() == ()


def test_a_few_at_a_time(tmp_path: Path) -> None:
    """All turn invalid at once, and making one takes time that streams are not served in."""
    plane = Plane(tmp_path, 2 * BATCH + 5)
    plane.tick()
    start = plane.leaves.issued
    plane.clock.set_by(2 * HOUR)
    plane.clock.pass_time(timedelta(seconds=LOOK))
    made = []
    for _ in range(4):
        plane.tick()
        made.append(plane.leaves.issued - start)
        plane.clock.pass_time(timedelta(milliseconds=250))
    assert made == [BATCH, 2 * BATCH, 2 * BATCH + 5, 2 * BATCH + 5]
    assert plane.leaves.invalid() == ()


def test_streams_that_end_while_they_wait(tmp_path: Path) -> None:
    plane = Plane(tmp_path, BATCH + 2)
    plane.clock.set_by(2 * HOUR)
    plane.tick()
    waiting = plane.leaves.invalid()
    assert len(waiting) == 2
    issued = plane.leaves.issued
    for member in waiting:
        assert isinstance(member, Member)
        plane.secrets.forget(member)
    plane.tick()
    assert plane.leaves.issued == issued


def test_an_authority_that_has_run_out_is_tried_again(tmp_path: Path) -> None:
    plane = Plane(tmp_path, 1)
    before, issued = plane.wishes(), plane.leaves.issued
    century = timedelta(days=36500)
    plane.clock.set_by(century)
    plane.tick()
    assert plane.wishes() == before
    assert plane.leaves.issued == issued
    assert any("no certificate is sent" in p.message for p in plane.leaves.problems())
    plane.clock.set_by(2 * HOUR - century)
    plane.clock.pass_time(timedelta(seconds=LOOK))
    plane.tick()
    assert plane.wishes() != before


def test_what_is_usual() -> None:
    assert usual(0, HOUR) == FLOOR
    assert usual(1000, HOUR) == FLOOR + 2042
    assert usual(10, timedelta(seconds=10)) == FLOOR + 170


def test_the_alarm_on_issuance(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plane = Plane(tmp_path, 1)
    metrics = Metrics()
    connected = 1
    alarm = IssuanceAlarm(metrics, plane.leaves, lambda: connected, plane.clock.monotonic)
    caplog.set_level(logging.WARNING, "controlplane.app.issuance")
    assert plane.leaves.issued == 1
    while plane.leaves.issued < usual(1, HOUR):
        plane.leaves.leaf_for("thief", "spiffe://cluster.local/ns/shop/sa/web")
        alarm.look()
    assert caplog.records == []
    plane.leaves.leaf_for("thief", "spiffe://cluster.local/ns/shop/sa/web")
    alarm.look()
    alarm.look()
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert (record.__dict__["issued"], record.__dict__["bound"]) == (63, 62)
    text, _ = metrics.exposition()
    assert b"plait_identity_issuance 63.0\n" in text
    assert b"plait_identity_issued_total 63.0\n" in text
    plane.clock.pass_time(61 * SECOND)
    alarm.look()
    assert len(caplog.records) == 1
    assert b"plait_identity_issuance 0.0\n" in metrics.exposition()[0]
    metrics.close()
