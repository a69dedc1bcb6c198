"""The bootstrap: who the sidecar says it is, whom it trusts, what it never holds."""

import json
import re
from pathlib import Path

import pytest

from sidecar import stats
from sidecar.bootstrap import BootstrapError, Sidecar, bootstrap, roots_sds, token_sds
from xds import versions

SIDECAR = Sidecar(
    cluster="local",
    namespace="shop",
    pod="web-1",
    owner="web",
    host="127.0.0.1",
    port=15012,
    directory=Path("/run/plait"),
)


def control_plane(sidecar: Sidecar) -> dict[str, object]:
    [found] = [
        each for each in bootstrap(sidecar)["static_resources"]["clusters"] if each["name"] == "xds"
    ]
    return dict(found)


def changed(**fields: object) -> Sidecar:
    values = {name: getattr(SIDECAR, name) for name in SIDECAR.__slots__}
    return Sidecar(**values | fields)


def test_node() -> None:
    assert bootstrap(SIDECAR)["node"] == {
        "id": "local/shop/web-1",
        "cluster": "web",
        "metadata": {"capture": "proxy", "v": 1},
    }


def test_it_is_json_and_the_same_each_time() -> None:
    assert json.dumps(bootstrap(SIDECAR)) == json.dumps(bootstrap(SIDECAR))


def test_an_address_is_verified_as_an_address() -> None:
    text = json.dumps(control_plane(SIDECAR))
    assert '{"san_type": "IP_ADDRESS", "matcher": {"exact": "127.0.0.1"}}' in text
    assert '"type": "STATIC"' in text
    assert '"sni"' not in text


def test_a_name_is_resolved_and_verified_as_a_name() -> None:
    text = json.dumps(control_plane(changed(host="plait.plait-system.svc")))
    assert '{"san_type": "DNS", "matcher": {"exact": "plait.plait-system.svc"}}' in text
    assert '"type": "STRICT_DNS"' in text
    assert '"sni": "plait.plait-system.svc"' in text


def test_the_verified_name_may_differ_from_the_address() -> None:
    text = json.dumps(control_plane(changed(host="10.0.0.9", server_name="localhost")))
    assert '"type": "STATIC"' in text
    assert '{"san_type": "DNS", "matcher": {"exact": "localhost"}}' in text


def test_tls_1_3_alone() -> None:
    text = json.dumps(control_plane(SIDECAR))
    assert set(re.findall(r"TLSv1_\d", text)) == {"TLSv1_3"}


def test_it_waits_for_its_configuration() -> None:
    dynamic = bootstrap(SIDECAR)["dynamic_resources"]
    assert dynamic["cds_config"]["initial_fetch_timeout"] == "0s"
    assert dynamic["lds_config"]["initial_fetch_timeout"] == "0s"
    [service] = dynamic["ads_config"]["grpc_services"]
    assert service["envoy_grpc"]["retry_policy"]["retry_back_off"] == {
        "base_interval": "0.1s",
        "max_interval": "1s",
    }
    assert dynamic["ads_config"]["set_node_on_first_message_only"] is True


def test_local_cluster_is_defined() -> None:
    made = bootstrap(SIDECAR)
    name = made["cluster_manager"]["local_cluster_name"]
    assert name in [each["name"] for each in made["static_resources"]["clusters"]]


def test_admin_is_a_socket_of_its_owner() -> None:
    assert bootstrap(SIDECAR)["admin"] == {
        "address": {"pipe": {"path": "/run/plait/admin.sock", "mode": 0o600}}
    }


def test_paths_that_envoy_could_not_use() -> None:
    with pytest.raises(BootstrapError, match="longer than 107 bytes"):
        bootstrap(changed(directory=Path("/" + "d" * 100)))
    with pytest.raises(BootstrapError, match="absolute"):
        bootstrap(changed(directory=Path("here")))


def test_one_secret_in_each_sds_file() -> None:
    for made in (token_sds(Path("/run/plait")), roots_sds(Path("/run/plait"))):
        assert len(made["resources"]) == 1
        assert "watched_directory" in json.dumps(made)


@pytest.mark.parametrize(
    ("version", "current", "served"),
    [
        (1, 1, True),
        (1.0, 1, True),
        (1.0, 2, True),
        (2.0, 2, True),
        (1.0, 3, False),
        (2.0, 1, False),
        (0, 1, False),
        (1.5, 2, False),
        ("1", 1, False),
        (True, 1, False),
        (None, 1, False),
    ],
)
def test_a_version_and_the_one_before(version: object, current: int, served: bool) -> None:
    assert versions.is_supported(version, current) is served


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cluster.h|shop|reviews|80.upstream_rq_2xx", True),
        ("cluster.h|shop|reviews|80.upstream_rq_time", True),
        ("cluster.h|shop|reviews|80.upstream_rq_total", True),
        ("cluster.h|shop|reviews|80.membership_healthy", True),
        ("cluster.h|shop|reviews|80.ssl.handshake", True),
        ("cluster.h|shop|reviews|80@west.upstream_cx_active", True),
        ("cluster.h|shop|reviews|80.upstream_rq_200", False),
        ("cluster.h|shop|reviews|80.internal.upstream_rq_2xx", False),
        ("cluster.h|shop|reviews|80.external.upstream_rq_2xx", False),
        ("cluster.h|shop|reviews|80.zone.a.b.upstream_rq_2xx", False),
        ("cluster.h|shop|reviews|80.ssl.ciphers.TLS_AES_128_GCM_SHA256", False),
        ("cluster.h|shop|reviews|80.circuit_breakers.default.rq_open", False),
        ("cluster.h|shop|reviews|80.lb_healthy_panic", False),
        ("http.in|8080.downstream_rq_5xx", True),
        ("http.proxy.downstream_cx_total", True),
        ("http.proxy.rds.px.update_success", False),
        ("tcp.q|shop|ledger|9000.downstream_cx_tx_bytes_total", True),
        ("listener.127.64.1.3_8080.downstream_cx_total", True),
        ("listener.127.64.1.3_8080.ssl.handshake", True),
        ("listener.127.64.1.3_8080.worker_0.downstream_cx_total", False),
        ("listener.[__1]_8080.downstream_cx_active", True),
        ("listener.admin.downstream_cx_total", True),
        ("server.memory_allocated", True),
        ("cluster_manager.cds.update_rejected", True),
        ("control_plane.connected_state", True),
        ("cluster.xds.upstream_cx_rx_bytes_total", True),
        ("runtime.load_success", False),
        ("main_thread.watchdog_miss", False),
    ],
)
def test_statistics(name: str, kept: bool) -> None:
    patterns = stats.matcher()["inclusion_list"]["patterns"]
    found = any(
        name.startswith(each["prefix"])
        if "prefix" in each
        else re.fullmatch(each["safe_regex"]["regex"], name)
        for each in patterns
    )
    assert found is kept
