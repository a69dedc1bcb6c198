"""When Python's collector of cyclic garbage runs.

Almost everything is freed by count. A change that goes to a thousand streams makes some ten
thousand objects for a moment, and a collection in the middle walks all of them for nothing. So
the collector runs by time instead, on what has stayed. And it walks what is young alone, because
it stops everything meanwhile: what it has once found to live is kept off it, or a fleet that
starts would be walked again and again, a tenth of a second each time. Only when what lives has
doubled, and nothing is going on, all of it is walked once.
"""

import gc

BACKSTOP = 30_000
"""Young objects at which Python collects by itself after all: some 9 ms."""
STAYED = 2_000
"""Young objects that are still there after `WINDOW` and worth a collection."""
MANY = 20_000
"""Young objects that are collected at once."""
WINDOW = 8
"""Ticks."""
NEVER = 1 << 30
"""Young collections to one of an older generation, in which nothing stays."""
FLOOR = 500_000
"""Objects that have come since everything was walked, and are too few to walk it again."""


class Collector:
    """``settle`` once when everything is loaded, then ``tick`` some times each second."""

    def __init__(self, floor: int = FLOOR) -> None:
        self._floor = floor
        self._ticks = 0
        self._least = MANY
        self._own = 0
        self._walked = 0
        """What lived when all was walked."""
        self._came = 0
        """How much was found to live since then, at the most."""

    def settle(self) -> None:
        """What was loaded stays: keep the collector off it."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        gc.set_threshold(BACKSTOP, NEVER, NEVER)
        self._walked, self._came = gc.get_freeze_count(), 0
        self._own = gc.get_count()[1]

    def tick(self) -> None:
        """Collect if it is worth it."""
        young, ran, _ = gc.get_count()
        ran -= self._own  # of the young collections, those that Python began
        self._ticks += 1
        self._least = min(self._least, young)
        if young < MANY and not ran:
            if self._ticks < WINDOW:
                return
            least, self._least, self._ticks = self._least, MANY, 0
            if least < STAYED:
                if self._came > max(self._floor, self._walked):
                    self._weigh()
                return
        self._least, self._ticks = MANY, 0
        self._came += young + ran * BACKSTOP
        gc.collect(0)
        gc.freeze()
        self._own = gc.get_count()[1]

    def _weigh(self) -> None:
        """Nothing is going on: walk everything if there is twice as much of it."""
        self._came = gc.get_freeze_count() - self._walked
        if self._came > max(self._floor, self._walked):
            self.settle()
