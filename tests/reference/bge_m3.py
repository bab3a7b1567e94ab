"""BGE-M3: dense, sparse and multi-vector from the states of one pass, and their scores.

Specification: rerank-sparse-multivector section 1. The body is `XLMRobertaModel`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .maths import Array, Tensors, l2, linear, relu

SPECIAL_TOKENS = ("<s>", "</s>", "<pad>", "<unk>")


def dense(hidden: Array) -> Array:
    """(H,): the first token's state, of length 1."""
    return l2(hidden[0].astype(np.float64))


def sparse(sparse_linear: Tensors, hidden: Array, ids: Sequence[int], special_ids: Sequence[int]) -> dict[int, float]:
    """Token id → weight. sparse_linear: `sparse_linear.pt` (weight 1×H, bias 1)."""
    w = relu(linear(hidden.astype(np.float64), {f"w.{k}": v for k, v in sparse_linear.items()}, "w"))[:, 0]
    weights: dict[int, float] = {}
    for token, weight in zip(ids, w, strict=True):
        if token not in special_ids and weight > 0:
            weights[token] = max(weights.get(token, 0.0), float(weight))
    return weights


def multi_vector(colbert_linear: Tensors, hidden: Array) -> Array:
    """(n − 1, D): one vector of length 1 for each token but the first; `</s>` included."""
    return l2(linear(hidden[1:].astype(np.float64), {f"w.{k}": v for k, v in colbert_linear.items()}, "w"))


def sparse_score(query: dict[int, float], document: dict[int, float]) -> float:
    """Σ of products over the shared ids."""
    return sum(weight * document[token] for token, weight in query.items() if token in document)


def multi_vector_score(query: Array, document: Array) -> float:
    """Mean over the query's vectors of the best dot product; a mean, not ColBERT's sum."""
    return float((query @ document.T).max(axis=1).mean())


def hybrid_score(
    dense_score: float, sparse_score: float, multi_vector_score: float, weights: tuple[float, float, float] = (1, 1, 1)
) -> float:
    """Weighted sum of the three, divided by the sum of the weights."""
    scores = (dense_score, sparse_score, multi_vector_score)
    return sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights)
