"""ModernBERT: local and global layers, in the spelling of the published files (`global_rope_theta`, …)."""

from __future__ import annotations

from transformers import ModernBertModel

from .kind import Kind, TokenId, VocabularySize
from .layout import Layout
from .weights import Native

MODERNBERT = Kind(
    config={
        "architectures": ["ModernBertModel"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": TokenId("[CLS]"),
        "classifier_activation": "gelu",
        "classifier_bias": False,
        "classifier_dropout": 0.0,
        "classifier_pooling": "mean",
        "cls_token_id": TokenId("[CLS]"),
        "decoder_bias": True,
        "deterministic_flash_attn": False,
        "embedding_dropout": 0.0,
        "eos_token_id": TokenId("[SEP]"),
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "gradient_checkpointing": False,
        "hidden_activation": "gelu",
        "hidden_size": 36,
        "initializer_cutoff_factor": 2.0,
        "initializer_range": 0.02,
        "intermediate_size": 52,
        "layer_norm_eps": 1e-5,
        "local_attention": 8,  # 128 in small: a token sees four on either side
        "local_rope_theta": 10000.0,
        "max_position_embeddings": 512,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "model_type": "modernbert",
        "norm_bias": False,
        "norm_eps": 1e-5,
        "num_attention_heads": 3,
        "num_hidden_layers": 5,
        "pad_token_id": TokenId("[PAD]"),
        "position_embedding_type": "absolute",
        "reference_compile": False,
        "repad_logits_with_grad": False,
        "sep_token_id": TokenId("[SEP]"),
        "sparse_pred_ignore_index": -100,
        "sparse_prediction": False,
        "tie_word_embeddings": True,
        "transformers_version": "4.48.0",
        "vocab_size": VocabularySize(),
    },
    layout=Layout(
        tokenizer="modernbert",
        model_max_length=512,
        max_seq_length=512,
        pooling="cls",
        normalize=False,
        similarity="cosine",
    ),
    weights=Native(ModernBertModel),
)

KINDS = {"modernbert": MODERNBERT}
