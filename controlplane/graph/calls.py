"""The stack of running queries: depth, containment of exceptions, and cycles.

The members of a cycle are a strongly connected component of the reads (found as Tarjan does, by
the lowest frame that each frame reaches), and all of them fail, or the outcome would depend on
where the pull began. A finished member is *open* while the lowest frame it reaches still runs:
whoever reads it then joins the component.
"""

from typing import Any

from controlplane.graph.failure import DEPTH, Cycle, Failed, Failure, Impure, TooDeep, caught
from controlplane.graph.node import AnyNode
from controlplane.graph.query import Reader


class Calls:
    """Runs the functions of nodes inside each other. ``audit`` runs each twice and looks at the
    value; it is for tests."""

    __slots__ = ("_frames", "_lows", "_open", "audit", "verifying")

    def __init__(self, audit: bool = False) -> None:
        self.audit = audit
        self._frames: list[AnyNode] = []
        self._lows: list[int] = []
        """Per frame the lowest one it reaches; above its own index: no cycle so far."""
        self._open: dict[AnyNode, int] = {}
        self.verifying = 0
        """Nodes being verified on the way down: they count like frames, being read like them."""

    def __len__(self) -> int:
        return len(self._frames)

    def call(self, node: AnyNode, reader: Reader) -> tuple[Any, Failure | None]:
        """Run ``node``'s function. Never raises an Exception; lets KeyboardInterrupt through."""
        at = len(self._frames)
        if at + self.verifying >= DEPTH:
            return None, caught(node, TooDeep(f"more than {DEPTH} queries inside each other"))
        if at == 0 and self._open:
            self._open.clear()  # left by an interrupt that unwound a cycle half-way
        self._frames.append(node)
        self._lows.append(at + 1)
        value: Any = None
        failure: Failure | None = None
        try:
            value = node.query.function(reader, *node.args)
            if self.audit:
                audit(node, reader, value)
        except Failed as failed:
            failure = failed.failure
        except Exception as error:  # noqa: BLE001  # containment: a bug costs its own results only
            failure = caught(node, error)
        finally:
            self._frames.pop()
            low = self._lows.pop()
        if low <= at:
            failure = self._member(node, at, low)
        return value, failure

    def too_deep(self) -> bool:
        """Whether the node now being verified is further down than any may be."""
        return len(self._frames) + self.verifying > DEPTH

    def close(self, node: AnyNode) -> Failed:
        """``node`` is running and was read again: a cycle from its frame to the top. Raise this."""
        at = self._frames.index(node)
        self._join(at)
        way = " -> ".join(map(str, (*self._frames[at:], node)))
        return Failed(Failure(node, Cycle(way), ""))

    def failed(self, node: AnyNode) -> Failed:
        """What reading a failed node raises; joins its component if that is open."""
        if self._open and (low := self._open.get(node)) is not None:
            self._join(low)
        assert node.failure is not None
        return Failed(node.failure)

    def _join(self, low: int) -> None:
        lows = self._lows
        for at in range(low, len(lows)):
            lows[at] = min(lows[at], low)

    def _member(self, node: AnyNode, at: int, low: int) -> Failure:
        open_ = self._open
        if low == at:
            for member in [member for member, reached in open_.items() if reached >= at]:
                del open_[member]
        else:
            for member, reached in open_.items():
                if reached > low:
                    open_[member] = low
            open_[node] = low
        return Failure(node, Cycle(f"{node} reads itself through other queries"), "")


_MUTABLE = (list, dict, set, bytearray)


def audit(node: AnyNode, reader: Reader, value: Any) -> None:
    """Raise Impure if ``value`` can be mutated or differs on a second run with the same reads."""
    if (found := mutable(value)) is not None:
        raise Impure(f"{node} returns a {type(found).__name__}, which can be changed later")
    again = node.query.function(reader, *node.args)
    if type(again) is not type(value) or again != value:
        raise Impure(f"{node} gives {value!r}, then {again!r}")


def mutable(value: Any) -> Any:
    """The first mutable container in a value of tuples, frozen sets and slotted dataclasses."""
    if isinstance(value, _MUTABLE):
        return value
    if isinstance(value, (tuple, frozenset)):
        parts: list[Any] = list(value)
    else:
        parts = [getattr(value, name, None) for name in getattr(value, "__dataclass_fields__", ())]
    return next((found for part in parts if (found := mutable(part)) is not None), None)
