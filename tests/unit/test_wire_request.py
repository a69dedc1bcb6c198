"""The scanner reads what Envoy sends and refuses, in bounded time, what nobody should."""

from typing import Any

import pytest
from envoy_data_plane.envoy.config.core.v3 import Extension, Locality
from envoy_data_plane.envoy.config.core.v3 import Node as EnvoyNode
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryRequest, ResourceLocator
from envoy_data_plane.google.protobuf import Struct
from envoy_data_plane.google.rpc import Status
from hypothesis import given
from hypothesis import strategies as st

from xds.wire.encode import encode
from xds.wire.request import TOO_LONG_TO_KEEP, DeltaRequest, Limits, Malformed, Node, scan
from xds.wire.varint import delimited, tag, varint

names = st.text(max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
nodes = st.builds(
    Node, names, names, st.dictionaries(names, values, max_size=4), region=names, zone=names
)
requests = st.builds(
    DeltaRequest,
    st.none() | nodes,
    names,
    st.lists(names, max_size=5).map(tuple),
    st.lists(names, max_size=5).map(tuple),
    st.dictionaries(names, names, max_size=5),
    names,
    st.integers(1, 16),
    names,
)


def wire(request: DeltaRequest) -> bytes:
    """``request`` as a client would send it, with fields that are to be skipped among the rest."""
    node = None
    if request.node is not None:
        node = EnvoyNode(
            id=request.node.id,
            cluster=request.node.cluster,
            metadata=Struct.from_dict(request.node.metadata),
            locality=Locality(region=request.node.region, zone=request.node.zone, sub_zone="x"),
            user_agent_name="envoy",
            extensions=[Extension(name="envoy.filters.http.router", category="http")],
        )
    return encode(
        DeltaDiscoveryRequest(
            node=node,
            type_url=request.type_url,
            resource_names_subscribe=list(request.subscribe),
            resource_names_unsubscribe=list(request.unsubscribe),
            resource_locators_subscribe=[ResourceLocator(name="x")],
            initial_resource_versions=request.initial_versions,
            response_nonce=request.nonce,
            error_detail=Status(code=request.error_code, message=request.error_message),
        )
    )


@given(requests)
def test_what_is_sent_is_read(request: DeltaRequest) -> None:
    assert scan(wire(request)) == request


@given(requests)
def test_a_request_cut_off_anywhere_is_read_or_malformed(request: DeltaRequest) -> None:
    data = wire(request)
    for end in range(len(data)):
        try:
            scan(data[:end])
        except Malformed:
            continue


@given(st.binary(max_size=200))
def test_garbage_is_read_or_malformed(data: bytes) -> None:
    try:
        scan(data)
    except Malformed:
        return


@given(requests, st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_read_or_malformed(
    request: DeltaRequest, position: int, change: int
) -> None:
    data = bytearray(wire(request))
    data[position % len(data)] ^= change
    try:
        scan(bytes(data))
    except Malformed:
        return


@given(requests)
def test_unknown_fields_are_skipped(request: DeltaRequest) -> None:
    unknown = delimited(99, b"\xff\xff") + tag(100, 0) + varint(7) + tag(101, 1) + b"\0" * 8
    mistyped = tag(2, 0) + varint(5) + tag(3, 5) + b"\0" * 4
    assert scan(unknown + wire(request) + mistyped + unknown) == request


def test_a_node_in_two_parts_is_one() -> None:
    first = delimited(1, delimited(1, b"a/b/c") + delimited(4, delimited(1, b"here")))
    second = delimited(1, delimited(2, b"owner") + delimited(4, delimited(2, b"a")))
    assert scan(first + second).node == Node("a/b/c", "owner", {}, "here", "a")


def test_a_nack_without_a_code_is_a_nack() -> None:
    request = scan(delimited(7, b""))
    assert (request.error_code, request.error_message) == (2, "")


def test_an_ack_is_no_nack() -> None:
    assert scan(delimited(6, b"17")) == DeltaRequest(nonce="17")


def test_the_text_of_an_error_may_be_long_and_no_text() -> None:
    request = scan(delimited(7, delimited(2, b"\xff" + b"a" * (1 << 20))))
    assert request.error_message.startswith("\ufffda")
    assert len(request.error_message) <= TOO_LONG_TO_KEEP


def nested(depth: int, through: int) -> bytes:
    """Metadata nested ``depth`` deep through Struct (5) or ListValue (6)."""
    value = b""
    for _ in range(depth):
        inner = delimited(1, delimited(2, value)) if through == 5 else delimited(1, value)
        value = delimited(through, inner)
    struct = delimited(1, delimited(1, b"k") + delimited(2, value))
    return delimited(1, delimited(3, struct))


SMALL = Limits(size=1000, names=3, name=10, depth=4, values=20)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80", "varint cut off"),
        (b"\x12", "varint cut off"),
        (b"\x12\x05abc", "cut off"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "over 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "over 64 bits"),
        (b"\x12" + b"\xff" * 9 + b"\x01", "cut off"),
        (b"\xff" * 9 + b"\x01", "field number"),
        (b"\x00", "field number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x0c", "wire type 4"),
        (b"\x0f", "wire type 7"),
        (b"\x09\0\0\0", "cut off"),
        (b"\x12\x02\xc3\x28", "no UTF-8"),
        (delimited(3, b"x" * 11), "11 bytes"),
        (delimited(3, b"a") * 4, "more than 3 names"),
        (delimited(4, b"a") * 2 + delimited(5, b"") * 2, "more than 3 names"),
        (nested(4, 5), "nested deeper than 4"),
        (nested(4, 6), "nested deeper than 4"),
        (delimited(1, delimited(3, delimited(1, b"") * 21)), "more than 20 values"),
        (delimited(6, b"1") * 400, "1200 bytes"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        scan(data, SMALL)


@pytest.mark.parametrize("through", [5, 6])
def test_depth_bombs(through: int) -> None:
    with pytest.raises(Malformed, match="nested deeper"):
        scan(nested(5_000, through))


def test_a_million_names() -> None:
    with pytest.raises(Malformed, match="names"):
        scan(delimited(3, b"a") * 1_000_000)
    with pytest.raises(Malformed, match="bytes"):
        scan(delimited(3, b"h|shop|reviews|9080") * 1_000_000)


def test_what_a_large_mesh_needs_is_within_the_limits() -> None:
    held = {f"h|namespace-{i}|service|8080": "0123456789abcdef" for i in range(20_000)}
    assert scan(wire(DeltaRequest(initial_versions=held, error_code=1))).initial_versions == held
    authority: Any = "a|" + "x" * 60_000 + "|202611241200"
    assert scan(delimited(3, authority.encode())).subscribe == (authority,)
