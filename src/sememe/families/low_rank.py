"""Low-rank adapters beside a model's matrices: how one is described, and the sum it makes.

A matrix that an adapter changes has two thin ones beside it, `NAME.adapter_down` (rank, in) and `NAME.adapter_up` (out,
rank); the base weights stay one memory for all tasks. Source: Hu et al. 2021 (LoRA), section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from sememe.ops import Array, Ops, Weights


@dataclass(frozen=True)
class Adapter:
    """A task's low-rank change. place: its number in the stacks, or its PEFT folder. scale: alpha / rank."""

    task: str
    rank: int
    scale: float
    place: int | str


def linear(ops: Ops[Array], weights: Weights[Array], name: str, x: Array) -> Array:
    """A linear layer, and what the task's adapter adds to it, if there is one."""
    y = ops.linear(x, weights[name])
    if f"{name}.adapter_down" not in weights:
        return y
    return y + ops.linear(ops.linear(x, weights[f"{name}.adapter_down"]), weights[f"{name}.adapter_up"])
