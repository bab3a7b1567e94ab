"""From hidden states to dense embeddings: pooling and what follows it, written against the operations."""

from __future__ import annotations

from sememe.checkpoints.recipe import Recipe
from sememe.checkpoints.steps import Pooling, PoolingMode, through
from sememe.ops import Array, BatchView, Ops, SumKind, Weights

_SUMS: dict[PoolingMode, SumKind] = {"mean": "mean", "mean_sqrt_len_tokens": "sqrt_len", "weightedmean": "weighted"}


def dense(ops: Ops[Array], weights: Weights[Array], recipe: Recipe, hidden: Array, batch: BatchView[Array]) -> Array:
    """(T, H) to (B, D): pooled and projected, not yet normalised."""
    assert recipe.pooling is not None
    return through(ops, weights, recipe.steps, pool(ops, recipe.pooling, hidden, batch))


def pool(ops: Ops[Array], pooling: Pooling, hidden: Array, batch: BatchView[Array]) -> Array:
    """(T, H) to (B, H · number of modes)."""
    pieces = [_pool_one(ops, mode, hidden, batch) for mode in pooling.modes]
    return pieces[0] if len(pieces) == 1 else ops.concatenate(pieces)


def _pool_one(ops: Ops[Array], mode: PoolingMode, hidden: Array, batch: BatchView[Array]) -> Array:
    if mode == "cls":
        return ops.pick(hidden, batch, "first")
    if mode == "lasttoken":
        return ops.pick(hidden, batch, "last")
    if mode == "max":
        return ops.max_pool(hidden, batch)
    return ops.sum_pool(hidden, batch, _SUMS[mode])
