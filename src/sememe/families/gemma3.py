"""Gemma 3's text model as an embedder: tokens see both ways, in most layers through a window, with four norms a layer.

Paper: Gemma 3 technical report (2025), section 2; Vera et al. 2025 (EmbeddingGemma), section 2. Reference: transformers
5.23 `Gemma3TextModel`. Checkpoints: embeddinggemma-300m, at random weights.
Refused: causal attention, rotary scalings, softcapping, attention biases, and activations that are not listed in
`reading`. The Dense modules that follow the mean are steps of the checkpoint's recipe.
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
from sememe.families.rope import inverse_frequencies, read_theta
from sememe.ops import Activation, Array, BatchView, Ops, Rotary, Weights

MODEL_TYPES = ("gemma3_text",)

_KNOWN_KEYS = (llama_layout.KNOWN_KEYS - {"hidden_act", "mlp_bias"}) | frozenset(
    "hidden_activation query_pre_attn_scalar rope_local_base_freq sliding_window layer_types sliding_window_pattern "
    "_sliding_window_pattern attn_logit_softcapping final_logit_softcapping use_bidirectional_attention".split()
)
# What the reference takes where the config is silent. Source: transformers 5.23 `Gemma3TextConfig`.
_GLOBAL_THETA, _LOCAL_THETA = 1_000_000.0, 10_000.0
_PATTERN = 6


@dataclass(frozen=True)
class Config:
    """Shapes and constants.

    windows: for each layer how many tokens on either side of a token it sees, None for all. score_scale: what q·kᵀ is
    multiplied by.
    """

    vocab_size: int
    hidden_size: int
    n_heads: int
    n_kv_heads: int
    head_size: int
    intermediate_size: int
    n_positions: int
    eps: float
    activation: Activation
    score_scale: float
    windows: tuple[int | None, ...]
    global_theta: float
    local_theta: float

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
        """Read `config.json` in either spelling. Raises UnsupportedCheckpoint for what we do not compute."""
        if raw.get("use_bidirectional_attention") is not True:
            raise UnsupportedCheckpoint(
                "config.json",
                "use_bidirectional_attention",
                got=raw.get("use_bidirectional_attention"),
                expected="true: of Gemma 3 we compute the embedder, not the language model",
            )
        refuse_unless(raw, "attention_bias", (False,))
        refuse_unless(raw, "attn_logit_softcapping", (None,))
        refuse_unless(raw, "final_logit_softcapping", (None,))
        refuse_unless(raw, "rope_scaling", (None,))
        refuse_unknown_keys(raw, _KNOWN_KEYS | llama_layout.NO_CONSEQUENCE)
        global_theta, local_theta = _read_thetas(raw)
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_heads=raw["num_attention_heads"],
            n_kv_heads=raw["num_key_value_heads"],
            head_size=raw["head_dim"],
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            eps=raw["rms_norm_eps"],
            activation=read_activation(raw, "hidden_activation"),
            score_scale=1 / math.sqrt(raw["query_pre_attn_scalar"]),
            windows=_read_windows(raw),
            global_theta=global_theta,
            local_theta=local_theta,
        )


def _read_windows(raw: Mapping[str, Any]) -> tuple[int | None, ...]:
    """From `layer_types`, or where it is left out every so many layers a full one, the last of each round."""
    n_layers = raw["num_hidden_layers"]
    kinds = raw.get("layer_types")
    if kinds is None:
        every = raw.get("sliding_window_pattern", _PATTERN)
        refuse_unless(raw, "_sliding_window_pattern", (every,))  # the reference would not read it
        kinds = ["sliding_attention" if (i + 1) % every else "full_attention" for i in range(n_layers)]
    # The config counts both sides; of an odd number the reference drops the half.
    known = {"full_attention": None, "sliding_attention": raw["sliding_window"] // 2}
    if not set(kinds) <= set(known) or len(kinds) != n_layers:
        raise UnsupportedCheckpoint(
            "config.json", "layer_types", got=kinds, expected=f"{n_layers} of {', '.join(known)}"
        )
    return tuple(known[kind] for kind in kinds)


def _read_thetas(raw: Mapping[str, Any]) -> tuple[float, float]:
    """The rotary bases of full and of sliding layers."""
    if raw.get("rope_parameters") is None:
        return float(raw.get("rope_theta", _GLOBAL_THETA)), float(raw.get("rope_local_base_freq", _LOCAL_THETA))
    ropes = raw["rope_parameters"]
    if set(ropes) != {"full_attention", "sliding_attention"}:
        got, expected = ", ".join(sorted(ropes)), "full_attention and sliding_attention"
        raise UnsupportedCheckpoint("config.json", "rope_parameters", got=got, expected=expected)
    thetas = {kind: read_theta(ropes[kind], f"rope_parameters.{kind}") for kind in ropes}
    refuse_unless(raw, "rope_theta", (thetas["full_attention"],))
    refuse_unless(raw, "rope_local_base_freq", (thetas["sliding_attention"],))
    return thetas["full_attention"], thetas["sliding_attention"]


PREFIXES = llama_layout.PREFIXES
RENAMES = (
    *llama_layout.RENAMES,
    (r"layers\.(\d+)\.self_attn\.q_norm\.weight", r"layer.\1.attention.query_norm.weight"),
    (r"layers\.(\d+)\.self_attn\.k_norm\.weight", r"layer.\1.attention.key_norm.weight"),
    *llama_layout.FOUR_NORMS,
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
        shapes |= {f"layer.{i}.attention.{which}_norm.weight": (d,) for which in ("query", "key")}
        shapes |= {f"layer.{i}.{part}.output_norm.weight": (h,) for part in ("attention", "mlp")}
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …"""
    return llama_layout.positions(token_ids)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H).

    In bfloat16 the reference also rounds √H (27.71 to 27.75 for 768); here it stays exact.
    """
    everywhere = Rotary(inverse_frequencies(config.global_theta, config.head_size), config.n_positions)
    nearby = Rotary(inverse_frequencies(config.local_theta, config.head_size), config.n_positions)

    def norm(x: Array, layer: Weights[Array], name: str) -> Array:
        return ops.rms_norm(x, layer[name], config.eps, plus_one=True)

    x = ops.scale(ops.embedding(weights["embeddings.word"], batch.token_ids), math.sqrt(config.hidden_size))
    for layer, half in zip(weights.layers("layer", config.n_layers), config.windows, strict=True):
        h = norm(x, layer, "attention.norm")
        q = ops.heads(ops.linear(h, layer["attention.query"]), config.n_heads)
        k = ops.heads(ops.linear(h, layer["attention.key"]), config.n_kv_heads)
        v = ops.heads(ops.linear(h, layer["attention.value"]), config.n_kv_heads)
        rotary = everywhere if half is None else nearby
        q = ops.rotary(norm(q, layer, "attention.query_norm"), rotary, batch)
        k = ops.rotary(norm(k, layer, "attention.key_norm"), rotary, batch)
        window = None if half is None else (half, half)
        attended = ops.merge_heads(ops.attention(q, k, v, batch, scale=config.score_scale, window=window))
        x = x + norm(ops.linear(attended, layer["attention.output"]), layer, "attention.output_norm")
        h = norm(x, layer, "mlp.norm")
        gate = ops.activation(ops.linear(h, layer["mlp.gate"]), config.activation)
        x = x + norm(ops.linear(gate * ops.linear(h, layer["mlp.up"]), layer["mlp.down"]), layer, "mlp.output_norm")
    return norm(x, weights, "norm")
