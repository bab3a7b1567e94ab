"""Alibaba GTE "new": en-v1.5 (no token types, or NTK), multilingual (NTK, sparse head)."""

from __future__ import annotations

from transformers import GteConfig, GteForTokenClassification, GteModel

from .kind import Kind, VocabularySize
from .layout import Layout
from .weights import Native, RawConfig

_NEW_IMPL = "Alibaba-NLP/new-impl--"


def native_config(config: RawConfig, n_labels: int = 1) -> GteConfig:
    """transformers' config: NTK becomes a linear scaling by s^(2/d) of frequencies with base theta·s."""
    theta, scaling = config["rope_theta"], config["rope_scaling"]
    rope = {"rope_type": "default", "rope_theta": float(theta)}
    if scaling is not None:
        head_dim = config["hidden_size"] // config["num_attention_heads"]
        s = scaling["factor"]
        rope = {"rope_type": "linear", "rope_theta": theta * s, "factor": s ** (2 / head_dim)}
    return GteConfig(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        num_hidden_layers=config["num_hidden_layers"],
        num_attention_heads=config["num_attention_heads"],
        intermediate_size=config["intermediate_size"],
        hidden_act=config["hidden_act"],
        max_position_embeddings=config["max_position_embeddings"],
        type_vocab_size=config["type_vocab_size"],
        layer_norm_eps=config["layer_norm_eps"],
        pad_token_id=config["pad_token_id"],
        num_labels=n_labels,
        rope_parameters=rope,
    )


def new_prefix(name: str) -> str:
    """The name as the original task classes save it: body and pooler under `new.`."""
    name = name.removeprefix("gte.")
    return name if name.startswith(("classifier.", "new.")) else f"new.{name}"


GTE_EN = Kind(
    config={
        "architectures": ["NewModel"],
        "attention_probs_dropout_prob": 0.0,
        "auto_map": {
            "AutoConfig": f"{_NEW_IMPL}configuration.NewConfig",
            "AutoModel": f"{_NEW_IMPL}modeling.NewModel",
            "AutoModelForMaskedLM": f"{_NEW_IMPL}modeling.NewForMaskedLM",
            "AutoModelForSequenceClassification": f"{_NEW_IMPL}modeling.NewForSequenceClassification",
            "AutoModelForTokenClassification": f"{_NEW_IMPL}modeling.NewForTokenClassification",
        },
        "classifier_dropout": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 36,
        "initializer_range": 0.02,
        "intermediate_size": 52,
        "layer_norm_eps": 1e-12,
        "layer_norm_type": "layer_norm",
        "logn_attention_clip1": False,
        "logn_attention_scale": False,
        "max_position_embeddings": 256,
        "model_type": "new",
        "num_attention_heads": 3,
        "num_hidden_layers": 3,
        "pack_qkv": True,
        "pad_token_id": 0,
        "position_embedding_type": "rope",
        "rope_scaling": None,
        "rope_theta": 500000,
        "torch_dtype": "float32",
        "transformers_version": "4.41.2",
        "type_vocab_size": 0,
        "unpad_inputs": False,
        "use_memory_efficient_attention": False,
        "vocab_size": VocabularySize(multiple_of=64),
    },
    layout=Layout(tokenizer="bert-uncased", model_max_length=8192, max_seq_length=256, pooling="cls", normalize=False),
    weights=Native(GteModel, native_config),
)

GTE_LARGE_EN = GTE_EN.derive(rope_theta=160000, rope_scaling={"factor": 2.0, "type": "ntk"}, type_vocab_size=2)

GTE_MULTILINGUAL = GTE_EN.derive(
    layout={"tokenizer": "xlm-roberta", "normalize": True, "dtype": "float16"},
    weights=Native(GteForTokenClassification, native_config, rename=new_prefix),
    architectures=["NewModel", "NewForTokenClassification"],
    classifier_dropout=0.0,
    id2label={"0": "LABEL_0"},
    label2id={"LABEL_0": 0},
    pad_token_id=1,
    rope_theta=20000,
    rope_scaling={"factor": 8.0, "type": "ntk"},
    torch_dtype="float16",
    type_vocab_size=1,
)
"""With the sparse head: `classifier.{weight,bias}` beside `new.…`."""

ARCTIC_M = GTE_MULTILINGUAL.derive(
    layout={"prompts": {"query": "query: "}, "dtype": "float32"},
    weights=Native(GteModel, native_config),
    architectures=["GteModel"],
    torch_dtype="float32",
)

KINDS = {"gte": GTE_EN, "gte_large": GTE_LARGE_EN, "gte_multilingual": GTE_MULTILINGUAL, "arctic_m": ARCTIC_M}
