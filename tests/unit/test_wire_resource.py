"""Entries, responses and their readable form."""

from envoy_data_plane.envoy.config.cluster.v3 import Cluster
from envoy_data_plane.envoy.service.discovery.v3 import DeltaDiscoveryResponse

from xds import types
from xds.build import secrets
from xds.ir.secret import LeafSecret, PrivateBytes, RootsSecret
from xds.wire.dump import REDACTED, readable
from xds.wire.encode import encode
from xds.wire.resource import make
from xds.wire.response import join, with_nonce
from xds.wire.varint import delimited

KEY = "-----BEGIN PRIVATE KEY----- do not show -----END PRIVATE KEY-----"


def test_a_joined_response_is_the_whole_message() -> None:
    made = [make(types.CLUSTER, name, encode(Cluster(name=name))) for name in ("h|a|b|1", "t|c")]
    body = join(types.CLUSTER, [each.entry for each in made], ["h|gone|svc|80"])
    response = DeltaDiscoveryResponse.parse(with_nonce(body, "42"))
    assert (response.nonce, response.type_url) == ("42", types.CLUSTER)
    assert response.removed_resources == ["h|gone|svc|80"]
    assert [(each.name, each.version) for each in response.resources] == [
        (each.name, each.version) for each in made
    ]
    packed = [each.resource for each in response.resources]
    assert [each.unpack() for each in packed] == [Cluster(name="h|a|b|1"), Cluster(name="t|c")]


def test_an_empty_response_answers_a_subscription() -> None:
    response = DeltaDiscoveryResponse.parse(with_nonce(join(types.ENDPOINT, []), "1"))
    assert response == DeltaDiscoveryResponse(type_url=types.ENDPOINT, nonce="1")


def test_the_version_is_a_hash_of_the_body_unless_given() -> None:
    first, same, other = (make(types.CLUSTER, "n", body) for body in (b"a", b"a", b"b"))
    assert first.version == same.version != other.version
    assert len(first.version) == 16
    assert make(types.SECRET, "identity", b"a", "leaf|1|2|3|4").version == "leaf|1|2|3|4"


def test_key_material_never_shows() -> None:
    leaf = secrets.leaf(LeafSecret("identity", b"chain", PrivateBytes(KEY.encode()), "leaf|1"))
    assert KEY.encode() in leaf.entry
    shown = readable(leaf)
    assert "do not show" not in f"{leaf!r} {leaf} {shown}"
    assert shown["version"] == "leaf|1"
    assert shown["resource"]["tls_certificate"] == {
        "certificate_chain": {"inline_bytes": "chain"},
        "private_key": REDACTED,
    }


def test_roots_are_shown_and_versioned_by_hash() -> None:
    first = secrets.roots(RootsSecret("roots|cluster.local", b"pem"))
    assert readable(first)["resource"]["validation_context"] == {
        "trusted_ca": {"inline_bytes": "pem"}
    }
    assert first.version != secrets.roots(RootsSecret("roots|cluster.local", b"new")).version


def test_an_unknown_type_is_shown_by_its_size() -> None:
    unknown = make("type.googleapis.com/no.such.v1.Message", "x", delimited(1, b"ab"))
    assert readable(unknown)["resource"] == {"bytes": 4}
