"""ModernBERT: layers that see everything and layers that see a window, rotary positions with a base for each.

Paper: Warner et al. 2024, section 2. Reference: transformers 5.23 `ModernBertModel`. Checkpoints: gte-modernbert-base,
modernbert-embed-base, granite-embedding-english-r2, GTE-ModernColBERT-v1, all at random weights.
Refused: rotary scalings, and activations that are not listed in `reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.errors import UnsupportedCheckpoint
from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.families.rope import inverse_frequencies, read_theta
from sememe.ops import Activation, Array, BatchView, Ops, Rotary, Weights

MODEL_TYPES = ("modernbert",)

_KNOWN_KEYS = frozenset(
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size max_position_embeddings "
    "norm_eps norm_bias attention_bias mlp_bias hidden_activation local_attention global_attn_every_n_layers "
    "layer_types global_rope_theta local_rope_theta rope_parameters rope_scaling "
    "classifier_activation".split()
)
# Heads, dropout, and settings of kernels. Left over in published files, and not read by the reference: `layer_norm_eps`
# (it reads `norm_eps`) and `position_embedding_type` ("absolute", "sans_pos").
_NO_CONSEQUENCE = frozenset(
    "attention_dropout embedding_dropout mlp_dropout classifier_bias classifier_dropout "
    "classifier_pooling decoder_bias deterministic_flash_attn gradient_checkpointing initializer_range "
    "initializer_cutoff_factor layer_norm_eps reference_compile repad_logits_with_grad sparse_pred_ignore_index "
    "sparse_prediction tie_word_embeddings bos_token_id eos_token_id cls_token_id sep_token_id pad_token_id "
    "mask_token_id unk_token_id use_cache position_embedding_type sentence_transformers".split()
)


@dataclass(frozen=True)
class Config:
    """Shapes and constants.

    windows: for each layer how many tokens on either side of a token it sees, None for all. classifier_activation: of
    the transformation before a classifier or a decoder.
    """

    vocab_size: int
    hidden_size: int
    n_heads: int
    intermediate_size: int
    n_positions: int
    eps: float
    activation: Activation
    classifier_activation: Activation
    windows: tuple[int | None, ...]
    global_theta: float
    local_theta: float
    attention_has_bias: bool
    mlp_has_bias: bool
    norms_have_bias: bool

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
        refuse_unless(raw, "rope_scaling", (None,))
        refuse_unknown_keys(raw, _KNOWN_KEYS | _NO_CONSEQUENCE)
        global_theta, local_theta = _read_thetas(raw)
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            n_heads=raw["num_attention_heads"],
            intermediate_size=raw["intermediate_size"],
            n_positions=raw["max_position_embeddings"],
            eps=raw["norm_eps"],
            activation=read_activation(raw, "hidden_activation"),
            classifier_activation=read_activation({"classifier_activation": "gelu", **raw}, "classifier_activation"),
            windows=_read_windows(raw),
            global_theta=global_theta,
            local_theta=local_theta,
            attention_has_bias=raw["attention_bias"],
            mlp_has_bias=raw["mlp_bias"],
            norms_have_bias=raw["norm_bias"],
        )


def _read_windows(raw: Mapping[str, Any]) -> tuple[int | None, ...]:
    """From `layer_types`, or in the first spelling every so many layers a global one, the first among them."""
    half = raw["local_attention"] // 2  # the config counts both sides
    n_layers = raw["num_hidden_layers"]
    kinds = raw.get("layer_types")
    if kinds is None:
        every = raw["global_attn_every_n_layers"]
        kinds = ["sliding_attention" if i % every else "full_attention" for i in range(n_layers)]
    known = {"full_attention": None, "sliding_attention": half}
    if not set(kinds) <= set(known) or len(kinds) != n_layers:
        raise UnsupportedCheckpoint(
            "config.json", "layer_types", got=kinds, expected=f"{n_layers} of {', '.join(known)}"
        )
    return tuple(known[kind] for kind in kinds)


def _read_thetas(raw: Mapping[str, Any]) -> tuple[float, float]:
    """The rotary bases of global and of local layers; a local base of null means the global one."""
    if raw.get("rope_parameters") is not None:
        ropes = raw["rope_parameters"]
        if unknown := sorted(set(ropes) - {"full_attention", "sliding_attention"}):
            expected = "full_attention and sliding_attention"
            raise UnsupportedCheckpoint("config.json", "rope_parameters", got=", ".join(unknown), expected=expected)
        both = (read_theta(ropes[kind], f"rope_parameters.{kind}") for kind in ("full_attention", "sliding_attention"))
        return next(both), next(both)
    global_theta, local_theta = raw["global_rope_theta"], raw["local_rope_theta"]
    return float(global_theta), float(global_theta if local_theta is None else local_theta)


PREFIXES = ("model.",)
RENAMES = (
    (r"embeddings\.tok_embeddings\.weight", "embeddings.word.weight"),
    (r"embeddings\.norm\.(weight|bias)", r"embeddings.norm.\1"),
    (r"layers\.(\d+)\.attn_norm\.(weight|bias)", r"layer.\1.attention.norm.\2"),
    (r"layers\.(\d+)\.attn\.Wqkv\.(weight|bias)", r"layer.\1.attention.qkv.\2"),
    (r"layers\.(\d+)\.attn\.Wo\.(weight|bias)", r"layer.\1.attention.output.\2"),
    (r"layers\.(\d+)\.mlp_norm\.(weight|bias)", r"layer.\1.mlp.norm.\2"),
    (r"layers\.(\d+)\.mlp\.Wi\.(weight|bias)", r"layer.\1.mlp.gate_up.\2"),
    (r"layers\.(\d+)\.mlp\.Wo\.(weight|bias)", r"layer.\1.mlp.down.\2"),
    (r"final_norm\.(weight|bias)", r"norm.\1"),
    # The same transformation stands before the classifier and before the masked language model's decoder.
    (r"head\.dense\.(weight|bias)", r"classifier_dense.\1"),
    (r"head\.norm\.(weight|bias)", r"classifier_norm.\1"),
    (r"classifier\.(weight|bias)", r"classifier.\1"),
    (r"decoder\.(weight|bias)", r"mlm.decoder.\1"),
)
# Heads, unless one asks for its tensors.
IGNORED = (r"head\..*", r"classifier\..*", r"decoder\..*")
STACKED: tuple[tuple[str, tuple[str, ...]], ...] = ()


def claims(raw: Mapping[str, Any]) -> bool:
    """Whether this file computes a checkpoint with this `config.json`."""
    return raw.get("model_type") in MODEL_TYPES


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    h, f = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {"embeddings.word.weight": (config.vocab_size, h)}
    norms = ["embeddings.norm", "norm"]
    for i in range(config.n_layers):
        # The first layer's input was normalised a moment ago, so that layer has no norm of its own.
        norms += [f"layer.{i}.mlp.norm"] if i == 0 else [f"layer.{i}.attention.norm", f"layer.{i}.mlp.norm"]
        for name, (n_out, n_in), has_bias in (
            ("attention.qkv", (3 * h, h), config.attention_has_bias),
            ("attention.output", (h, h), config.attention_has_bias),
            ("mlp.gate_up", (2 * f, h), config.mlp_has_bias),
            ("mlp.down", (h, f), config.mlp_has_bias),
        ):
            shapes[f"layer.{i}.{name}.weight"] = (n_out, n_in)
            if has_bias:
                shapes[f"layer.{i}.{name}.bias"] = (n_out,)
    for name in norms:
        shapes[f"{name}.weight"] = (h,)
        if config.norms_have_bias:
            shapes[f"{name}.bias"] = (h,)
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …"""
    return np.arange(len(token_ids), dtype=np.int32)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H)."""
    h, f, width = config.hidden_size, config.intermediate_size, config.hidden_size // config.n_heads
    everywhere = Rotary(inverse_frequencies(config.global_theta, width), config.n_positions)
    nearby = Rotary(inverse_frequencies(config.local_theta, width), config.n_positions)
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    x = ops.layer_norm(x, weights["embeddings.norm"], config.eps)
    for i, (layer, half) in enumerate(zip(weights.layers("layer", config.n_layers), config.windows, strict=True)):
        seen = ops.layer_norm(x, layer["attention.norm"], config.eps) if i else x
        qkv = ops.split(ops.linear(seen, layer["attention.qkv"]), (h, h, h))
        q, k, v = (ops.heads(part, config.n_heads) for part in qkv)
        rotary = everywhere if half is None else nearby
        q, k = ops.rotary(q, rotary, batch), ops.rotary(k, rotary, batch)
        attended = ops.attention(q, k, v, batch, window=None if half is None else (half, half))
        x = x + ops.linear(ops.merge_heads(attended), layer["attention.output"])
        seen = ops.layer_norm(x, layer["mlp.norm"], config.eps)
        gate, up = ops.split(ops.linear(seen, layer["mlp.gate_up"]), (f, f))
        gate = ops.activation(gate, config.activation)
        x = x + ops.linear(gate * up, layer["mlp.down"])
    return ops.layer_norm(x, weights["norm"], config.eps)
