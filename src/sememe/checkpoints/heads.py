"""From hidden states to embeddings: pooling and what follows it, written against the operations."""

from __future__ import annotations

from sememe.checkpoints.recipe import Pooling, PoolingMode, Projection, Recipe
from sememe.ops import Array, BatchView, Ops, SumKind, Weights

_SUMS: dict[PoolingMode, SumKind] = {"mean": "mean", "mean_sqrt_len_tokens": "sqrt_len", "weightedmean": "weighted"}
# Fixed in sentence-transformers' LayerNorm module (torch's default).
_VECTOR_NORM_EPS = 1e-5


def dense_tensors(recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Tensors that the recipe's steps need besides the family's, by name, with their shapes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for step in recipe.steps:
        if isinstance(step, Projection):
            shapes[f"{step.module}.weight"] = (step.n_out, step.n_in)
            if step.has_bias:
                shapes[f"{step.module}.bias"] = (step.n_out,)
        else:
            shapes |= {f"{step.module}.weight": (step.width,), f"{step.module}.bias": (step.width,)}
    return shapes


def dense(ops: Ops[Array], weights: Weights[Array], recipe: Recipe, hidden: Array, batch: BatchView[Array]) -> Array:
    """(T, H) to (B, D): pooled and projected, not yet normalised."""
    assert recipe.pooling is not None
    x = pool(ops, recipe.pooling, hidden, batch)
    for step in recipe.steps:
        if isinstance(step, Projection):
            x = ops.activation(ops.linear(x, weights[step.module]), step.activation)
        else:
            x = ops.layer_norm(x, weights[step.module], _VECTOR_NORM_EPS)
    return x


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
