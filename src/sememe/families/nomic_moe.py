"""Nomic Embed v2 MoE: NomicBert with GELU and biases, and a mixture of experts in every other layer.

Paper: Nussbaum & Duderstadt 2025, section 3. Reference: `tests/reference/nomic_moe.py`, from what TEI, vLLM and fastembed
agree on; transformers 5.23 accepts the config and drops the experts. Checkpoint: nomic-embed-text-v2-moe, at random
weights. Refused: shared experts, other ways to route, pre-normalisation, gated MLPs, absent biases, rotary scalings, and
partial, interleaved or xPos rotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.families.reading import read_activation, refuse_unknown_keys, refuse_unless
from sememe.families.rope import inverse_frequencies
from sememe.ops import Activation, Array, BatchView, Ops, Rotary, Weights

MODEL_TYPES = ("nomic_bert",)

_KNOWN_KEYS = frozenset(
    "vocab_size type_vocab_size n_embd n_layer n_head n_inner n_positions layer_norm_epsilon activation_function "
    "rotary_emb_base rotary_emb_fraction rotary_emb_interleaved rotary_emb_scale_base rotary_scaling_factor prenorm "
    "parallel_block causal use_rms_norm qkv_proj_bias mlp_fc1_bias mlp_fc2_bias scale_attn_weights "
    "scale_attn_by_inverse_layer_idx num_experts moe_top_k moe_every_n_layers moe_normalize_expert_weights "
    "num_shared_experts expert_choice_router ffn_div".split()
)
# Dropout, training, kernels. `max_trained_positions` matters to a rotary scaling only, and that is refused.
_NO_CONSEQUENCE = frozenset(
    "attn_pdrop embd_pdrop resid_pdrop moe_resid_pdrop router_aux_loss_coef moe_impl initializer_range bos_token_id "
    "eos_token_id pad_token_id dense_seq_output fused_bias_fc fused_dropout_add_ln max_trained_positions "
    "pad_vocab_size_multiple parallel_block_tied_norm reorder_and_upcast_attn summary_activation "
    "summary_first_dropout summary_proj_to_labels summary_type summary_use_proj tie_word_embeddings use_cache "
    "use_flash_attn use_xentropy add_pooling_layer".split()
)


@dataclass(frozen=True)
class Config:
    """Shapes and constants. A layer i has experts where i modulo experts_every is 1."""

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
    n_experts: int
    top_k: int
    experts_every: int

    @property
    def max_tokens(self) -> int:
        """What the authors allow; rotary positions have no table of their own."""
        return self.n_positions

    def has_experts(self, i: int) -> bool:
        """Whether layer i is a mixture; the first layer never is."""
        return i % self.experts_every == 1

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Config:
        """Read `config.json`. Raises UnsupportedCheckpoint for what we do not compute."""
        refuse_unless(raw, "rotary_emb_fraction", (1.0,))
        refuse_unless(raw, "rotary_emb_scale_base", (None,))
        refuse_unless(raw, "rotary_scaling_factor", (None,))
        refuse_unless(raw, "scale_attn_weights", (True,))
        refuse_unless(raw, "num_shared_experts", (0,))
        refuse_unless(raw, "ffn_div", (1,))
        for key in (
            "rotary_emb_interleaved", "prenorm", "parallel_block", "causal", "use_rms_norm",
            "scale_attn_by_inverse_layer_idx", "moe_normalize_expert_weights", "expert_choice_router",
        ):  # fmt: skip
            refuse_unless(raw, key, (False, None))
        for key in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias"):
            refuse_unless(raw, key, (True,))
        refuse_unknown_keys(raw, _KNOWN_KEYS | _NO_CONSEQUENCE)
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["n_embd"],
            n_layers=raw["n_layer"],
            n_heads=raw["n_head"],
            intermediate_size=raw["n_inner"],
            n_positions=raw["n_positions"],
            n_types=raw["type_vocab_size"],
            eps=raw["layer_norm_epsilon"],
            activation=read_activation(raw, "activation_function"),
            theta=float(raw["rotary_emb_base"]),
            n_experts=raw["num_experts"],
            top_k=raw["moe_top_k"],
            experts_every=raw["moe_every_n_layers"],
        )


PREFIXES = ("bert.", "nomic_bert.", "model.")
RENAMES = (
    (r"embeddings\.word_embeddings\.weight", "embeddings.word.weight"),
    (r"embeddings\.token_type_embeddings\.weight", "embeddings.type.weight"),
    (r"emb_ln\.(weight|bias)", r"embeddings.norm.\1"),
    (r"encoder\.layers\.(\d+)\.attn\.Wqkv\.(weight|bias)", r"layer.\1.attention.qkv.\2"),
    (r"encoder\.layers\.(\d+)\.attn\.out_proj\.(weight|bias)", r"layer.\1.attention.output.\2"),
    (r"encoder\.layers\.(\d+)\.norm1\.(weight|bias)", r"layer.\1.attention.norm.\2"),
    (r"encoder\.layers\.(\d+)\.mlp\.fc1\.(weight|bias)", r"layer.\1.mlp.up.\2"),
    (r"encoder\.layers\.(\d+)\.mlp\.fc2\.(weight|bias)", r"layer.\1.mlp.down.\2"),
    (r"encoder\.layers\.(\d+)\.mlp\.router\.layer\.weight", r"layer.\1.mlp.router.weight"),
    (r"encoder\.layers\.(\d+)\.mlp\.experts\.mlp\.w1", r"layer.\1.mlp.experts.up.weight"),
    (r"encoder\.layers\.(\d+)\.mlp\.experts\.mlp\.w2", r"layer.\1.mlp.experts.down.weight"),
    (r"encoder\.layers\.(\d+)\.mlp\.experts\.bias", r"layer.\1.mlp.experts.down.bias"),
    (r"encoder\.layers\.(\d+)\.norm2\.(weight|bias)", r"layer.\1.mlp.norm.\2"),
    (r"pooler\.dense\.(weight|bias)", r"pooler.\1"),
    (r"cls\.predictions\.transform\.dense\.(weight|bias)", r"mlm.dense.\1"),
    (r"cls\.predictions\.transform\.layer_norm\.(weight|bias)", r"mlm.norm.\1"),
    (r"cls\.predictions\.decoder\.(weight|bias)", r"mlm.decoder.\1"),
    (r"cls\.predictions\.bias", "mlm.decoder.bias"),
)
# Heads, unless one asks for its tensors.
IGNORED = (r"pooler\..*", r"cls\..*")
STACKED: tuple[tuple[str, tuple[str, ...]], ...] = ()


def claims(raw: Mapping[str, Any]) -> bool:
    """Whether this file computes a checkpoint with this `config.json`."""
    return raw.get("model_type") in MODEL_TYPES and (raw.get("num_experts") or 0) > 0


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    h, f, n_experts = config.hidden_size, config.intermediate_size, config.n_experts
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word.weight": (config.vocab_size, h),
        "embeddings.type.weight": (config.n_types, h),
    }
    norms = ["embeddings.norm"]
    for i in range(config.n_layers):
        shapes |= {f"layer.{i}.attention.qkv.weight": (3 * h, h), f"layer.{i}.attention.qkv.bias": (3 * h,)}
        shapes |= {f"layer.{i}.attention.output.weight": (h, h), f"layer.{i}.attention.output.bias": (h,)}
        if config.has_experts(i):
            shapes[f"layer.{i}.mlp.router.weight"] = (n_experts, h)
            shapes[f"layer.{i}.mlp.experts.up.weight"] = (n_experts * f, h)
            shapes[f"layer.{i}.mlp.experts.down.weight"] = (n_experts * f, h)
            shapes[f"layer.{i}.mlp.experts.down.bias"] = (h,)
        else:
            shapes |= {f"layer.{i}.mlp.up.weight": (f, h), f"layer.{i}.mlp.up.bias": (f,)}
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
    h = config.hidden_size
    turn = Rotary(inverse_frequencies(config.theta, h // config.n_heads), config.n_positions)
    x = ops.embedding(weights["embeddings.word"], batch.token_ids)
    x = x + ops.embedding(weights["embeddings.type"], batch.type_ids)
    x = ops.layer_norm(x, weights["embeddings.norm"], config.eps)
    for i, layer in enumerate(weights.layers("layer", config.n_layers)):
        q, k, v = (ops.heads(p, config.n_heads) for p in ops.split(ops.linear(x, layer["attention.qkv"]), (h, h, h)))
        attended = ops.attention(ops.rotary(q, turn, batch), ops.rotary(k, turn, batch), v, batch)
        attended = ops.linear(ops.merge_heads(attended), layer["attention.output"])
        x = ops.layer_norm(x + attended, layer["attention.norm"], config.eps)
        x = ops.layer_norm(x + _feed_forward(ops, layer, config, x, i), layer["mlp.norm"], config.eps)
    return x


def _feed_forward(ops: Ops[Array], layer: Weights[Array], config: Config, x: Array, i: int) -> Array:
    """What layer i adds to (T, H) after its attention."""
    if not config.has_experts(i):
        up = ops.activation(ops.linear(x, layer["mlp.up"]), config.activation)
        return ops.linear(up, layer["mlp.down"])
    return ops.experts(
        x,
        layer["mlp.router"],
        layer["mlp.experts.up"],
        layer["mlp.experts.down"],
        n_experts=config.n_experts,
        top_k=config.top_k,
        activation=config.activation,
    )
