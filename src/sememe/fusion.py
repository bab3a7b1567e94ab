"""One ranking from several, and a ranking without repetitions.

Sources: reciprocal rank fusion: Cormack, Clarke & Büttcher 2009 (k = 60 is theirs); weighted sums of normalised scores:
Bruch, Gai & Ingber 2023, "An Analysis of Fusion Functions for Hybrid Retrieval"; maximal marginal relevance: Carbonell &
Goldstein 1998.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError
from sememe.similarity import similarity

Id = TypeVar("Id", bound=Hashable)
Normalization = Literal["min_max", "z_score"]

RRF_K = 60.0


@dataclass(frozen=True)
class Ranking(Generic[Id]):
    """What one retriever found, best first. scores: one each, higher is nearer; only their order matters to RRF."""

    ids: Sequence[Id]
    scores: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.scores):
            raise InputError(f"A ranking has {len(self.ids)} ids and {len(self.scores)} scores; expected as many.")
        if len(set(self.ids)) != len(self.ids):
            raise InputError("A ranking names an id twice; expected each once.")
        if not np.isfinite(np.asarray(self.scores, np.float64)).all():
            raise InputError("A ranking has a score that is NaN or infinite.")


@dataclass(frozen=True)
class Fused(Generic[Id]):
    """One result of a fusion. ranks, scores: from each ranking, in the order given, rank from 1; None where it lacks it."""

    id: Id
    score: float
    ranks: tuple[int | None, ...]
    scores: tuple[float | None, ...]


def reciprocal_rank_fusion(
    rankings: Sequence[Ranking[Id]], *, k: float = RRF_K, weights: Sequence[float] | None = None
) -> list[Fused[Id]]:
    """Everything found, by the sum of weight / (k + rank); of equals the one found earlier first.

    A larger `k` lets the tops count less. weights: one for each ranking; None weighs all 1.
    Raises InputError for k below 0, a weight below 0, and weights that are not as many as rankings.
    """
    if not (k >= 0 and np.isfinite(k)):
        raise InputError(f"Reciprocal rank fusion got k {k}; expected 0 or more.")
    shares = _weights(weights, len(rankings))
    parts = [[1 / (k + rank) for rank in range(1, len(ranking.ids) + 1)] for ranking in rankings]
    return _fuse(rankings, parts, shares)


def weighted_sum(
    rankings: Sequence[Ranking[Id]],
    *,
    weights: Sequence[float] | None = None,
    normalization: Normalization = "min_max",
) -> list[Fused[Id]]:
    """Everything found, by the sum of weight × normalised score.

    min_max: a ranking's best score becomes 1, its worst 0; all 1 where they are equal. z_score: its mean becomes 0, its
    standard deviation 1; all 0 where they are equal. What a ranking lacks gets what its worst has, since it would have
    stood below that. Raises InputError as `reciprocal_rank_fusion` does.
    """
    shares = _weights(weights, len(rankings))
    parts = [_normalized(np.asarray(ranking.scores, np.float64), normalization) for ranking in rankings]
    return _fuse(rankings, parts, shares, [min(part, default=0.0) for part in parts])


def maximal_marginal_relevance(
    relevance: NDArray[np.float32], vectors: NDArray[np.float32], n_wanted: int, *, balance: float = 0.5
) -> list[int]:
    """Indices of up to `n_wanted` candidates, each chosen for balance × relevance − (1 − balance) × its nearest chosen one.

    relevance: (N,), comparable with a cosine. vectors: (N, D); nearness is their cosine. balance 1 keeps the order of
    relevance, 0 looks for difference alone. Raises InputError for shapes that differ and for a balance outside 0 to 1.
    """
    if len(relevance) != len(vectors) or vectors.ndim != 2:
        raise InputError(f"MMR needs a vector for each score; got shapes {relevance.shape} and {vectors.shape}.")
    if not 0 <= balance <= 1:
        raise InputError(f"MMR's balance is {balance}; expected 0 (difference) to 1 (relevance).")
    chosen: list[int] = []
    nearest = np.full(len(vectors), 0.0, np.float32)
    left = np.ones(len(vectors), bool)
    while len(chosen) < min(n_wanted, len(vectors)):
        worth = np.where(left, balance * relevance - (1 - balance) * nearest, -np.inf)
        best = int(np.argmax(worth))
        cosines = similarity(vectors[best], vectors)[0]
        nearest = np.maximum(nearest, cosines) if chosen else cosines
        left[best] = False
        chosen.append(best)
    return chosen


def _weights(weights: Sequence[float] | None, n_rankings: int) -> list[float]:
    given = [1.0] * n_rankings if weights is None else list(weights)
    if len(given) != n_rankings or not all(weight >= 0 and np.isfinite(weight) for weight in given):
        raise InputError(f"Fusing {n_rankings} rankings got the weights {given}; expected one each, 0 or more.")
    return given


def _normalized(scores: NDArray[np.float64], normalization: Normalization) -> list[float]:
    if normalization not in ("min_max", "z_score"):
        raise InputError(f"Normalization {normalization!r} is not one of min_max, z_score.")
    if not len(scores):
        return []
    if (spread := scores.max() - scores.min()) == 0:
        return [1.0 if normalization == "min_max" else 0.0] * len(scores)
    if normalization == "min_max":
        return ((scores - scores.min()) / spread).tolist()
    return ((scores - scores.mean()) / scores.std()).tolist()


def _fuse(
    rankings: Sequence[Ranking[Id]],
    parts: Sequence[Sequence[float]],
    weights: Sequence[float],
    absent: Sequence[float] | None = None,
) -> list[Fused[Id]]:
    places = [{found: place for place, found in enumerate(ranking.ids)} for ranking in rankings]
    missing = [0.0] * len(rankings) if absent is None else absent
    fused = []
    for found in dict.fromkeys(found for ranking in rankings for found in ranking.ids):
        at = [place.get(found) for place in places]
        score = sum(
            weight * (part[place] if place is not None else lacking)
            for weight, part, place, lacking in zip(weights, parts, at, missing, strict=True)
        )
        ranks = tuple(None if place is None else place + 1 for place in at)
        scores = tuple(None if p is None else float(r.scores[p]) for r, p in zip(rankings, at, strict=True))
        fused.append(Fused(found, float(score), ranks, scores))
    return sorted(fused, key=lambda one: (-one.score, min(rank for rank in one.ranks if rank is not None)))
