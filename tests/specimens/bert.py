"""BERT, RoBERTa, XLM-R, DistilBERT, MPNet: kinds whose native class reads the published config as it is."""

from __future__ import annotations

from transformers import BertModel, DistilBertModel, MPNetModel, RobertaModel, XLMRobertaModel

from .kind import Kind, VocabularySize
from .layout import Layout
from .weights import Native

BERT = Kind(
    config={
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 36,
        "initializer_range": 0.02,
        "intermediate_size": 60,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 64,
        "model_type": "bert",
        "num_attention_heads": 3,
        "num_hidden_layers": 3,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "transformers_version": "4.8.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": VocabularySize(),
    },
    layout=Layout(tokenizer="bert-left-over-truncation", model_max_length=64, max_seq_length=32),
    weights=Native(BertModel),
)

ROBERTA = BERT.derive(
    layout={"tokenizer": "roberta", "max_seq_length": 64},
    weights=Native(RobertaModel),
    architectures=["RobertaModel"],
    model_type="roberta",
    layer_norm_eps=1e-5,
    max_position_embeddings=66,  # 514 in small: two rows more than usable positions
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
    type_vocab_size=1,
)

XLM_ROBERTA = ROBERTA.derive(
    layout={"tokenizer": "xlm-roberta"},
    weights=Native(XLMRobertaModel),
    architectures=["XLMRobertaModel"],
    model_type="xlm-roberta",
    output_past=True,
)

DISTILBERT = Kind(
    config={
        "activation": "gelu",
        "architectures": ["DistilBertModel"],
        "attention_dropout": 0.1,
        "dim": 36,
        "dropout": 0.1,
        "hidden_dim": 60,
        "initializer_range": 0.02,
        "max_position_embeddings": 64,
        "model_type": "distilbert",
        "n_heads": 3,
        "n_layers": 3,
        "pad_token_id": 0,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
        "transformers_version": "4.6.1",
        "vocab_size": VocabularySize(),
    },
    layout=Layout(tokenizer="bert-uncased", model_max_length=64, max_seq_length=64, pooling="cls", normalize=False),
    weights=Native(DistilBertModel),
    width_key="dim",
)

MPNET = Kind(
    config={
        "architectures": ["MPNetForMaskedLM"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 36,
        "initializer_range": 0.02,
        "intermediate_size": 60,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 258,  # long enough for every bucket of the relative bias (128 is the last edge)
        "model_type": "mpnet",
        "num_attention_heads": 3,
        "num_hidden_layers": 3,
        "pad_token_id": 1,
        "relative_attention_num_buckets": 32,
        "transformers_version": "4.8.2",
        "vocab_size": VocabularySize(),
    },
    layout=Layout(tokenizer="mpnet", model_max_length=256, max_seq_length=200),
    weights=Native(MPNetModel),
)

KINDS = {"bert": BERT, "roberta": ROBERTA, "xlm-roberta": XLM_ROBERTA, "distilbert": DISTILBERT, "mpnet": MPNET}
