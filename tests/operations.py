"""One operation on both backends, beside plain numpy in float64, and its gradient on torch.

    operations.check(build, reference, {"x": values}, operations.batch([3, 1, 5]))

build(ops, weights, view): the operation on rows that are looked up by token ids, so that nothing is a constant that a
compiler could work out beforehand. reference(tables): the same on the tables themselves, as float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sememe.ops import Backend, Parameter, Weights
from sememe.ops.openvino import OpenVinoBackend
from sememe.ops.torch import TorchBackend, TorchBatch, TorchOps
from sememe.records import Batch

Values = NDArray[Any]
Build = Callable[[Any, Any, Any], Any]
Reference = Callable[[Mapping[str, Values]], Values]

# Of the largest value. float32 has 6e-8; sums of some tens of products and a softmax lose about ten times as much.
LIMIT = 1e-6


def backends() -> tuple[Backend, ...]:
    """Both, on the processor."""
    return OpenVinoBackend(n_threads=1), TorchBackend()


def batch(
    lengths: Sequence[int],
    *,
    n_prompt: Sequence[int] | None = None,
    n_unseen: Sequence[int] | None = None,
    positions: Values | None = None,
) -> Batch:
    """Sequences of these lengths; token t has id t, so a table's row t is its value."""
    total = sum(lengths)
    return Batch(
        token_ids=np.arange(total, dtype=np.int32),
        type_ids=np.zeros(total, np.int32),
        positions=np.concatenate([np.arange(n) for n in lengths]).astype(np.int32) if positions is None else positions,
        cu_seqlens=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        n_prompt=np.zeros(len(lengths), np.int32) if n_prompt is None else np.array(n_prompt, np.int32),
        n_unseen=None if n_unseen is None else np.array(n_unseen, np.int32),
    )


def spans(of: Batch) -> list[slice]:
    """Where each sequence lies."""
    return [slice(a, b) for a, b in zip(of.cu_seqlens[:-1], of.cu_seqlens[1:], strict=True)]


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Random values around 0."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def parameters(tables: Mapping[str, Values]) -> dict[str, Parameter]:
    """Tables as parameters; `x` is the weight of the module x, `x.bias` its bias."""
    return {
        name if name.endswith(".bias") else f"{name}.weight": Parameter(values, "float32")
        for name, values in tables.items()
    }


def compute(build: Build, tables: Mapping[str, Values], of: Batch, backend: Backend) -> Values:
    """What one backend gives, in float32."""

    def build_one(ops: Any, weights: Any, view: Any) -> dict[str, Any]:
        return {"out": build(ops, weights, view)}

    return backend.program(build_one, parameters(tables), "float32")(of)["out"]


def distance(got: Values, expected: Values) -> float:
    """The largest difference, as a part of the largest expected value."""
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-6))


def check(build: Build, reference: Reference, tables: Mapping[str, Values], of: Batch, limit: float = LIMIT) -> None:
    """Both backends equal the reference; on torch the gradient with respect to every table does too."""
    wide = {name: values.astype(np.float64) for name, values in tables.items()}
    expected = reference(wide)
    for backend in backends():
        off = distance(compute(build, tables, of, backend), expected)
        assert off <= limit, f"{backend.name} is {off:.1e} of the largest value away, at most {limit:.0e}"
    _check_gradient(build, reference, wide, of)


def _check_gradient(build: Build, reference: Reference, wide: Mapping[str, Values], of: Batch) -> None:
    """Autograd's derivative along a random direction equals the reference's difference quotient."""
    leaves = {
        name: torch.tensor(p.values, dtype=torch.float32, requires_grad=True) for name, p in parameters(wide).items()
    }
    out = build(TorchOps(), Weights(leaves), TorchBatch(of, "cpu"))
    rng = np.random.default_rng(7)
    weight = rng.normal(size=tuple(out.shape))
    (out * torch.from_numpy(weight).float()).sum().backward()
    step = 1e-5
    for name, values in wide.items():
        leaf = leaves[name if name.endswith(".bias") else f"{name}.weight"]
        assert leaf.grad is not None, f"no gradient reaches {name}"
        direction = rng.normal(size=values.shape)
        ahead, behind = (reference({**wide, name: values + sign * step * direction}) for sign in (1, -1))
        expected = float(((ahead - behind) * weight).sum() / (2 * step))
        got = float((leaf.grad.double().numpy() * direction).sum())
        scale = float(np.abs(leaf.grad.numpy() * direction).sum()) + 1e-6
        assert abs(got - expected) <= 1e-4 * scale, f"gradient of {name}: {got}, expected {expected}"
