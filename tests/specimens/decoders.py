"""Decoders that embed: Qwen3, gte-Qwen2, Mistral, bge-en-icl, NV-Embed, EmbeddingGemma.

Heads differ from key/value heads everywhere, and heads × head size from the width where the family allows it.
"""

from __future__ import annotations

from typing import Any

from transformers import Gemma3TextModel, MistralConfig, MistralModel, Qwen2Model, Qwen3Model

from .kind import Kind, TokenId, VocabularySize
from .layout import Dense, Layout
from .weights import Drawn, Native, RawConfig, Tensors, drawn, linear, norm

WEB_SEARCH = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"

QWEN3 = Kind(
    config={
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": TokenId("<|endoftext|>"),
        "eos_token_id": TokenId("<|endoftext|>"),
        "head_dim": 8,
        "hidden_act": "silu",
        "hidden_size": 36,
        "initializer_range": 0.02,
        "intermediate_size": 52,
        "max_position_embeddings": 512,
        "max_window_layers": 3,
        "model_type": "qwen3",
        "num_attention_heads": 6,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.3",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": VocabularySize(),
    },
    layout=Layout(
        tokenizer="qwen3-embedding",
        model_max_length=131072,
        max_seq_length=None,
        sentence_bert_config=False,
        pooling="lasttoken",
        prompts={"query": WEB_SEARCH, "document": ""},
        similarity="cosine",
        dtype="bfloat16",
    ),
    weights=Native(Qwen3Model),
)

GTE_QWEN2 = Kind(
    config={
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "auto_map": {
            "AutoModel": "modeling_qwen.Qwen2Model",
            "AutoModelForCausalLM": "modeling_qwen.Qwen2ForCausalLM",
            "AutoModelForSequenceClassification": "modeling_qwen.Qwen2ForSequenceClassification",
        },
        "bos_token_id": TokenId("<|endoftext|>"),
        "eos_token_id": TokenId("<|endoftext|>"),
        "hidden_act": "silu",
        "hidden_size": 48,
        "initializer_range": 0.02,
        "intermediate_size": 52,
        "is_causal": False,
        "max_position_embeddings": 512,
        "max_window_layers": 2,
        "model_type": "qwen2",
        "num_attention_heads": 6,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "sliding_window": 512,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": VocabularySize(),
    },
    layout=Layout(
        tokenizer="qwen2",
        model_max_length=32768,
        max_seq_length=512,
        pooling="lasttoken",
        prompts={"query": f"{WEB_SEARCH} "},
        shards=2,
    ),
    weights=Native(Qwen2Model),
)

