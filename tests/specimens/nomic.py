"""NomicBert: v1 and v1.5 (GPT-2 spelling of the config), and v2 with its mixture of experts."""

from __future__ import annotations

from transformers import NomicBertConfig, NomicBertModel

from .kind import Kind, VocabularySize
from .layout import Layout
from .weights import Drawn, Native, RawConfig, linear, norm


def native_config(config: RawConfig) -> NomicBertConfig:
    """transformers' config from the published keys, which its own reader drops (eps and theta would be defaults)."""
    return NomicBertConfig(
        vocab_size=config["vocab_size"],
        hidden_size=config["n_embd"],
        num_hidden_layers=config["n_layer"],
        num_attention_heads=config["n_head"],
        intermediate_size=config["n_inner"],
        max_position_embeddings=config["n_positions"],
        type_vocab_size=config["type_vocab_size"],
        layer_norm_eps=config["layer_norm_epsilon"],
        pad_token_id=config.get("pad_token_id", 0),
        rope_parameters={"rope_type": "default", "rope_theta": config["rotary_emb_base"]},
    )


NOMIC_V1 = Kind(
    config={
        "activation_function": "swiglu",
        "architectures": ["NomicBertModel"],
        "attn_pdrop": 0.0,
        "auto_map": {
            "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
            "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
            "AutoModelForMaskedLM": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertForPreTraining",
        },
        "bos_token_id": None,
        "causal": False,
        "dense_seq_output": True,
        "embd_pdrop": 0.0,
        "eos_token_id": None,
        "fused_bias_fc": True,
        "fused_dropout_add_ln": True,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-12,
        "max_trained_positions": 64,  # 2048 in small
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "model_type": "nomic_bert",
        "n_embd": 36,
        "n_head": 3,
        "n_inner": 52,
        "n_layer": 3,
        "n_positions": 256,  # 8192 in small
        "pad_vocab_size_multiple": 64,
        "parallel_block": False,
        "parallel_block_tied_norm": False,
        "prenorm": False,
        "qkv_proj_bias": False,
        "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.0,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "summary_activation": None,
        "summary_first_dropout": 0.0,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "torch_dtype": "float32",
        "transformers_version": "4.34.0",
        "type_vocab_size": 2,
        "use_cache": True,
        "use_flash_attn": True,
        "use_rms_norm": False,
        "use_xentropy": True,
        "vocab_size": VocabularySize(multiple_of=64),
    },
    layout=Layout(tokenizer="bert-uncased", model_max_length=8192, max_seq_length=256, normalize=True),
    weights=Native(NomicBertModel, native_config),
    width_key="n_embd",
)

NOMIC_V1_5 = NOMIC_V1.derive(layout={"normalize": False})

NOMIC_V1_5_BOTH_SPELLINGS = NOMIC_V1_5.derive(
    hidden_size=36,
    intermediate_size=52,
    num_attention_heads=3,
    num_hidden_layers=3,
    layer_norm_eps=1e-12,
    hidden_act="silu",
    max_position_embeddings=64,
    rope_parameters={"rope_theta": 1000.0, "rope_type": "default"},
)
"""As newer uploads of v1.5 have it: the standard keys beside the GPT-2 ones."""


def _moe_shapes(config: RawConfig) -> dict[str, tuple[int, ...]]:
    h, f, n_experts = config["n_embd"], config["n_inner"], config["num_experts"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], h),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], h),
        **norm("emb_ln", h),
    }
    for i in range(config["n_layer"]):
        at = f"encoder.layers.{i}"
        shapes |= linear(f"{at}.attn.Wqkv", 3 * h, h) | linear(f"{at}.attn.out_proj", h, h)
        shapes |= norm(f"{at}.norm1", h) | norm(f"{at}.norm2", h)
        if i % config["moe_every_n_layers"] == 1:
            shapes |= linear(f"{at}.mlp.router.layer", n_experts, h, bias=False)
            shapes |= {
                f"{at}.mlp.experts.mlp.w1": (n_experts * f, h),
                f"{at}.mlp.experts.mlp.w2": (n_experts * f, h),
                f"{at}.mlp.experts.bias": (h,),
            }
        else:
            shapes |= linear(f"{at}.mlp.fc1", f, h) | linear(f"{at}.mlp.fc2", h, f)
    return shapes


NOMIC_MOE = NOMIC_V1.derive(
    layout={
        "tokenizer": "xlm-roberta",
        "model_max_length": 512,
        "max_seq_length": 128,
        "prompts": {
            "query": "search_query: ",
            "passage": "search_document: ",
            "Classification": "classification: ",
            "MultilabelClassification": "classification: ",
            "Clustering": "clustering: ",
            "PairClassification": "classification: ",
            "STS": "classification: ",
            "Summarization": "classification: ",
        },
        "similarity": "cosine",
    },
    weights=Drawn(_moe_shapes),
    activation_function="gelu",
    add_pooling_layer=False,
    attn_implementation=None,
    expert_choice_router=False,
    ffn_div=1,
    layer_norm_epsilon=1e-5,
    mlp_fc1_bias=True,
    mlp_fc2_bias=True,
    moe_every_n_layers=2,
    moe_impl="megablocks",
    moe_normalize_expert_weights=False,
    moe_resid_pdrop=0.0,
    moe_top_k=2,
    n_layer=4,
    n_positions=128,
    num_experts=4,
    num_shared_experts=0,
    pad_token_id=1,
    qkv_proj_bias=True,
    rotary_emb_base=10000.0,
    router_aux_loss_coef=0.1,
    type_vocab_size=1,
    vocab_size=VocabularySize(multiple_of=64),
)

KINDS = {
    "nomic_v1": NOMIC_V1,
    "nomic_v1_5": NOMIC_V1_5,
    "nomic_v1_5_both_spellings": NOMIC_V1_5_BOTH_SPELLINGS,
    "nomic_moe": NOMIC_MOE,
}
