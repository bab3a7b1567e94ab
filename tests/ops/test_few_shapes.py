"""Numbers of tokens are filled up to few, at little cost, and nothing of what is added comes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import operations
from operations import normal
from sememe.ops.attention_layout import row_length
from sememe.ops.few_shapes import filled_up
from sememe.ops.openvino import OpenVinoBackend, OpenVinoProgram

STEPS = st.sampled_from([1, 2, 4, 8, 16, 32, 64])


@given(st.integers(1, 100_000), st.integers(1, 100_000), STEPS)
def test_it_is_never_less_little_more_and_keeps_the_order(n: int, other: int, largest_step: int) -> None:
    filled = filled_up(n, largest_step)
    assert n <= filled < n + min(largest_step, max(4, n / 16 + 1))
    assert filled_up(filled, largest_step) == filled
    assert (n <= other) <= (filled <= filled_up(other, largest_step))


def test_they_are_few() -> None:
    assert len({filled_up(n, 32) for n in range(1, 257)}) == 48
    assert len({filled_up(n, 32) for n in range(1, 2049)}) == 112
    assert {filled_up(n, 1) for n in range(1, 2049)} == set(range(1, 2049))


def _attends(ops: Any, weights: Any, view: Any) -> dict[str, Any]:
    x = ops.heads(ops.embedding(weights["embeddings"], view.token_ids), 2)
    y = ops.merge_heads(ops.attention(x, x, x, view))
    return {"tokens": y, "mean": ops.sum_pool(y, view, "mean"), "max": ops.max_pool(y, view)}


@pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [5], [9, 2, 33], [66, 1], [17] * 20])
def test_what_is_added_comes_out_nowhere(lengths: list[int]) -> None:
    """The table's first row, which the added tokens have, is huge: it would show."""
    table = normal(sum(lengths) + 1, 16)
    table[0] = 1e6
    batch = operations.batch(lengths)
    batch.token_ids[:] = np.arange(1, sum(lengths) + 1)
    program = OpenVinoBackend().program(_attends, operations.parameters({"embeddings": table}), "float32")
    assert isinstance(program, OpenVinoProgram)
    assert filled_up(batch.n_tokens, program._largest_step) >= batch.n_tokens
    got = program(batch)
    assert {name: len(rows) for name, rows in got.items()} == {
        "tokens": sum(lengths), "mean": len(lengths), "max": len(lengths),
    }  # fmt: skip
    for start, end, mean, most in zip(batch.cu_seqlens, batch.cu_seqlens[1:], got["mean"], got["max"], strict=False):
        x = table[1 + start : 1 + end].reshape(-1, 2, 8).transpose(1, 0, 2)
        scores = x @ x.transpose(0, 2, 1) / np.sqrt(8)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        out = (weights / weights.sum(-1, keepdims=True) @ x).transpose(1, 0, 2).reshape(-1, 16)
        np.testing.assert_allclose(got["tokens"][start:end], out, atol=1e-4)
        np.testing.assert_allclose(mean, out.mean(0), atol=1e-4)
        np.testing.assert_allclose(most, out.max(0), atol=1e-4)


def test_a_row_has_place_for_the_longest_sequence() -> None:
    assert [row_length(operations.batch([1, n])) for n in (1, 4, 5, 70)] == [4, 4, 8, 72]
