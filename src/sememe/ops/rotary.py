"""Frequencies of rotary positions, as both backends turn queries and keys by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sememe.ops import Rotary


def rotary_frequencies(rotary: Rotary, lengths: NDArray[np.integer]) -> NDArray[np.float32]:
    """What each token's position is multiplied by: (rotated / 2,), or (T, rotated / 2) where the length decides it.

    lengths: (B,) tokens of each sequence of the batch.
    """
    if rotary.by_length is None:
        return rotary.inverse_frequencies
    return np.repeat(np.stack([rotary.by_length(int(n)) for n in lengths]), lengths, axis=0)
