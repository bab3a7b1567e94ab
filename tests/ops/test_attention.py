"""Attention with every combination of its arguments, against a dense softmax in numpy, on both backends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder
from transformers.models.t5.modeling_t5 import T5Attention

import operations
from operations import Values, normal
from sememe.ops import Alibi, RelativeBias
from sememe.ops.attention_bias import relative_buckets
from sememe.records import Batch

BiasKind = Literal["none", "relative", "alibi"]
WIDTH, N_BUCKETS, MAX_DISTANCE = 5, 8, 16


def _slopes(n_heads: int) -> tuple[float, ...]:
    return tuple(2.0 ** -(h + 1) for h in range(n_heads))


def _dense(
    tables: Mapping[str, Values],
    batch: Batch,
    n_heads: int,
    n_kv: int,
    *,
    scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    kind: BiasKind = "none",
    softcap: float | None = None,
) -> Values:
    """One sequence and one head at a time."""
    total = batch.n_tokens
    q = tables["q"].reshape(total, n_heads, -1)
    k, v = (tables[name].reshape(total, n_kv, -1) for name in "kv")
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    out = np.zeros_like(q)
    n_unseen = np.zeros(batch.n_sequences, int) if batch.n_unseen is None else batch.n_unseen
    for span, unseen in zip(operations.spans(batch), n_unseen, strict=True):
        n = span.stop - span.start
        distance = np.arange(n)[None] - np.arange(n)[:, None]  # key - query
        seen = np.broadcast_to(np.arange(n)[None] < n - unseen, (n, n))
        if causal:
            seen = seen & (distance <= 0)
        if window is not None:
            seen = seen & (distance >= -window[0]) & (distance <= window[1])
        for head in range(n_heads):
            group = head // (n_heads // n_kv)
            scores = q[span, head] @ k[span, group].T * scale
            if softcap is not None:
                scores = softcap * np.tanh(scores / softcap)
            if kind == "relative":
                scores = scores + tables["table"][_reference_buckets(distance), head]
            elif kind == "alibi":
                scores = scores - _slopes(n_heads)[head] * np.abs(distance)
            scores = np.where(seen, scores, -np.inf)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            out[span, head] = weights / weights.sum(1, keepdims=True) @ v[span, group]
    return out


def _reference_buckets(distance: Values, n_buckets: int = N_BUCKETS, max_distance: int = MAX_DISTANCE) -> Values:
    found = T5Attention._relative_position_bucket(
        torch.from_numpy(distance), bidirectional=True, num_buckets=n_buckets, max_distance=max_distance
    )
    return found.numpy()


def _check(
    lengths: list[int],
    n_heads: int = 2,
    n_kv: int = 2,
    *,
    scale: float | None = None,
    causal: bool = False,
    window: tuple[int, int] | None = None,
    kind: BiasKind = "none",
    n_unseen: list[int] | None = None,
    softcap: float | None = None,
) -> None:
    batch = operations.batch(lengths, n_unseen=n_unseen)
    tables = {name: normal(batch.n_tokens, heads * WIDTH, seed=i) for i, (name, heads) in enumerate(
        (("q", n_heads), ("k", n_kv), ("v", n_kv))
    )}  # fmt: skip
    if kind == "relative":
        tables["table"] = normal(N_BUCKETS, n_heads, seed=3)

    def build(ops: Any, weights: Any, view: Any) -> Any:
        q, k, v = (
            ops.heads(ops.embedding(weights[name], view.token_ids), heads)
            for name, heads in (("q", n_heads), ("k", n_kv), ("v", n_kv))
        )
        bias = {"none": None, "alibi": Alibi(_slopes(n_heads))}.get(kind)
        if kind == "relative":
            bias = RelativeBias(weights["table"], N_BUCKETS, MAX_DISTANCE)
        return ops.attention(q, k, v, view, scale=scale, causal=causal, window=window, bias=bias, softcap=softcap)

    def reference(t: Mapping[str, Values]) -> Values:
        return _dense(t, batch, n_heads, n_kv, scale=scale, causal=causal, window=window, kind=kind, softcap=softcap)

    operations.check(build, reference, tables, batch)


@pytest.mark.parametrize("causal", [False, True], ids=["both ways", "causal"])
@pytest.mark.parametrize("kind", ["none", "relative", "alibi"])
def test_every_combination(kind: BiasKind, causal: bool) -> None:
    for window, n_kv in product((None, (3, 3), (0, 0), (4, 1)), (4, 2)):
        _check([7, 1, 25, 2], 4, n_kv, causal=causal, window=window, kind=kind)


@pytest.mark.parametrize("kind", ["none", "relative", "alibi"])
def test_tokens_that_are_no_keys(kind: BiasKind) -> None:
    """ColBERT's [MASK] tokens attend, and nobody attends to them."""
    _check([7, 2, 12], 4, 2, kind=kind, n_unseen=[3, 0, 11])


