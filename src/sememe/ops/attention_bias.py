"""Distances between positions, as both backends bias attention scores by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def relative_buckets(max_length: int, n_buckets: int, max_distance: int) -> NDArray[np.int32]:
    """Bucket of each distance key − query from −(max_length−1) to max_length−1: (2·max_length − 1,).

    Half of the buckets for keys behind the query, half for keys ahead; in each half the first half are exact
    distances, the rest grow logarithmically up to `max_distance`. The logarithm is taken in float32 and cut toward
    zero, which decides the bucket at the edges (16, 32, 64, …).
    Source: transformers 5.23 `MPNetEncoder.relative_position_bucket` and T5's.
    """
    distance = np.arange(-(max_length - 1), max_length)
    half = n_buckets // 2
    exact = half // 2
    ahead = np.where(distance > 0, half, 0)
    n = np.abs(distance)
    with np.errstate(divide="ignore"):
        ratio = np.log(n.astype(np.float32) / np.float32(exact)) / np.float32(np.log(max_distance / exact))
    far = exact + np.where(n > 0, ratio * np.float32(half - exact), 0).astype(np.int32)
    return (ahead + np.where(n < exact, n, np.minimum(far, half - 1))).astype(np.int32)
