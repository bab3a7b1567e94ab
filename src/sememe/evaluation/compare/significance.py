"""Which differences are real.

Paired randomisation: if two systems were the same, each query's difference could as well have had the other sign; p is
the share of random signs that give as large a mean difference. Holm's step-down adjusts for the number of comparisons.
Sources: Smucker, Allan & Carterette 2007, "A Comparison of Statistical Significance Tests for Information Retrieval
Evaluation"; Holm 1979.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sememe.evaluation.bootstrap import BootstrapOptions, interval, resampled_means
from sememe.evaluation.compare.records import Difference

Values = NDArray[np.float64]

_SIGNS_AT_ONCE = 2_000


def p_values(differences: Sequence[Values], n_permutations: int, seed: int) -> Values:
    """(S,) two-sided p of S systems' mean differences; each task's (N, S) are flipped by query, and tasks weigh alike.

    (1 + as large ones) / (1 + permutations), which is never 0.
    """
    rng = np.random.default_rng(seed)
    observed = np.abs(np.mean([task.mean(axis=0) for task in differences], axis=0))
    larger = np.zeros(len(observed))
    left = n_permutations
    while left:
        n = min(left, _SIGNS_AT_ONCE)
        drawn = np.zeros((n, len(observed)))
        for task in differences:
            signs = rng.integers(0, 2, (n, len(task))) * 2.0 - 1
            drawn += signs @ task / len(task) / len(differences)
        # A hair below, so that the same sum in another order counts as as large.
        larger += (np.abs(drawn) >= observed - 1e-12).sum(axis=0)
        left -= n
    return (1 + larger) / (1 + n_permutations)


def holm(p: Values) -> Values:
    """(S,) adjusted p: in rising order, p times the number of hypotheses left, never falling, at most 1."""
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    found = np.empty(len(p))
    found[order] = np.minimum(adjusted, 1)
    return found


def against_best(
    task: str,
    values: Mapping[str, Sequence[Values]],
    *,
    n_permutations: int,
    alpha: float,
    bootstrap: BootstrapOptions,
) -> tuple[Difference, ...]:
    """Every system against the one with the highest mean. values: system to its per-item values in each task, (N,).

    The best is chosen by the same data, so that differences to it are a little larger than they would be elsewhere.
    """
    if len(values) < 2:
        return ()
    names = list(values)
    means = {name: float(np.mean([task.mean() for task in values[name]])) for name in names}
    best = max(names, key=means.__getitem__)
    others = [name for name in names if name != best]
    tasks = range(len(values[best]))
    differences = [np.stack([values[name][t] - values[best][t] for name in others], axis=1) for t in tasks]
    p = p_values(differences, n_permutations, bootstrap.seed)
    adjusted = holm(p)
    drawn = np.mean([resampled_means(task, bootstrap) for task in differences], axis=0)
    found = []
    for i, name in enumerate(others):
        value = means[name] - means[best]
        low, high = interval(drawn[:, i], bootstrap) or (value, value)
        is_real = bool(adjusted[i] < alpha)
        found.append(Difference(task, name, best, value, low, high, float(p[i]), float(adjusted[i]), is_real))
    return tuple(found)
