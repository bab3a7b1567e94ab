"""Gemma 2 as an embedder: causal, every other layer through a window, four norms a layer, scores bent before the mask.

Paper: Gemma 2 technical report (2024), section 2. Reference: transformers 5.23 `Gemma2Model`. Checkpoints:
bge-multilingual-gemma2, at random weights.
Refused: rotary scalings, biases, attention that looks both ways, and activations that are not listed in `reading`. The
softcap of the language model's logits is of no consequence to hidden states.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.errors import UnsupportedCheckpoint
from sememe.families import llama_layout
from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.families.rope import inverse_frequencies
from sememe.ops import Activation, Array, BatchView, Ops, Rotary, Weights

MODEL_TYPES = ("gemma2",)

_KNOWN_KEYS = llama_layout.KNOWN_KEYS | frozenset(
    "hidden_activation query_pre_attn_scalar sliding_window sliding_window_size layer_types attn_logit_softcapping "
    "final_logit_softcapping use_bidirectional_attention cache_implementation".split()
)


@dataclass(frozen=True)
class Config:
    """Shapes and constants.

    windows: for each layer how many tokens before a token it sees, None for all. score_scale: what q·kᵀ is multiplied
    by. softcap: what bounds those products, None for nothing.
    """

    vocab_size: int
    hidden_size: int
    n_heads: int
    n_kv_heads: int
    head_size: int
    intermediate_size: int
    n_positions: int
    eps: float
    theta: float
    activation: Activation
    score_scale: float
    softcap: float | None
    windows: tuple[int | None, ...]

    @property
    def n_layers(self) -> int:
        """One window for each."""
        return len(self.windows)

    @property
    def max_tokens(self) -> int:
        """The longest that the authors trained; rotary positions have no table of their own."""
        return self.n_positions

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for what we do not compute."""
        refuse_unless(raw, "attention_bias", (False,))
        refuse_unless(raw, "use_bidirectional_attention", (None, False))
        # The reference reads `hidden_activation` alone; files of the first weeks name both.
        refuse_unless(raw, "hidden_act", (raw["hidden_activation"],))
        refuse_unless(raw, "sliding_window_size", (raw["sliding_window"],))
        refuse_unknown_keys(raw, _KNOWN_KEYS | llama_layout.NO_CONSEQUENCE)
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_heads=raw["num_attention_heads"],
            n_kv_heads=raw["num_key_value_heads"],
            head_size=raw["head_dim"],
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            eps=raw["rms_norm_eps"],
            theta=llama_layout.read_rotary_base(raw),
            activation=read_activation(raw, "hidden_activation"),
            score_scale=1 / math.sqrt(raw["query_pre_attn_scalar"]),
            softcap=raw["attn_logit_softcapping"],
            windows=_read_windows(raw),
        )


def _read_windows(raw: Mapping[str, Any]) -> tuple[int | None, ...]:
    """From `layer_types`, or where it is left out in turn, beginning with a window."""
    n_layers = raw["num_hidden_layers"]
    kinds = raw.get("layer_types")
    if kinds is None:
        kinds = ["full_attention" if i % 2 else "sliding_attention" for i in range(n_layers)]
    known = {"full_attention": None, "sliding_attention": raw["sliding_window"] - 1}  # it counts the token itself
    if not set(kinds) <= set(known) or len(kinds) != n_layers:
        expected = f"{n_layers} of {', '.join(known)}"
        raise UnsupportedCheckpoint("config.json", "layer_types", got=kinds, expected=expected)
    return tuple(known[kind] for kind in kinds)


PREFIXES = llama_layout.PREFIXES
RENAMES = (*llama_layout.RENAMES, *llama_layout.FOUR_NORMS)
IGNORED = llama_layout.IGNORED
STACKED: tuple[tuple[str, tuple[str, ...]], ...] = ()


def claims(raw: Mapping[str, Any]) -> bool:
    """Whether this file computes a checkpoint with this `config.json`."""
    return raw.get("model_type") in MODEL_TYPES


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    h, d = config.hidden_size, config.head_size
    shapes: dict[str, tuple[int, ...]] = {"embeddings.word.weight": (config.vocab_size, h), "norm.weight": (h,)}
    for i in range(config.n_layers):
        shapes |= llama_layout.layer_shapes(
            f"layer.{i}.", h, config.n_heads * d, config.n_kv_heads * d, config.intermediate_size
        )
        shapes |= {f"layer.{i}.{part}.output_norm.weight": (h,) for part in ("attention", "mlp")}
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …"""
    return llama_layout.positions(token_ids)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H).

    In bfloat16 the reference also rounds √H (59.87 to 59.75 for 3584); here it stays exact.
    """
    rotary = Rotary(inverse_frequencies(config.theta, config.head_size), config.n_positions)

    def norm(x: Array, layer: Weights[Array], name: str) -> Array:
        return ops.rms_norm(x, layer[name], config.eps, plus_one=True)

    x = ops.scale(ops.embedding(weights["embeddings.word"], batch.token_ids), math.sqrt(config.hidden_size))
    for layer, before in zip(weights.layers("layer", config.n_layers), config.windows, strict=True):
        h = norm(x, layer, "attention.norm")
        q = ops.rotary(ops.heads(ops.linear(h, layer["attention.query"]), config.n_heads), rotary, batch)
        k = ops.rotary(ops.heads(ops.linear(h, layer["attention.key"]), config.n_kv_heads), rotary, batch)
        v = ops.heads(ops.linear(h, layer["attention.value"]), config.n_kv_heads)
        window = None if before is None else (before, 0)
        attended = ops.merge_heads(
            ops.attention(q, k, v, batch, scale=config.score_scale, causal=True, window=window, softcap=config.softcap)
        )
        x = x + norm(ops.linear(attended, layer["attention.output"]), layer, "attention.output_norm")
        h = norm(x, layer, "mlp.norm")
        gate = ops.activation(ops.linear(h, layer["mlp.gate"]), config.activation)
        x = x + norm(ops.linear(gate * ops.linear(h, layer["mlp.up"]), layer["mlp.down"]), layer, "mlp.output_norm")
    return norm(x, weights, "norm")
