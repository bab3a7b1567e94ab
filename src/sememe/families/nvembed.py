"""NV-Embed: Mistral looking both ways, and after it an attention of every token to a learned set of latents.

Paper: Lee et al. 2024 (NV-Embed), section 3.1. Reference: transformers 5.23 `MistralModel` with `is_causal=False` for
the body, `tests/reference/nv_embed.py` for the head, which no library has. Checkpoints: NV-Embed-v1 and NV-Embed-v2, at
random weights. Refused: other masks, rotary scalings, biases, and activations that are not listed in `reading`.
The mean over the tokens that are not the instruction is the recipe's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.families import llama_layout
from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.families.rope import inverse_frequencies
from sememe.ops import Activation, Array, BatchView, Ops, Rotary, Weights

MODEL_TYPES = ("nvembed",)

# `add_eos`, `add_pad_token` and `padding_side` concern the tokenizer. `is_causal` is the catalogue's word.
_KNOWN_KEYS = frozenset(
    "hidden_size text_config latent_attention_config mask_type is_causal is_mask_instruction add_eos "
    "add_pad_token padding_side".split()
)
# The published `text_config` lists every setting that a config of transformers 4.42 has. All of these are of
# generation, but the window: the reference's mask lets every token see every other, however far.
_TEXT_NO_CONSEQUENCE = llama_layout.NO_CONSEQUENCE | frozenset(
    "sliding_window bad_words_ids begin_suppress_tokens decoder_start_token_id diversity_penalty do_sample "
    "early_stopping encoder_no_repeat_ngram_size exponential_decay_length_penalty forced_bos_token_id "
    "forced_eos_token_id is_decoder length_penalty max_length min_length no_repeat_ngram_size num_beam_groups "
    "num_beams num_return_sequences output_scores remove_invalid_values repetition_penalty return_dict_in_generate "
    "sep_token_id suppress_tokens temperature tf_legacy_loss tie_encoder_decoder top_k top_p typical_p".split()
)
_TEXT_KNOWN_KEYS = llama_layout.KNOWN_KEYS | {"is_causal", "add_cross_attention", "cross_attention_hidden_size"}
# The published file leaves these out; values of the checkpoint's own configuration class.
_LATENT_DEFAULTS: Mapping[str, int] = {
    "num_latents_value": 512,
    "num_cross_heads": 8,
    "hidden_dim": 4096,
    "latent_dim": 4096,
    "cross_dim_head": 4096,
}
# Normalising the embedding is a step of the recipe, after the mean.
_LATENT_NO_CONSEQUENCE = _TEXT_NO_CONSEQUENCE | {"output_normalize"}

_LATENT_EPS = 1e-5  # torch's own
_LATENT_WIDENING = 4


@dataclass(frozen=True)
class Config:
    """Shapes and constants; those of the head begin with latent."""

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
    n_latents: int
    latent_heads: int
    latent_head_size: int

    @property
    def max_tokens(self) -> int:
        """The longest that the authors trained; rotary positions have no table of their own."""
        return self.n_positions

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for what we do not compute."""
        refuse_unless(raw, "mask_type", ("b",))
        refuse_unless(raw, "is_causal", (False,))
        refuse_unless(raw, "is_mask_instruction", (True,))  # the recipe leaves the instruction out of the mean
        refuse_unknown_keys(raw, _KNOWN_KEYS)
        text, latent = raw["text_config"], {**_LATENT_DEFAULTS, **(raw.get("latent_attention_config") or {})}
        refuse_unless(text, "model_type", ("bidir_mistral", "mistral"))
        refuse_unless(text, "is_causal", (False,))
        refuse_unless(text, "attention_bias", (False,))
        refuse_unless(text, "mlp_bias", (False,))
        refuse_unless(text, "add_cross_attention", (False,))
        refuse_unless(text, "cross_attention_hidden_size", (None,))
        refuse_unknown_keys(text, _TEXT_KNOWN_KEYS | _TEXT_NO_CONSEQUENCE)
        h = text["hidden_size"]
        refuse_unless(raw, "hidden_size", (h,))
        refuse_unless(latent, "hidden_dim", (h,))
        refuse_unless(latent, "latent_dim", (h,))
        refuse_unknown_keys(latent, frozenset(_LATENT_DEFAULTS) | _LATENT_NO_CONSEQUENCE)
        head_size = text.get("head_dim")
        return cls(
            vocab_size=text["vocab_size"],
            hidden_size=h,
            n_layers=text["num_hidden_layers"],
            n_heads=text["num_attention_heads"],
            n_kv_heads=text["num_key_value_heads"],
            head_size=h // text["num_attention_heads"] if head_size is None else head_size,
            intermediate_size=text["intermediate_size"],
            n_positions=text["max_position_embeddings"],
            eps=text["rms_norm_eps"],
            theta=llama_layout.read_rotary_base(text),
            activation=read_activation(text, "hidden_act"),
            n_latents=latent["num_latents_value"],
            latent_heads=latent["num_cross_heads"],
            latent_head_size=latent["cross_dim_head"],
        )


