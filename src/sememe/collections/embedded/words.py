"""Scores from inverted lists: BM25 of words, dot products of sparse vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sememe.collections.embedded.codec import Floats
from sememe.collections.embedded.state import SearchState
from sememe.lexical.bm25 import K1, B


def dot_scores(state: SearchState, query: Mapping[int, float]) -> Floats:
    """(n,) by slot: the dot product of each sparse vector with the query's weights by term."""
    scores = np.zeros(len(state.slots), np.float32)
    for term, weight in query.items():
        slots, values = state.sparse.of(term)
        scores[slots] += np.float32(weight) * values
    return scores


def bm25_scores(state: SearchState, terms: Sequence[int]) -> Floats:
    """(n,) by slot: BM25 of a query's terms, one that comes twice counts twice."""
    scores = np.zeros(len(state.slots), np.float32)
    for term, count in Counter(terms).items():
        slots, added = _term_scores(state, term)
        scores[slots] += count * added
    return scores


def bm25_parts(state: SearchState, term: int, count: int, slots: NDArray[np.int64]) -> Floats:
    """(K,) what one term adds to the scores of some slots."""
    whole = np.zeros(len(state.slots), np.float32)
    its, added = _term_scores(state, term)
    whole[its] = count * added
    return whole[slots]


def _term_scores(state: SearchState, term: int) -> tuple[NDArray[np.int32], Floats]:
    """The living slots that have a term, and idf · tf / (tf + k1 (1 − b + b · length / mean length)), as `lexical` has it.

    Counted over what is alive now, not over what was once added: the order of changes leaves no trace.
    """
    slots, frequencies = state.words.of(term)
    if state.slots.n_alive < len(state.slots):
        alive = state.slots.alive[slots]
        slots, frequencies = slots[alive], frequencies[alive]
    n, mean = state.slots.n_alive, state.slots.n_words / max(1, state.slots.n_alive)
    idf = np.log1p((n - len(slots) + 0.5) / (len(slots) + 0.5))
    norms = K1 * (1 - B + B * state.slots.lengths[slots] / max(mean, 1e-9))
    return slots, (idf * frequencies / (frequencies + norms)).astype(np.float32)
