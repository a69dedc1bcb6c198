"""Failures: an exception in a query is a memoised outcome that travels up to its readers.

A reader may catch `Failed` and do without (one bad route among ten). Failures are for bugs; a
user's mistake is a Problem in the value. What a client was last sent stays with whoever sent it.
"""

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from controlplane.graph.node import Node

DEPTH = 64
"""How many queries may run inside each other."""


class Cycle(Exception):
    """A query read itself, directly or through others; every query on the way fails, even one that
    catches, or the outcome would depend on where the pull began."""


class TooDeep(Exception):
    """More than `DEPTH` queries inside each other. Where the cut falls depends on where the pull
    began, so loops and chains that users can make are found in data and become Problems."""


class ReaderClosed(Exception):
    """A reader was used after its query had returned, from a generator or a closure."""


class Impure(Exception):
    """Audit found a value that can be mutated, or two values for the same reads."""


@dataclass(frozen=True, slots=True)
class Failure:
    """``error`` was raised in the query of ``node``; ``trace`` is its traceback as text."""

    node: "Node[Any]"
    error: BaseException
    trace: str = field(repr=False, compare=False)

    @property
    def cyclic(self) -> bool:
        """The node is a member of a cycle."""
        return isinstance(self.error, Cycle)

    def __str__(self) -> str:
        return f"{self.node}: {type(self.error).__name__}: {self.error}"

    def repeats(self, other: "Failure") -> bool:
        """It is the same failure again, for a reader. Cycles never are: a new member may join."""
        return self.node is other.node and not self.cyclic and str(self) == str(other)


class Failed(Exception):
    """A query that was read has no value; ``failure`` says where the trouble began."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def caught(node: "Node[Any]", error: BaseException) -> Failure:
    """Keep an error without the frames (and readers, rows, nodes) that its traceback holds."""
    trace = "".join(traceback.format_exception(error, limit=-20))
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return Failure(node, error, trace)
