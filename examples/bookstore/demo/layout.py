"""Who runs where: read from the Pod manifests, so that no address stands in two places."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from examples.bookstore.http1 import Address

MANIFESTS = Path(__file__).parents[1] / "manifests"
NAMESPACE = "shop"
APP_ADDRESS = "mesh.plait.dev/app-address"
PROXY_PORT, LOOP_PORT = 15080, 15081
LEDGER_FORWARD = 5000
"""Port of web's sidecar that leads to the ledger (annotation mesh.plait.dev/tcp-forwards)."""

XDS = Address("127.0.1.1", 15012)
METRICS = Address("127.0.1.1", 15014)
"""The demo's control plane; not the default addresses, where one of the user's own may listen."""

CALLS = (
    ("web", "reviews-v1"),
    ("web", "reviews-v2"),
    ("reviews-v1", "ratings"),
    ("reviews-v2", "ratings"),
    ("web", "ledger"),
)
"""(caller, callee) of every connection between sidecars while both versions are in use."""


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    app: str
    """Its program, a module of `examples.bookstore.apps`."""
    version: str
    account: str
    sidecar: str
    """status.podIP, where the sidecar listens."""
    program: Address
    """Where the program listens; behind redirection the same address."""

    @property
    def inbound(self) -> Address:
        """The sidecar's port for this workload."""
        return Address(self.sidecar, self.program.port)

    @property
    def proxy(self) -> Address:
        """The sidecar's HTTP proxy port, for the program's own requests."""
        return Address(self.sidecar, PROXY_PORT)

    def spiffe_id(self, trust_domain: str) -> str:
        return f"spiffe://{trust_domain}/ns/{NAMESPACE}/sa/{self.account}"


def documents(directory: Path) -> list[dict[str, Any]]:
    """Every document of the YAML files of a directory, in the order of their names."""
    found = []
    for path in sorted(directory.glob("*.yaml")):
        found += [doc for doc in yaml.safe_load_all(path.read_text()) if doc]
    return found


def trust_domain(docs: list[dict[str, Any]]) -> str:
    """The mesh's trust domain, from its MeshConfig."""
    specs = [doc["spec"] for doc in docs if doc["kind"] == "MeshConfig"]
    return str(specs[0].get("trustDomain", "cluster.local")) if specs else "cluster.local"


def workloads(docs: list[dict[str, Any]]) -> dict[str, Workload]:
    """The Pods by name, in the order of the documents."""
    found = {}
    for doc in docs:
        if doc["kind"] != "Pod":
            continue
        meta, container = doc["metadata"], doc["spec"]["containers"][0]
        found[meta["name"]] = Workload(
            name=meta["name"],
            app=meta["labels"]["app"],
            version=meta["labels"].get("version", "v1"),
            account=doc["spec"]["serviceAccountName"],
            sidecar=doc["status"]["podIP"],
            program=Address(
                meta["annotations"].get(APP_ADDRESS, doc["status"]["podIP"]),
                container["ports"][0]["containerPort"],
            ),
        )
    return found


def listening(found: dict[str, Workload]) -> list[Address]:
    """Every address where the demo's processes listen."""
    addresses = [XDS, METRICS, Address(found["web"].sidecar, LEDGER_FORWARD)]
    for workload in found.values():
        loop = Address(workload.sidecar, LOOP_PORT)
        addresses += [workload.program, workload.inbound, workload.proxy, loop]
    return addresses
