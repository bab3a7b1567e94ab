"""BERT and its siblings that differ in names and constants: RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT.

Papers: Devlin et al. 2019, section 3; Liu et al. 2019 (RoBERTa); Conneau et al. 2020 (XLM-R); Sanh et al. 2019.
Reference: transformers 5.23 `BertModel`, `RobertaModel`, `XLMRobertaModel`, `CamembertModel`, `DistilBertModel`.
Tried: all-MiniLM-L6-v2 (real weights); the others at random weights.
Refused: position kinds other than `absolute` (JinaBERT reuses model_type "bert" with "alibi"), decoders, and
activations that are not listed below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.ops import Activation, Array, BatchView, Ops, Weights

MODEL_TYPES = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert")

# Position ids of the RoBERTa kind start after the padding id and do not count padding tokens.
_COUNTED_FROM_PADDING = ("roberta", "xlm-roberta", "camembert")

_KNOWN_KEYS = frozenset(
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
    "type_vocab_size layer_norm_eps hidden_act position_embedding_type pad_token_id dim n_layers n_heads "
    "hidden_dim activation is_decoder add_cross_attention".split()
)
# Dropout, initialisation, heads and settings of training or generation: of no consequence for hidden states.
_NO_CONSEQUENCE = frozenset(
    "attention_probs_dropout_prob hidden_dropout_prob classifier_dropout initializer_range gradient_checkpointing "
    "use_cache bos_token_id eos_token_id cls_token_id sep_token_id mask_token_id unk_token_id tie_word_embeddings "
    "attention_dropout dropout qa_dropout seq_classif_dropout sinusoidal_pos_embds tie_weights_ output_past "
    "directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head "
    "pooler_type cross_attention_hidden_size sbert_ce_default_activation_function sentence_transformers "
    "embedding_size".split()
)


@dataclass(frozen=True)
class Config:
    """Shapes and constants. padding_id: where position counting starts, None for plain 0, 1, 2, …"""

    vocab_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    intermediate_size: int
    n_positions: int
    n_types: int
    eps: float
    activation: Activation
    padding_id: int | None

    @property
    def max_tokens(self) -> int:
        """Positions that the table has for tokens."""
        return self.n_positions if self.padding_id is None else self.n_positions - self.padding_id - 1

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for an activation or position kind we do not compute."""
        refuse_unless(raw, "position_embedding_type", ("absolute",))
        refuse_unless(raw, "is_decoder", (False,))
        refuse_unknown_keys(raw, _KNOWN_KEYS | _NO_CONSEQUENCE)
        if raw["model_type"] == "distilbert":
            return cls(
                vocab_size=raw["vocab_size"],
                hidden_size=raw["dim"],
                n_layers=raw["n_layers"],
                n_heads=raw["n_heads"],
                intermediate_size=raw["hidden_dim"],
                n_positions=raw["max_position_embeddings"],
                n_types=0,
                eps=1e-12,  # fixed in the reference, not a field
                activation=read_activation(raw, "activation"),
                padding_id=None,
            )
        counted = raw["model_type"] in _COUNTED_FROM_PADDING
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_layers=raw["num_hidden_layers"],
            n_heads=raw["num_attention_heads"],
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            n_types=raw["type_vocab_size"],
            eps=raw.get("layer_norm_eps", 1e-12),
            activation=read_activation(raw, "hidden_act"),
            padding_id=raw.get("pad_token_id", 1) if counted else None,
        )


PREFIXES = ("bert.", "roberta.", "distilbert.", "model.")

