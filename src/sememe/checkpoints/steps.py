"""What stands between hidden states and a vector: pooling, linear layers, layer norms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sememe.ops import Activation, Array, Ops, Weights

PoolingMode = Literal["cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]

# Fixed in sentence-transformers' LayerNorm module (torch's default).
_VECTOR_NORM_EPS = 1e-5


@dataclass(frozen=True)
class Pooling:
    """How (n, H) becomes one vector: the modes' results one after another.

    include_prompt: whether its tokens count. bare_prompt: where they do not, the prompt's tokens are counted without
    the special token before it, so that its last one stays in (NV-Embed).
    """

    modes: tuple[PoolingMode, ...]
    include_prompt: bool = True
    bare_prompt: bool = False


@dataclass(frozen=True)
class Projection:
    """A linear layer, then an activation. module: the name of its tensors; `2_Dense.linear` lies in that folder's file."""

    module: str
    n_in: int
    n_out: int
    has_bias: bool
    activation: Activation

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What it needs, by name, with shapes."""
        shapes: dict[str, tuple[int, ...]] = {f"{self.module}.weight": (self.n_out, self.n_in)}
        return {**shapes, f"{self.module}.bias": (self.n_out,)} if self.has_bias else shapes


@dataclass(frozen=True)
class VectorNorm:
    """A layer norm after pooling. module: the name of its tensors."""

    module: str
    width: int

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What it needs, by name, with shapes."""
        return {f"{self.module}.weight": (self.width,), f"{self.module}.bias": (self.width,)}


Step = Projection | VectorNorm


def tensors_of(steps: Sequence[Step]) -> dict[str, tuple[int, ...]]:
    """What several steps need, by name, with shapes."""
    return {name: shape for step in steps for name, shape in step.tensors().items()}


def through(ops: Ops[Array], weights: Weights[Array], steps: Sequence[Step], x: Array) -> Array:
    """(N, in) to (N, out): one step after another."""
    for step in steps:
        if isinstance(step, Projection):
            x = ops.activation(ops.linear(x, weights[step.module]), step.activation)
        else:
            x = ops.layer_norm(x, weights[step.module], _VECTOR_NORM_EPS)
    return x
