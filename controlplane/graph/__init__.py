"""The query engine: memoised pure queries over a world of rows, with recorded dependencies.

It knows nothing of meshes. `Graph` is the whole interface; `query` and `Reader` are what a query
function needs; `Overlay` asks what would be.
"""

from controlplane.graph.explain import Step
from controlplane.graph.failure import Cycle, Failed, Failure, Impure, ReaderClosed, TooDeep
from controlplane.graph.graph import Change, Graph
from controlplane.graph.metrics import Metrics
from controlplane.graph.node import ABSENT, AnyNode, Node
from controlplane.graph.overlay import Overlay, Stale
from controlplane.graph.query import AnyQuery, Query, Reader, query

__all__ = [
    "ABSENT",
    "AnyNode",
    "AnyQuery",
    "Change",
    "Cycle",
    "Failed",
    "Failure",
    "Graph",
    "Impure",
    "Metrics",
    "Node",
    "Overlay",
    "Query",
    "Reader",
    "ReaderClosed",
    "Stale",
    "Step",
    "TooDeep",
    "query",
]
