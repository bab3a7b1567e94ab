"""Jina: v2 (ALiBi, GEGLU), code (normalised queries and keys), v3 (rotary, adapters), v5 (adapters beside), ColBERT v2."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import EuroBertConfig, EuroBertModel, Qwen3Config, Qwen3Model

from .decoders import QWEN3
from .kind import Kind, VocabularySize
from .layout import Layout, write_json
from .weights import Drawn, Native, RawConfig, drawn, linear, norm

Shapes = dict[str, tuple[int, ...]]

COLBERT_WIDTH = 20
"""128 in small."""


def _embeddings(config: RawConfig) -> Shapes:
    h = config["hidden_size"]
    return {
        "embeddings.word_embeddings.weight": (config["vocab_size"], h),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], h),
        **norm("embeddings.LayerNorm", h),
    }


def _attention(at: str, h: int) -> Shapes:
    shapes: Shapes = {}
    for part in ("query", "key", "value"):
        shapes |= linear(f"{at}.attention.self.{part}", h, h)
    return shapes | linear(f"{at}.attention.output.dense", h, h) | norm(f"{at}.attention.output.LayerNorm", h)


def _v2_shapes(config: RawConfig) -> Shapes:
    h, f = config["hidden_size"], config["intermediate_size"]
    shapes = _embeddings(config)
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        shapes |= _attention(at, h) | linear(f"{at}.mlp.gated_layers", 2 * f, h, bias=False)
        shapes |= linear(f"{at}.mlp.wo", h, f) | norm(f"{at}.mlp.layernorm", h)
    return shapes | linear("pooler.dense", h, h)


def _code_shapes(config: RawConfig) -> Shapes:
    h, f = config["hidden_size"], config["intermediate_size"]
    shapes = _embeddings(config)
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        shapes |= _attention(at, h)
        for name in ("attention.self.layer_norm_q", "attention.self.layer_norm_k", "layer_norm_1", "layer_norm_2"):
            shapes |= norm(f"{at}.{name}", h)
        shapes |= linear(f"{at}.mlp.up_gated_layer", 2 * f, h, bias=False) | linear(f"{at}.mlp.down_layer", h, f)
    return shapes | linear("pooler.dense", h, h)


JINA_V2 = Kind(
    config={
        "_name_or_path": "jinaai/jina-bert-implementation",
        "architectures": ["JinaBertForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "attn_implementation": None,
        "auto_map": {
            "AutoConfig": "jinaai/jina-bert-implementation--configuration_bert.JinaBertConfig",
            "AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel",
            "AutoModelForMaskedLM": "jinaai/jina-bert-implementation--modeling_bert.JinaBertForMaskedLM",
        },
        "classifier_dropout": None,
        "emb_pooler": "mean",
        "feed_forward_type": "geglu",
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 36,
        "initializer_range": 0.02,
        "intermediate_size": 52,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 256,
        "model_max_length": 256,
        "model_type": "bert",
        "num_attention_heads": 3,  # not a power of two: the slopes come from two sequences
        "num_hidden_layers": 3,
        "pad_token_id": 0,
        "position_embedding_type": "alibi",
        "torch_dtype": "float16",
        "transformers_version": "4.30.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": VocabularySize(multiple_of=8),
    },
    layout=Layout(tokenizer="bert-uncased", model_max_length=256, max_seq_length=256, normalize=False, dtype="float16"),
    weights=Drawn(_v2_shapes),
)

JINA_CODE = JINA_V2.derive(
    layout={"tokenizer": "roberta"},
    weights=Drawn(_code_shapes),
    _name_or_path="jinaai/jina-bert-v2-qk-post-norm",
    auto_map={
        "AutoConfig": "jinaai/jina-bert-v2-qk-post-norm--configuration_bert.JinaBertConfig",
        "AutoModel": "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel",
        "AutoModelForMaskedLM": "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertForMaskedLM",
    },
    attention_probs_dropout_prob=0.1,
    vocab_size=VocabularySize(),
)


def _adapted(name: str, n_out: int, n_in: int, config: RawConfig, *, embedding: bool = False) -> Shapes:
    """A weight under torch's `parametrizations`, with one pair of low-rank factors for each task."""
    n_tasks, rank = len(config["lora_adaptations"]), config["lora_rank"]
    at = f"{name}.parametrizations.weight"
    factors: Shapes = {f"{at}.0.lora_A": (n_tasks, rank, n_in), f"{at}.0.lora_B": (n_tasks, n_out, rank)}
    if embedding:  # a table of n_out rows, looked up rather than multiplied: the factors lie the other way round
        factors = {f"{at}.0.lora_A": (n_tasks, n_out, rank), f"{at}.0.lora_B": (n_tasks, rank, n_in)}
    return {f"{at}.original": (n_out, n_in), **factors}