PREFIXES: tuple[str, ...] = ()
_BODY = r"embedding_model\."
_ATTEND = r"latent_attention_model\.cross_attend_blocks\.0\."
_WIDEN = r"latent_attention_model\.cross_attend_blocks\.1\."
RENAMES = (
    *((_BODY + theirs, ours) for theirs, ours in llama_layout.RENAMES),
    (_BODY + r"layers\.(\d+)\.post_attention_layernorm\.weight", r"layer.\1.mlp.norm.weight"),
    (r"latent_attention_model\.latents", "embeddings.latents.weight"),
    (_ATTEND + r"norm\.(weight|bias)", r"latent.attention.norm.\1"),
    (_ATTEND + r"norm_context\.(weight|bias)", r"latent.attention.latents_norm.\1"),
    (_ATTEND + r"fn\.to_q\.weight", "latent.attention.query.weight"),
    (_ATTEND + r"fn\.to_kv\.weight", "latent.attention.key_value.weight"),
    (_ATTEND + r"fn\.to_out\.weight", "latent.attention.output.weight"),
    (_WIDEN + r"norm\.(weight|bias)", r"latent.mlp.norm.\1"),
    (_WIDEN + r"fn\.net\.0\.(weight|bias)", r"latent.mlp.up_gate.\1"),
    (_WIDEN + r"fn\.net\.2\.(weight|bias)", r"latent.mlp.down.\1"),
)
IGNORED = tuple(_BODY + pattern for pattern in llama_layout.IGNORED)
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
    inner, wide = config.latent_heads * config.latent_head_size, _LATENT_WIDENING * h
    for name in ("attention.norm", "attention.latents_norm", "mlp.norm"):
        shapes |= {f"latent.{name}.weight": (h,), f"latent.{name}.bias": (h,)}
    return shapes | {
        "embeddings.latents.weight": (config.n_latents, h),
        "latent.attention.query.weight": (inner, h),
        "latent.attention.key_value.weight": (2 * inner, h),
        "latent.attention.output.weight": (h, inner),
        "latent.mlp.up_gate.weight": (2 * wide, h),
        "latent.mlp.up_gate.bias": (2 * wide,),
        "latent.mlp.down.weight": (h, wide),
        "latent.mlp.down.bias": (h,),
    }


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …"""
    return llama_layout.positions(token_ids)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H), after the latent attention."""
    rotary = Rotary(inverse_frequencies(config.theta, config.head_size), config.n_positions)
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    for layer in weights.layers("layer", config.n_layers):
        h = ops.rms_norm(x, layer["attention.norm"], config.eps)
        q = ops.rotary(ops.heads(ops.linear(h, layer["attention.query"]), config.n_heads), rotary, batch)
        k = ops.rotary(ops.heads(ops.linear(h, layer["attention.key"]), config.n_kv_heads), rotary, batch)
        v = ops.heads(ops.linear(h, layer["attention.value"]), config.n_kv_heads)
        attended = ops.merge_heads(ops.attention(q, k, v, batch))
        x = x + ops.linear(attended, layer["attention.output"])
        h = ops.rms_norm(x, layer["mlp.norm"], config.eps)
        gate = ops.activation(ops.linear(h, layer["mlp.gate"]), config.activation)
        x = x + ops.linear(gate * ops.linear(h, layer["mlp.up"]), layer["mlp.down"])
    return _latent_attention(ops, weights, config, ops.rms_norm(x, weights["norm"], config.eps))


def _latent_attention(ops: Ops[Array], weights: Weights[Array], config: Config, x: Array) -> Array:
    """(T, H) to (T, H): each token by itself.

    Keys and values depend on no input. OpenVINO works them out once, when it compiles; torch in every call.
    """
    inner, wide = config.latent_heads * config.latent_head_size, _LATENT_WIDENING * config.hidden_size
    latents = weights["embeddings.latents"].weight  # (n_latents, H)
    latents = ops.layer_norm(latents, weights["latent.attention.latents_norm"], _LATENT_EPS)
    kv = ops.split(ops.linear(latents, weights["latent.attention.key_value"]), (inner, inner))
    k, v = (ops.heads(part, config.latent_heads) for part in kv)
    h = ops.layer_norm(x, weights["latent.attention.norm"], _LATENT_EPS)
    q = ops.heads(ops.linear(h, weights["latent.attention.query"]), config.latent_heads)
    attended = ops.merge_heads(ops.latent_attention(q, k, v, 1 / math.sqrt(config.latent_head_size)))
    x = x + ops.linear(attended, weights["latent.attention.output"])
    h = ops.layer_norm(x, weights["latent.mlp.norm"], _LATENT_EPS)
    up, gate = ops.split(ops.linear(h, weights["latent.mlp.up_gate"]), (wide, wide))
    return x + ops.linear(up * ops.activation(gate, "gelu"), weights["latent.mlp.down"])
