"""What the tasks share: where a result's numbers come from, and how they become a `TaskResult`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sememe.evaluation.bootstrap import BootstrapOptions, Statistic, interval, resampled, resampled_means
from sememe.evaluation.datasets.records import Task
from sememe.evaluation.kinds import TaskEmbeddings
from sememe.evaluation.records import Counts, ItemResult, Metric, Seconds, TaskResult
from sememe.evaluation.vectors import TaskVectors


@dataclass(frozen=True)
class Origin:
    """Which system gave what is scored: a model's vectors, a reranker's scores, or a lexical index."""

    model: str
    revision: str
    fingerprint: str
    n_texts: int = 0
    n_tokens: int = 0
    n_truncated: int = 0
    seconds: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)


def origin_of(vectors: TaskVectors | TaskEmbeddings) -> Origin:
    """That of vectors, or of other kinds of embeddings."""
    return Origin(
        vectors.model,
        vectors.revision,
        vectors.fingerprint,
        vectors.n_texts,
        vectors.n_tokens,
        vectors.n_truncated,
        vectors.seconds,
    )


def mean_intervals(names: Sequence[str], values: NDArray[np.float64], options: BootstrapOptions) -> tuple[Metric, ...]:
    """Metrics that are means over items, (N, M) values, with their intervals."""
    means = values.mean(axis=0)
    if options.n_resamples == 0:
        return tuple(Metric(name, float(mean)) for name, mean in zip(names, means, strict=True))
    drawn = resampled_means(values, options)
    return tuple(
        Metric(name, float(means[i]), *(interval(drawn[:, i], options) or (None, None))) for i, name in enumerate(names)
    )


def interval_metric(name: str, statistic: Statistic, n_items: int, options: BootstrapOptions) -> Metric:
    """A metric that is no mean over items, with its interval."""
    value = statistic(np.ones(n_items))
    if options.n_resamples == 0:
        return Metric(name, value)
    bounds = interval(resampled(statistic, n_items, options), options)
    return Metric(name, value, *(bounds or (None, None)))


def make_result(
    task: Task,
    main: str,
    metrics: Sequence[Metric],
    items: Sequence[ItemResult],
    origin: Origin,
    started: float,
    *,
    settings: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> TaskResult:
    """The result; `started` is when scoring began (`time.perf_counter`)."""
    return TaskResult(
        kind=task.kind,
        name=task.name,
        main=main,
        metrics=tuple(metrics),
        model=origin.model,
        revision=origin.revision,
        fingerprint=origin.fingerprint,
        counts=Counts(len(items), origin.n_texts, origin.n_tokens, origin.n_truncated),
        seconds=Seconds(origin.seconds, time.perf_counter() - started),
        items=tuple(items),
        notes=(*task.notes, *notes),
        settings={**origin.settings, **(settings or {})},
    )
