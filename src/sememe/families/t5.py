"""T5's encoder: a relative bias shared by all layers, unscaled scores, no biases in the linears.

Paper: Raffel et al. 2020, section 2.1; GTR: Ni et al. 2022; INSTRUCTOR: Su et al. 2023.
Reference: transformers 5.23 `T5EncoderModel`. Checkpoints: gtr-t5-*, sentence-t5-*, instructor-*, at random weights.
Refused: decoders, and activations that are not listed in `reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.ops import Activation, Array, BatchView, Ops, RelativeBias, Weights

MODEL_TYPES = ("t5",)

_KNOWN_KEYS = frozenset(
    "vocab_size d_model d_kv d_ff num_layers num_heads relative_attention_num_buckets "
    "relative_attention_max_distance layer_norm_epsilon feed_forward_proj n_positions is_decoder".split()
)
# The decoder, training, and what the reference derives from `feed_forward_proj`.
_NO_CONSEQUENCE = frozenset(
    "num_decoder_layers decoder_start_token_id dense_act_fn is_gated_act dropout_rate classifier_dropout "
    "initializer_factor gradient_checkpointing output_past scale_decoder_outputs tie_word_embeddings use_cache "
    "bos_token_id eos_token_id pad_token_id sep_token_id".split()
)
# What `gated-gelu` means in the reference: the tanh approximation, which the files of T5 1.1 were trained with.
_GATED = {"gated-gelu": "gelu_new"}

# Trained with this many positions; the relative bias reaches further, so nothing breaks beyond it.
_TRAINED_POSITIONS = 512


@dataclass(frozen=True)
class Config:
    """Shapes and constants. head_size · n_heads need not be hidden_size. is_gated: the MLP has a second branch."""

    vocab_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    head_size: int
    intermediate_size: int
    n_positions: int
    n_buckets: int
    max_distance: int
    eps: float
    activation: Activation
    is_gated: bool

    @property
    def max_tokens(self) -> int:
        """The longest that the authors trained."""
        return self.n_positions

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for what we do not compute."""
        refuse_unless(raw, "is_decoder", (False,))
        refuse_unknown_keys(raw, _KNOWN_KEYS | _NO_CONSEQUENCE)
        projection: str = raw["feed_forward_proj"]
        kind = _GATED.get(projection, projection.removeprefix("gated-"))
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["d_model"],
            n_layers=raw["num_layers"],
            n_heads=raw["num_heads"],
            head_size=raw["d_kv"],
            intermediate_size=raw["d_ff"],
            n_positions=raw.get("n_positions", _TRAINED_POSITIONS),
            n_buckets=raw["relative_attention_num_buckets"],
            max_distance=raw.get("relative_attention_max_distance", 128),
            eps=raw["layer_norm_epsilon"],
            activation=read_activation({**raw, "feed_forward_proj": kind}, "feed_forward_proj"),
            is_gated=projection.startswith("gated-"),
        )


PREFIXES = ("transformer.",)
RENAMES = (
    # One table; some files store it under both names.
    (r"shared\.weight", "embeddings.word.weight"),
    (r"encoder\.embed_tokens\.weight", "embeddings.word.weight"),
    (r"encoder\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias\.weight", "relative_bias.weight"),
    (r"encoder\.block\.(\d+)\.layer\.0\.layer_norm\.weight", r"layer.\1.attention.norm.weight"),
    (r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.q\.weight", r"layer.\1.attention.query.weight"),
    (r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.k\.weight", r"layer.\1.attention.key.weight"),
    (r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.v\.weight", r"layer.\1.attention.value.weight"),
    (r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.o\.weight", r"layer.\1.attention.output.weight"),
    (r"encoder\.block\.(\d+)\.layer\.1\.layer_norm\.weight", r"layer.\1.mlp.norm.weight"),
    (r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi\.weight", r"layer.\1.mlp.up.weight"),
    (r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi_0\.weight", r"layer.\1.mlp.gate.weight"),
    (r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wi_1\.weight", r"layer.\1.mlp.up.weight"),
    (r"encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\.wo\.weight", r"layer.\1.mlp.down.weight"),
    (r"encoder\.final_layer_norm\.weight", "norm.weight"),
)
IGNORED = (r"decoder\..*", r"lm_head\..*", r"classification_head\..*")
STACKED = (
    ("attention.qkv", ("attention.query", "attention.key", "attention.value")),
    ("mlp.gate_up", ("mlp.gate", "mlp.up")),
)


def claims(raw: Mapping[str, Any]) -> bool:
    """Whether this file computes a checkpoint with this `config.json`."""
    return raw.get("model_type") in MODEL_TYPES


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    h, f, inner = config.hidden_size, config.intermediate_size, config.n_heads * config.head_size
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word.weight": (config.vocab_size, h),
        "relative_bias.weight": (config.n_buckets, config.n_heads),
        "norm.weight": (h,),
    }
    for i in range(config.n_layers):
        shapes |= {f"layer.{i}.attention.norm.weight": (h,), f"layer.{i}.mlp.norm.weight": (h,)}
        for name in ("query", "key", "value"):
            shapes[f"layer.{i}.attention.{name}.weight"] = (inner, h)
        shapes[f"layer.{i}.attention.output.weight"] = (h, inner)
        for name in ("mlp.gate", "mlp.up") if config.is_gated else ("mlp.up",):
            shapes[f"layer.{i}.{name}.weight"] = (f, h)
        shapes[f"layer.{i}.mlp.down.weight"] = (h, f)
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …; only distances between tokens count."""
    return np.arange(len(token_ids), dtype=np.int32)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H)."""
    f, inner = config.intermediate_size, config.n_heads * config.head_size
    bias = RelativeBias(weights["relative_bias"], config.n_buckets, config.max_distance)
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    for layer in weights.layers("layer", config.n_layers):
        seen = ops.rms_norm(x, layer["attention.norm"], config.eps)
        qkv = ops.split(ops.linear(seen, layer["attention.qkv"]), (inner, inner, inner))
        q, k, v = (ops.heads(part, config.n_heads) for part in qkv)
        attended = ops.attention(q, k, v, batch, scale=1.0, bias=bias)
        x = x + ops.linear(ops.merge_heads(attended), layer["attention.output"])
        seen = ops.rms_norm(x, layer["mlp.norm"], config.eps)
        if config.is_gated:
            gate, up = ops.split(ops.linear(seen, layer["mlp.gate_up"]), (f, f))
            up = ops.activation(gate, config.activation) * up
        else:
            up = ops.activation(ops.linear(seen, layer["mlp.up"]), config.activation)
        x = x + ops.linear(up, layer["mlp.down"])
    return ops.rms_norm(x, weights["norm"], config.eps)
