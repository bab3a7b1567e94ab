"""When one call of the scheduler went on, for whoever wants to know where its time went."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CallTimes:
    """Seconds of the monotonic clock, filled in by the scheduler as the call goes on.

    admitted: into the queue. started: its first batch; None where every value was known or shared. done: its last value.
    tokenizing, computing: seconds in which some of its inputs were tokenized, or were on the device.
    """

    admitted: float = 0.0
    started: float | None = None
    done: float = 0.0
    tokenizing: float = 0.0
    computing: float = 0.0

    @property
    def waiting(self) -> float:
        """Seconds in which none of its inputs was tokenized or on the device."""
        return max(0.0, self.done - self.admitted - self.tokenizing - self.computing)
