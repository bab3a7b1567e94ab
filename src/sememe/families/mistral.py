"""Mistral as an embedder: Llama's layout, with a window on what lies behind.

Paper: Jiang et al. 2023 (Mistral 7B), section 2; Wang et al. 2024 (E5-Mistral). Reference: transformers 5.23
`MistralModel`. Checkpoints: e5-mistral-7b-instruct, SFR-Embedding-Mistral, SFR-Embedding-2_R, Linq-Embed-Mistral,
bge-en-icl, at random weights.
Refused: rotary scalings, biases, a window that looks both ways, and activations that are not listed in `reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.families import llama_layout
from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.families.rope import inverse_frequencies
from sememe.ops import Activation, Array, BatchView, Ops, Rotary, Weights

MODEL_TYPES = ("mistral",)

_KNOWN_KEYS = llama_layout.KNOWN_KEYS | {"sliding_window", "is_causal", "layer_types"}


@dataclass(frozen=True)
class Config:
    """Shapes and constants.

    causal: a token sees itself and those before it; else all. window: of those before it only so many; None for all.
    """

    vocab_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_size: int
    intermediate_size: int
    n_positions: int
    eps: float
    theta: float
    activation: Activation
    causal: bool
    window: int | None

    @property
    def max_tokens(self) -> int:
        """The longest that the authors trained; rotary positions have no table of their own."""
        return self.n_positions

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for what we do not compute."""
        refuse_unless(raw, "attention_bias", (False,))
        refuse_unless(raw, "mlp_bias", (False,))
        causal = llama_layout.read_causal(raw)
        # The reference takes 4096 where the entry is missing, so it must be there to be sure.
        sliding = raw["sliding_window"]
        if not causal:
            refuse_unless(raw, "sliding_window", (None,))
        kind = "full_attention" if sliding is None else "sliding_attention"
        refuse_unless(raw, "layer_types", (None, [kind] * raw["num_hidden_layers"]))
        refuse_unknown_keys(raw, _KNOWN_KEYS | llama_layout.NO_CONSEQUENCE)
        head_size = raw.get("head_dim")
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_layers=raw["num_hidden_layers"],
            n_heads=raw["num_attention_heads"],
            n_kv_heads=raw["num_key_value_heads"],
            head_size=raw["hidden_size"] // raw["num_attention_heads"] if head_size is None else head_size,
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            eps=raw["rms_norm_eps"],
            theta=llama_layout.read_rotary_base(raw),
            activation=read_activation(raw, "hidden_act"),
            causal=causal,
            window=None if sliding is None else sliding - 1,  # the config counts the token itself
        )


PREFIXES = llama_layout.PREFIXES
RENAMES = (
    *llama_layout.RENAMES,
    (r"layers\.(\d+)\.post_attention_layernorm\.weight", r"layer.\1.mlp.norm.weight"),
)
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
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …"""
    return llama_layout.positions(token_ids)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H)."""
    rotary = Rotary(inverse_frequencies(config.theta, config.head_size), config.n_positions)
    window = None if config.window is None else (config.window, 0)
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    for layer in weights.layers("layer", config.n_layers):
        h = ops.rms_norm(x, layer["attention.norm"], config.eps)
        q = ops.rotary(ops.heads(ops.linear(h, layer["attention.query"]), config.n_heads), rotary, batch)
        k = ops.rotary(ops.heads(ops.linear(h, layer["attention.key"]), config.n_kv_heads), rotary, batch)
        v = ops.heads(ops.linear(h, layer["attention.value"]), config.n_kv_heads)
        attended = ops.merge_heads(ops.attention(q, k, v, batch, causal=config.causal, window=window))
        x = x + ops.linear(attended, layer["attention.output"])
        h = ops.rms_norm(x, layer["mlp.norm"], config.eps)
        gate = ops.activation(ops.linear(h, layer["mlp.gate"]), config.activation)
        x = x + ops.linear(gate * ops.linear(h, layer["mlp.up"]), layer["mlp.down"])
    return ops.rms_norm(x, weights["norm"], config.eps)
