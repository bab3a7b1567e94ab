"""How many requests a second one caller may send: a token bucket for each."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

# Callers that are remembered: whoever has been away for longest is forgotten, which gives it a full bucket.
_KEPT = 10_000


class RateLimit:
    """A bucket holds the requests of one second (at least one), is full at first, and fills at the rate.

    Not for several threads: the event loop asks.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        """per_second: requests of one caller. clock: seconds."""
        self._rate, self._size, self._clock = per_second, max(1.0, per_second), clock
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def take(self, caller: bytes) -> float:
        """0.0 if the caller may send this request, which is then counted; else the seconds until one may be sent."""
        now = self._clock()
        level, since = self._buckets.get(caller, (self._size, now))
        level = min(self._size, level + (now - since) * self._rate)
        seconds = 0.0 if level >= 1 else (1 - level) / self._rate
        self._buckets[caller] = (level - 1 if not seconds else level, now)
        self._buckets.move_to_end(caller)
        if len(self._buckets) > _KEPT:
            self._buckets.popitem(last=False)
        return seconds
