"""Classification of vectors: logistic regression, and the nearest neighbours. Main metric: accuracy of the former."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sememe.evaluation.datasets.records import ClassificationTask
from sememe.evaluation.metrics.classification import accuracy, macro_f1, read_labels
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import Found, ItemResult, Metric, TaskResult
from sememe.evaluation.searching import search
from sememe.evaluation.tasks.linear import fit
from sememe.evaluation.tasks.scoring import interval_metric, make_result, mean_intervals, origin_of
from sememe.evaluation.vectors import TaskVectors

MAIN = "accuracy"


def score(task: ClassificationTask, vectors: TaskVectors, options: EvaluationOptions) -> TaskResult:
    """Learn from the vectors of the train texts, tell the labels of the others."""
    if options.n_per_label is not None:
        return _score_rounds(task, vectors, options, options.n_per_label)
    started = time.perf_counter()
    linear = fit(vectors["train"], task.train_labels).predict(vectors["test"])
    near = nearest_labels(vectors, task.train_labels, options.n_neighbours)
    metrics = (*_metrics(task.labels, linear, "", options), *_metrics(task.labels, near, "knn_", options))
    items = [
        ItemResult(str(i + 1), {"correct": float(e == a), "knn_correct": float(e == b)}, (e,), (Found(a, 1.0),))
        for i, (e, a, b) in enumerate(zip(task.labels, linear, near, strict=True))
    ]
    settings = {"classifier": "logistic regression, C=1", "neighbours": str(options.n_neighbours)}
    return make_result(task, MAIN, metrics, items, origin_of(vectors), started, settings=settings)


def _score_rounds(
    task: ClassificationTask, vectors: TaskVectors, options: EvaluationOptions, n_per_label: int
) -> TaskResult:
    """mteb's protocol: a few texts of each label, several times; the mean. An item is right in a share of the rounds."""
    started = time.perf_counter()
    generator = np.random.default_rng(options.seed)
    rounds, f1 = [], []
    for _ in range(options.n_rounds):
        rows = sample_rows(task.train_labels, n_per_label, generator)
        learnt = fit(vectors["train"][rows], [task.train_labels[i] for i in rows])
        predicted = learnt.predict(vectors["test"])
        rounds.append([float(e == p) for e, p in zip(task.labels, predicted, strict=True)])
        f1.append(macro_f1(read_labels(task.labels, predicted)))
    right = np.mean(rounds, axis=0)
    metrics = (*mean_intervals((MAIN,), right[:, None], options.bootstrap), Metric("macro_f1", float(np.mean(f1))))
    items = [
        ItemResult(str(i + 1), {"correct": float(r)}, (e,))
        for i, (r, e) in enumerate(zip(right, task.labels, strict=True))
    ]
    settings = {"classifier": f"logistic regression, {n_per_label} texts a label, {options.n_rounds} rounds"}
    return make_result(task, MAIN, metrics, items, origin_of(vectors), started, settings=settings)


def nearest_labels(vectors: TaskVectors, labels: Sequence[str], k: int) -> list[str]:
    """The commonest label among each test vector's k nearest; of equally common ones the nearest one's."""
    ids = [f"{i:09d}" for i in range(len(labels))]
    found = search(vectors["test"], vectors["train"], ids, k, vectors.similarity)
    return [_commonest([labels[int(f.id)] for f in ranked]) for ranked in found]


def _commonest(labels: list[str]) -> str:
    return Counter(labels).most_common(1)[0][0]  # of equal counts the one met first, which is the nearest


def _metrics(
    expected: Sequence[str], predicted: Sequence[str], prefix: str, options: EvaluationOptions
) -> tuple[Metric, ...]:
    labels, n = read_labels(expected, predicted), len(expected)
    return (
        interval_metric(f"{prefix}accuracy", lambda often: accuracy(labels, often), n, options.bootstrap),
        interval_metric(f"{prefix}macro_f1", lambda often: macro_f1(labels, often), n, options.bootstrap),
    )


def sample_rows(labels: Sequence[str], n: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Indices of n texts of each label, of all where there are fewer."""
    places = np.array(labels)
    rows = [np.flatnonzero(places == label) for label in sorted(set(labels))]
    return np.concatenate([generator.permutation(some)[:n] for some in rows])
