"""Logistic regression as scikit-learn 1.9 defines it (L2, C = 1, intercept not penalised), fitted by L-BFGS.

The problem is strictly convex in the weights, so two solvers that converge agree. Two classes have one weight vector,
more have one each, as there. Source of the solver: Nocedal & Wright 2006, algorithms 7.4 and 3.5.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
Objective = Callable[[Array], tuple[float, Array]]

_MEMORY = 10  # pairs of steps that L-BFGS keeps
_ARMIJO, _CURVATURE = 1e-4, 0.9


@dataclass(frozen=True)
class LinearClassifier:
    """weights: (C, D + 1), the intercept last; (1, D + 1) for two classes."""

    classes: tuple[str, ...]
    weights: Array

    def predict(self, vectors: NDArray[np.float32]) -> list[str]:
        """A label for each vector (N, D)."""
        scores = vectors.astype(np.float64) @ self.weights[:, :-1].T + self.weights[:, -1]
        best = scores[:, 0] > 0 if len(self.classes) == 2 else scores.argmax(1)
        return [self.classes[int(i)] for i in best]


def fit(
    vectors: NDArray[np.float32],
    labels: Sequence[str],
    *,
    c: float = 1.0,
    max_steps: int = 1000,
    tolerance: float = 1e-4,
) -> LinearClassifier:
    """Learn labels from vectors (N, D). tolerance: on the largest slope of the mean loss, as there.

    Raises InputError for one class only.
    """
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise InputError(f"Every text to learn from has the label {classes[0]!r}; two are needed at least.")
    place = {name: i for i, name in enumerate(classes)}
    truth = np.array([place[label] for label in labels])
    features = np.hstack([vectors.astype(np.float64), np.ones((len(vectors), 1))])
    n_rows = 1 if len(classes) == 2 else len(classes)
    loss = _binary(features, truth, c) if n_rows == 1 else _multinomial(features, truth, len(classes), c)
    found = minimize(loss, np.zeros(n_rows * features.shape[1]), max_steps=max_steps, tolerance=tolerance)
    return LinearClassifier(classes, found.reshape(n_rows, -1))


def _multinomial(features: Array, truth: NDArray[np.int64], n_classes: int, c: float) -> Objective:
    n, rows = len(features), np.arange(len(features))

    def objective(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(n_classes, -1)
        scores = features @ weights.T
        scores -= scores.max(1, keepdims=True)
        at_truth = scores[rows, truth]
        shares = np.exp(scores)
        sums = shares.sum(1)
        loss = (np.log(sums) - at_truth).sum() / n
        shares /= sums[:, None]
        shares[rows, truth] -= 1
        return _penalised(loss, shares.T @ features / n, weights, c * n)

    return objective


def _binary(features: Array, truth: NDArray[np.int64], c: float) -> Objective:
    n, signs = len(features), np.where(truth == 1, 1.0, -1.0)

    def objective(flat: Array) -> tuple[float, Array]:
        margins = signs * (features @ flat)
        loss = np.logaddexp(0, -margins).sum() / n
        slopes = -signs / (1 + np.exp(np.clip(margins, -500, 500)))
        return _penalised(loss, (slopes @ features / n)[None], flat[None], c * n)

    return objective


def _penalised(loss: float, slope: Array, weights: Array, strength: float) -> tuple[float, Array]:
    free = weights.copy()
    free[:, -1] = 0  # the intercept
    return loss + 0.5 * float(np.square(free).sum()) / strength, (slope + free / strength).ravel()


def minimize(objective: Objective, start: Array, *, max_steps: int, tolerance: float) -> Array:
    """The argument of a smooth convex function's minimum, by L-BFGS; a warning where the steps do not suffice."""
    x, (value, slope) = start, objective(start)
    steps: list[Array] = []
    changes: list[Array] = []
    for _ in range(max_steps):
        if np.abs(slope).max() <= tolerance:
            return x
        direction = _direction(slope, steps, changes)
        length = 1.0 if steps else 1.0 / max(float(np.linalg.norm(slope)), 1e-12)
        found = _search_line(objective, x, value, slope, direction, length)
        if found is None:  # the floats have no smaller value
            return x
        new_x, value, new_slope = found
        if (new_x - x) @ (new_slope - slope) > 1e-14:
            steps, changes = [*steps, new_x - x][-_MEMORY:], [*changes, new_slope - slope][-_MEMORY:]
        x, slope = new_x, new_slope
    logger.warning("logistic regression has not converged in %d steps; its accuracy may be a little lower", max_steps)
    return x


def _direction(slope: Array, steps: Sequence[Array], changes: Sequence[Array]) -> Array:
    """Downhill, by the two-loop recursion."""
    q, shares = slope.copy(), []
    for step, change in zip(reversed(steps), reversed(changes), strict=True):
        share = (step @ q) / (step @ change)
        q -= share * change
        shares.append(share)
    if steps:
        q *= (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for step, change, share in zip(steps, changes, reversed(shares), strict=True):
        q += (share - (change @ q) / (step @ change)) * step
    return -q


def _search_line(
    objective: Objective, x: Array, value: float, slope: Array, direction: Array, length: float
) -> tuple[Array, float, Array] | None:
    """A step that satisfies the weak Wolfe conditions, by bisection; None where no length is better."""
    downhill = float(slope @ direction)
    low, high = 0.0, float("inf")
    for _ in range(40):
        there = x + length * direction
        new_value, new_slope = objective(there)
        if new_value > value + _ARMIJO * length * downhill:
            high = length
        elif new_slope @ direction < _CURVATURE * downhill:
            low = length
        else:
            return there, new_value, new_slope
        length = (low + high) / 2 if np.isfinite(high) else 2 * length
    return None
