"""Bitext mining: each sentence's nearest on the other side. Main metric: F1, as mteb reports it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from sememe.evaluation.datasets.records import BitextTask
from sememe.evaluation.metrics.classification import read_labels, weighted_f1
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import Found, ItemResult, TaskResult
from sememe.evaluation.searching import search
from sememe.evaluation.tasks.scoring import Origin, interval_metric, make_result, mean_intervals, origin_of
from sememe.evaluation.vectors import TaskVectors

MAIN = "f1"


def score(task: BitextTask, vectors: TaskVectors, options: EvaluationOptions) -> TaskResult:
    """The nearest second sentence of every first one.

    A second sentence that stands there twice is one; mteb counts its second place as another, and as an error.
    """
    started = time.perf_counter()
    rows = different(task.second)
    nearest = search(vectors["first"], vectors["second"][rows], [str(i + 1) for i in rows], 1, vectors.similarity)
    return score_nearest(task, [ranked[0] for ranked in nearest], origin_of(vectors), options, started)


def different(sentences: tuple[str, ...]) -> list[int]:
    """Where each different sentence stands first, ascending; its id is that place counted from 1."""
    return sorted(set(_first_places(sentences)))


def score_nearest(
    task: BitextTask, found: Sequence[Found], origin: Origin, options: EvaluationOptions, started: float
) -> TaskResult:
    """Judge the second sentence found for each first one, by its id (see `different`), whoever found it."""
    expected = [str(i + 1) for i in _first_places(task.second)]
    right = np.array([e == f.id for e, f in zip(expected, found, strict=True)], np.float64)
    labels = read_labels(expected, [f.id for f in found])
    metrics = (
        interval_metric(MAIN, lambda often: weighted_f1(labels, often), len(found), options.bootstrap),
        *mean_intervals(("accuracy",), right[:, None], options.bootstrap),
    )
    items = [
        ItemResult(str(i + 1), {"correct": float(r)}, (e,), (Found(f.id, f.score),))
        for i, (r, e, f) in enumerate(zip(right, expected, found, strict=True))
    ]
    return make_result(task, MAIN, metrics, items, origin, started)


def _first_places(texts: tuple[str, ...]) -> list[int]:
    """For each text the index at which it stands first."""
    first: dict[str, int] = {}
    return [first.setdefault(text, i) for i, text in enumerate(texts)]
