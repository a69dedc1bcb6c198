"""JSON of the admin API survives the round trip, and tolerates one version's difference."""

from dataclasses import dataclass
from typing import Any

import pytest

from controlplane.api.problem import ObjectRef, Problem, Reason, Severity, Source
from controlplane.app import views
from controlplane.app.codec import Undecodable, from_json, to_json
from tests.fakes.inspector import FakeInspector


async def answers() -> list[Any]:
    fake = FakeInspector(rejecting={"web.shop": "why"}, waiting={"reviews-v1.shop"})
    return [
        fake.version(),
        fake.status(),
        fake.problems(),
        await fake.proxies(),
        fake.proxy("shop", "web", bodies=True),
        fake.why("type.googleapis.com/envoy.config.cluster.v3.Cluster", "px", ("shop", "web")),
        fake.simulate(("shop", "web"), "reviews", "GET", "/", [("a", "b")]),
        fake.progress(ObjectRef("Service", "shop", "reviews")),
        fake.get("Service", None, None),
        fake.certs(None),
        await fake.rotate(None),
        await fake.apply([{"kind": "TrafficShift", "metadata": {"name": "x"}}], dry_run=False),
        fake.token("shop", "web"),
        fake.bootstrap("shop", "web"),
        views.Failure("m", "r", "o", "f", (fake.problem_list[0],)),
    ]


async def test_every_answer_survives_the_round_trip() -> None:
    for answer in await answers():
        assert from_json(type(answer), to_json(answer)) == answer


def test_keys_are_camel_case_and_enums_their_values() -> None:
    problem = Problem(
        ObjectRef("Service", "shop", "x"), Reason.INVALID, "m", "r", "spec", Severity.WARNING,
        Source("a.yaml", 3),
    )  # fmt: skip
    assert to_json(problem) == {
        "object": {"kind": "Service", "namespace": "shop", "name": "x"},
        "reason": "Invalid",
        "message": "m",
        "remedy": "r",
        "field": "spec",
        "severity": "warning",
        "source": {"path": "a.yaml", "line": 3},
    }
    assert "notAfter" in to_json(views.Authority("t", "i", "n"))


@dataclass(frozen=True)
class Sample:
    needed: int
    optional: float = 2.0


def test_unknown_keys_are_ignored_and_absent_ones_defaulted() -> None:
    assert from_json(Sample, {"needed": 1, "new": [1]}) == Sample(1)
    assert from_json(Sample, {"needed": 1, "optional": 3}) == Sample(1, 3.0)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([], "Sample: expected dict, found list"),
        ({"needed": "1"}, "Sample.needed: expected int, found str"),
        ({"needed": True}, "Sample.needed: expected int, found bool"),
        ({}, "needed"),
    ],
)
def test_other_shapes_are_refused_by_place(data: Any, text: str) -> None:
    with pytest.raises(Undecodable, match=text):
        from_json(Sample, data)


@pytest.mark.parametrize(
    ("wish", "sent", "acked", "nack", "expected"),
    [
        ("b", "b", "b", "", views.Delivery.ACKED),
        ("b", "b", "a", "", views.Delivery.SENT),
        ("b", "a", "a", "", views.Delivery.WAITING),
        ("b", "", "", "", views.Delivery.WAITING),
        ("b", "b", "a", "no", views.Delivery.REJECTED),
        ("", "a", "a", "", views.Delivery.REMOVING),
        ("", "", "", "", views.Delivery.ABSENT),
    ],
)
def test_only_an_ack_of_the_wish_is_called_acked(
    wish: str, sent: str, acked: str, nack: str, expected: views.Delivery
) -> None:
    assert views.delivery(wish, sent, acked, nack) is expected


def test_a_token_does_not_show() -> None:
    assert "secret" not in repr(views.Token("web.shop", "secret", "", 1.0))
