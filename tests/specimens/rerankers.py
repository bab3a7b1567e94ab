"""Rerankers: cross-encoders with one or several labels, and Qwen3 asked for yes or no."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BertForSequenceClassification,
    GteForSequenceClassification,
    ModernBertForSequenceClassification,
    Qwen3ForCausalLM,
    XLMRobertaForSequenceClassification,
)

from .bert import BERT, XLM_ROBERTA
from .decoders import QWEN3
from .gte import GTE_MULTILINGUAL, native_config, new_prefix
from .kind import TokenId, VocabularySize
from .layout import Layout, write_json, write_module_list
from .modernbert import MODERNBERT
from .vocabularies import vocabulary
from .weights import Native, RawConfig

_ONE_LABEL = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
_IDENTITY = "torch.nn.modules.linear.Identity"

MS_MARCO = BERT.derive(
    layout={"tokenizer": "bert-uncased", "modules": None},
    weights=Native(BertForSequenceClassification),
    architectures=["BertForSequenceClassification"],
    sentence_transformers={"activation_fn": _IDENTITY, "version": "4.1.0.dev0"},
    **_ONE_LABEL,
)

CROSS_ENCODER_OLD = BERT.derive(
    layout={"tokenizer": "bert-uncased", "modules": None},
    weights=Native(BertForSequenceClassification),
    architectures=["BertForSequenceClassification"],
    sbert_ce_default_activation_function=_IDENTITY,
    **_ONE_LABEL,
)
"""As files from before sentence-transformers 4 name the activation."""

CROSS_ENCODER_LABELS = BERT.derive(
    layout={"tokenizer": "bert-uncased", "modules": None},
    weights=Native(BertForSequenceClassification),
    architectures=["BertForSequenceClassification"],
    id2label={"0": "contradiction", "1": "entailment", "2": "neutral"},
    label2id={"contradiction": 0, "entailment": 1, "neutral": 2},
)

BGE_RERANKER = XLM_ROBERTA.derive(
    layout={"modules": None},
    weights=Native(XLMRobertaForSequenceClassification),
    architectures=["XLMRobertaForSequenceClassification"],
    max_position_embeddings=130,
    **_ONE_LABEL,
)

GTE_RERANKER = GTE_MULTILINGUAL.derive(
    layout={"modules": None},
    weights=Native(GteForSequenceClassification, native_config, rename=new_prefix),
    architectures=["NewForSequenceClassification"],
)

MODERNBERT_RERANKER = MODERNBERT.derive(
    layout={"modules": None},
    weights=Native(ModernBertForSequenceClassification),
    architectures=["ModernBertForSequenceClassification"],
    **_ONE_LABEL,
)

QWEN3_RERANKER = QWEN3.derive(
    layout={"tokenizer": "qwen2", "modules": None},
    weights=Native(Qwen3ForCausalLM),
    eos_token_id=TokenId("<|im_end|>"),
    vocab_size=VocabularySize(),
)
"""0.6B and 4B: `model.*`, the head tied to the table and therefore absent."""

QWEN3_RERANKER_UNTIED = QWEN3_RERANKER.derive(tie_word_embeddings=False)
"""8B: with its own `lm_head.weight`."""


def _logit_score(
    folder: Path, config: RawConfig, layout: Layout, sigma: float | None, generator: torch.Generator
) -> None:
    words = vocabulary(layout.tokenizer)
    write_module_list(folder, [("Transformer", ""), ("LogitScore", "1_LogitScore")], "new")
    write_json(
        folder / "1_LogitScore" / "config.json",
        {
            "true_token_id": words.id_of("yes"),
            "false_token_id": words.id_of("no"),
            "module_input_name": "causal_logits",
        },
    )
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "text-generation",
            "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
            "module_output_name": "causal_logits",
        },
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": "6.2.0", "transformers": "5.23.0", "pytorch": "2.13.0"},
            "activation_fn": "torch.nn.modules.linear.Identity",
            "default_prompt_name": None,
            "model_type": "CrossEncoder",
            "prompts": {},
        },
    )


QWEN3_RERANKER_MODULES = QWEN3_RERANKER.derive(extras=_logit_score)

KINDS = {
    "ms_marco": MS_MARCO,
    "cross_encoder_old": CROSS_ENCODER_OLD,
    "cross_encoder_labels": CROSS_ENCODER_LABELS,
    "bge_reranker": BGE_RERANKER,
    "gte_reranker": GTE_RERANKER,
    "modernbert_reranker": MODERNBERT_RERANKER,
    "qwen3_reranker": QWEN3_RERANKER,
    "qwen3_reranker_untied": QWEN3_RERANKER_UNTIED,
    "qwen3_reranker_modules": QWEN3_RERANKER_MODULES,
}
