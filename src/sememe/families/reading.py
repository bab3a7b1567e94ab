"""Reading `config.json` without guessing: what the families' `Config.read` share to the letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sememe.errors import UnsupportedCheckpoint
from sememe.ops import Activation

# `gelu` is the exact one; `gelu_new`, `gelu_fast` and `gelu_pytorch_tanh` are one tanh approximation in three spellings.
_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}

# What every config.json may carry and no architecture reads.
_EVERYWHERE = frozenset(
    "model_type architectures auto_map _name_or_path transformers_version torch_dtype dtype id2label label2id "
    "num_labels finetuning_task task_specific_params problem_type output_attentions output_hidden_states "
    "return_dict is_encoder_decoder chunk_size_feed_forward adapters pruned_heads torchscript use_bfloat16 "
    "_attn_implementation attn_implementation _commit_hash tokenizer_class prefix model_max_length "
    "quantization_config matryoshka_dimensions truncate_dim".split()
)


def read_activation(raw: Mapping[str, Any], key: str) -> Activation:
    """The activation that `raw[key]` names. Raises UnsupportedCheckpoint for one we do not compute."""
    if raw[key] not in _ACTIVATIONS:
        raise UnsupportedCheckpoint("config.json", key, got=raw[key], expected=", ".join(sorted(_ACTIVATIONS)))
    return _ACTIVATIONS[raw[key]]


def refuse_unless(raw: Mapping[str, Any], key: str, computed: Sequence[object]) -> None:
    """Raise UnsupportedCheckpoint unless `raw[key]` is absent or one of the values that we compute."""
    if key in raw and raw[key] not in computed:
        raise UnsupportedCheckpoint("config.json", key, got=raw[key], expected=" or ".join(map(repr, computed)))


def refuse_unknown_keys(raw: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raise UnsupportedCheckpoint for a key that nobody has looked at: it may change what is computed.

    Quantised weights are refused here for every family: their tensors are not the numbers that are computed with.
    """
    refuse_unless(raw, "quantization_config", (None,))
    unknown = sorted(set(raw) - known - _EVERYWHERE)
    if unknown:
        raise UnsupportedCheckpoint(
            "config.json", "keys", got=", ".join(unknown), expected=f"model_type {raw.get('model_type')!r} without them"
        )