def _v3_shapes(config: RawConfig) -> Shapes:
    h, f = config["hidden_size"], config["intermediate_size"]
    shapes = _adapted("roberta.embeddings.word_embeddings", config["vocab_size"], h, config, embedding=True)
    shapes |= _adapted("roberta.embeddings.token_type_embeddings", config["type_vocab_size"], h, config, embedding=True)
    shapes |= norm("roberta.emb_ln", h)
    for i in range(config["num_hidden_layers"]):
        at = f"roberta.encoder.layers.{i}"
        for name, n_out, n_in in (
            ("mixer.Wqkv", 3 * h, h),
            ("mixer.out_proj", h, h),
            ("mlp.fc1", f, h),
            ("mlp.fc2", h, f),
        ):
            shapes |= {f"{at}.{name}.bias": (n_out,), **_adapted(f"{at}.{name}", n_out, n_in, config)}
        shapes |= norm(f"{at}.norm1", h) | norm(f"{at}.norm2", h)
    return shapes | {"roberta.pooler.dense.bias": (h,), **_adapted("roberta.pooler.dense", h, h, config)}


V3_TASKS = ("retrieval.query", "retrieval.passage", "separation", "classification", "text-matching")
V3_PROMPTS = {
    "retrieval.query": "Represent the query for retrieving evidence documents: ",
    "retrieval.passage": "Represent the document for retrieval: ",
    "separation": "",
    "classification": "",
    "text-matching": "",
}

_FLASH = "jinaai/xlm-roberta-flash-implementation--"

JINA_V3 = Kind(
    config={
        "_name_or_path": "jinaai/jina-embeddings-v3",
        "architectures": ["XLMRobertaLoRA"],
        "attention_probs_dropout_prob": 0.1,
        "auto_map": {
            "AutoConfig": f"{_FLASH}configuration_xlm_roberta.XLMRobertaFlashConfig",
            "AutoModel": f"{_FLASH}modeling_lora.XLMRobertaLoRA",
            "AutoModelForMaskedLM": f"{_FLASH}modeling_xlm_roberta.XLMRobertaForMaskedLM",
        },
        "bos_token_id": 0,
        "classifier_dropout": None,
        "emb_pooler": None,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 36,
        "initializer_range": 0.02,
        "intermediate_size": 52,
        "layer_norm_eps": 1e-5,
        "load_trained_adapters": True,
        "lora_adaptations": list(V3_TASKS),
        "lora_alpha": 1,
        "lora_dropout_p": 0.0,
        "lora_main_params_trainable": False,
        "lora_rank": 4,
        "matryoshka_dimensions": [8, 16, 36],
        "max_position_embeddings": 258,
        "model_type": "xlm-roberta",
        "num_attention_heads": 3,
        "num_hidden_layers": 3,
        "output_past": True,
        "pad_token_id": 1,
        "position_embedding_type": "rotary",
        "rotary_emb_base": 20000.0,
        "task_instructions": V3_PROMPTS,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.46.3",
        "truncate_dim": None,
        "type_vocab_size": 1,
        "use_cache": True,
        "use_flash_attn": True,
        "vocab_size": VocabularySize(),
    },
    layout=Layout(
        tokenizer="xlm-roberta",
        model_max_length=256,
        max_seq_length=256,
        transformer_type="custom_st.Transformer",
        prompts=V3_PROMPTS,
        dtype="bfloat16",
    ),
    weights=Drawn(_v3_shapes),
)

V5_TASKS = ("retrieval", "text-matching", "clustering", "classification")
_V5_LORA = {
    "alpha_pattern": {},
    "auto_mapping": None,
    "bias": "none",
    "corda_config": None,
    "exclude_modules": None,
    "fan_in_fan_out": False,
    "inference_mode": True,
    "init_lora_weights": "gaussian",
    "layers_to_transform": None,
    "loftq_config": {},
    "lora_alpha": 4,  # 32 of 32 in the published files; here a scale that shows
    "lora_bias": False,
    "lora_dropout": 0.1,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "peft_type": "LORA",
    "r": 3,
    "rank_pattern": {},
    "revision": None,
    "target_modules": ["gate_proj", "v_proj", "q_proj", "down_proj", "o_proj", "k_proj", "up_proj"],
    "task_type": "FEATURE_EXTRACTION",
    "use_dora": False,
    "use_rslora": False,
}


