"""The compiled encoder gives the bytes that betterproto2 gives, for every class that is used."""

from dataclasses import make_dataclass
from random import Random
from typing import Any

import betterproto2
import pytest
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.google.protobuf import Any as ProtoAny
from envoy_data_plane.google.protobuf import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.envoy_messages import instance, used_classes
from xds.wire.encode import encode, encoder, pack
from xds.wire.varint import delimited, tag, varint, zigzag

# Random instances set deprecated fields too.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CLASSES = used_classes()


def test_every_class_of_the_builders_encodes_as_betterproto() -> None:
    assert len(CLASSES) > 200
    for message_class in CLASSES:
        random = Random(message_class.__name__)
        for _ in range(2):
            message = instance(message_class, random)
            assert encode(message) == bytes(message), message_class


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(CLASSES), st.randoms(use_true_random=False))
def test_random_messages_encode_as_betterproto(message_class: Any, random: Random) -> None:
    message = instance(message_class, random)
    assert encode(message) == bytes(message)


Numbers = make_dataclass(
    "Numbers",
    [
        ("signed", int, betterproto2.field(1, betterproto2.TYPE_SINT64)),
        ("fixed", list[int], betterproto2.field(2, betterproto2.TYPE_SFIXED32, repeated=True)),
        ("packed", list[int], betterproto2.field(16, betterproto2.TYPE_SINT32, repeated=True)),
        ("small", float, betterproto2.field(3, betterproto2.TYPE_FLOAT)),
        (
            "ratios",
            dict[int, float],
            betterproto2.field(
                4,
                betterproto2.TYPE_MAP,
                map_meta=betterproto2.map_meta(betterproto2.TYPE_INT32, betterproto2.TYPE_DOUBLE),
            ),
        ),
    ],
    bases=(betterproto2.Message,),
    eq=False,
    repr=False,
)
"""The kinds of fields that no class of ours has today."""


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.lists(st.integers(-(1 << 31), (1 << 31) - 1)))
def test_kinds_of_fields_that_envoy_does_not_use(number: int, numbers: list[int]) -> None:
    message = Numbers(number, numbers, numbers, 0.5, {each: each / 4 for each in numbers})
    assert encode(message) == bytes(message)


def test_recursive_values() -> None:
    tree = Struct.from_dict({"a": [1, "x", None, True, {"b": {"c": []}}], "z": -0.5})
    assert encode(tree) == bytes(tree)


def test_unknown_fields_are_kept() -> None:
    body = delimited(1, b"e") + delimited(999, b"new")
    parsed = ClusterLoadAssignment.parse(body)
    assert encode(parsed) == body


def test_an_encoder_is_compiled_once() -> None:
    assert encoder(ClusterLoadAssignment) is encoder(ClusterLoadAssignment)


def test_pack_gives_what_any_gives() -> None:
    message = ClusterLoadAssignment(cluster_name="e|shop|reviews|9080")
    assert pack(message) == ProtoAny.pack(message)


def test_varints() -> None:
    assert varint(0) == b"\0"
    assert varint(300) == b"\xac\x02"
    assert varint(1 << 20) == b"\x80\x80\x40"
    assert varint(-1) == b"\xff" * 9 + b"\x01"
    assert [zigzag(value) for value in (0, -1, 1, -2, 2)] == [0, 1, 2, 3, 4]
    assert tag(2, 2) == b"\x12"
    assert tag(16, 0) == b"\x80\x01"
