"""Metrics of labels and of scores for two classes, as scikit-learn computes them.

Weights say how often each item counts, which is what a bootstrap asks for; None is once.
Source of the conventions: scikit-learn 1.9 `accuracy_score`, `precision_recall_fscore_support(zero_division=0)` and
`average_precision_score` (no interpolation; equal scores are one threshold).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sememe.errors import InputError

Weights = NDArray[np.float64]


# ── labels ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Labels:
    """Expected and predicted labels as numbers (N,) into `classes`."""

    classes: tuple[str, ...]
    expected: NDArray[np.int64]
    predicted: NDArray[np.int64]


@dataclass(frozen=True)
class ClassScores:
    """Per class, in the order of `classes`: every array is (C,). support: how many are expected of each."""

    classes: tuple[str, ...]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.float64]
    n_predicted: NDArray[np.float64]


def read_labels(expected: Sequence[str], predicted: Sequence[str]) -> Labels:
    """Labels as numbers. Raises InputError for counts that differ or are 0."""
    _check(len(expected), len(predicted))
    classes = tuple(sorted(set(expected) | set(predicted)))
    place = {name: i for i, name in enumerate(classes)}
    return Labels(classes, *(np.array([place[x] for x in labels], np.int64) for labels in (expected, predicted)))


def class_scores(labels: Labels, weights: Weights | None = None) -> ClassScores:
    """Precision, recall and F1 of every class; what is undefined is 0."""
    n, e, p = len(labels.classes), labels.expected, labels.predicted
    often = np.ones(len(e)) if weights is None else weights
    support, n_predicted = (np.bincount(x, often, minlength=n).astype(np.float64) for x in (e, p))
    right = np.bincount(e[e == p], often[e == p], minlength=n).astype(np.float64)
    precision, recall = _divided(right, n_predicted), _divided(right, support)
    return ClassScores(
        labels.classes, precision, recall, _divided(2 * right, support + n_predicted), support, n_predicted
    )


def accuracy(labels: Labels, weights: Weights | None = None) -> float:
    """The share of labels that are right."""
    return float(np.average(labels.expected == labels.predicted, weights=weights))


def macro_f1(labels: Labels, weights: Weights | None = None) -> float:
    """The mean of F1 over the classes that are expected or predicted."""
    scores = class_scores(labels, weights)
    return float(scores.f1[scores.support + scores.n_predicted > 0].mean())


def weighted_f1(labels: Labels, weights: Weights | None = None) -> float:
    """The mean of F1 over the classes, each by how often it is expected."""
    scores = class_scores(labels, weights)
    return float(np.average(scores.f1, weights=scores.support))


# ── scores for two classes ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class SortedScores:
    """(N,) scores, highest first. order: where each stood. last: (G,) the last place of every group of equal scores."""

    scores: NDArray[np.float64]
    is_positive: NDArray[np.bool_]
    order: NDArray[np.int64]
    last: NDArray[np.int64]


@dataclass(frozen=True)
class BestThreshold:
    """The threshold on a score that gives the best value, and that value: a pair at or above it counts as positive."""

    value: float
    threshold: float


def sort_scores(is_positive: ArrayLike, scores: ArrayLike) -> SortedScores:
    """Scores (N,) with their truth (N,), sorted. Raises InputError for NaN, infinity and counts that differ or are 0."""
    truth, values = np.asarray(is_positive, bool), np.asarray(scores, np.float64)
    _check(len(truth), len(values))
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} scores are NaN or infinite; expected finite numbers.")
    order = np.argsort(-values, kind="stable")
    values = values[order]
    return SortedScores(values, truth[order], order, np.flatnonzero(np.append(np.diff(values) != 0, True)))


def average_precision(scores: SortedScores, weights: Weights | None = None) -> float:
    """Σ (recall_n − recall_n−1) · precision_n over the thresholds, highest first. Raises InputError without a positive."""
    taken, right = _cumulated(scores, weights)
    if not right[-1]:
        raise InputError("No pair is positive, so there is nothing to rank first; expected two classes.")
    steps = np.diff(right, prepend=0)
    return float((steps * _divided(right, taken)).sum() / right[-1])


def best_accuracy(scores: SortedScores, weights: Weights | None = None) -> BestThreshold:
    """The best accuracy over all thresholds, "nothing is positive" among them."""
    taken, right = _cumulated(scores, weights)
    n, n_negative = taken[-1], taken[-1] - right[-1]
    correct = right + n_negative - (taken - right)
    i = int(np.argmax(correct))
    if n_negative > correct[i]:
        return BestThreshold(float(n_negative / n), float("inf"))
    return BestThreshold(float(correct[i] / n), float(scores.scores[scores.last[i]]))


def best_f1(scores: SortedScores, weights: Weights | None = None) -> BestThreshold:
    """The best F1 of the positive class over all thresholds. Raises InputError without a positive."""
    taken, right = _cumulated(scores, weights)
    if not right[-1]:
        raise InputError("No pair is positive, so F1 is not defined; expected two classes.")
    values = 2 * right / (taken + right[-1])
    i = int(np.argmax(values))
    return BestThreshold(float(values[i]), float(scores.scores[scores.last[i]]))


def _cumulated(scores: SortedScores, weights: Weights | None) -> tuple[Weights, Weights]:
    """At each threshold how many have that score or more, and how many of those are positive."""
    often = np.ones(len(scores.order)) if weights is None else weights[scores.order]
    return np.cumsum(often)[scores.last], np.cumsum(often * scores.is_positive)[scores.last]


def _divided(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _check(n_expected: int, n_got: int) -> None:
    if n_expected != n_got or n_expected == 0:
        raise InputError(f"Metrics need as many answers as truths, at least one; got {n_got} and {n_expected}.")
