"""A mixture of experts on both backends, beside the plain reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import operations
from operations import Values, normal
from reference import nomic_moe
from sememe.ops import Precision
from sememe.ops.openvino import OpenVinoBackend
from sememe.ops.torch import TorchBackend

WIDTH, INNER = 6, 10


def _tables(n_tokens: int, n_experts: int, *, bias: bool = True) -> dict[str, Values]:
    tables = {
        "x": normal(n_tokens, WIDTH),
        "router": normal(n_experts, WIDTH, seed=1),
        "experts.up": normal(n_experts * INNER, WIDTH, seed=2),
        "experts.down": normal(n_experts * INNER, WIDTH, seed=3),
    }
    return tables | ({"experts.down.bias": normal(WIDTH, seed=4)} if bias else {})


def _build(n_experts: int, top_k: int) -> operations.Build:
    def build(ops: Any, weights: Any, view: Any) -> Any:
        x = ops.embedding(weights["x"], view.token_ids)
        pieces = (weights[name] for name in ("router", "experts.up", "experts.down"))
        return ops.experts(x, *pieces, n_experts=n_experts, top_k=top_k, activation="gelu")

    return build


def _reference(tables: Mapping[str, Values], n_experts: int, top_k: int) -> Values:
    published = {
        "mlp.router.layer.weight": tables["router"],
        "mlp.experts.mlp.w1": tables["experts.up"],
        "mlp.experts.mlp.w2": tables["experts.down"],
        "mlp.experts.bias": tables.get("experts.down.bias", np.zeros(WIDTH)),
    }
    return nomic_moe.experts(tables["x"], published, "mlp", n_experts, top_k)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n_experts", "top_k"), [(8, 2), (4, 1), (3, 3), (1, 1)])
def test_experts(n_experts: int, top_k: int, bias: bool) -> None:
    operations.check(
        _build(n_experts, top_k),
        lambda tables: _reference(tables, n_experts, top_k),
        _tables(23, n_experts, bias=bias),
        operations.batch([20, 1, 2]),
    )


def test_experts_that_nobody_chose() -> None:
    """One token, sixteen experts: fourteen have nothing to do."""
    operations.check(_build(16, 2), lambda tables: _reference(tables, 16, 2), _tables(1, 16), operations.batch([1]))


def test_one_program_takes_batches_of_every_size() -> None:
    tables = _tables(60, 8)
    expected = _reference({name: values.astype(np.float64) for name, values in tables.items()}, 8, 2)
    for backend in operations.backends():
        build = _build(8, 2)
        program = backend.program(
            lambda ops, w, view, build=build: {"out": build(ops, w, view)}, operations.parameters(tables), "float32"
        )
        for n_tokens in (60, 1, 7, 33):
            got = program(operations.batch([n_tokens]))["out"]
            assert operations.distance(got, expected[:n_tokens]) <= operations.LIMIT, backend.name


@pytest.mark.parametrize(
    ("backend", "precision", "limit"),
    [
        (OpenVinoBackend(n_threads=1), "int8", 0.02),
        (OpenVinoBackend(n_threads=1), "bfloat16", 0.05),
        (TorchBackend(), "bfloat16", 0.05),
    ],
)
def test_low_precision_stays_near(backend: Any, precision: Precision, limit: float) -> None:
    """Tokens whose second and third choice are close may choose otherwise, so the middle one of all distances counts."""
    tables = _tables(200, 8)
    expected = _reference({name: values.astype(np.float64) for name, values in tables.items()}, 8, 2)
    build = _build(8, 2)
    program = backend.program(
        lambda ops, w, view: {"out": build(ops, w, view)}, operations.parameters(tables), precision
    )
    got = program(operations.batch([200]))["out"]
    off = np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert np.median(off) <= limit
