"""What live answers are read from: every stateful part of a running control plane, by name."""

from dataclasses import dataclass

from controlplane.app.pipeline import Pipeline
from controlplane.app.secrets import Secrets
from controlplane.app.settings import Settings
from controlplane.graph import Graph
from controlplane.identity.clock import Clock
from controlplane.identity.leaves import Leaves
from controlplane.identity.state import IdentityState
from controlplane.rollout.delivery import Delivery
from controlplane.rollout.edge import Edge
from controlplane.rollout.learnt import Learnt
from controlplane.rollout.signal import Signal
from controlplane.rollout.verdicts import Verdicts
from controlplane.sources.files import FilesSource


@dataclass(frozen=True, slots=True)
class LiveParts:
    settings: Settings
    graph: Graph
    edge: Edge
    learnt: Learnt
    pipeline: Pipeline
    source: FilesSource
    keys: IdentityState
    leaves: Leaves
    secrets: Secrets
    verdicts: Verdicts
    delivery: Delivery
    signal: Signal
    clock: Clock