def _v5_adapters(
    folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator
) -> None:
    """`adapters/TASK`, and a list of modules that names the authors' own class alone."""
    stored = load_file(folder / "model.safetensors")
    rank = int(str(_V5_LORA["r"]))
    for task in V5_TASKS:
        shapes: Shapes = {}
        for name, weight in stored.items():
            if name.startswith("layers.") and weight.ndim == 2:
                at = f"base_model.model.{name.removesuffix('.weight')}"
                n_out, n_in = weight.shape
                shapes |= {f"{at}.lora_A.weight": (rank, n_in), f"{at}.lora_B.weight": (n_out, rank)}
        beside = folder / "adapters" / task
        write_json(beside / "adapter_config.json", {**_V5_LORA, "base_model_name_or_path": "jinaai/jina-embeddings-v5"})
        save_file(drawn(shapes, sigma, generator), beside / "adapter_model.safetensors")
    modules = [{"idx": 0, "name": "transformer", "path": "", "type": "custom_st.Transformer", "kwargs": ["task"]}]
    write_json(folder / "modules.json", modules)
    settings = {"prompts": V5_PROMPTS, "default_prompt_name": "document", "similarity_fn_name": "cosine"}
    write_json(folder / "config_sentence_transformers.json", settings)


V5_PROMPTS = {"query": "Query: ", "document": "Document: "}
_V5_WRAPPER = {
    "architectures": ["JinaEmbeddingsV5Model"],
    "auto_map": {
        "AutoConfig": "configuration_jina_embeddings_v5.JinaEmbeddingsV5Config",
        "AutoModel": "modeling_jina_embeddings_v5.JinaEmbeddingsV5Model",
    },
    "model_type": "jina_embeddings_v5",
    "task_names": list(V5_TASKS),
}


def v5_native_config(config: RawConfig) -> EuroBertConfig | Qwen3Config:
    """The body's own config."""
    body = {name: value for name, value in config.items() if name not in _V5_WRAPPER}
    return EuroBertConfig.from_dict(body) if "mask_token_id" in config else Qwen3Config.from_dict(body)


JINA_V5_NANO = Kind(
    config={
        **_V5_WRAPPER,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token": "[CLS]",
        "bos_token_id": 1,
        "eos_token": "[SEP]",
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_dropout": 0.0,
        "hidden_size": 36,
        "initializer_range": 0.02,
        "intermediate_size": 52,
        "is_decoder": False,
        "mask_token": "[MASK]",
        "mask_token_id": 3,
        "max_position_embeddings": 256,
        "num_attention_heads": 6,
        "num_hidden_layers": 3,
        "num_key_value_heads": 3,  # as many as heads in the published file
        "pad_token": "[PAD]",
        "pad_token_id": 0,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-5,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.40.0.dev0",
        "vocab_size": VocabularySize(),
    },
    layout=Layout(tokenizer="modernbert", modules=None, pooling="lasttoken", prompts=V5_PROMPTS),
    weights=Native(EuroBertModel, v5_native_config),
    extras=_v5_adapters,
)
"""The published tokenizer is Llama 3's with a beginning and an end; here ModernBERT's, which puts both."""

JINA_V5_SMALL = QWEN3.derive(
    layout={"tokenizer": "qwen2", "modules": None, "prompts": V5_PROMPTS, "dtype": "float32"},
    weights=Native(Qwen3Model, v5_native_config),
    extras=_v5_adapters,
    **_V5_WRAPPER,
    rope_theta=3500000,
    max_position_embeddings=256,
    vocab_size=VocabularySize(),
)


def _colbert_v2_shapes(config: RawConfig) -> Shapes:
    """The same code as v3's under plain names, and ColBERT's projection."""
    shapes: Shapes = {"linear.weight": (COLBERT_WIDTH, config["hidden_size"])}
    for name, shape in _v3_shapes({**config, "lora_adaptations": [], "lora_rank": 1}).items():
        if ".lora_" not in name:
            shapes[name.replace(".parametrizations.weight.original", ".weight")] = shape
    return shapes


def _colbert_v2_metadata(
    folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator
) -> None:
    write_json(
        folder / "artifact.metadata",
        {
            "query_token_id": "[QueryMarker]",
            "doc_token_id": "[DocumentMarker]",
            "query_token": "[QueryMarker]",
            "doc_token": "[DocumentMarker]",
            "similarity": "cosine",
            "query_maxlen": 16,  # 32 in small
            "attend_to_mask_tokens": True,
            "interaction": "colbert",
            "dim": COLBERT_WIDTH,
            "doc_maxlen": 40,  # 300 in small
            "mask_punctuation": True,
        },
    )


JINA_COLBERT_V2 = JINA_V3.derive(
    layout={"tokenizer": "xlm-roberta-markers", "modules": None, "transformer_type": None, "prompts": None},
    weights=Drawn(_colbert_v2_shapes),
    extras=_colbert_v2_metadata,
    architectures=["HF_ColBERT"],
    lora_adaptations=None,
)

KINDS = {
    "jina_v2": JINA_V2,
    "jina_code": JINA_CODE,
    "jina_v3": JINA_V3,
    "jina_v5_nano": JINA_V5_NANO,
    "jina_v5_small": JINA_V5_SMALL,
    "jina_colbert_v2": JINA_COLBERT_V2,
}
