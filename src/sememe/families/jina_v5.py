"""jina-embeddings-v5-text: the body of Qwen3 (small) or EuroBERT (nano) with a low-rank adapter for each task.

Paper: Akram et al. 2026, section 3. Reference: transformers 5.23 `Qwen3Model` and `EuroBertModel` with one PEFT adapter
switched on, which is what the authors' own code does. Checkpoints, at random weights: text-small and text-nano.
Refused: what the bodies refuse, and variants of LoRA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError
from sememe.families import eurobert, qwen3
from sememe.families.low_rank import Adapter
from sememe.ops import Array, BatchView, Ops, Parameter, Weights

MODEL_TYPES = ("jina_embeddings_v5",)

# Of the wrapper, not of the body.
_WRAPPER_KEYS = frozenset(("task_names", "peft_adapters", "auto_map"))
# Matrices of a layer that the adapters change.
_ADAPTED = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.output",
    "mlp.gate",
    "mlp.up",
    "mlp.down",
)


@dataclass(frozen=True)
class Config:
    """The body's shapes and constants, and the adapters."""

    body: qwen3.Config | eurobert.Config
    adapters: tuple[Adapter, ...]

    @property
    def vocab_size(self) -> int:
        """The body's."""
        return self.body.vocab_size

    @property
    def hidden_size(self) -> int:
        """The body's."""
        return self.body.hidden_size

    @property
    def max_tokens(self) -> int:
        """The body's."""
        return self.body.max_tokens

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`, with the settings of PEFT adapters by folder as `peft_adapters` (`checkpoints.adapters`).

        Raises UnsupportedCheckpoint for what we do not compute.
        """
        inner = {name: value for name, value in raw.items() if name not in _WRAPPER_KEYS}
        # Both sizes have one model_type. EuroBERT's config alone names the token that it was trained to fill in.
        body = eurobert.Config.read(inner) if "mask_token_id" in raw else qwen3.Config.read(inner)
        adapters = (
            Adapter(folder.rpartition("/")[2], lora["r"], lora["lora_alpha"] / lora["r"], folder)
            for folder, lora in raw.get("peft_adapters", {}).items()
        )
        return cls(body, tuple(adapters))


PREFIXES = qwen3.PREFIXES
_PEFT = r"([\w/-]+)/base_model\.model\.layers\.(\d+)"
RENAMES = (
    *qwen3.RENAMES,
    (rf"{_PEFT}\.self_attn\.q_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.attention.query.\3"),
    (rf"{_PEFT}\.self_attn\.k_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.attention.key.\3"),
    (rf"{_PEFT}\.self_attn\.v_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.attention.value.\3"),
    (rf"{_PEFT}\.self_attn\.o_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.attention.output.\3"),
    (rf"{_PEFT}\.mlp\.gate_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.mlp.gate.\3"),
    (rf"{_PEFT}\.mlp\.up_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.mlp.up.\3"),
    (rf"{_PEFT}\.mlp\.down_proj\.lora_(A|B)\.weight", r"adapter.\1.layer.\2.mlp.down.\3"),
)
IGNORED = qwen3.IGNORED
STACKED: tuple[tuple[str, tuple[str, ...]], ...] = ()


def claims(raw: Mapping[str, Any]) -> bool:
    """Whether this file computes a checkpoint with this `config.json`."""
    return raw.get("model_type") in MODEL_TYPES


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    body = config.body
    shapes = qwen3.tensors(body) if isinstance(body, qwen3.Config) else eurobert.tensors(body)
    for adapter in config.adapters:
        for name in _matrices(config):
            n_out, n_in = shapes[f"{name}.weight"]
            at = f"adapter.{adapter.place}.{name}"
            shapes |= {f"{at}.A": (adapter.rank, n_in), f"{at}.B": (n_out, adapter.rank)}
    return shapes


def _matrices(config: Config) -> list[str]:
    return [f"layer.{i}.{name}" for i in range(config.body.n_layers) for name in _ADAPTED]


def tasks(config: Config) -> tuple[str, ...]:
    """The tasks that there are adapters for."""
    return tuple(adapter.task for adapter in config.adapters)


def adapted(parameters: Mapping[str, Parameter], config: Config, task: str) -> dict[str, Parameter]:
    """The parameters of one task, for `forward`: the base's own, and the factors of each change (`low_rank`).

    Raises InputError for a task that there is no adapter for.
    """
    adapter = next((adapter for adapter in config.adapters if adapter.task == task), None)
    if adapter is None:
        known = ", ".join(map(repr, tasks(config))) or "no adapter"
        raise InputError(f"Task {task!r} is not one of this model's; it has {known}.")
    of_task = {name: p for name, p in parameters.items() if not name.startswith("adapter.")}
    for name in _matrices(config):
        at = f"adapter.{adapter.place}.{name}"
        up = parameters[f"{at}.B"].float32() * np.float32(adapter.scale)
        of_task[f"{name}.adapter_down.weight"] = parameters[f"{at}.A"]
        of_task[f"{name}.adapter_up.weight"] = Parameter(up, "float32")
    return of_task


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …"""
    return np.arange(len(token_ids), dtype=np.int32)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H), by the base weights or those that `adapted` gives."""
    body = config.body
    if isinstance(body, qwen3.Config):
        return qwen3.forward(ops, weights, body, batch)
    return eurobert.forward(ops, weights, body, batch)