MISTRAL = Kind(
    config={
        "_name_or_path": "intfloat/e5-mistral-7b-instruct",
        "architectures": ["MistralModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 48,
        "initializer_range": 0.02,
        "intermediate_size": 52,
        "max_position_embeddings": 512,
        "model_type": "mistral",
        "num_attention_heads": 6,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "pad_token_id": 2,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "sliding_window": 16,  # 4096 in small
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.34.0",
        "use_cache": False,
        "vocab_size": VocabularySize(),
    },
    layout=Layout(
        tokenizer="mistral",
        model_max_length=4096,
        max_seq_length=512,
        pooling="lasttoken",
        dtype="float16",
        shards=2,
    ),
    weights=Native(MistralModel),
)

E5_MISTRAL = MISTRAL.derive(
    layout={
        "prompts": {
            "web_search_query": f"{WEB_SEARCH} ",
            "sts_query": "Instruct: Retrieve semantically similar text.\nQuery: ",
            "summarization_query": (
                "Instruct: Given a news summary, retrieve other semantically similar summaries\nQuery: "
            ),
            "bitext_query": "Instruct: Retrieve parallel sentences.\nQuery: ",
        }
    }
)

BGE_EN_ICL = MISTRAL.derive(
    layout={"tokenizer": "bge-en-icl", "dtype": "float32"},
    _name_or_path="BAAI/bge-en-icl",
    torch_dtype="float32",
)


def nvembed_text_config(config: RawConfig) -> MistralConfig:
    """The body of NV-Embed: Mistral that looks both ways and has no window."""
    text = {**config["text_config"], "model_type": "mistral", "sliding_window": None, "is_causal": False}
    return MistralConfig.from_dict(text)


class NVEmbedWeights:
    """A Mistral body under `embedding_model.` and the head under `latent_attention_model.`."""

    _body = Native(MistralModel, nvembed_text_config)

    def draw(self, config: RawConfig, sigma: float | None, generator: Any) -> Tensors:
        body = self._body.draw(config, sigma, generator)
        return {f"embedding_model.{k}": v for k, v in body.items()} | drawn(_latent_shapes(config), sigma, generator)

    def count(self, config: RawConfig) -> int:
        return self._body.count(config) + Drawn(_latent_shapes).count(config)


def _latent_shapes(config: RawConfig) -> dict[str, tuple[int, ...]]:
    latent = config["latent_attention_config"]
    width, h = latent["latent_dim"], latent["hidden_dim"]
    inner = latent["num_cross_heads"] * latent["cross_dim_head"]
    root = "latent_attention_model"
    at = f"{root}.cross_attend_blocks"
    return {
        f"{root}.latents": (latent["num_latents_value"], width),
        **norm(f"{at}.0.norm", width),
        **norm(f"{at}.0.norm_context", h),
        **linear(f"{at}.0.fn.to_q", inner, width, bias=False),
        **linear(f"{at}.0.fn.to_kv", 2 * inner, h, bias=False),
        **linear(f"{at}.0.fn.to_out", width, inner, bias=False),
        **norm(f"{at}.1.norm", width),
        **linear(f"{at}.1.fn.net.0", 8 * width, width),
        **linear(f"{at}.1.fn.net.2", width, 4 * width),
    }


NVEMBED = Kind(
    config={
        "_name_or_path": "nvidia/NV-Embed-v2",
        "add_eos": True,
        "add_pad_token": True,
        "architectures": ["NVEmbedModel"],
        "auto_map": {
            "AutoConfig": "configuration_nvembed.NVEmbedConfig",
            "AutoModel": "modeling_nvembed.NVEmbedModel",
        },
        "hidden_size": 48,
        "is_mask_instruction": True,
        "latent_attention_config": {
            "model_type": "latent_attention",
            "num_latents_value": 10,
            "num_cross_heads": 3,
            "output_normalize": True,
            "hidden_dim": 48,
            "latent_dim": 48,
            "cross_dim_head": 40,
        },
        "mask_type": "b",
        "model_type": "nvembed",
        "padding_side": "right",
        "text_config": {
            **{
                name: value
                for name, value in MISTRAL.config.items()
                if name not in ("_name_or_path", "torch_dtype", "transformers_version", "architectures", "model_type")
            },
            "_name_or_path": "nvidia/NV-Embed-v2",
            "architectures": ["MistralModel"],
            "model_type": "bidir_mistral",
            "torch_dtype": "float32",
        },
        "torch_dtype": "float16",
        "transformers_version": "4.42.4",
    },
    layout=Layout(
        tokenizer="mistral",
        model_max_length=32768,
        max_seq_length=512,
        include_prompt=False,
        dtype="float16",
        shards=2,
    ),
    weights=NVEmbedWeights(),
)

_GEMMA_TASKS = {
    "query": "task: search result | query: ",
    "document": "title: none | text: ",
    "BitextMining": "task: search result | query: ",
    "Clustering": "task: clustering | query: ",
    "Classification": "task: classification | query: ",
    "InstructionRetrieval": "task: code retrieval | query: ",
    "Retrieval": "task: search result | query: ",
    "Retrieval-query": "task: search result | query: ",
    "Retrieval-document": "title: none | text: ",
    "STS": "task: sentence similarity | query: ",
    "Summarization": "task: summarization | query: ",
}

EMBEDDING_GEMMA = Kind(
    config={
        "_sliding_window_pattern": 6,
        "architectures": ["Gemma3TextModel"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "bos_token_id": 2,
        "dtype": "float32",
        "eos_token_id": 1,
        "final_logit_softcapping": None,
        "head_dim": 16,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 36,
        "initializer_range": 0.02,
        "intermediate_size": 52,
        "layer_types": ["sliding_attention"] * 5 + ["full_attention"] + ["sliding_attention"],
        "max_position_embeddings": 256,
        "model_type": "gemma3_text",
        "num_attention_heads": 3,
        "num_hidden_layers": 7,
        "num_key_value_heads": 1,
        "pad_token_id": 0,
        "query_pre_attn_scalar": 20,  # not the head size, so that a scale of 1/√head_dim shows
        "rms_norm_eps": 1e-6,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": 16,  # 512 in small: a token sees eight on either side
        "transformers_version": "4.57.0.dev0",
        "use_bidirectional_attention": True,
        "use_cache": True,
        "vocab_size": VocabularySize(),
    },
    layout=Layout(
        tokenizer="gemma",
        model_max_length=256,
        max_seq_length=256,
        dense=(Dense(60, bias=False), Dense(36, bias=False)),
        prompts=_GEMMA_TASKS,
        similarity="cosine",
    ),
    weights=Native(Gemma3TextModel),
)

KINDS = {
    "qwen3": QWEN3,
    "gte_qwen2": GTE_QWEN2,
    "mistral": MISTRAL,
    "e5_mistral": E5_MISTRAL,
    "bge_en_icl": BGE_EN_ICL,
    "nvembed": NVEMBED,
    "embedding_gemma": EMBEDDING_GEMMA,
}
