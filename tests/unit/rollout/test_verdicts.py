"""A rejected version: isolated by one stream, kept from the rest, named, forgotten once mended."""

from pathlib import Path

from tests.unit.rollout.mesh import BASE, Client, Mesh, service
from xds import types

NAMES = ("one", "two", "three", "four", "five")


def route(name: str, word: str) -> str:
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: shop}}
spec:
  parentRefs: [{{group: "", kind: Service, name: {name}}}]
  rules:
    - matches: [{{path: {{type: Exact, value: "/{word}"}}}}]
      backendRefs: [{{name: {name}, port: 80}}]
"""


def policy(name: str, seconds: int) -> str:
    return f"""
apiVersion: mesh.plait.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: {name}, namespace: shop}}
spec:
  targetRefs: [{{kind: Service, name: {name}}}]
  connection: {{connectTimeout: {seconds}s}}
"""


def refuse(word: str) -> "object":
    def words(kind: str, name: str, body: bytes) -> str:
        return f"cannot take {word}" if word.encode() in body else ""

    return words


def mesh_of(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path, BASE, *(service(name, str(n + 10)) for n, name in enumerate(NAMES)))


def asked(client: Client) -> Client:
    for name in NAMES:
        client.ask(name)
    return client


def test_a_bad_virtual_host_among_good_ones_is_found_and_the_good_ones_arrive(
    tmp_path: Path,
) -> None:
    mesh = mesh_of(tmp_path)
    web, other = asked(mesh.connect("web")), asked(mesh.connect("other"))
    for client in (web, other):
        client.refuses = refuse("poison")  # type: ignore[assignment]
    mesh.apply(route("one", "fine"), route("two", "poison"), route("three", "good"))
    for _ in range(4):
        web.drain()
        other.drain()
    for client in (web, other):
        body = client.bodies[types.ROUTE, "px"]
        assert b"/fine" in body
        assert b"/good" in body
        assert b"poison" not in body
        assert b"two.shop" in body, "the last good virtual host stays"
        assert client.session.settled
    assert len(other.nacks) <= 1, "only one stream bisects"
    found = mesh.verdicts.problems()
    assert [str(problem.object) for problem in found] == ["HTTPRoute shop/two"]
    assert "cannot take poison" in found[0].message

    mesh.apply(route("two", "mended"))
    for client in (web, other):
        client.drain()
        assert b"/mended" in client.bodies[types.ROUTE, "px"]
    assert mesh.verdicts.problems() == ()


def test_a_bad_virtual_host_without_a_last_good_one_answers_503(tmp_path: Path) -> None:
    mesh = mesh_of(tmp_path)
    mesh.apply(route("two", "poison"))
    web = mesh.connect("web")
    web.refuses = refuse("poison")  # type: ignore[assignment]
    asked(web)
    body = web.bodies[types.ROUTE, "px"]
    assert b"poison" not in body
    assert b"Envoy rejected the routes" in body
    assert b"one.shop" in body


def test_a_bad_cluster_in_a_batch_is_bisected_by_one_stream(tmp_path: Path) -> None:
    mesh = mesh_of(tmp_path)
    web, other = asked(mesh.connect("web")), asked(mesh.connect("other"))
    before = dict(web.held[types.CLUSTER])

    def words(kind: str, name: str, body: bytes) -> str:
        bad = kind == types.CLUSTER and name == "h|shop|three|80"
        return "no such timeout" if bad else ""

    web.refuses = other.refuses = words
    mesh.apply(*(policy(name, 9) for name in NAMES))
    for _ in range(4):
        web.drain()
        other.drain()
    for client in (web, other):
        held = client.held[types.CLUSTER]
        for name in NAMES:
            changed = held[f"h|shop|{name}|80"] != before[f"h|shop|{name}|80"]
            assert changed is (name != "three"), name
    assert len(other.nacks) <= 1
    assert [str(p.object) for p in mesh.verdicts.problems()] == ["TrafficPolicy shop/three"]
    late = mesh.connect("web", held=None)
    late.refuses = words
    assert late.nacks == []


def test_a_new_sidecar_gets_the_last_good_version(tmp_path: Path) -> None:
    mesh = mesh_of(tmp_path)
    web = asked(mesh.connect("web"))
    good = web.held[types.CLUSTER]["h|shop|three|80"]

    def words(kind: str, name: str, body: bytes) -> str:
        return "no" if (kind, name) == (types.CLUSTER, "h|shop|three|80") else ""

    web.refuses = words
    mesh.apply(policy("three", 9))
    web.drain()
    fresh = asked(mesh.connect("other"))
    assert fresh.held[types.CLUSTER]["h|shop|three|80"] == good


def test_a_stream_that_leaves_in_the_middle_hands_the_bisection_over(tmp_path: Path) -> None:
    mesh = mesh_of(tmp_path)
    web, other = asked(mesh.connect("web")), asked(mesh.connect("other"))

    def words(kind: str, name: str, body: bytes) -> str:
        return "no" if kind == types.CLUSTER and name == "h|shop|two|80" else ""

    web.refuses = other.refuses = words
    mesh.apply(*(policy(name, 9) for name in NAMES))
    outgoing = web.session.pull()
    assert outgoing is not None
    web.session.close()
    for _ in range(4):
        other.drain()
    held = other.held[types.CLUSTER]
    assert other.session.settled
    assert held["h|shop|one|80"] == mesh.connect("other").held[types.CLUSTER]["h|shop|one|80"]
    assert [str(p.object) for p in mesh.verdicts.problems()] == ["TrafficPolicy shop/two"]


def test_a_stream_that_never_answers_its_trials_holds_nobody_back_for_long(tmp_path: Path) -> None:
    mesh = mesh_of(tmp_path)
    web, other = asked(mesh.connect("web")), asked(mesh.connect("other"))
    before = dict(other.held[types.CLUSTER])

    def words(kind: str, name: str, body: bytes) -> str:
        return "no" if kind == types.CLUSTER and name == "h|shop|two|80" else ""

    web.refuses = words
    mesh.apply(*(policy(name, 9) for name in NAMES))
    first = web.session.pull()
    assert first is not None
    web.take(first)
    other.refuses = words
    now = mesh.clock.monotonic()
    mesh.edge.tick(now)
    other.drain()
    assert other.held[types.CLUSTER] == before, "held back while the other stream bisects"
    mesh.edge.tick(now + 61)
    other.drain()
    for name in NAMES:
        changed = other.held[types.CLUSTER][f"h|shop|{name}|80"] != before[f"h|shop|{name}|80"]
        assert changed is (name != "two"), name
