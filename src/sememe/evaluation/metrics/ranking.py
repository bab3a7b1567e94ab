"""Metrics of ranked documents, with trec_eval's conventions.

Documents are ordered by score in single precision, the highest first; equal scores by id, the *larger* string first. A
grade of 1 or more is relevant, a judgement below 0 counts as 0, a document without a judgement too. nDCG's gain is the
grade itself, its discount log2(rank + 1), its ideal order that of all judged documents. Precision divides by the cut
even where fewer documents were found; average precision divides by the number of relevant documents.
Source: trec_eval 9.0 (`m_P.c`, `m_map_cut.c`, `m_ndcg_cut.c`, `m_recip_rank.c`, `m_success.c`, `form_res_rels.c`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError

Qrels = Mapping[str, Mapping[str, int]]
"""Query id to document id to grade."""
Run = Mapping[str, Mapping[str, float]]
"""Query id to document id to score, higher is better."""

MAIN_CUT = 10
CUTS: tuple[int, ...] = (1, 3, 5, 10, 100)


@dataclass(frozen=True)
class JudgedRanking:
    """One query's documents in rank order, and all that was judged for it.

    grades: (n,) of the ranked documents, 0 where none is known. judged: (J,) grades of every judged document.
    """

    grades: NDArray[np.int64]
    judged: NDArray[np.int64]

    @property
    def n_relevant(self) -> int:
        """Documents that should be found."""
        return int((self.judged >= 1).sum())


def trec_order(scores: Mapping[str, float]) -> list[str]:
    """Document ids by score in single precision, highest first; of equal scores the larger id first."""
    names = sorted(scores, reverse=True)
    values = np.array([scores[name] for name in names], np.float32)
    if not np.isfinite(values).all():
        raise InputError("A score is NaN or infinite; rankings need finite scores.")
    return [names[i] for i in np.argsort(-values, kind="stable")]


def judge(ranked: Sequence[str], judgements: Mapping[str, int]) -> JudgedRanking:
    """The grades of ranked documents."""
    found = np.array([judgements.get(name, 0) for name in ranked], np.int64)
    return JudgedRanking(found, np.array(list(judgements.values()), np.int64))


# ── one query ────────────────────────────────────────────────────────────────────────────────────────────────────────


def precision(ranking: JudgedRanking, cut: int) -> float:
    """The share of the first `cut` places that hold a relevant document."""
    return float((ranking.grades[:cut] >= 1).sum()) / cut


def recall(ranking: JudgedRanking, cut: int) -> float:
    """The share of the relevant documents among the first `cut`; 0 where there is none to find."""
    return float((ranking.grades[:cut] >= 1).sum()) / ranking.n_relevant if ranking.n_relevant else 0.0


def f1(ranking: JudgedRanking, cut: int) -> float:
    """The harmonic mean of precision and recall."""
    p, r = precision(ranking, cut), recall(ranking, cut)
    return 2 * p * r / (p + r) if p + r else 0.0


def hit_rate(ranking: JudgedRanking, cut: int) -> float:
    """1 where any of the first `cut` is relevant (trec_eval's success)."""
    return float((ranking.grades[:cut] >= 1).any())


def reciprocal_rank(ranking: JudgedRanking, cut: int) -> float:
    """1 / rank of the first relevant document among the first `cut`, else 0."""
    places = np.flatnonzero(ranking.grades[:cut] >= 1)
    return 1.0 / (int(places[0]) + 1) if len(places) else 0.0


def average_precision(ranking: JudgedRanking, cut: int) -> float:
    """Sum of the precision at each relevant document among the first `cut`, by the number of relevant documents."""
    relevant = ranking.grades[:cut] >= 1
    if not ranking.n_relevant:
        return 0.0
    at_rank = np.cumsum(relevant) / np.arange(1, len(relevant) + 1)
    return float(at_rank[relevant].sum()) / ranking.n_relevant


def ndcg(ranking: JudgedRanking, cut: int) -> float:
    """Discounted gain of the first `cut` by that of the best order; 0 where nothing is relevant."""
    best = _discounted(np.sort(ranking.judged)[::-1], cut)
    return _discounted(ranking.grades, cut) / best if best else 0.0


def _discounted(grades: NDArray[np.int64], cut: int) -> float:
    gains = np.maximum(grades[:cut], 0)
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


METRICS: dict[str, Callable[[JudgedRanking, int], float]] = {
    "ndcg": ndcg,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "recall": recall,
    "precision": precision,
    "f1": f1,
    "hit_rate": hit_rate,
}
"""Name to function; results are called `ndcg@10` and so on."""


def metric_names(cuts: Iterable[int] = CUTS) -> tuple[str, ...]:
    """Every metric at every cut, in the order of `query_metrics`."""
    return tuple(f"{name}@{cut}" for name in METRICS for cut in cuts)


def query_metrics(ranking: JudgedRanking, cuts: Iterable[int] = CUTS) -> dict[str, float]:
    """One query's metrics by name (`ndcg@10`)."""
    return {f"{name}@{cut}": function(ranking, cut) for name, function in METRICS.items() for cut in cuts}


# ── many queries ─────────────────────────────────────────────────────────────────────────────────────────────────────


def evaluate_run(qrels: Qrels, run: Run, cuts: Iterable[int] = CUTS) -> dict[str, dict[str, float]]:
    """Each judged query's metrics. A query that the run lacks counts 0, as with `trec_eval -c`.

    Queries that were not judged are left out. Raises InputError for a score that is no number.
    """
    cuts = tuple(cuts)
    found = {}
    for query, judgements in qrels.items():
        ranked = trec_order(run.get(query, {}))
        found[query] = query_metrics(judge(ranked, judgements), cuts)
    return found


def mean_metrics(by_query: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean over the queries of each metric."""
    rows = list(by_query.values())
    if not rows:
        raise InputError("There is no query to take a mean over.")
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
