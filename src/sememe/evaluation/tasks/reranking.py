"""Reranking: order a query's candidates. Main metric MAP over all candidates, as mteb reports it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError
from sememe.evaluation.datasets.records import RerankingTask
from sememe.evaluation.options import EvaluationOptions
from sememe.evaluation.records import Found, TaskResult
from sememe.evaluation.searching import nearest
from sememe.evaluation.tasks.retrieval import score_rankings
from sememe.evaluation.tasks.scoring import Origin, origin_of
from sememe.evaluation.vectors import TaskVectors
from sememe.similarity import similarity


class PairScorer(Protocol):
    """Anything that scores (query, document) pairs, as `sememe.Reranker` does."""

    def predict(self, inputs: list[tuple[str, str]]) -> NDArray[np.float32]:
        """(N,) scores, higher is better."""
        ...


def score(task: RerankingTask, vectors: TaskVectors, options: EvaluationOptions) -> TaskResult:
    """Order each query's candidates by the similarity of their vectors."""
    started = time.perf_counter()
    rows = {name: i for i, name in enumerate(task.document_ids)}
    rankings = []
    for i, query_id in enumerate(task.query_ids):
        names = task.candidates[query_id]
        documents = vectors["documents"][[rows[name] for name in names]]
        scores = similarity(vectors["queries"][i], documents, vectors.similarity)[0]
        rankings.append(ranked(names, scores))
    return score_candidates(task, rankings, origin_of(vectors), options, started)


def score_pairs(task: RerankingTask, scorer: PairScorer, origin: Origin, options: EvaluationOptions) -> TaskResult:
    """Order each query's candidates by what a model of pairs says. Raises InputError for scores that are no numbers."""
    started = time.perf_counter()
    rankings, n_pairs = rank_pairs(task, scorer, origin.model)
    seconds, started = time.perf_counter() - started, time.perf_counter()
    return score_candidates(task, rankings, replace(origin, n_texts=n_pairs, seconds=seconds), options, started)


def rank_pairs(task: RerankingTask, scorer: PairScorer, model: str) -> tuple[list[list[Found]], int]:
    """Each query's candidates in the order of a model of pairs, and how many pairs it read."""
    text_of = dict(zip(task.document_ids, task.documents, strict=True))
    pairs = [
        (query, text_of[name])
        for query_id, query in zip(task.query_ids, task.queries, strict=True)
        for name in task.candidates[query_id]
    ]
    scores = pair_scores(pairs, scorer, model)
    rankings, at = [], 0
    for query_id in task.query_ids:
        names = task.candidates[query_id]
        rankings.append(ranked(names, scores[at : at + len(names)]))
        at += len(names)
    return rankings, len(pairs)


def pair_scores(pairs: list[tuple[str, str]], scorer: PairScorer, model: str) -> NDArray[np.float32]:
    """(N,) finite scores. Raises InputError for a model that gives anything else."""
    scores = np.asarray(scorer.predict(pairs), np.float32)
    if scores.shape != (len(pairs),):
        raise InputError(f"{model} gave scores of shape {scores.shape} for {len(pairs)} pairs; expected one each.")
    if not np.isfinite(scores).all():
        raise InputError(f"{model} gave a score that is NaN or infinite; rankings need finite scores.")
    return scores


def ranked(names: tuple[str, ...], scores: NDArray[np.float32]) -> list[Found]:
    """Candidates by score, best first, equal ones by id. Raises InputError for a score that is no number."""
    if not np.isfinite(scores).all():
        raise InputError("A score is NaN or infinite; rankings need finite scores.")
    places = np.argsort(np.argsort(np.array(names)))
    return [Found(names[i], float(scores[i])) for i in nearest(scores, places, len(names))]


def score_candidates(
    task: RerankingTask, rankings: list[list[Found]], origin: Origin, options: EvaluationOptions, started: float
) -> TaskResult:
    """Judge rankings of the candidates, whoever made them: MAP at a cut that takes in every one is the main metric."""
    longest = max(len(names) for names in task.candidates.values())
    wide = replace(options, cuts=(*options.all_cuts, longest))
    return score_rankings(task, rankings, origin, wide, main=f"map@{longest}", started=started)
