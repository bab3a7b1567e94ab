"""Intervals by bootstrap: the same number over items drawn again with replacement.

Source: Efron & Tibshirani 1993, percentile interval. The draws depend on the seed and the number of items alone, so
the values of two systems over the same items are paired: their difference is a paired bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError

Weights = NDArray[np.float64]
"""(N,) how often each item counts."""
Statistic = Callable[[Weights], float]
"""The number over all items, each counting so often."""


@dataclass(frozen=True)
class BootstrapOptions:
    """n_resamples: 0 gives no intervals. confidence: share of the resampled values that an interval holds."""

    n_resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_resamples < 0 or not 0 < self.confidence < 1:
            raise InputError(
                f"Bootstrap takes 0 or more resamples and a confidence between 0 and 1; got {self.n_resamples} and "
                f"{self.confidence}."
            )


def resampled_means(values: NDArray[np.float64], options: BootstrapOptions) -> NDArray[np.float64]:
    """Means over the items drawn: (N, M) values of N items to (R, M)."""
    return np.stack(list(_draws(len(values), options))) @ values / len(values)


def resampled(statistic: Statistic, n_items: int, options: BootstrapOptions) -> NDArray[np.float64]:
    """(R,) values of a statistic that is no mean; a draw that it cannot be taken of (InputError) gives NaN."""
    values = np.full(options.n_resamples, np.nan)
    for i, weights in enumerate(_draws(n_items, options)):
        try:
            values[i] = statistic(weights)
        except InputError:  # a draw of one class, or of equal values only
            continue
    return values


def interval(values: NDArray[np.float64], options: BootstrapOptions) -> tuple[float, float] | None:
    """The percentile interval of resampled values; None where fewer than half of them are there."""
    there = values[np.isfinite(values)]
    if len(there) == 0 or len(there) < len(values) / 2:
        return None
    tail = (1 - options.confidence) / 2
    low, high = np.quantile(there, [tail, 1 - tail])
    return float(low), float(high)


def _draws(n_items: int, options: BootstrapOptions) -> Iterator[Weights]:
    generator = np.random.default_rng(options.seed)
    for _ in range(options.n_resamples):
        yield np.bincount(generator.integers(0, n_items, n_items), minlength=n_items).astype(np.float64)
