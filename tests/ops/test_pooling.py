"""Pooling on both backends against numpy in float64, with and without the prompt's tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest

import operations
from operations import Values, normal
from sememe.ops import Precision, SumKind
from sememe.records import Batch

LENGTHS = [4, 1, 9, 2]
PROMPTS = {"no prompt": [0, 0, 0, 0], "prompts left out": [2, 0, 5, 1]}


def _pooled(reference: Callable[[Values, int], Values], x: Values, batch: Batch) -> Values:
    """reference(rows, n_prompt) of each sequence's rows after the prompt."""
    spans = operations.spans(batch)
    return np.stack([reference(x[s][n:], n) for s, n in zip(spans, batch.n_prompt, strict=True)])


def _weighted(rows: Values, n_prompt: int) -> Values:
    weights = np.arange(1, len(rows) + 1) + n_prompt  # by the place in the whole sequence
    return (rows * weights[:, None]).sum(0) / weights.sum()


SUMS: dict[SumKind, Callable[[Values, int], Values]] = {
    "sum": lambda rows, _: rows.sum(0),
    "mean": lambda rows, _: rows.mean(0),
    "sqrt_len": lambda rows, _: rows.sum(0) / np.sqrt(len(rows)),
    "weighted": _weighted,
}


@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("kind", SUMS)
def test_sum_pool(kind: SumKind, prompts: str) -> None:
    batch = operations.batch(LENGTHS, n_prompt=PROMPTS[prompts])

    def build(ops: Any, weights: Any, view: Any) -> Any:
        return ops.sum_pool(ops.embedding(weights["x"], view.token_ids), view, kind)

    def reference(tables: Mapping[str, Values]) -> Values:
        return _pooled(SUMS[kind], tables["x"], batch)

    operations.check(build, reference, {"x": normal(16, 6)}, batch)


@pytest.mark.parametrize("prompts", PROMPTS)
def test_max_pool(prompts: str) -> None:
    batch = operations.batch(LENGTHS, n_prompt=PROMPTS[prompts])

    def build(ops: Any, weights: Any, view: Any) -> Any:
        return ops.max_pool(ops.embedding(weights["x"], view.token_ids), view)

    def reference(tables: Mapping[str, Values]) -> Values:
        return _pooled(lambda rows, _: rows.max(0), tables["x"], batch)

    # All below zero: padding that counted as 0 would win.
    operations.check(build, reference, {"x": normal(16, 6) - 10}, batch, limit=0)


@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("which", ["first", "last"])
def test_pick(which: Literal["first", "last"], prompts: str) -> None:
    batch = operations.batch(LENGTHS, n_prompt=PROMPTS[prompts])

    def build(ops: Any, weights: Any, view: Any) -> Any:
        return ops.pick(ops.embedding(weights["x"], view.token_ids), view, which)

    def reference(tables: Mapping[str, Values]) -> Values:
        return _pooled(lambda rows, _: rows[0 if which == "first" else -1], tables["x"], batch)

    operations.check(build, reference, {"x": normal(16, 6)}, batch, limit=0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_sum_of_thousands_keeps_its_digits(precision: Precision) -> None:
    """bfloat16 counts by ones only to 256; its sums are in float32. Adding one value 3,000 times is float32's worst."""
    batch = operations.batch([3000])
    table = np.ones((3000, 4), np.float32)
    expected = {"sum": 3000.0, "mean": 1.0, "sqrt_len": np.sqrt(3000), "weighted": 1.0}
    for backend, (kind, value) in product(operations.backends(), expected.items()):

        def build(ops: Any, weights: Any, view: Any, kind: Any = kind) -> dict[str, Any]:
            return {"out": ops.sum_pool(ops.embedding(weights["x"], view.token_ids), view, kind)}

        got = backend.program(build, operations.parameters({"x": table}), precision)(batch)["out"]
        np.testing.assert_allclose(got, value, rtol=5e-5, err_msg=f"{backend.name}, {kind}")
