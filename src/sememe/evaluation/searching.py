"""Exact search: every query against every document, in blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sememe.engine.finish import normalize
from sememe.evaluation.records import Found
from sememe.records import SimilarityName
from sememe.similarity import similarity

_SCORES_AT_ONCE = 8_000_000


def search(
    queries: NDArray[np.float32],
    documents: NDArray[np.float32],
    document_ids: Sequence[str],
    n: int,
    function: SimilarityName = "cosine",
) -> list[list[Found]]:
    """The `n` nearest documents of each query, in trec_eval's order: equal scores by id, the larger first."""
    if function == "cosine":  # once, not for every block
        queries, documents, function = normalize(queries), normalize(documents), "dot"
    return rank_blocks(lambda rows: similarity(queries[rows], documents, function), len(queries), document_ids, n)


def rank_blocks(
    scores_of: Callable[[slice], NDArray[np.float32]], n_queries: int, document_ids: Sequence[str], n: int
) -> list[list[Found]]:
    """As `search`, from (queries, documents) scores of whatever compares them, asked for in blocks of queries."""
    places = np.empty(len(document_ids), np.int64)
    places[sorted(range(len(document_ids)), key=document_ids.__getitem__)] = np.arange(len(document_ids))
    block = max(1, _SCORES_AT_ONCE // max(1, len(document_ids)))
    ranked: list[list[Found]] = []
    for start in range(0, n_queries, block):
        for row in scores_of(slice(start, start + block)):
            best = nearest(row, places, n)
            ranked.append([Found(document_ids[i], float(row[i])) for i in best])
    return ranked


def nearest(scores: NDArray[np.float32], places: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Indices of the n highest scores, highest first; equal ones by their place, the later first. No tie is cut blindly."""
    n = min(n, len(scores))
    if n < len(scores):
        least = np.partition(scores, len(scores) - n)[len(scores) - n]
        candidates = np.flatnonzero(scores >= least)
    else:
        candidates = np.arange(len(scores))
    return candidates[np.lexsort((-places[candidates], -scores[candidates]))][:n]
