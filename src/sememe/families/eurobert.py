"""EuroBERT: Llama's layout with attention that looks both ways.

Paper: Boizard et al. 2025 (EuroBERT), section 2. Reference: transformers 5.23 `EuroBertModel`. Checkpoints, at random
weights: the body of jina-embeddings-v5-text-nano, whose adapters are `jina_v5`'s affair.
Refused: rotary scalings, biases, and activations that are not listed in `reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.families import llama_layout, low_rank
from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.families.rope import inverse_frequencies
from sememe.ops import Activation, Array, BatchView, Ops, Rotary, Weights

MODEL_TYPES = ("eurobert",)

_KNOWN_KEYS = llama_layout.KNOWN_KEYS | {"is_decoder"}
# Tokens, dropout, and how a classifier would pool.
_NO_CONSEQUENCE = llama_layout.NO_CONSEQUENCE | frozenset(
    "bos_token eos_token pad_token mask_token mask_token_id hidden_dropout classifier_pooling clf_pooling".split()
)


@dataclass(frozen=True)
class Config:
    """Shapes and constants."""

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

    @property
    def max_tokens(self) -> int:
        """The longest that the authors trained; rotary positions have no table of their own."""
        return self.n_positions

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for what we do not compute."""
        refuse_unless(raw, "attention_bias", (False,))
        refuse_unless(raw, "mlp_bias", (False,))
        refuse_unless(raw, "is_decoder", (False,))
        refuse_unknown_keys(raw, _KNOWN_KEYS | _NO_CONSEQUENCE)
        n_kv_heads, head_size = raw.get("num_key_value_heads"), raw.get("head_dim")
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_layers=raw["num_hidden_layers"],
            n_heads=raw["num_attention_heads"],
            n_kv_heads=raw["num_attention_heads"] if n_kv_heads is None else n_kv_heads,
            head_size=raw["hidden_size"] // raw["num_attention_heads"] if head_size is None else head_size,
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            eps=raw["rms_norm_eps"],
            theta=llama_layout.read_rotary_base(raw),
            activation=read_activation(raw, "hidden_act"),
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
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    for layer in weights.layers("layer", config.n_layers):
        h = ops.rms_norm(x, layer["attention.norm"], config.eps)
        q = ops.heads(low_rank.linear(ops, layer, "attention.query", h), config.n_heads)
        k = ops.heads(low_rank.linear(ops, layer, "attention.key", h), config.n_kv_heads)
        v = ops.heads(low_rank.linear(ops, layer, "attention.value", h), config.n_kv_heads)
        attended = ops.attention(ops.rotary(q, rotary, batch), ops.rotary(k, rotary, batch), v, batch)
        x = x + low_rank.linear(ops, layer, "attention.output", ops.merge_heads(attended))
        h = ops.rms_norm(x, layer["mlp.norm"], config.eps)
        gate = ops.activation(low_rank.linear(ops, layer, "mlp.gate", h), config.activation)
        x = x + low_rank.linear(ops, layer, "mlp.down", gate * low_rank.linear(ops, layer, "mlp.up", h))
    return ops.rms_norm(x, weights["norm"], config.eps)
