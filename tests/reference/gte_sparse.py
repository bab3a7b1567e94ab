"""The sparse head of gte-multilingual-base. Specification: nomic-gte-jina section 3, "Sparse head"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .maths import Array, Tensors, linear, relu


def sparse(tensors: Tensors, hidden: Array, ids: Sequence[int], special_ids: Sequence[int]) -> dict[int, float]:
    """Token id → greatest weight relu(W·x + b). special_ids: those of cls, eos, pad and unk, which are left out."""
    w = relu(linear(hidden.astype(np.float64), tensors, "classifier"))[:, 0]
    weights: dict[int, float] = {}
    for token, weight in zip(ids, w, strict=True):
        if token not in special_ids and weight > 0:
            weights[token] = max(weights.get(token, 0.0), float(weight))
    return weights


def hybrid_score(dense_score: float, sparse_score: float) -> float:
    """The upstream script's default: 1.0·dense + 0.1·sparse."""
    return 1.0 * dense_score + 0.1 * sparse_score
