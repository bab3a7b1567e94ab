"""Clustering by k-means into as many clusters as there are labels. Main metric: V-measure.

Lloyd's algorithm from greedy k-means++ seeds, several times; the tightest is taken. Source: Arthur & Vassilvitskii 2007
and scikit-learn 1.9 `KMeans` (2 + ln k tries for a seed, an empty cluster gets the farthest point).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError
from sememe.evaluation.datasets.records import ClusteringTask
from sememe.evaluation.metrics.clustering import ClusterAgreement, cluster_agreement
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import ItemResult, TaskResult
from sememe.evaluation.tasks.scoring import interval_metric, make_result, origin_of
from sememe.evaluation.vectors import TaskVectors

MAIN = "v_measure"
_N_STARTS = 10
_MAX_ROUNDS = 300
_TOLERANCE = 1e-4  # on the centres' squared movement, by the mean variance of the values

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Clusters:
    """labels: (N,) each vector's cluster. inertia: the sum of squared distances to the centres. centres: (k, D)."""

    labels: NDArray[np.int64]
    centres: Vectors
    inertia: float


def score(task: ClusteringTask, vectors: TaskVectors, options: EvaluationOptions) -> TaskResult:
    """Cluster the vectors and compare with the labels."""
    started = time.perf_counter()
    found = cluster(vectors["texts"], len(set(task.labels)), options.seed)
    _, expected = np.unique(np.array(task.labels), return_inverse=True)
    agreement = partial(cluster_agreement, expected, found.labels)

    def part(name: str) -> partial[float]:
        return partial(_part, agreement, name)

    metrics = [
        interval_metric(name, part(name), len(expected), options.bootstrap)
        for name in ("v_measure", "homogeneity", "completeness")
    ]
    items = [
        ItemResult(str(i + 1), {"cluster": float(c)}, (label,))
        for i, (c, label) in enumerate(zip(found.labels, task.labels, strict=True))
    ]
    settings = {"algorithm": f"k-means, k={len(set(task.labels))}, best of {_N_STARTS}", "seed": str(options.seed)}
    return make_result(task, MAIN, metrics, items, origin_of(vectors), started, settings=settings)


def _part(agreement: partial[ClusterAgreement], name: str, often: NDArray[np.float64]) -> float:
    found = agreement(often)
    return {"v_measure": found.v_measure, "homogeneity": found.homogeneity, "completeness": found.completeness}[name]


def cluster(vectors: Vectors, k: int, seed: int, n_starts: int = _N_STARTS) -> Clusters:
    """The tightest of several k-means over (N, D). Raises InputError for fewer vectors than clusters."""
    if len(vectors) < k:
        raise InputError(f"{len(vectors)} vectors cannot make {k} clusters.")
    generator = np.random.default_rng(seed)
    centred = vectors - vectors.mean(0)
    starts = [refine(centred, centred[choose_seeds(centred, k, generator)]) for _ in range(n_starts)]
    return min(starts, key=lambda found: found.inertia)


def choose_seeds(vectors: Vectors, k: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """(k,) indices of vectors far from each other, by greedy k-means++."""
    n_tries = 2 + int(np.log(k))
    squares = np.square(vectors).sum(1)
    chosen = [int(generator.integers(len(vectors)))]
    nearest = _distances(vectors, squares, chosen)[0]
    for _ in range(1, k):
        limits = np.cumsum(nearest, dtype=np.float64)
        tries = np.searchsorted(limits, generator.random(n_tries) * limits[-1])
        nearer = np.minimum(nearest, _distances(vectors, squares, np.minimum(tries, len(vectors) - 1)))
        best = int(nearer.sum(1).argmin())
        chosen.append(int(min(tries[best], len(vectors) - 1)))
        nearest = nearer[best]
    return np.array(chosen)


def refine(vectors: Vectors, centres: Vectors) -> Clusters:
    """Lloyd's algorithm from some centres (k, D)."""
    k, limit = len(centres), _TOLERANCE * float(vectors.var(0).mean())
    squares = np.square(vectors).sum(1)
    labels = np.full(len(vectors), -1)
    for _ in range(_MAX_ROUNDS):
        distances = np.square(centres).sum(1) - 2 * (vectors @ centres.T)
        new_labels = distances.argmin(1)
        own = squares + distances[np.arange(len(vectors)), new_labels]
        new_centres = _centres(vectors, new_labels, k, own)
        moved = float(np.square(new_centres - centres).sum())
        same = bool((new_labels == labels).all())
        labels, centres = new_labels, new_centres
        if same or moved <= limit:
            break
    distances = np.square(centres).sum(1) - 2 * (vectors @ centres.T)
    labels = distances.argmin(1)
    inertia = np.maximum(squares + distances[np.arange(len(vectors)), labels], 0).sum(dtype=np.float64)
    return Clusters(labels, centres, float(inertia))


def _centres(vectors: Vectors, labels: NDArray[np.int64], k: int, own: NDArray[np.float32]) -> Vectors:
    """(k, D) means; a cluster that lost all its vectors gets the one that lies farthest from its centre."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=k)
    there = np.flatnonzero(counts)
    starts = np.concatenate([[0], np.cumsum(counts[there])[:-1]])
    centres = np.empty((k, vectors.shape[1]), np.float32)
    centres[there] = np.add.reduceat(vectors[order], starts, axis=0) / counts[there, None]
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        centres[empty] = vectors[np.argsort(-own, kind="stable")[: len(empty)]]
    return centres


def _distances(vectors: Vectors, squares: NDArray[np.float32], at: NDArray[np.int64] | list[int]) -> Vectors:
    """(len(at), N) squared distances from some of the vectors to all."""
    return np.maximum(squares[at][:, None] + squares - 2 * (vectors[at] @ vectors.T), 0)
