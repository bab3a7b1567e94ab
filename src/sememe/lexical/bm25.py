"""BM25 over words that are given: the judge and the baseline; it is built whole and takes no additions.

Computed by bm25s (Lù 2024, "BM25S: Orders of magnitude faster lexical search via eager sparse scoring"), in the variant of
Lucene: idf = ln(1 + (N − df + 0.5) / (df + 0.5)), which is never negative, and tf / (tf + k1 (1 − b + b · length / mean)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError

# Robertson & Zaragoza 2009, section 3.3.2, and Lucene's own; SciFact and Cranfield change less than 0.01 around them.
K1 = 1.2
B = 0.75


@dataclass(frozen=True)
class WordHits:
    """The best documents of one query, best first. indices: (K,) int64 of the documents. scores: (K,) float32, above 0."""

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]


class BM25:
    """Scores of documents for queries, both given as words. Raises InputError for k1 below 0 or b outside 0 to 1."""

    def __init__(self, documents: Sequence[list[str]], *, k1: float = K1, b: float = B) -> None:
        if not (k1 >= 0 and 0 <= b <= 1):
            raise InputError(f"BM25 got k1 {k1} and b {b}; expected k1 of 0 or more and b from 0 to 1.")
        self._n_documents = len(documents)
        self._words = {word for words in documents for word in words}
        if not self._words:  # bm25s needs one word
            return
        import bm25s

        # Without auto_compile: it would take numba where that happens to be installed, and answer in other last digits.
        self._index = bm25s.BM25(method="lucene", k1=k1, b=b, auto_compile=False)
        self._index.index(list(documents), create_empty_token=False, show_progress=False)

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """(N,) of every document; a word counts as often as the query has it, an unknown one nothing."""
        known = [word for word in query if word in self._words]
        if not known:
            return np.zeros(self._n_documents, np.float32)
        return np.asarray(self._index.get_scores(known), np.float32)

    def search(self, query: Sequence[str], k: int) -> WordHits:
        """The at most `k` best documents that share a word with the query; the earlier of equals first."""
        if k < 1:
            raise InputError(f"{k} hits were asked for; expected 1 or more.")
        scores = self.scores(query)
        found = np.flatnonzero(scores)
        if len(found) > k:  # all that reach the k-th score, so that ties are broken by place and not by the partition
            found = found[scores[found] >= np.partition(scores[found], -k)[-k]]
        order = found[np.argsort(-scores[found], kind="stable")][:k]
        return WordHits(order.astype(np.int64), scores[order])
