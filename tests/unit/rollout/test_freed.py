"""What the rollout knows of a stream goes with it, by count and without the collector."""

import gc
from pathlib import Path

from controlplane.rollout.member import Member
from tests.unit.rollout.mesh import BASE, Mesh


def members() -> int:
    return sum(isinstance(each, Member) for each in gc.get_objects())


def test_an_ended_stream_is_freed(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, BASE)
    gc.collect()
    before = members()
    gc.disable()
    try:
        client = mesh.connect("web")
        client.ask("reviews")
        assert members() == before + 1
        client.session.close()
        del client
        assert members() == before
    finally:
        gc.enable()
