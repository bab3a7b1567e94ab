"""Operations that treat each token by itself, on both backends against numpy in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from scipy.special import erf, expit

import operations
from operations import Values, normal
from sememe.ops import Activation, Module

BATCH = operations.batch([3, 1, 5])
T = BATCH.n_tokens


def _rows(ops: Any, weights: Any, view: Any, name: str = "x") -> Any:
    return ops.embedding(weights[name], view.token_ids)


def test_embedding_gives_rows() -> None:
    table = normal(50, 6)
    batch = operations.batch([2, 4])
    ids = np.array([49, 0, 7, 7, 3, 49], np.int32)
    batch = type(batch)(ids, batch.type_ids, batch.positions, batch.cu_seqlens, batch.n_prompt)
    operations.check(_rows, lambda tables: tables["x"][ids], {"x": table}, batch, limit=0)


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool) -> None:
    tables = {"x": normal(T, 7), "w": normal(5, 7, seed=1)} | ({"w.bias": normal(5, seed=2)} if bias else {})

    def reference(t: Mapping[str, Values]) -> Values:
        return t["x"] @ t["w"].T + t.get("w.bias", 0)

    operations.check(lambda ops, w, view: ops.linear(_rows(ops, w, view), w["w"]), reference, tables, BATCH)


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.5])
@pytest.mark.parametrize("parts", ["weight and bias", "weight", "none"])
def test_layer_norm(eps: float, parts: str) -> None:
    tables = {"x": 3 + 2 * normal(T, 9)}
    tables |= {"n": normal(9, seed=1)} if parts != "none" else {}
    tables |= {"n.bias": normal(9, seed=2)} if parts == "weight and bias" else {}

    def build(ops: Any, weights: Any, view: Any) -> Any:
        return ops.layer_norm(_rows(ops, weights, view), weights["n"] if "n" in tables else None, eps)

    def reference(t: Mapping[str, Values]) -> Values:
        x = t["x"]
        normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return normed * t.get("n", 1) + t.get("n.bias", 0)

    operations.check(build, reference, tables, BATCH, limit=2e-6)


@pytest.mark.parametrize("eps", [1e-6, 0.5])
@pytest.mark.parametrize("plus_one", [False, True])
def test_rms_norm(eps: float, plus_one: bool) -> None:
    tables = {"x": 3 * normal(T, 9), "n": normal(9, seed=1)}

    def reference(t: Mapping[str, Values]) -> Values:
        x = t["x"]
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * (t["n"] + plus_one)

    def build(ops: Any, weights: Any, view: Any) -> Any:
        return ops.rms_norm(_rows(ops, weights, view), weights["n"], eps, plus_one=plus_one)

    operations.check(build, reference, tables, BATCH)


ACTIVATIONS: dict[Activation, Callable[[Values], Values]] = {
    "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x * expit(1.702 * x),
    "silu": lambda x: x * expit(x),
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": expit,
    "identity": lambda x: x,
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation(kind: Activation) -> None:
    # By 1e-6 of the largest value, which is 4: a tanh GELU for the exact one is 1e-4 away.
    tables = {"x": np.clip(2 * normal(T, 40), -4, 4)}
    build = lambda ops, w, view: ops.activation(_rows(ops, w, view), kind)  # noqa: E731
    operations.check(build, lambda t: ACTIVATIONS[kind](t["x"]), tables, BATCH)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation_far_from_zero(kind: Activation) -> None:
    values = np.array([[-1e4, -90.0, -20.0, -0.0, 20.0, 90.0, 1e4]], np.float32)
    with np.errstate(over="ignore"):
        expected = ACTIVATIONS[kind](values.astype(np.float64))
    for backend in operations.backends():
        build = lambda ops, w, view: ops.activation(_rows(ops, w, view), kind)  # noqa: E731
        got = operations.compute(build, {"x": values}, operations.batch([1]), backend)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6, err_msg=backend.name)


def test_log1p() -> None:
    tables = {"x": np.abs(3 * normal(T, 7))}
    build = lambda ops, w, view: ops.log1p(_rows(ops, w, view))  # noqa: E731
    operations.check(build, lambda t: np.log1p(t["x"]), tables, BATCH)


def test_rows_of_a_table() -> None:
    """The two rows of a reranker's yes and no, out of a vocabulary."""
    tables = {"x": normal(T, 4), "v": normal(30, 4, seed=1)}

    def build(ops: Any, weights: Any, view: Any) -> Any:
        return ops.linear(_rows(ops, weights, view), Module(ops.rows(weights["v"], (29, 3)), None))

    operations.check(build, lambda t: t["x"] @ t["v"][[29, 3]].T, tables, BATCH)


def test_split_cuts_the_last_axis() -> None:
    sizes = (2, 5, 1)
    tables = {"x": normal(T, 8)}
    for i, (start, end) in enumerate(((0, 2), (2, 7), (7, 8))):
        operations.check(
            lambda ops, w, view, i=i: ops.split(_rows(ops, w, view), sizes)[i],
            lambda t, start=start, end=end: t["x"][:, start:end],
            tables,
            BATCH,
            limit=0,
        )


def test_heads_and_back() -> None:
    tables = {"x": normal(T, 12)}
    operations.check(
        lambda ops, w, view: ops.scale(ops.heads(_rows(ops, w, view), 3), 2),
        lambda t: t["x"].reshape(T, 3, 4) * 2,
        tables,
        BATCH,
        limit=0,
    )
    operations.check(
        lambda ops, w, view: ops.scale(ops.merge_heads(ops.heads(_rows(ops, w, view), 3)), 2),
        lambda t: t["x"] * 2,
        tables,
        BATCH,
        limit=0,
    )


def test_concatenate_joins_the_last_axis() -> None:
    tables = {"x": normal(T, 3), "y": normal(T, 5, seed=1)}
    operations.check(
        lambda ops, w, view: ops.concatenate([_rows(ops, w, view, name) for name in ("x", "y", "x")]),
        lambda t: np.concatenate([t["x"], t["y"], t["x"]], -1),
        tables,
        BATCH,
        limit=0,
    )


def test_arithmetic_of_arrays() -> None:
    """Of pieces of a split too, as gated layers need it."""
    tables = {"x": normal(T, 6), "y": normal(T, 3, seed=1)}

    def build(ops: Any, weights: Any, view: Any) -> Any:
        up, gate = ops.split(_rows(ops, weights, view), (3, 3))
        y = _rows(ops, weights, view, "y")
        return up * gate - y * up + (gate + ops.scale(y, -0.5))

    def reference(t: Mapping[str, Values]) -> Values:
        up, gate, y = t["x"][:, :3], t["x"][:, 3:], t["y"]
        return up * gate - y * up + gate - 0.5 * y

    operations.check(build, reference, tables, BATCH)


def test_a_module_without_bias_has_none() -> None:
    module: Module[Values] = Module(normal(2, 2), None)
    assert module.bias is None
