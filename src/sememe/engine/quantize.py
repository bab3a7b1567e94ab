"""Dense vectors in smaller numbers, by sentence-transformers' definitions.

Source: sentence-transformers 6.2 `util.quantize_embeddings`; a test compares bit for bit.
"""

from __future__ import annotations

import logging
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError
from sememe.records import OutputDtype

logger = logging.getLogger(__name__)

_FEW = 100  # below this many calibration vectors the reference warns, and so do we


def quantize_embeddings(
    embeddings: NDArray[np.float32],
    precision: OutputDtype,
    ranges: NDArray[np.float32] | None = None,
    calibration_embeddings: NDArray[np.float32] | None = None,
) -> NDArray[Any]:
    """(N, D) float32 as another type.

    float16: rounded. int8, uint8: 256 steps between each dimension's smallest and largest value, taken from `ranges`
    (2, D), else from the calibration embeddings, else from `embeddings` themselves. binary, ubinary: value > 0, eight
    to a byte, (N, ceil(D/8)) as int8 (the byte − 128) or uint8. Raises InputError for another name.
    """
    if precision == "float32":
        return embeddings
    if precision == "float16":
        return embeddings.astype(np.float16)
    if precision in ("binary", "ubinary"):
        packed = np.packbits(embeddings > 0, axis=-1)
        return packed if precision == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
    if precision not in ("int8", "uint8"):
        raise InputError(f"dtype {precision!r} is not one of {', '.join(get_args(OutputDtype))}.")
    if len(embeddings) == 0:
        return np.empty(embeddings.shape, precision)
    if ranges is None:
        ranges = value_ranges(embeddings if calibration_embeddings is None else calibration_embeddings)
    return to_steps(embeddings, ranges, precision)


def value_ranges(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2, D): the smallest and the largest value of each dimension. Warns below 100 vectors: they say little."""
    if len(embeddings) < 2:
        n = "one vector" if len(embeddings) else "no vectors"
        raise InputError(
            f"int8 and uint8 need vectors to take the value ranges from; got {n}. Pass ranges=, or more vectors."
        )
    if len(embeddings) < _FEW:
        logger.warning(
            "value ranges for int8 come from only %d vectors; pass ranges= or calibration vectors", len(embeddings)
        )
    return np.stack([embeddings.min(0), embeddings.max(0)])


def to_steps(embeddings: NDArray[np.float32], ranges: NDArray[np.float32], precision: OutputDtype) -> NDArray[Any]:
    """(N, D) in 256 steps of each dimension's range; a dimension without extent becomes its lowest step."""
    steps = (ranges[1] - ranges[0]) / 255
    steps = np.where(steps == 0, 1, steps)
    scaled = np.clip(np.floor((embeddings - ranges[0]) / steps), 0, 255)
    return scaled.astype(np.uint8) if precision == "uint8" else (scaled - 128).astype(np.int8)
