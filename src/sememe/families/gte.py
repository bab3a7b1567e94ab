"""Alibaba's GTE "new": BERT with rotary positions and a gated MLP.

Paper: Zhang et al. 2024 (mGTE), section 2. Reference: transformers 5.23 `GteModel`, for the converted files
(model_type "gte") and for the original ones ("new"). Checkpoints: gte-{base,large}-en-v1.5, gte-multilingual-base and
-reranker-base, snowflake-arctic-embed-m-v2.0, at random weights.
Refused: rotary scalings but "ntk" and "linear", scaled attention (log n), unpacked queries, and other norms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.errors import UnsupportedCheckpoint
from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.families.rope import inverse_frequencies
from sememe.ops import Activation, Array, BatchView, Ops, Rotary, Weights

MODEL_TYPES = ("new", "gte")

_KNOWN_KEYS = frozenset(
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
    "type_vocab_size layer_norm_eps hidden_act layer_norm_type position_embedding_type pack_qkv rope_theta "
    "rope_scaling rope_parameters logn_attention_scale".split()
)
# Dropout, heads, and settings of kernels; `logn_attention_clip1` says how to clip a scale that is refused.
_NO_CONSEQUENCE = frozenset(
    "attention_probs_dropout_prob hidden_dropout_prob classifier_dropout initializer_range logn_attention_clip1 "
    "unpad_inputs use_memory_efficient_attention bos_token_id eos_token_id pad_token_id tie_word_embeddings "
    "use_cache sentence_transformers sbert_ce_default_activation_function gradient_checkpointing".split()
)


@dataclass(frozen=True)
class Config:
    """Shapes and constants. frequency_divisor: what the rotation's frequencies of base theta are divided by."""

    vocab_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    intermediate_size: int
    n_positions: int
    n_types: int
    eps: float
    activation: Activation
    theta: float
    frequency_divisor: float

    @property
    def max_tokens(self) -> int:
        """What the authors allow; rotary positions have no table of their own."""
        return self.n_positions

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json` in either spelling. Raises UnsupportedCheckpoint for what we do not compute."""
        refuse_unless(raw, "layer_norm_type", ("layer_norm",))
        refuse_unless(raw, "position_embedding_type", ("rope",))
        refuse_unless(raw, "pack_qkv", (True,))
        refuse_unless(raw, "logn_attention_scale", (False,))
        refuse_unknown_keys(raw, _KNOWN_KEYS | _NO_CONSEQUENCE)
        theta, divisor = _read_rope(raw, raw["hidden_size"] // raw["num_attention_heads"])
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_layers=raw["num_hidden_layers"],
            n_heads=raw["num_attention_heads"],
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            n_types=raw["type_vocab_size"],
            eps=raw["layer_norm_eps"],
            activation=read_activation(raw, "hidden_act"),
            theta=theta,
            frequency_divisor=divisor,
        )


def _read_rope(raw: Mapping[str, Any], width: int) -> tuple[float, float]:
    """The rotation's base, and what its frequencies are divided by.

    "ntk" with factor s, in the authors' own variant and at every length: base theta·s, divided by s^(2/width).
    "linear" with factor s: divided by s. Source: `NTKScalingRotaryEmbedding` of new-impl's modeling file.
    """
    key = "rope_parameters" if raw.get("rope_parameters") is not None else "rope_scaling"
    scaling = raw.get(key) or {}
    theta = float(scaling["rope_theta"] if "rope_theta" in scaling else raw["rope_theta"])
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in ("default", "linear", "ntk"):
        raise UnsupportedCheckpoint("config.json", f"{key}.type", got=kind, expected="'ntk', 'linear' or null")
    known = {"rope_type", "type", "rope_theta"} | ({"factor"} if kind != "default" else set())
    if unknown := sorted(set(scaling) - known):
        raise UnsupportedCheckpoint("config.json", key, got=", ".join(unknown), expected=", ".join(sorted(known)))
    if kind == "default":
        return theta, 1.0
    factor = float(scaling["factor"])
    return (theta * factor, factor ** (2 / width)) if kind == "ntk" else (theta, factor)


PREFIXES = ("new.", "gte.", "model.")
RENAMES = (
    (r"embeddings\.word_embeddings\.weight", "embeddings.word.weight"),
    (r"embeddings\.token_type_embeddings\.weight", "embeddings.type.weight"),
    (r"embeddings\.LayerNorm\.(weight|bias)", r"embeddings.norm.\1"),
    (r"encoder\.layer\.(\d+)\.attention\.qkv_proj\.(weight|bias)", r"layer.\1.attention.qkv.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.o_proj\.(weight|bias)", r"layer.\1.attention.output.\2"),
    (r"encoder\.layer\.(\d+)\.attn_ln\.(weight|bias)", r"layer.\1.attention.norm.\2"),
    (r"encoder\.layer\.(\d+)\.mlp\.up_gate_proj\.weight", r"layer.\1.mlp.up_gate.weight"),
    (r"encoder\.layer\.(\d+)\.mlp\.down_proj\.(weight|bias)", r"layer.\1.mlp.down.\2"),
    (r"encoder\.layer\.(\d+)\.mlp_ln\.(weight|bias)", r"layer.\1.mlp.norm.\2"),
    (r"pooler\.dense\.(weight|bias)", r"pooler.\1"),
    (r"classifier\.(weight|bias)", r"classifier.\1"),
    (r"lm_head\.dense\.(weight|bias)", r"mlm.dense.\1"),
    (r"lm_head\.(?:norm|layer_norm)\.(weight|bias)", r"mlm.norm.\1"),
    (r"lm_head\.decoder\.(weight|bias)", r"mlm.decoder.\1"),
)
# Heads, unless one asks for its tensors.
IGNORED = (r"pooler\..*", r"classifier\..*", r"lm_head\..*")
STACKED: tuple[tuple[str, tuple[str, ...]], ...] = ()


def claims(raw: Mapping[str, Any]) -> bool:
    """Whether this file computes a checkpoint with this `config.json`."""
    return raw.get("model_type") in MODEL_TYPES


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    h, f = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {"embeddings.word.weight": (config.vocab_size, h)}
    if config.n_types:
        shapes["embeddings.type.weight"] = (config.n_types, h)
    norms = ["embeddings.norm"]
    for i in range(config.n_layers):
        shapes |= {f"layer.{i}.attention.qkv.weight": (3 * h, h), f"layer.{i}.attention.qkv.bias": (3 * h,)}
        shapes |= {f"layer.{i}.attention.output.weight": (h, h), f"layer.{i}.attention.output.bias": (h,)}
        shapes |= {f"layer.{i}.mlp.up_gate.weight": (2 * f, h)}
        shapes |= {f"layer.{i}.mlp.down.weight": (h, f), f"layer.{i}.mlp.down.bias": (h,)}
        norms += [f"layer.{i}.attention.norm", f"layer.{i}.mlp.norm"]
    for name in norms:
        shapes |= {f"{name}.weight": (h,), f"{name}.bias": (h,)}
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …"""
    return np.arange(len(token_ids), dtype=np.int32)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H)."""
    h, f = config.hidden_size, config.intermediate_size
    frequencies = inverse_frequencies(config.theta, h // config.n_heads) / np.float32(config.frequency_divisor)
    turn = Rotary(frequencies, config.n_positions)
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    if config.n_types:
        x = x + ops.embedding(weights["embeddings.type"], batch.type_ids)
    x = ops.layer_norm(x, weights["embeddings.norm"], config.eps)
    for layer in weights.layers("layer", config.n_layers):
        q, k, v = (ops.heads(p, config.n_heads) for p in ops.split(ops.linear(x, layer["attention.qkv"]), (h, h, h)))
        attended = ops.attention(ops.rotary(q, turn, batch), ops.rotary(k, turn, batch), v, batch)
        attended = ops.linear(ops.merge_heads(attended), layer["attention.output"])
        x = ops.layer_norm(x + attended, layer["attention.norm"], config.eps)
        # The other way round than in most gated MLPs: the second half is the one that goes through the activation.
        up, gate = ops.split(ops.linear(x, layer["mlp.up_gate"]), (f, f))
        down = ops.linear(up * ops.activation(gate, config.activation), layer["mlp.down"])
        x = ops.layer_norm(x + down, layer["mlp.norm"], config.eps)
    return x
