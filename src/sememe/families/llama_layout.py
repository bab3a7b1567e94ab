"""What the decoders of Llama's layout share to the letter: names, shapes, rotary base, positions.

Qwen2, Qwen3, Mistral, Gemma and NV-Embed's body; what each computes stands in its own file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.errors import UnsupportedCheckpoint
from sememe.families.reading import refuse_unless
from sememe.families.rope import read_theta

# `model.` in files of a *ForCausalLM, nothing in files saved from the bare model.
PREFIXES = ("model.",)

RENAMES = (
    (r"embed_tokens\.weight", "embeddings.word.weight"),
    (r"layers\.(\d+)\.input_layernorm\.weight", r"layer.\1.attention.norm.weight"),
    (r"layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)", r"layer.\1.attention.query.\2"),
    (r"layers\.(\d+)\.self_attn\.k_proj\.(weight|bias)", r"layer.\1.attention.key.\2"),
    (r"layers\.(\d+)\.self_attn\.v_proj\.(weight|bias)", r"layer.\1.attention.value.\2"),
    (r"layers\.(\d+)\.self_attn\.o_proj\.weight", r"layer.\1.attention.output.weight"),
    (r"layers\.(\d+)\.mlp\.gate_proj\.weight", r"layer.\1.mlp.gate.weight"),
    (r"layers\.(\d+)\.mlp\.up_proj\.weight", r"layer.\1.mlp.up.weight"),
    (r"layers\.(\d+)\.mlp\.down_proj\.weight", r"layer.\1.mlp.down.weight"),
    (r"norm\.weight", "norm.weight"),
    (r"lm_head\.weight", "lm_head.weight"),
)
# Where what a block gives is normed as well, as in Gemma 2 and 3.
FOUR_NORMS = (
    (r"layers\.(\d+)\.post_attention_layernorm\.weight", r"layer.\1.attention.output_norm.weight"),
    (r"layers\.(\d+)\.pre_feedforward_layernorm\.weight", r"layer.\1.mlp.norm.weight"),
    (r"layers\.(\d+)\.post_feedforward_layernorm\.weight", r"layer.\1.mlp.output_norm.weight"),
)
# A head that wants the language model's last layer asks for it; old files carry a buffer of rotary frequencies.
IGNORED = (r"lm_head\.weight", r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq")

KNOWN_KEYS = frozenset(
    "vocab_size hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim intermediate_size "
    "max_position_embeddings rms_norm_eps hidden_act rope_theta rope_scaling rope_parameters attention_bias "
    "mlp_bias".split()
)
# Dropout, initialisation, token ids and settings of generation. `tie_word_embeddings` concerns the language model's
# head, and the head that uses it reads it.
NO_CONSEQUENCE = frozenset(
    "attention_dropout initializer_range use_cache tie_word_embeddings pad_token_id bos_token_id eos_token_id "
    "pretraining_tp gradient_checkpointing unsloth_version unsloth_fixed sentence_transformers".split()
)


def read_rotary_base(raw: Mapping[str, Any]) -> float:
    """theta, in the old spelling or the one since transformers 5. Raises UnsupportedCheckpoint for a scaling."""
    refuse_unless(raw, "rope_scaling", (None,))
    if raw.get("rope_parameters") is None:
        return float(raw["rope_theta"])
    theta = read_theta(raw["rope_parameters"], "rope_parameters")
    refuse_unless(raw, "rope_theta", (theta,))
    return theta


def read_causal(raw: Mapping[str, Any]) -> bool:
    """Whether a token sees only those before it.

    True where nothing says otherwise, except beside remote code: that may do anything with the mask, and vectors under
    the wrong one are noise that looks like vectors. Raises UnsupportedCheckpoint then.
    """
    if "is_causal" in raw:
        refuse_unless(raw, "is_causal", (True, False))
        return bool(raw["is_causal"])
    if "AutoModel" in raw.get("auto_map", {}):
        expected = "true or false: this checkpoint brings its own code, so only its authors know the mask"
        raise UnsupportedCheckpoint("config.json", "is_causal", got=None, expected=expected)
    return True


def layer_shapes(
    prefix: str, hidden_size: int, heads_width: int, kv_width: int, intermediate_size: int
) -> dict[str, tuple[int, ...]]:
    """The tensors of one layer that every family here has. heads_width, kv_width: heads · head size."""
    return {
        f"{prefix}attention.norm.weight": (hidden_size,),
        f"{prefix}attention.query.weight": (heads_width, hidden_size),
        f"{prefix}attention.key.weight": (kv_width, hidden_size),
        f"{prefix}attention.value.weight": (kv_width, hidden_size),
        f"{prefix}attention.output.weight": (hidden_size, heads_width),
        f"{prefix}mlp.norm.weight": (hidden_size,),
        f"{prefix}mlp.gate.weight": (intermediate_size, hidden_size),
        f"{prefix}mlp.up.weight": (intermediate_size, hidden_size),
        f"{prefix}mlp.down.weight": (hidden_size, intermediate_size),
    }


def positions(token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …"""
    return np.arange(len(token_ids), dtype=np.int32)
