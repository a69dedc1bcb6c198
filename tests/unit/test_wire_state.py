"""State-of-the-world requests are read, and responses are what Envoy's own messages say."""

import contextlib

from envoy_data_plane.envoy.config.core.v3 import Node as EnvoyNode
from envoy_data_plane.envoy.service.discovery.v3 import (
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from envoy_data_plane.google.protobuf import Struct
from envoy_data_plane.google.rpc import Status
from hypothesis import given
from hypothesis import strategies as st

from xds.wire.encode import encode
from xds.wire.request import Limits, Malformed, Node, StateRequest, scan_state
from xds.wire.resource import make
from xds.wire.response import with_nonce
from xds.wire.state import join_state, packed

names = st.text(max_size=300)


@given(names, names, st.lists(names, max_size=5), names, names, st.integers(0, 16), names)
def test_reads_a_request(
    node: str, kind: str, asked: list[str], version: str, nonce: str, code: int, message: str
) -> None:
    data = encode(
        DiscoveryRequest(
            version_info=version,
            node=EnvoyNode(id=node, metadata=Struct.from_dict({"v": 1.0})),
            resource_names=asked,
            type_url=kind,
            response_nonce=nonce,
            error_detail=Status(code=code, message=message) if code else None,
        )
    )
    assert scan_state(data) == StateRequest(
        Node(node, metadata={"v": 1.0}),
        kind,
        tuple(asked),
        version,
        nonce,
        code,
        message if code else "",
    )


@given(st.binary(max_size=200))
def test_never_raises_anything_else(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        scan_state(data, Limits(names=3, name=20))


@given(
    st.lists(st.tuples(names, names, st.binary(max_size=300)), max_size=4),
    names,
    names,
    names,
)
def test_a_response_has_the_same_resources_as_the_delta_one(
    content: list[tuple[str, str, bytes]], kind: str, version: str, nonce: str
) -> None:
    resources = [make(kind, name, body, v) for name, v, body in content]
    data = with_nonce(join_state(kind, version, (each.entry for each in resources)), nonce)
    found = DiscoveryResponse.parse(data)
    assert (found.type_url, found.version_info, found.nonce) == (kind, version, nonce)
    entries = [DeltaDiscoveryResponse.parse(each.entry).resources[0] for each in resources]
    assert found.resources == [each.resource for each in entries]


def test_takes_the_bytes_over() -> None:
    entry = make("type", "name", b"body" * 100, "1").entry
    assert packed(entry).obj is entry
