"""When Python's collector of cyclic garbage runs.

Almost everything is freed by count. A change that goes to a thousand streams makes some ten
thousand objects for a moment, and a collection in the middle walks all of them for nothing. So
the collector runs by time instead, on what has stayed.
"""

import gc

BACKSTOP = 100_000
"""Young objects at which Python collects by itself after all."""
STAYED = 2_000
"""Young objects that are still there after `WINDOW` and worth a collection."""
MANY = 50_000
"""Young objects that are collected at once: some 15 ms."""
WINDOW = 8
"""Ticks."""
OLDER, FULL = 10, 500
"""Young collections to one of the middle generation, and to a full one."""


class Collector:
    """``settle`` once when everything is loaded, then ``tick`` some times each second."""

    def __init__(self) -> None:
        self._ticks = 0
        self._least = MANY
        self._done = 0

    def settle(self) -> None:
        """What was loaded stays: keep the collector off it."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(BACKSTOP, OLDER, FULL)

    def tick(self) -> None:
        """Collect if it is worth it."""
        young = gc.get_count()[0]
        self._ticks += 1
        self._least = min(self._least, young)
        if young < MANY:
            if self._ticks < WINDOW:
                return
            least, self._least, self._ticks = self._least, MANY, 0
            if least < STAYED:
                return
        self._least, self._ticks = MANY, 0
        self._done += 1
        gc.collect(2 if self._done % FULL == 0 else 1 if self._done % OLDER == 0 else 0)
