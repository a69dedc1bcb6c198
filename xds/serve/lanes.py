"""Flow control of one type on one stream: which lane a response takes and what is in flight.

*Configuration*: changes wait until the previous response is answered, so that the newest version
wins. *On demand*: answers and endpoints, several in flight, because Envoy withholds the ACK of a
CDS response while any of its clusters warms and nobody else may wait for that.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from xds.serve.delta import Batch

WINDOW: Final = 32
"""Responses of one type in flight per lane."""
TRIALS: Final = 8
"""Trials in flight on a stream: the halves of a large batch are cut one after another, each from
what is wished by then."""


class Lane(IntEnum):
    """How urgent a resource is. A waiting resource keeps the higher lane it was once given."""

    CONFIG = 0
    """Changes: one outstanding response per type, newest wins. Additions need no ACK before them,
    up to `WINDOW`."""
    DEMAND = 1
    """Answers on demand and what they need, endpoints: up to `WINDOW` in flight."""


class Flight(NamedTuple):
    """A response that the client has neither accepted nor rejected yet."""

    batch: Batch
    nonce: str
    lane: Lane
    trial: bool = False
    cut_at: float = 0.0
    """When it was cut, by the session's clock."""
