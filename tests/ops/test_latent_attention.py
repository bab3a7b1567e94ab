"""Attention of every token to a fixed set of latents, beside plain numpy, on both backends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import operations
from operations import Values, normal

WIDTH = 5


def _tables(n_tokens: int, n_latents: int, n_heads: int) -> dict[str, Values]:
    rows = {"q": n_tokens, "k": n_latents, "v": n_latents}
    return {name: normal(n, n_heads * WIDTH, seed=i) for i, (name, n) in enumerate(rows.items())}


def _build(n_heads: int, scale: float) -> operations.Build:
    def build(ops: Any, weights: Any, view: Any) -> Any:
        q = ops.heads(ops.embedding(weights["q"], view.token_ids), n_heads)
        k, v = (ops.heads(weights[name].weight, n_heads) for name in "kv")
        return ops.latent_attention(q, k, v, scale)

    return build


def _dense(tables: Mapping[str, Values], n_heads: int, scale: float) -> Values:
    q, k, v = (tables[name].reshape(-1, n_heads, WIDTH) for name in "qkv")
    scores = np.einsum("thd,mhd->thm", q, k) * scale
    weights = np.exp(scores - scores.max(2, keepdims=True))
    return np.einsum("thm,mhd->thd", weights / weights.sum(2, keepdims=True), v)


@pytest.mark.parametrize("scale", [1.0, 0.2])
@pytest.mark.parametrize(("n_latents", "n_heads"), [(7, 3), (2, 2), (40, 1)])
def test_latent_attention(n_latents: int, n_heads: int, scale: float) -> None:
    operations.check(
        _build(n_heads, scale),
        lambda tables: _dense(tables, n_heads, scale),
        _tables(14, n_latents, n_heads),
        operations.batch([9, 1, 4]),
    )


def test_one_program_takes_batches_of_every_size() -> None:
    tables = _tables(60, 7, 3)
    expected = _dense(tables, 3, 0.5)
    build = _build(3, 0.5)
    for backend in operations.backends():
        program = backend.program(
            lambda ops, weights, view: {"out": build(ops, weights, view)}, operations.parameters(tables), "float32"
        )
        for n_tokens in (60, 1, 7, 33):
            got = program(operations.batch([n_tokens]))["out"]
            assert operations.distance(got, expected[:n_tokens]) <= operations.LIMIT, backend.name


def test_sharp_scores_stay_numbers() -> None:
    """Scores of thousands, as wide weights give them, pick one latent."""
    tables = {name: 100 * values for name, values in _tables(8, 7, 2).items()}
    expected = _dense({name: values.astype(np.float64) for name, values in tables.items()}, 2, 1.0)
    for backend in operations.backends():
        got = operations.compute(_build(2, 1.0), tables, operations.batch([5, 3]), backend)
        assert operations.distance(got, expected) < 1e-3, backend.name
