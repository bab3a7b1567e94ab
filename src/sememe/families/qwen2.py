"""Qwen2 as an embedder: Llama's layout with biases on queries, keys and values; looking back or both ways.

Paper: Qwen2 technical report (2024), section 2.2; Li et al. 2023 (GTE). Reference: transformers 5.23 `Qwen2Model`, both
ways with `is_causal` false in its config. Checkpoints: gte-Qwen2-1.5B-instruct, gte-Qwen2-7B-instruct, nomic-embed-code,
jina-code-embeddings, at random weights.
Refused: rotary scalings (YaRN), a window that looks both ways, remote code without a word on the mask, and activations
that are not listed in `reading`.
"""

from __future__ import annotations

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

MODEL_TYPES = ("qwen2",)

_KNOWN_KEYS = (llama_layout.KNOWN_KEYS - {"attention_bias"}) | frozenset(
    "use_sliding_window sliding_window max_window_layers layer_types is_causal".split()
)


@dataclass(frozen=True)
class Config:
    """Shapes and constants.

    causal: a token sees itself and those before it; else all. windows: for each layer how many of those before it; None
    for all.
    """

    vocab_size: int
    hidden_size: int
    n_heads: int
    n_kv_heads: int
    intermediate_size: int
    n_positions: int
    eps: float
    theta: float
    activation: Activation
    causal: bool
    windows: tuple[int | None, ...]

    @property
    def n_layers(self) -> int:
        """One window for each."""
        return len(self.windows)

    @property
    def head_size(self) -> int:
        """Not a field of this architecture's config."""
        return self.hidden_size // self.n_heads

    @property
    def max_tokens(self) -> int:
        """The longest that the authors trained; rotary positions have no table of their own."""
        return self.n_positions

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for what we do not compute."""
        refuse_unless(raw, "mlp_bias", (False,))
        refuse_unless(raw, "head_dim", (None, raw["hidden_size"] // raw["num_attention_heads"]))
        refuse_unknown_keys(raw, _KNOWN_KEYS | llama_layout.NO_CONSEQUENCE)
        causal, windows = llama_layout.read_causal(raw), _read_windows(raw)
        if not causal and set(windows) != {None}:
            expected = "false where is_causal is false"
            raise UnsupportedCheckpoint("config.json", "use_sliding_window", got=True, expected=expected)
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_heads=raw["num_attention_heads"],
            n_kv_heads=raw["num_key_value_heads"],
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            eps=raw["rms_norm_eps"],
            theta=llama_layout.read_rotary_base(raw),
            activation=read_activation(raw, "hidden_act"),
            causal=causal,
            windows=windows,
        )


def _read_windows(raw: Mapping[str, Any]) -> tuple[int | None, ...]:
    """From `layer_types`, or where it is left out a window in every layer from `max_window_layers` on.

    Without `use_sliding_window` none, whatever `sliding_window` is.
    """
    n_layers = raw["num_hidden_layers"]
    if not raw.get("use_sliding_window", False) or raw["sliding_window"] is None:
        refuse_unless(raw, "layer_types", (None, ["full_attention"] * n_layers))
        return (None,) * n_layers
    kinds = raw.get("layer_types")
    if kinds is None:
        first = raw["max_window_layers"]
        kinds = ["sliding_attention" if i >= first else "full_attention" for i in range(n_layers)]
    known = {
        "full_attention": None,
        "sliding_attention": raw["sliding_window"] - 1,
    }  # the config counts the token itself
    if not set(kinds) <= set(known) or len(kinds) != n_layers:
        raise UnsupportedCheckpoint(
            "config.json", "layer_types", got=kinds, expected=f"{n_layers} of {', '.join(known)}"
        )
    return tuple(known[kind] for kind in kinds)


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
    h, kv_width = config.hidden_size, config.n_kv_heads * config.head_size
    shapes: dict[str, tuple[int, ...]] = {"embeddings.word.weight": (config.vocab_size, h), "norm.weight": (h,)}
    for i in range(config.n_layers):
        shapes |= llama_layout.layer_shapes(f"layer.{i}.", h, h, kv_width, config.intermediate_size)
        shapes[f"layer.{i}.attention.query.bias"] = (h,)
        shapes |= {f"layer.{i}.attention.{which}.bias": (kv_width,) for which in ("key", "value")}
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …"""
    return llama_layout.positions(token_ids)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H)."""
    rotary = Rotary(inverse_frequencies(config.theta, config.head_size), config.n_positions)
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    for layer, behind in zip(weights.layers("layer", config.n_layers), config.windows, strict=True):
        h = ops.rms_norm(x, layer["attention.norm"], config.eps)
        q = ops.rotary(ops.heads(ops.linear(h, layer["attention.query"]), config.n_heads), rotary, batch)
        k = ops.rotary(ops.heads(ops.linear(h, layer["attention.key"]), config.n_kv_heads), rotary, batch)
        v = ops.heads(ops.linear(h, layer["attention.value"]), config.n_kv_heads)
        window = None if behind is None else (behind, 0)
        attended = ops.merge_heads(ops.attention(q, k, v, batch, causal=config.causal, window=window))
        x = x + ops.linear(attended, layer["attention.output"])
        h = ops.rms_norm(x, layer["mlp.norm"], config.eps)
        gate = ops.activation(ops.linear(h, layer["mlp.gate"]), config.activation)
        x = x + ops.linear(gate * ops.linear(h, layer["mlp.up"]), layer["mlp.down"])
    return ops.rms_norm(x, weights["norm"], config.eps)
