"""Whether two lists of numbers go together. Source: scipy 1.17 `stats.pearsonr`, `stats.spearmanr`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sememe.errors import InputError


def pearson(a: ArrayLike, b: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The linear correlation of (N,) and (N,), from −1 to 1. weights: (N,) how often each pair counts, else once.

    Raises InputError where one side is constant.
    """
    left, right, often = _pair(a, b, weights)
    return _correlation(left, right, often)


def spearman(a: ArrayLike, b: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Pearson's correlation of the ranks; equal values share the mean of their ranks. See `pearson`."""
    left, right, often = _pair(a, b, weights)
    return _correlation(ranks(left, often), ranks(right, often), often)


def ranks(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) places in ascending order, from 1; equal values share their mean place."""
    different, inverse = np.unique(values, return_inverse=True)
    counts = np.bincount(inverse, weights, minlength=len(different))
    ends = np.cumsum(counts)
    return ((ends - counts + 1 + ends) / 2)[inverse]


def _pair(
    a: ArrayLike, b: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    left, right = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if left.shape != right.shape or left.ndim != 1 or len(left) < 2:
        raise InputError(f"Correlation needs two lists of one length, 2 or more; got {left.shape} and {right.shape}.")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise InputError("Correlation needs finite numbers; a value is NaN or infinite.")
    return left, right, np.ones(len(left)) if weights is None else np.asarray(weights, np.float64)


def _correlation(left: NDArray[np.float64], right: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    counted = weights > 0
    if any((side[counted] == side[counted][0]).all() for side in (left, right)):
        raise InputError("One side of a correlation has the same value everywhere; it correlates with nothing.")
    left, right = (side - np.average(side, weights=weights) for side in (left, right))
    lengths = np.sqrt((weights * left) @ left) * np.sqrt((weights * right) @ right)
    if lengths == 0:
        raise InputError("One side of a correlation varies too little for its numbers; it correlates with nothing.")
    return float(np.clip((weights * left) @ right / lengths, -1, 1))
