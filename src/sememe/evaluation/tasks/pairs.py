"""Pair classification: is a pair alike? Main metric: average precision of the similarity, as mteb reports it."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from sememe.evaluation.datasets.records import PairTask
from sememe.evaluation.metrics.classification import average_precision, best_accuracy, best_f1, sort_scores
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import ItemResult, Metric, TaskResult
from sememe.evaluation.tasks.scoring import Origin, interval_metric, make_result, origin_of
from sememe.evaluation.vectors import TaskVectors
from sememe.similarity import similarity_pairwise

MAIN = "average_precision"


def score(task: PairTask, vectors: TaskVectors, options: EvaluationOptions) -> TaskResult:
    """Rank all pairs by similarity; accuracy and F1 are those of the best threshold, which is itself given."""
    started = time.perf_counter()
    alike = similarity_pairwise(vectors["first"], vectors["second"], vectors.similarity)
    return score_similarities(task, alike, origin_of(vectors), options, started)


def score_similarities(
    task: PairTask, similarities: NDArray[np.float32], origin: Origin, options: EvaluationOptions, started: float
) -> TaskResult:
    """Judge (N,) similarities, one for each pair, whoever gave them."""
    alike = similarities.astype(np.float64)
    truth, n = np.array(task.is_positive), len(task.is_positive)
    scores = sort_scores(truth, alike)
    thresholds = {"accuracy": best_accuracy(scores).threshold, "f1": best_f1(scores).threshold}
    metrics = (
        interval_metric(MAIN, lambda often: average_precision(scores, often), n, options.bootstrap),
        interval_metric("accuracy", lambda often: best_accuracy(scores, often).value, n, options.bootstrap),
        interval_metric("f1", lambda often: best_f1(scores, often).value, n, options.bootstrap),
        *(Metric(f"{name}_threshold", value) for name, value in thresholds.items() if np.isfinite(value)),
    )
    items = [
        ItemResult(str(i + 1), {"similarity": float(a), "gold": float(t)})
        for i, (a, t) in enumerate(zip(alike, truth, strict=True))
    ]
    return make_result(task, MAIN, metrics, items, origin, started)
