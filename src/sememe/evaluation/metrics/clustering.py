"""How well clusters and classes agree. Source: Rosenberg & Hirschberg 2007; scikit-learn 1.9's conventions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError


@dataclass(frozen=True)
class ClusterAgreement:
    """homogeneity: a cluster holds one class. completeness: a class lies in one cluster. v_measure: harmonic mean."""

    homogeneity: float
    completeness: float
    v_measure: float


def cluster_agreement(
    expected: Sequence[str] | NDArray[np.int64],
    clusters: Sequence[int] | NDArray[np.int64],
    weights: NDArray[np.float64] | None = None,
) -> ClusterAgreement:
    """Compare the classes of N things with the clusters they were put in. weights: (N,) how often each counts, else once.

    Raises InputError for counts that differ or are 0.
    """
    if len(expected) != len(clusters) or not len(expected):
        raise InputError(f"{len(expected)} classes and {len(clusters)} clusters; expected one of each for every text.")
    _, e = np.unique(np.asarray(expected), return_inverse=True)
    _, c = np.unique(np.asarray(clusters), return_inverse=True)
    table = np.zeros((e.max() + 1, c.max() + 1))
    np.add.at(table, (e, c), 1.0 if weights is None else weights)
    of_classes, of_clusters = _entropy(table.sum(1)), _entropy(table.sum(0))
    shared = of_classes + of_clusters - _entropy(table.ravel())
    homogeneity = shared / of_classes if of_classes else 1.0
    completeness = shared / of_clusters if of_clusters else 1.0
    both = homogeneity + completeness
    return ClusterAgreement(homogeneity, completeness, 2 * homogeneity * completeness / both if both else 0.0)


def _entropy(counts: NDArray[np.float64]) -> float:
    """In nats, of counts."""
    if (counts > 0).sum() <= 1:
        return 0.0
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