# (pattern of the checkpoint's name, ours); the first that matches the whole name decides.
RENAMES = (
    (r"embeddings\.word_embeddings\.weight", "embeddings.word.weight"),
    (r"embeddings\.position_embeddings\.weight", "embeddings.position.weight"),
    (r"embeddings\.token_type_embeddings\.weight", "embeddings.type.weight"),
    (r"embeddings\.LayerNorm\.(weight|gamma)", "embeddings.norm.weight"),
    (r"embeddings\.LayerNorm\.(bias|beta)", "embeddings.norm.bias"),
    (r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.(weight|bias)", r"layer.\1.attention.\2.\3"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(weight|bias)", r"layer.\1.attention.output.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.(?:weight|gamma)", r"layer.\1.attention.norm.weight"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.(?:bias|beta)", r"layer.\1.attention.norm.bias"),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.(weight|bias)", r"layer.\1.mlp.up.\2"),
    (r"encoder\.layer\.(\d+)\.output\.dense\.(weight|bias)", r"layer.\1.mlp.down.\2"),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.(?:weight|gamma)", r"layer.\1.mlp.norm.weight"),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.(?:bias|beta)", r"layer.\1.mlp.norm.bias"),
    # DistilBERT
    (r"transformer\.layer\.(\d+)\.attention\.q_lin\.(weight|bias)", r"layer.\1.attention.query.\2"),
    (r"transformer\.layer\.(\d+)\.attention\.k_lin\.(weight|bias)", r"layer.\1.attention.key.\2"),
    (r"transformer\.layer\.(\d+)\.attention\.v_lin\.(weight|bias)", r"layer.\1.attention.value.\2"),
    (r"transformer\.layer\.(\d+)\.attention\.out_lin\.(weight|bias)", r"layer.\1.attention.output.\2"),
    (r"transformer\.layer\.(\d+)\.sa_layer_norm\.(weight|bias)", r"layer.\1.attention.norm.\2"),
    (r"transformer\.layer\.(\d+)\.ffn\.lin1\.(weight|bias)", r"layer.\1.mlp.up.\2"),
    (r"transformer\.layer\.(\d+)\.ffn\.lin2\.(weight|bias)", r"layer.\1.mlp.down.\2"),
    (r"transformer\.layer\.(\d+)\.output_layer_norm\.(weight|bias)", r"layer.\1.mlp.norm.\2"),
    # Heads: BERT's, DistilBERT's and RoBERTa's classifiers, then their masked language models. A decoder's bias may be
    # stored under both of its names.
    (r"pooler\.dense\.(weight|bias)", r"pooler.\1"),
    (r"classifier\.(weight|bias)", r"classifier.\1"),
    (r"pre_classifier\.(weight|bias)", r"classifier_dense.\1"),
    (r"classifier\.dense\.(weight|bias)", r"classifier_dense.\1"),
    (r"classifier\.out_proj\.(weight|bias)", r"classifier.\1"),
    (r"cls\.predictions\.transform\.dense\.(weight|bias)", r"mlm.dense.\1"),
    (r"cls\.predictions\.transform\.LayerNorm\.(?:weight|gamma)", "mlm.norm.weight"),
    (r"cls\.predictions\.transform\.LayerNorm\.(?:bias|beta)", "mlm.norm.bias"),
    (r"cls\.predictions\.decoder\.(weight|bias)", r"mlm.decoder.\1"),
    (r"cls\.predictions\.bias", "mlm.decoder.bias"),
    (r"vocab_transform\.(weight|bias)", r"mlm.dense.\1"),
    (r"vocab_layer_norm\.(weight|bias)", r"mlm.norm.\1"),
    (r"vocab_projector\.(weight|bias)", r"mlm.decoder.\1"),
    (r"lm_head\.dense\.(weight|bias)", r"mlm.dense.\1"),
    (r"lm_head\.layer_norm\.(weight|bias)", r"mlm.norm.\1"),
    (r"lm_head\.decoder\.(weight|bias)", r"mlm.decoder.\1"),
    (r"lm_head\.bias", "mlm.decoder.bias"),
    # ColBERT's projection of every token.
    (r"linear\.weight", "linear.weight"),
)
# Heads, unless one asks for its tensors, and integer buffers.
IGNORED = (
    r"embeddings\.position_ids",
    r"embeddings\.token_type_ids",
    r"pooler\..*",
    r"(pre_)?classifier\..*",
    r"cls\..*",
    r"lm_head\..*",
    r"vocab_(transform|layer_norm|projector)\..*",
)
# Stacked along the rows into one matrix multiplication.
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
    }
    if config.n_types:
        shapes["embeddings.type.weight"] = (config.n_types, h)
    for i in range(config.n_layers):
        for name in ("attention.query", "attention.key", "attention.value", "attention.output"):
            shapes |= {f"layer.{i}.{name}.weight": (h, h), f"layer.{i}.{name}.bias": (h,)}
        for name in ("attention.norm", "mlp.norm"):
            shapes |= {f"layer.{i}.{name}.weight": (h,), f"layer.{i}.{name}.bias": (h,)}
        shapes |= {f"layer.{i}.mlp.up.weight": (f, h), f"layer.{i}.mlp.up.bias": (f,)}
        shapes |= {f"layer.{i}.mlp.down.weight": (h, f), f"layer.{i}.mlp.down.bias": (h,)}
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): the row of the position table for each token of one sequence.

    The RoBERTa kind counts only tokens whose id is not the padding id, wherever it comes from: a text that contains
    the padding token's own string gives it the padding row.
    Source: transformers 5.23 `RobertaEmbeddings.create_position_ids_from_input_ids`.
    """
    if config.padding_id is None:
        return np.arange(len(token_ids), dtype=np.int32)
    real = token_ids != config.padding_id
    return np.asarray(np.cumsum(real) * real + config.padding_id, np.int32)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H)."""
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    x = x + ops.embedding(weights["embeddings.position"], batch.positions)
    if config.n_types:
        x = x + ops.embedding(weights["embeddings.type"], batch.type_ids)
    x = ops.layer_norm(x, weights["embeddings.norm"], config.eps)
    h = config.hidden_size
    for layer in weights.layers("layer", config.n_layers):
        q, k, v = (ops.heads(p, config.n_heads) for p in ops.split(ops.linear(x, layer["attention.qkv"]), (h, h, h)))
        attended = ops.linear(ops.merge_heads(ops.attention(q, k, v, batch)), layer["attention.output"])
        x = ops.layer_norm(x + attended, layer["attention.norm"], config.eps)
        up = ops.activation(ops.linear(x, layer["mlp.up"]), config.activation)
        x = ops.layer_norm(x + ops.linear(up, layer["mlp.down"]), layer["mlp.norm"], config.eps)
    return x
