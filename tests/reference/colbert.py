"""ColBERTv2's inputs, vectors and score. Specification: rerank-sparse-multivector section 3."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from .maths import Array, l2


def query_ids(ids: Sequence[int], marker: int, cls: int, sep: int, mask: int, max_tokens: int = 32) -> list[int]:
    """`[CLS] marker q… [SEP]`, then `[MASK]` up to max_tokens. ids: the text's, without special tokens."""
    kept = [cls, marker, *ids[: max_tokens - 3], sep]
    return kept + [mask] * (max_tokens - len(kept))


def document_ids(ids: Sequence[int], marker: int, cls: int, sep: int, max_tokens: int) -> list[int]:
    """`[CLS] marker d… [SEP]`."""
    return [cls, marker, *ids[: max_tokens - 3], sep]


def vectors(weight: Array, hidden: Array) -> Array:
    """L2(W·x) of each token; weight: `linear.weight` (D, H)."""
    return l2(hidden.astype(np.float64) @ weight.T.astype(np.float64))


def without_skipped(document_vectors: Array, ids: Sequence[int], skiplist: Collection[int]) -> Array:
    """The vectors of tokens that are not on the skiplist (punctuation)."""
    return document_vectors[[token not in skiplist for token in ids]]


def score(query: Array, document: Array) -> float:
    """Σ over the query's vectors of the best dot product."""
    return float((query @ document.T).max(axis=1).sum())
