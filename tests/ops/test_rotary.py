"""Rotary positions: both orders of the pairs, part of a head, on both backends against numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import operations
from operations import Values, normal
from sememe.ops import Rotary


def _frequencies(rotated: int, theta: float = 10_000.0) -> Values:
    return (theta ** (-np.arange(0, rotated, 2) / rotated)).astype(np.float32)


def _turned(x: Values, rotary: Rotary, positions: Values) -> Values:
    """x: (T, heads, d). Angles in float32, as the operation says; the rest in float64."""
    angles = (positions[:, None].astype(np.float32) * rotary.inverse_frequencies[None]).astype(np.float64)
    half = len(rotary.inverse_frequencies)
    out = x.copy()
    for j in range(half):
        a, b = (2 * j, 2 * j + 1) if rotary.interleaved else (j, j + half)
        cos, sin = np.cos(angles[:, j])[:, None], np.sin(angles[:, j])[:, None]
        out[..., a] = x[..., a] * cos - x[..., b] * sin
        out[..., b] = x[..., b] * cos + x[..., a] * sin
    return out


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("rotated", [8, 4, 2], ids=["whole head", "half of it", "one pair"])
def test_rotary(rotated: int, interleaved: bool) -> None:
    batch = operations.batch([5, 1, 9])
    rotary = Rotary(_frequencies(rotated), 16, interleaved)
    n_tokens, n_heads, width = batch.n_tokens, 3, 8

    def build(ops: Any, weights: Any, view: Any) -> Any:
        return ops.rotary(ops.heads(ops.embedding(weights["x"], view.token_ids), n_heads), rotary, view)

    def reference(tables: Mapping[str, Values]) -> Values:
        return _turned(tables["x"].reshape(n_tokens, n_heads, width), rotary, batch.positions)

    operations.check(build, reference, {"x": normal(n_tokens, n_heads * width)}, batch)


def test_positions_far_from_zero() -> None:
    positions = np.array([0, 1, 511, 2048, 8191], np.int32)
    batch = operations.batch([5], positions=positions)
    rotary = Rotary(_frequencies(16), 8192)

    def build(ops: Any, weights: Any, view: Any) -> Any:
        return ops.rotary(ops.heads(ops.embedding(weights["x"], view.token_ids), 1), rotary, view)

    tables = {"x": normal(5, 16)}
    operations.check(build, lambda t: _turned(t["x"].reshape(5, 1, 16), rotary, positions), tables, batch)


def test_two_rotaries_in_one_graph_do_not_mix() -> None:
    """ModernBERT and Gemma turn local layers by another theta than global ones."""
    batch = operations.batch([6])
    near, far = Rotary(_frequencies(8), 8), Rotary(_frequencies(8, theta=160_000.0), 8)

    def build(ops: Any, weights: Any, view: Any) -> Any:
        x = ops.heads(ops.embedding(weights["x"], view.token_ids), 1)
        return ops.rotary(ops.rotary(x, near, view), far, view)

    def reference(tables: Mapping[str, Values]) -> Values:
        return _turned(_turned(tables["x"].reshape(6, 1, 8), near, batch.positions), far, batch.positions)

    operations.check(build, reference, {"x": normal(6, 8)}, batch)


def test_frequencies_by_length() -> None:
    """Each sequence turns by its own length, on one program for all of them."""
    batch = operations.batch([5, 1, 9])
    plain = _frequencies(8)

    def by_length(n: int) -> Values:
        return np.asarray(plain * np.float32(1 / n), np.float32)

    rotary = Rotary(plain, 16, by_length=by_length)

    def build(ops: Any, weights: Any, view: Any) -> Any:
        return ops.rotary(ops.heads(ops.embedding(weights["x"], view.token_ids), 2), rotary, view)

    def reference(tables: Mapping[str, Values]) -> Values:
        x = tables["x"].reshape(15, 2, 8)
        spans = operations.spans(batch)
        turned = [
            _turned(x[span], Rotary(by_length(span.stop - span.start), 16), batch.positions[span]) for span in spans
        ]
        return np.concatenate(turned)

    operations.check(build, reference, {"x": normal(15, 16)}, batch)
