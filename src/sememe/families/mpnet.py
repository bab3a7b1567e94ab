"""MPNet: absolute positions of the RoBERTa kind and one relative bias shared by all layers.

Paper: Song et al. 2020. Reference: transformers 5.23 `MPNetModel`. Checkpoints: all-mpnet-base-v2 and siblings
(paraphrase-multilingual-mpnet-base-v2 is XLM-R). Refused: activations that are not computed here, and another number
of buckets than 32, which the reference uses whatever the config says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.ops import Activation, Array, BatchView, Ops, RelativeBias, Weights

MODEL_TYPES = ("mpnet",)

_KNOWN_KEYS = frozenset(
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
    "layer_norm_eps hidden_act relative_attention_num_buckets pad_token_id".split()
)
_NO_CONSEQUENCE = frozenset(
    "attention_probs_dropout_prob hidden_dropout_prob initializer_range gradient_checkpointing bos_token_id "
    "eos_token_id tie_word_embeddings use_cache type_vocab_size classifier_dropout".split()
)


@dataclass(frozen=True)
class Config:
    """Shapes and constants."""

    vocab_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    intermediate_size: int
    n_positions: int
    eps: float
    activation: Activation
    # Fixed in the reference, whatever the config says.
    padding_id: int = 1
    n_buckets: int = 32

    @property
    def max_tokens(self) -> int:
        """Positions that the table has for tokens."""
        return self.n_positions - self.padding_id - 1

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for what we do not compute."""
        refuse_unless(raw, "relative_attention_num_buckets", (cls.n_buckets,))
        refuse_unknown_keys(raw, _KNOWN_KEYS | _NO_CONSEQUENCE)
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_layers=raw["num_hidden_layers"],
            n_heads=raw["num_attention_heads"],
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            eps=raw.get("layer_norm_eps", 1e-12),
            activation=read_activation(raw, "hidden_act"),
        )


PREFIXES = ("mpnet.",)
RENAMES = (
    (r"embeddings\.word_embeddings\.weight", "embeddings.word.weight"),
    (r"embeddings\.position_embeddings\.weight", "embeddings.position.weight"),
    (r"embeddings\.LayerNorm\.(weight|bias)", r"embeddings.norm.\1"),
    (r"encoder\.relative_attention_bias\.weight", "relative_bias.weight"),
    (r"encoder\.layer\.(\d+)\.attention\.attn\.q\.(weight|bias)", r"layer.\1.attention.query.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.attn\.k\.(weight|bias)", r"layer.\1.attention.key.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.attn\.v\.(weight|bias)", r"layer.\1.attention.value.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.attn\.o\.(weight|bias)", r"layer.\1.attention.output.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.LayerNorm\.(weight|bias)", r"layer.\1.attention.norm.\2"),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.(weight|bias)", r"layer.\1.mlp.up.\2"),
    (r"encoder\.layer\.(\d+)\.output\.dense\.(weight|bias)", r"layer.\1.mlp.down.\2"),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.(weight|bias)", r"layer.\1.mlp.norm.\2"),
    (r"pooler\.dense\.(weight|bias)", r"pooler.\1"),
    (r"classifier\.dense\.(weight|bias)", r"classifier_dense.\1"),
    (r"classifier\.out_proj\.(weight|bias)", r"classifier.\1"),
    (r"lm_head\.dense\.(weight|bias)", r"mlm.dense.\1"),
    (r"lm_head\.layer_norm\.(weight|bias)", r"mlm.norm.\1"),
    (r"lm_head\.decoder\.(weight|bias)", r"mlm.decoder.\1"),
    (r"lm_head\.bias", "mlm.decoder.bias"),
)
# Heads, unless one asks for its tensors, and an integer buffer.
IGNORED = (r"embeddings\.position_ids", r"pooler\..*", r"classifier\..*", r"lm_head\..*")
STACKED = (("attention.qkv", ("attention.query", "attention.key", "attention.value")),)


def claims(raw: Mapping[str, Any]) -> bool:
    """Whether this file computes a checkpoint with this `config.json`."""
    return raw.get("model_type") in MODEL_TYPES


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    h, f = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word.weight": (config.vocab_size, h),
        "embeddings.position.weight": (config.n_positions, h),
        "embeddings.norm.weight": (h,),
        "embeddings.norm.bias": (h,),
        "relative_bias.weight": (config.n_buckets, config.n_heads),
    }
    for i in range(config.n_layers):
        for name in ("attention.query", "attention.key", "attention.value", "attention.output"):
            shapes |= {f"layer.{i}.{name}.weight": (h, h), f"layer.{i}.{name}.bias": (h,)}
        for name in ("attention.norm", "mlp.norm"):
            shapes |= {f"layer.{i}.{name}.weight": (h,), f"layer.{i}.{name}.bias": (h,)}
        shapes |= {f"layer.{i}.mlp.up.weight": (f, h), f"layer.{i}.mlp.up.bias": (f,)}
        shapes |= {f"layer.{i}.mlp.down.weight": (h, f), f"layer.{i}.mlp.down.bias": (h,)}
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): the row of the position table for each token of one sequence; see `bert.positions`."""
    real = token_ids != config.padding_id
    return np.asarray(np.cumsum(real) * real + config.padding_id, np.int32)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H)."""
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    x = ops.layer_norm(
        x + ops.embedding(weights["embeddings.position"], batch.positions), weights["embeddings.norm"], config.eps
    )
    bias = RelativeBias(weights["relative_bias"], config.n_buckets)
    h = config.hidden_size
    for layer in weights.layers("layer", config.n_layers):
        q, k, v = (ops.heads(p, config.n_heads) for p in ops.split(ops.linear(x, layer["attention.qkv"]), (h, h, h)))
        attended = ops.linear(ops.merge_heads(ops.attention(q, k, v, batch, bias=bias)), layer["attention.output"])
        x = ops.layer_norm(x + attended, layer["attention.norm"], config.eps)
        up = ops.activation(ops.linear(x, layer["mlp.up"]), config.activation)
        x = ops.layer_norm(x + ops.linear(up, layer["mlp.down"]), layer["mlp.norm"], config.eps)
    return x
