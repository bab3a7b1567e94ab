"""Reference hidden states of a specimen, by a route that shares nothing with `sememe`.

transformers' native class where there is one, built from the published config; else `tests/reference`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import JinaEmbeddingsV3Config, PreTrainedModel

from reference import files, jina_bert, jina_code, nomic_moe, nv_embed, positions
from reference.maths import Config, Tensors

from . import decoders, gte, jina, nomic
from .weights import RawConfig

States = list[NDArray[np.float32]]


def reference_hidden(
    folder: Path,
    ids_list: Sequence[Sequence[int]],
    type_ids_list: Sequence[Sequence[int]] | None = None,
    *,
    task: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> States:
    """Final hidden states (n, H) of each sequence, one sequence at a time and without padding.

    type_ids_list: the segment of each token; zeros if left out. task: the adapter of jina v3; None for the base.
    dtype: what transformers computes in. With wide weights its float32 is itself several parts in a million off;
    float64 tells such rounding from a mistake. The result is float32 either way.
    NV-Embed: the states after the latent attention, which its mean is taken over; `reference_body` gives those before.
    """
    config = raw_config(folder)
    plain = _plain_reference(config)
    if plain is not None:
        tensors, _ = _read(str(folder), _written(folder))
        return [files.finite32(plain(tensors, config, ids)) for ids in ids_list]
    model = _native_model(str(folder), _written(folder), task, dtype)
    if config.get("rotary_scaling_factor") is not None:
        return [_extended(model, config, ids) for ids in ids_list]
    body = _states(model, ids_list, type_ids_list)
    if config["model_type"] != "nvembed":
        return body
    tensors, _ = _read(str(folder), _written(folder))
    head = config["latent_attention_config"]
    return [files.finite32(nv_embed.latent_attention(tensors, head, states)) for states in body]


def _extended(model: PreTrainedModel, config: RawConfig, ids: Sequence[int]) -> NDArray[np.float32]:
    """NomicBert's states where `rotary_scaling_factor` is set: another rotary base for each length."""
    d = config["n_embd"] // config["n_head"]
    theta = positions.extended_theta(
        config["rotary_emb_base"], config["rotary_scaling_factor"], len(ids), config["max_trained_positions"], d
    )
    # As torch computes them: numpy's powers differ in the last bit, which a few hundred positions make visible.
    model.rotary_emb.inv_freq.copy_(1.0 / theta ** (torch.arange(0, d, 2, dtype=torch.float32) / d))
    return _states(model, [ids], None)[0]


def reference_body(folder: Path, ids_list: Sequence[Sequence[int]]) -> States:
    """NV-Embed's states before the latent attention: those of its Mistral body, after the final norm."""
    return _states(_native_model(str(folder), _written(folder), None, torch.float32), ids_list, None)


def reference_logits(
    folder: Path, ids_list: Sequence[Sequence[int]], type_ids_list: Sequence[Sequence[int]] | None = None
) -> States:
    """What the task class of config.json's `architectures` gives for each sequence, in float32.

    (n, V) for a masked or a causal language model, (n, labels) for a token classifier, (labels,) for a
    sequence classifier.
    """
    model = _task_model(str(folder), _written(folder))
    return _outputs(model, "logits", ids_list, type_ids_list)


