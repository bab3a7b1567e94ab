"""Semantic textual similarity. Main metric: Spearman's correlation of the similarities with people's scores."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sememe.evaluation.datasets.records import StsTask
from sememe.evaluation.metrics.correlation import pearson, spearman
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import ItemResult, TaskResult
from sememe.evaluation.tasks.scoring import Origin, interval_metric, make_result, origin_of
from sememe.evaluation.vectors import TaskVectors
from sememe.similarity import similarity_pairwise

MAIN = "spearman"


def score(task: StsTask, vectors: TaskVectors, options: EvaluationOptions) -> TaskResult:
    """Compare each pair's vectors and the order of all pairs with the scores."""
    started = time.perf_counter()
    alike = similarity_pairwise(vectors["first"], vectors["second"], vectors.similarity)
    return score_similarities(task, alike, origin_of(vectors), options, started)


def score_similarities(
    task: StsTask, similarities: NDArray[np.float32], origin: Origin, options: EvaluationOptions, started: float
) -> TaskResult:
    """Judge (N,) similarities, one for each pair, whoever gave them."""
    alike = similarities.astype(np.float64)
    gold = np.array(task.scores)
    metrics = [
        interval_metric(function.__name__, partial(function, alike, gold), len(gold), options.bootstrap)
        for function in (spearman, pearson)
    ]
    items = [
        ItemResult(str(i + 1), {"similarity": float(a), "gold": float(g)})
        for i, (a, g) in enumerate(zip(alike, gold, strict=True))
    ]
    return make_result(task, MAIN, metrics, items, origin, started)
