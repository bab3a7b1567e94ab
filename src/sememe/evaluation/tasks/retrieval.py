"""Retrieval: every query against every document. Main metric nDCG@10, as BEIR and mteb report it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sememe.errors import InputError
from sememe.evaluation.datasets.records import RerankingTask, RetrievalTask
from sememe.evaluation.metrics.ranking import MAIN_CUT, judge, metric_names, query_metrics
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import Found, ItemResult, TaskResult
from sememe.evaluation.searching import search
from sememe.evaluation.tasks.scoring import Origin, make_result, mean_intervals, origin_of
from sememe.evaluation.vectors import TaskVectors

MAIN = f"ndcg@{MAIN_CUT}"


def score(task: RetrievalTask, vectors: TaskVectors, options: EvaluationOptions) -> TaskResult:
    """Rank all documents for each query by their vectors and judge the ranking."""
    started = time.perf_counter()
    n = max(options.all_cuts)
    rankings = search(vectors["queries"], vectors["documents"], task.document_ids, n, vectors.similarity)
    return score_rankings(task, rankings, origin_of(vectors), options, started=started)


def score_rankings(
    task: RetrievalTask | RerankingTask,
    rankings: Sequence[Sequence[Found]],
    origin: Origin,
    options: EvaluationOptions,
    *,
    main: str = MAIN,
    started: float | None = None,
) -> TaskResult:
    """Judge rankings, one for each query of the task and best first, whoever made them."""
    started = time.perf_counter() if started is None else started
    if len(rankings) != len(task.queries):
        raise InputError(f"{task.name} has {len(task.queries)} queries; {len(rankings)} rankings were given.")
    cuts = options.all_cuts
    items = []
    for query_id, ranked in zip(task.query_ids, rankings, strict=True):
        judgements = task.qrels[query_id]
        values = query_metrics(judge([found.id for found in ranked], judgements), cuts)
        shown = tuple(replace(found, grade=judgements.get(found.id)) for found in ranked[: options.n_found])
        expected = tuple(name for name, grade in judgements.items() if grade >= 1)
        items.append(ItemResult(query_id, values, expected, shown))
    names = metric_names(cuts)
    table = np.array([[item.values[name] for name in names] for item in items])
    metrics = mean_intervals(names, table, options.bootstrap)
    return make_result(task, main, metrics, items, origin, started)
