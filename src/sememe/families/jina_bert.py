"""JinaBERT v2: BERT with linear attention biases instead of positions, and a gated MLP.

Paper: Günther et al. 2023, section 3. Reference: `tests/reference/jina_bert.py`, from the authors' implementation as
candle and TEI have it; no library computes it. Checkpoints: jina-embeddings-v2-small-en, -base-en and -base-de, at
random weights. Refused: gates other than GELU; the code model, which is another architecture (`jina_code`), and, by its
tensors, -base-es, whose config names a third implementation (jina-bert-v2-qk-devlin-norm).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.families.alibi import alibi_slopes
from sememe.families.reading import refuse_unknown_keys, refuse_unless
from sememe.ops import Alibi, Array, BatchView, Ops, Weights

MODEL_TYPES = ("bert",)

# The code model has the same config; only where its code lies, and its tensors, tell it apart.
CODE_IMPLEMENTATION = "jina-bert-v2-qk-post-norm"

_KNOWN_KEYS = frozenset(
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
    "type_vocab_size layer_norm_eps hidden_act position_embedding_type feed_forward_type is_decoder".split()
)
_NO_CONSEQUENCE = frozenset(
    "attention_probs_dropout_prob hidden_dropout_prob classifier_dropout emb_pooler gradient_checkpointing "
    "initializer_range bos_token_id eos_token_id pad_token_id tie_word_embeddings use_cache".split()
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
    n_types: int
    eps: float

    @property
    def max_tokens(self) -> int:
        """What the authors allow; distances have no table, so nothing breaks beyond it."""
        return self.n_positions

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for what we do not compute."""
        refuse_unless(raw, "position_embedding_type", ("alibi",))
        refuse_unless({"feed_forward_type": "original", **raw}, "feed_forward_type", ("geglu",))
        refuse_unless(raw, "hidden_act", ("gelu",))
        refuse_unless(raw, "is_decoder", (False,))
        refuse_unknown_keys(raw, _KNOWN_KEYS | _NO_CONSEQUENCE)
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_layers=raw["num_hidden_layers"],
            n_heads=raw["num_attention_heads"],
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            n_types=raw["type_vocab_size"],
            eps=raw["layer_norm_eps"],
        )


PREFIXES = ("bert.",)
RENAMES = (
    (r"embeddings\.word_embeddings\.weight", "embeddings.word.weight"),
    (r"embeddings\.token_type_embeddings\.weight", "embeddings.type.weight"),
    (r"embeddings\.LayerNorm\.(weight|bias)", r"embeddings.norm.\1"),
    (r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.(weight|bias)", r"layer.\1.attention.\2.\3"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(weight|bias)", r"layer.\1.attention.output.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.(weight|bias)", r"layer.\1.attention.norm.\2"),
    (r"encoder\.layer\.(\d+)\.mlp\.gated_layers\.weight", r"layer.\1.mlp.gate_up.weight"),
    (r"encoder\.layer\.(\d+)\.mlp\.wo\.(weight|bias)", r"layer.\1.mlp.down.\2"),
    (r"encoder\.layer\.(\d+)\.mlp\.layernorm\.(weight|bias)", r"layer.\1.mlp.norm.\2"),
    (r"pooler\.dense\.(weight|bias)", r"pooler.\1"),
    (r"classifier\.(weight|bias)", r"classifier.\1"),
    (r"cls\.predictions\.transform\.dense\.(weight|bias)", r"mlm.dense.\1"),
    (r"cls\.predictions\.transform\.LayerNorm\.(weight|bias)", r"mlm.norm.\1"),
    (r"cls\.predictions\.decoder\.(weight|bias)", r"mlm.decoder.\1"),
    (r"cls\.predictions\.bias", "mlm.decoder.bias"),
)
# Heads, unless one asks for its tensors, and integer buffers.
IGNORED = (r"embeddings\.position_ids", r"pooler\..*", r"classifier\..*", r"cls\..*")
STACKED = (("attention.qkv", ("attention.query", "attention.key", "attention.value")),)


def is_code_model(raw: Mapping[str, Any]) -> bool:
    """Whether the config points to the code model's implementation."""
    places = [raw.get("_name_or_path", ""), *(raw.get("auto_map") or {}).values()]
    return any(CODE_IMPLEMENTATION in str(place) for place in places)


def claims(raw: Mapping[str, Any]) -> bool:
    """Whether this file computes a checkpoint with this `config.json`."""
    is_jina = raw.get("model_type") in MODEL_TYPES and raw.get("position_embedding_type") == "alibi"
    return is_jina and not is_code_model(raw)


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    h, f = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word.weight": (config.vocab_size, h),
        "embeddings.type.weight": (config.n_types, h),
    }
    norms = ["embeddings.norm"]
    for i in range(config.n_layers):
        for name in ("query", "key", "value", "output"):
            shapes |= {f"layer.{i}.attention.{name}.weight": (h, h), f"layer.{i}.attention.{name}.bias": (h,)}
        shapes[f"layer.{i}.mlp.gate_up.weight"] = (2 * f, h)
        shapes |= {f"layer.{i}.mlp.down.weight": (h, f), f"layer.{i}.mlp.down.bias": (h,)}
        norms += [f"layer.{i}.attention.norm", f"layer.{i}.mlp.norm"]
    for name in norms:
        shapes |= {f"{name}.weight": (h,), f"{name}.bias": (h,)}
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …; only distances between tokens count."""
    return np.arange(len(token_ids), dtype=np.int32)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H)."""
    h, f = config.hidden_size, config.intermediate_size
    bias = Alibi(alibi_slopes(config.n_heads))
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    x = x + ops.embedding(weights["embeddings.type"], batch.type_ids)
    x = ops.layer_norm(x, weights["embeddings.norm"], config.eps)
    for layer in weights.layers("layer", config.n_layers):
        q, k, v = (ops.heads(p, config.n_heads) for p in ops.split(ops.linear(x, layer["attention.qkv"]), (h, h, h)))
        attended = ops.linear(ops.merge_heads(ops.attention(q, k, v, batch, bias=bias)), layer["attention.output"])
        x = ops.layer_norm(x + attended, layer["attention.norm"], config.eps)
        gate, up = ops.split(ops.linear(x, layer["mlp.gate_up"]), (f, f))
        down = ops.linear(ops.activation(gate, "gelu") * up, layer["mlp.down"])
        x = ops.layer_norm(x + down, layer["mlp.norm"], config.eps)
    return x
