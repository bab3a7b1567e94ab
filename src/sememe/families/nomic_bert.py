"""NomicBert v1 and v1.5: BERT with rotary positions, a SwiGLU and no biases.

Paper: Nussbaum et al. 2024, section 3. Reference: transformers 5.23 `NomicBertModel`. Checkpoints:
nomic-embed-text-v1, -v1.5, CodeRankEmbed, snowflake-arctic-embed-m-long, at random weights.
Refused: experts (`nomic_moe`), vision, pre-normalisation, biases, partial, interleaved or xPos rotation.

Longer than trained: where `rotary_scaling_factor` is null, as in the published files, the rotation simply goes on.
Where it is set, as in snowflake-arctic-embed-m-long, the rotary base of a sequence of n > `max_trained_positions` tokens
grows with n, the sequence's own length. The authors' code takes the length of the padded batch instead, so there a
text's vector depends on its company.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.families.reading import refuse_unknown_keys, refuse_unless
from sememe.families.rope import inverse_frequencies, read_theta
from sememe.ops import Array, BatchView, Ops, Rotary, Weights

MODEL_TYPES = ("nomic_bert",)

_KNOWN_KEYS = frozenset(
    "vocab_size type_vocab_size n_embd n_layer n_head n_inner n_positions layer_norm_epsilon activation_function "
    "rotary_emb_base rotary_emb_fraction rotary_emb_interleaved rotary_emb_scale_base rotary_scaling_factor "
    "max_trained_positions prenorm parallel_block causal use_rms_norm qkv_proj_bias mlp_fc1_bias mlp_fc2_bias "
    "scale_attn_weights scale_attn_by_inverse_layer_idx hidden_size num_hidden_layers num_attention_heads "
    "head_dim intermediate_size max_position_embeddings layer_norm_eps hidden_act rope_parameters num_experts".split()
)
_NO_CONSEQUENCE = frozenset(
    "attn_pdrop embd_pdrop resid_pdrop hidden_dropout_prob attention_probs_dropout_prob classifier_dropout "
    "initializer_range bos_token_id eos_token_id pad_token_id dense_seq_output fused_bias_fc fused_dropout_add_ln "
    "last_layer_subset pad_vocab_size_multiple parallel_block_tied_norm reorder_and_upcast_attn "
    "summary_activation summary_first_dropout summary_proj_to_labels summary_type summary_use_proj "
    "tie_word_embeddings use_cache use_flash_attn use_xentropy add_pooling_layer".split()
)


@dataclass(frozen=True)
class Config:
    """Shapes and constants. scaling_factor: of the length extension, None for none."""

    vocab_size: int
    hidden_size: int
    n_layers: int
    n_heads: int
    intermediate_size: int
    n_positions: int
    n_types: int
    eps: float
    theta: float
    scaling_factor: float | None
    n_trained_positions: int

    @property
    def max_tokens(self) -> int:
        """What the authors allow; rotary positions have no table of their own."""
        return self.n_positions

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for what we do not compute.

        GPT-2's keys win over the standard ones where a file has both: those are the ones that the authors trained with.
        """
        refuse_unless(raw, "num_experts", (0, None))
        refuse_unless(raw, "rotary_emb_fraction", (1.0,))
        refuse_unless(raw, "rotary_emb_scale_base", (None,))
        refuse_unless(raw, "activation_function", ("swiglu",))
        refuse_unless(raw, "hidden_act", ("silu", "swish"))
        refuse_unless(raw, "scale_attn_weights", (True,))
        for key in (
            "rotary_emb_interleaved", "prenorm", "parallel_block", "causal", "use_rms_norm", "qkv_proj_bias",
            "mlp_fc1_bias", "mlp_fc2_bias", "scale_attn_by_inverse_layer_idx",
        ):  # fmt: skip
            refuse_unless(raw, key, (False, None))
        refuse_unknown_keys(raw, _KNOWN_KEYS | _NO_CONSEQUENCE)
        hidden_size, n_heads = _either(raw, "n_embd", "hidden_size"), _either(raw, "n_head", "num_attention_heads")
        refuse_unless(raw, "head_dim", (hidden_size // n_heads, None))
        n_positions = _either(raw, "n_positions", "max_position_embeddings")
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=hidden_size,
            n_layers=_either(raw, "n_layer", "num_hidden_layers"),
            n_heads=n_heads,
            intermediate_size=_either(raw, "n_inner", "intermediate_size"),
            n_positions=n_positions,
            n_types=raw["type_vocab_size"],
            eps=_either(raw, "layer_norm_epsilon", "layer_norm_eps"),
            theta=_read_theta(raw),
            scaling_factor=raw.get("rotary_scaling_factor"),
            n_trained_positions=raw.get("max_trained_positions", n_positions),
        )


def _either(raw: Mapping[str, Any], gpt2_key: str, standard_key: str) -> Any:
    return raw[gpt2_key] if gpt2_key in raw else raw[standard_key]


def _read_theta(raw: Mapping[str, Any]) -> float:
    if "rotary_emb_base" in raw:
        return float(raw["rotary_emb_base"])
    return read_theta(raw["rope_parameters"], "rope_parameters")


PREFIXES = ("bert.", "nomic_bert.", "model.")
RENAMES = (
    (r"embeddings\.word_embeddings\.weight", "embeddings.word.weight"),
    (r"embeddings\.token_type_embeddings\.weight", "embeddings.type.weight"),
    (r"emb_ln\.(weight|bias)", r"embeddings.norm.\1"),
    (r"encoder\.layers\.(\d+)\.attn\.Wqkv\.weight", r"layer.\1.attention.qkv.weight"),
    (r"encoder\.layers\.(\d+)\.attn\.out_proj\.weight", r"layer.\1.attention.output.weight"),
    (r"encoder\.layers\.(\d+)\.norm1\.(weight|bias)", r"layer.\1.attention.norm.\2"),
    (r"encoder\.layers\.(\d+)\.mlp\.fc11\.weight", r"layer.\1.mlp.up.weight"),
    (r"encoder\.layers\.(\d+)\.mlp\.fc12\.weight", r"layer.\1.mlp.gate.weight"),
    (r"encoder\.layers\.(\d+)\.mlp\.fc2\.weight", r"layer.\1.mlp.down.weight"),
    (r"encoder\.layers\.(\d+)\.norm2\.(weight|bias)", r"layer.\1.mlp.norm.\2"),
    (r"pooler\.dense\.(weight|bias)", r"pooler.\1"),
    (r"classifier\.(weight|bias)", r"classifier.\1"),
    (r"cls\.predictions\.transform\.dense\.(weight|bias)", r"mlm.dense.\1"),
    (r"cls\.predictions\.transform\.layer_norm\.(weight|bias)", r"mlm.norm.\1"),
    (r"cls\.predictions\.decoder\.(weight|bias)", r"mlm.decoder.\1"),
    (r"cls\.predictions\.bias", "mlm.decoder.bias"),
)
# Heads, unless one asks for its tensors.
IGNORED = (r"pooler\..*", r"classifier\..*", r"cls\..*")
STACKED = (("mlp.up_gate", ("mlp.up", "mlp.gate")),)


def claims(raw: Mapping[str, Any]) -> bool:
    """Whether this file computes a checkpoint with this `config.json`; its vision twin has patches."""
    is_vision = "patch_size" in raw or "img_size" in raw
    return raw.get("model_type") in MODEL_TYPES and not is_vision


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    h, f = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {"embeddings.word.weight": (config.vocab_size, h)}
    if config.n_types:
        shapes["embeddings.type.weight"] = (config.n_types, h)
    norms = ["embeddings.norm"]
    for i in range(config.n_layers):
        shapes[f"layer.{i}.attention.qkv.weight"] = (3 * h, h)
        shapes[f"layer.{i}.attention.output.weight"] = (h, h)
        shapes |= {f"layer.{i}.mlp.up.weight": (f, h), f"layer.{i}.mlp.gate.weight": (f, h)}
        shapes[f"layer.{i}.mlp.down.weight"] = (h, f)
        norms += [f"layer.{i}.attention.norm", f"layer.{i}.mlp.norm"]
    for name in norms:
        shapes |= {f"{name}.weight": (h,), f"{name}.bias": (h,)}
    return shapes


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): 0, 1, 2, …"""
    return np.arange(len(token_ids), dtype=np.int32)


def rotary(config: Config) -> Rotary:
    """How queries and keys turn; see the length extension above.

    Its base is theta · (factor · n / trained − (factor − 1))^(d / (d − 2)).
    Source: `NomicBertDynamicNTKRotaryEmbedding` of nomic-bert-2048's modeling file.
    """
    width = config.hidden_size // config.n_heads
    plain, factor = inverse_frequencies(config.theta, width), config.scaling_factor

    def by_length(n_tokens: int) -> NDArray[np.float32]:
        if factor is None or n_tokens <= config.n_trained_positions:
            return plain
        growth = factor * n_tokens / config.n_trained_positions - (factor - 1)
        return inverse_frequencies(config.theta * growth ** (width / (width - 2)), width)

    return Rotary(plain, config.n_positions, by_length=None if factor is None else by_length)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H)."""
    h, f = config.hidden_size, config.intermediate_size
    turn = rotary(config)
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    if config.n_types:
        x = x + ops.embedding(weights["embeddings.type"], batch.type_ids)
    x = ops.layer_norm(x, weights["embeddings.norm"], config.eps)
    for layer in weights.layers("layer", config.n_layers):
        q, k, v = (ops.heads(p, config.n_heads) for p in ops.split(ops.linear(x, layer["attention.qkv"]), (h, h, h)))
        attended = ops.attention(ops.rotary(q, turn, batch), ops.rotary(k, turn, batch), v, batch)
        attended = ops.linear(ops.merge_heads(attended), layer["attention.output"])
        x = ops.layer_norm(x + attended, layer["attention.norm"], config.eps)
        up, gate = ops.split(ops.linear(x, layer["mlp.up_gate"]), (f, f))
        down = ops.linear(up * ops.activation(gate, "silu"), layer["mlp.down"])
        x = ops.layer_norm(x + down, layer["mlp.norm"], config.eps)
    return x
