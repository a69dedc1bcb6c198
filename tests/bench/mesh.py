"""The mesh of a bench as files: what is in it, and what its sidecars hold."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from controlplane.identity import tokens
from controlplane.rollout.learnt_lines import Reference, line
from tests.bench import manifests
from xds import names
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

DESTINATIONS = 20
"""Of each sidecar."""
TRUST_DOMAIN = "cluster.local"
BUCKET = "3600s"
"""Names that were asked for stay for the whole bench."""
ACCOUNT = "client"


def service_name(number: int) -> str:
    return f"svc-{number:04}"


def file_of(service: int) -> str:
    """File of a Service and its slice."""
    return f"service-{service:04}.yaml"


@dataclass(frozen=True)
class Shape:
    """``services`` that sidecars use, each with ``endpoints``; ``sidecars`` of ``owners``
    workloads, each of which uses `DESTINATIONS` of the services; ``others`` that nobody uses."""

    sidecars: int = 1000
    services: int = DESTINATIONS
    endpoints: int = 20
    owners: int = 1
    others: int = 0

    def owner(self, sidecar: int) -> int:
        return sidecar % self.owners

    def used(self, owner: int) -> list[int]:
        """Services that the sidecars of a workload use."""
        return [(owner * DESTINATIONS + n) % self.services for n in range(DESTINATIONS)]

    def write(self, home: Path, *, learnt: bool) -> None:
        """The tree of manifests, and what the workloads have learnt."""
        tree = home / "tree"
        tree.mkdir()
        manifests.replace(tree / "mesh.yaml", [manifests.mesh_config(BUCKET)])
        pods = [
            manifests.pod(f"web-{n}", manifests.address(n), f"owner-{self.owner(n)}")
            for n in range(self.sidecars)
        ]
        manifests.replace(tree / "pods.yaml", pods)
        for number in range(self.services + self.others):
            count = self.endpoints if number < self.services else 2
            self.write_service(home, number, [0] * count)
        if learnt:
            self._write_learnt(home / "state")

    def write_service(self, home: Path, service: int, versions: list[int]) -> None:
        """Write a Service and its slice; an endpoint's version is the first part of its address."""
        addresses = [
            f"{10 + version % 200}.{service // 250}.{service % 250}.{place}"
            for place, version in enumerate(versions)
        ]
        name = service_name(service)
        documents = [manifests.service(name), manifests.endpoint_slice(name, addresses)]
        manifests.replace(home / "tree" / file_of(service), documents)

    def _write_learnt(self, state: Path) -> None:
        directory = state / "learnt" / manifests.NAMESPACE
        directory.mkdir(parents=True, mode=0o700)
        state.chmod(0o700)
        for owner in range(self.owners):
            used = (
                Reference(manifests.NAMESPACE, service_name(n), manifests.PORT)
                for n in self.used(owner)
            )
            text = b"".join(line(each, time.time()) for each in used)
            (directory / f"owner-{owner}.jsonl").write_bytes(text)

    def subscriptions(self, owner: int, *, asks: bool) -> dict[str, list[str]]:
        """What a sidecar subscribes to, by type URL in the order of its requests."""
        space, port = manifests.NAMESPACE, manifests.PORT
        used = [service_name(number) for number in self.used(owner)]
        asked = [f"a|{name}.{space}:{port}|1" for name in used]
        return {
            CLUSTER: ["*", *asked] if asks else [],
            ENDPOINT: [*(f"e|{space}|{name}|{port}" for name in used), names.LOCAL_CLUSTER],
            SECRET: [names.IDENTITY_SECRET, names.roots_secret(TRUST_DOMAIN)],
            LISTENER: [],
            ROUTE: [names.PROXY_ROUTES, names.PROXY_LOOP_ROUTES],
        }

    def identities(
        self, key: tokens.TokenKey, count: int, *, asks: bool
    ) -> list[tuple[str, str, dict[str, list[str]]]]:
        """(node id, token, subscriptions) of the first ``count`` sidecars."""
        now = datetime.now(UTC)
        found = []
        for number in range(count):
            work = tokens.Workload("local", manifests.NAMESPACE, f"web-{number}", ACCOUNT)
            subject = names.spiffe_id(TRUST_DOMAIN, work.namespace, work.account)
            token = tokens.sign(key, work, subject, now).reveal()
            node = f"{work.cluster}/{work.namespace}/{work.pod}"
            found.append((node, token, self.subscriptions(self.owner(number), asks=asks)))
        return found
