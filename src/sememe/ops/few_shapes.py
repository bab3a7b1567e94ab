"""Few numbers of tokens in place of every number: a library that makes kernels for each new shape makes fewer."""

from __future__ import annotations

# So many numbers from one to its double, and none closer together than the step.
_PER_OCTAVE = 16
_LEAST_STEP = 4


def filled_up(n: int, largest_step: int) -> int:
    """The next of the few numbers; it is less than `largest_step`, a power of two, above n, and than a quarter of n or 4."""
    step = max(_LEAST_STEP, 1 << (max(n // _PER_OCTAVE, 1).bit_length() - 1))
    step = min(step, largest_step)
    return -(-n // step) * step
