"""When one call of the scheduler went on, for whoever wants to know where its time went."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CallTimes:
    """Seconds of the monotonic clock, filled in by the scheduler as the call goes on.

    admitted: into the queue. started: its first batch; None where every value was known or shared. done: its last value.
    """

    admitted: float = 0.0
    started: float | None = None
    done: float = 0.0