def raw_config(folder: Path) -> RawConfig:
    """config.json as it stands."""
    return dict(json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")))


def _written(folder: Path) -> int:
    """When the folder was written, so that a folder written anew is read anew."""
    return (Path(folder) / "config.json").stat().st_mtime_ns


def _plain_reference(config: RawConfig) -> Callable[[Tensors, Config, Sequence[int]], Any] | None:
    """The numpy reference for architectures that no library computes."""
    if config["model_type"] == "nomic_bert" and config.get("num_experts", 0) > 0:
        return nomic_moe.forward
    if config["model_type"] == "bert" and config.get("position_embedding_type") == "alibi":
        return jina_code.forward if "qk-post-norm" in config["_name_or_path"] else jina_bert.forward
    return None


@lru_cache(maxsize=8)
def _read(folder: str, written_ns: int) -> tuple[Tensors, Config]:
    return files.read(Path(folder))


@lru_cache(maxsize=8)
def _native_model(folder: str, written_ns: int, task: str | None, dtype: torch.dtype) -> PreTrainedModel:
    """The native class with the folder's weights, computing in `dtype`."""
    return _native_float32(folder, task).to(dtype)


def _native_float32(folder: str, task: str | None) -> PreTrainedModel:
    """The native class with the folder's weights. Raises ValueError if a weight of the body is lacking or left over."""
    config = raw_config(Path(folder))
    model_type = config["model_type"]
    if model_type == "nomic_bert":
        return _load(transformers.NomicBertModel, folder, nomic.native_config(config))
    if model_type == "new":
        return _load(transformers.GteModel, folder, gte.native_config(config))
    if model_type == "t5":
        return _load(transformers.T5EncoderModel, folder, None)
    if model_type == "nvembed":
        body = {
            name.removeprefix("embedding_model."): value
            for name, value in _tensors(folder).items()
            if name.startswith("embedding_model.")
        }
        return _load_from(transformers.MistralModel, body, decoders.nvembed_text_config(config))
    if model_type == "jina_embeddings_v5":
        model_class = transformers.EuroBertModel if "mask_token_id" in config else transformers.Qwen3Model
        return _load_from(model_class, _with_adapter(folder, task), jina.v5_native_config(config))
    if config["architectures"] == ["HF_ColBERT"] and model_type == "xlm-roberta":
        return _load_from(transformers.JinaEmbeddingsV3Model, _tensors(folder), _v3_config(config))
    if "lora_adaptations" in config:
        return _load_from(
            transformers.JinaEmbeddingsV3Model, merged(_tensors(folder), config, task), _v3_config(config)
        )
    return _load(transformers.AutoModel, folder, None)


_HEADS = ("classifier.", "cls.", "head.", "linear.", "lm_head.", "pooler.", "vocab_")
"""What a bare body leaves unread in the file of a task class."""


def _load(model_class: Any, folder: str, config: Any) -> PreTrainedModel:
    given = {} if config is None else {"config": config}
    model, info = model_class.from_pretrained(
        folder, **given, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    missing = [
        name for name in info["missing_keys"] if not name.startswith("pooler.") or "pooler" in model_class.__name__
    ]
    if missing or info["mismatched_keys"]:
        raise ValueError(f"{folder}: the reference lacks {missing}, does not fit {info['mismatched_keys']}")
    loaded: PreTrainedModel = model.eval()
    return loaded


def _load_from(model_class: Any, tensors: dict[str, torch.Tensor], config: Any) -> PreTrainedModel:
    with tempfile.TemporaryDirectory() as folder:
        save_file({k: v.contiguous() for k, v in tensors.items()}, Path(folder) / "model.safetensors", {"format": "pt"})
        config.save_pretrained(folder)
        return _load(model_class, folder, config)


def _tensors(folder: str) -> dict[str, torch.Tensor]:
    return {k: v for path in sorted(Path(folder).glob("*.safetensors")) for k, v in load_file(path).items()}


def merged(tensors: dict[str, torch.Tensor], config: RawConfig, task: str | None) -> dict[str, torch.Tensor]:
    """jina v3's weights with one task's adapter added in, in float32, under plain names. None: the base weights.

    W + (alpha/rank)·B·A for a linear layer, E + (alpha/rank)·A·B for a table. Source: nomic-gte-jina section 6.
    """
    plain = {}
    for name, value in tensors.items():
        if name.endswith(".parametrizations.weight.original"):
            at = name.removesuffix(".original")
            weight = value.float()
            if task is not None:
                t = config["lora_adaptations"].index(task)
                a, b = tensors[f"{at}.0.lora_A"][t].float(), tensors[f"{at}.0.lora_B"][t].float()
                product = a @ b if "embeddings" in name else b @ a
                weight = weight + config["lora_alpha"] / config["lora_rank"] * product
            plain[at.replace(".parametrizations", "")] = weight
        elif ".lora_" not in name:
            plain[name] = value.float()
    return plain


def _with_adapter(folder: str, task: str | None) -> dict[str, torch.Tensor]:
    """jina v5's weights with one task's adapter added in: W + (alpha/rank)·B·A. None: the base weights."""
    tensors = {name: value.float() for name, value in _tensors(folder).items()}
    if task is None:
        return tensors
    beside = Path(folder) / "adapters" / task
    lora = json.loads((beside / "adapter_config.json").read_text(encoding="utf-8"))
    factors = load_file(beside / "adapter_model.safetensors")
    for name, a in factors.items():
        if name.endswith(".lora_A.weight"):
            at = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight") + ".weight"
            tensors[at] = tensors[at] + lora["lora_alpha"] / lora["r"] * factors[name.replace("_A.", "_B.")] @ a
    return tensors


_V3_SHARED_KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
)


def _v3_config(config: RawConfig) -> JinaEmbeddingsV3Config:
    rope = {"rope_type": "default", "rope_theta": config["rotary_emb_base"]}
    return JinaEmbeddingsV3Config(**{name: config[name] for name in _V3_SHARED_KEYS}, rope_parameters=rope)


@lru_cache(maxsize=8)
def _task_model(folder: str, written_ns: int) -> PreTrainedModel:
    config = raw_config(Path(folder))
    name = str(config["architectures"][-1])
    if config["model_type"] == "new":
        n_labels = len(config["id2label"])
        task_class = getattr(transformers, name.replace("New", "Gte"))
        return _load(task_class, folder, gte.native_config(config, n_labels))
    return _load(getattr(transformers, name), folder, None)


def _states(
    model: PreTrainedModel, ids_list: Sequence[Sequence[int]], type_ids_list: Sequence[Sequence[int]] | None
) -> States:
    return _outputs(model, "last_hidden_state", ids_list, type_ids_list)


def _outputs(
    model: PreTrainedModel,
    name: str,
    ids_list: Sequence[Sequence[int]],
    type_ids_list: Sequence[Sequence[int]] | None,
) -> States:
    outputs = []
    for i, ids in enumerate(ids_list):
        inputs = {"input_ids": torch.tensor([list(ids)])}
        if type_ids_list is not None:
            inputs["token_type_ids"] = torch.tensor([list(type_ids_list[i])])
        with torch.inference_mode():
            output = model(**inputs, attention_mask=torch.ones_like(inputs["input_ids"]))
        outputs.append(files.finite32(getattr(output, name)[0].float().numpy()))
    return outputs