@pytest.mark.parametrize("scale", [None, 1.0, 0.03])
def test_scale(scale: float | None) -> None:
    _check([4, 9], scale=scale)


@pytest.mark.parametrize("window", [None, (3, 0)])
@pytest.mark.parametrize("softcap", [50.0, 0.2])
def test_scores_that_are_bent(softcap: float, window: tuple[int, int] | None) -> None:
    """Before the mask: a score that must not be seen stays so."""
    _check([7, 1, 25], 4, 2, causal=True, window=window, softcap=softcap)


@pytest.mark.parametrize("n_kv", [6, 3, 2, 1])
def test_each_key_head_serves_consecutive_query_heads(n_kv: int) -> None:
    _check([3, 8], 6, n_kv)


@settings(max_examples=15)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    left=st.integers(0, 14),
    right=st.integers(0, 14),
    causal=st.booleans(),
)
def test_any_lengths_and_windows(lengths: list[int], left: int, right: int, causal: bool) -> None:
    _check(lengths, 3, 1, window=(left, right), causal=causal)


def test_nothing_leaks_between_sequences() -> None:
    """Another text beside a text, however large its values, changes nothing."""
    batch = operations.batch([4, 6])
    tables = {name: normal(10, 2 * WIDTH, seed=i) for i, name in enumerate("qkv")}

    def build(ops: Any, weights: Any, view: Any) -> Any:
        q, k, v = (ops.heads(ops.embedding(weights[name], view.token_ids), 2) for name in "qkv")
        return ops.attention(q, k, v, view)

    louder = {name: np.concatenate([values[:4], 1e3 * values[4:]]) for name, values in tables.items()}
    for backend in operations.backends():
        first = operations.compute(build, tables, batch, backend)[:4]
        np.testing.assert_array_equal(first, operations.compute(build, louder, batch, backend)[:4], backend.name)


def test_sharp_scores_stay_numbers() -> None:
    """Scores of thousands, as wide weights give them."""
    batch = operations.batch([5, 3])
    tables = {name: 100 * normal(8, 2 * WIDTH, seed=i) for i, name in enumerate("qkv")}

    def build(ops: Any, weights: Any, view: Any) -> Any:
        q, k, v = (ops.heads(ops.embedding(weights[name], view.token_ids), 2) for name in "qkv")
        return ops.attention(q, k, v, view, window=(1, 0))

    expected = _dense(tables, batch, 2, 2, window=(1, 0))
    for backend in operations.backends():
        got = operations.compute(build, tables, batch, backend)
        assert np.isfinite(got).all()
        assert operations.distance(got, expected) < 1e-3, backend.name


@pytest.mark.parametrize(("n_buckets", "max_distance"), [(32, 128), (8, 16), (64, 256), (32, 20)])
def test_buckets_equal_the_reference(n_buckets: int, max_distance: int) -> None:
    """At every distance, the edges included, where float32's logarithm decides."""
    n = 700
    ours = relative_buckets(n, n_buckets, max_distance)
    distance = np.arange(-(n - 1), n)
    np.testing.assert_array_equal(ours, _reference_buckets(distance, n_buckets, max_distance))
    theirs = MPNetEncoder.relative_position_bucket(torch.from_numpy(distance), n_buckets, max_distance)
    np.testing.assert_array_equal(ours, theirs.numpy())
    assert ours.min() == 0
    assert ours.max() == n_buckets - 1
