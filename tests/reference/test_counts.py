"""Parameter counts that the specifications reproduced by arithmetic, from the shapes that the specimens have.

A count that agrees confirms every dimension, and every tensor, that enters it. Nothing is allocated.
"""

from __future__ import annotations

from typing import Any

import pytest

from specimens import kind


def _bert(v: int, h: int, n: int, a: int, f: int, p: int = 512) -> dict[str, int]:
    return {
        "vocab_size": v,
        "hidden_size": h,
        "num_hidden_layers": n,
        "num_attention_heads": a,
        "intermediate_size": f,
        "max_position_embeddings": p,
    }


def _decoder(v: int, h: int, n: int, a: int, k: int, f: int, head_dim: int | None = None) -> dict[str, int]:
    sizes = {**_bert(v, h, n, a, f, 32768), "num_key_value_heads": k}
    return sizes if head_dim is None else {**sizes, "head_dim": head_dim}


def _nomic(v: int, h: int, n: int, a: int, f: int) -> dict[str, int]:
    return {"vocab_size": v, "n_embd": h, "n_layer": n, "n_head": a, "n_inner": f}


XLM_R_LARGE = _bert(250002, 1024, 24, 16, 4096, 8194)
GEMMA = {
    **_decoder(262144, 768, 24, 3, 1, 1152, 256),
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 4,
}

DISTILBERT = {
    "vocab_size": 30522,
    "dim": 768,
    "n_layers": 6,
    "n_heads": 12,
    "hidden_dim": 3072,
    "max_position_embeddings": 512,
}

COUNTS: list[tuple[str, dict[str, Any], int]] = [
    ("bert", _bert(30522, 384, 6, 12, 1536), 22_713_216),  # all-MiniLM-L6-v2
    ("bert", _bert(30522, 384, 12, 12, 1536), 33_360_000),  # all-MiniLM-L12-v2, bge-small, e5-small-v2
    ("multilingual_e5_small", _bert(250037, 384, 12, 12, 1536), 117_653_760),
    ("bge_en", _bert(30522, 768, 12, 12, 3072), 109_482_240),  # base
    ("bge_en", _bert(30522, 1024, 24, 16, 4096), 335_141_888),  # large
    ("bert", _bert(28996, 768, 12, 12, 3072), 108_310_272),  # biobert-v1.1
    ("lealla", _bert(501153, 128, 24, 8, 512), 68_988_672),
    ("lealla", _bert(501153, 192, 24, 12, 768), 107_034_240),
    ("lealla", _bert(501153, 256, 24, 8, 1024), 147_447_296),
    ("labse", _bert(501153, 768, 12, 12, 3072), 470_926_848),
    ("distilbert", DISTILBERT, 66_362_880),
    ("xlm-roberta", _bert(250002, 768, 12, 12, 3072, 514), 278_043_648),  # multilingual-e5-base
    ("xlm-roberta", _bert(250002, 1024, 24, 16, 4096, 514), 559_890_432),  # multilingual-e5-large
    ("bge_m3", XLM_R_LARGE, 567_754_752),
    ("mpnet", _bert(30527, 768, 12, 12, 3072, 514), 109_486_464),
    ("modernbert", _bert(50368, 768, 22, 12, 1152, 8192), 149_014_272),
    (
        "gtr",
        {"vocab_size": 32128, "d_model": 1024, "num_layers": 24, "num_heads": 32, "d_kv": 128, "d_ff": 16384},
        1_241_696_256 - 768 * 1024,  # without the Dense module
    ),
    ("nomic_v1_5", _nomic(30528, 768, 12, 12, 3072), 136_731_648),
    ("nomic_moe", {**_nomic(250048, 768, 12, 12, 3072), "num_experts": 8}, 475_292_928),
    ("gte", _bert(30528, 768, 12, 12, 3072, 8192), 136_776_192),
    ("gte_large", _bert(30528, 1024, 24, 16, 4096, 8192), 434_139_136),
    ("gte_multilingual", _bert(250048, 768, 12, 12, 3072, 8192), 305_368_320 + 769),  # with the sparse head
    ("jina_v2", _bert(30528, 768, 12, 12, 3072, 8192), 137_368_320),
    ("jina_v2", _bert(30528, 512, 4, 8, 2048, 8192), 32_690_688),
    ("jina_code", _bert(61056, 768, 12, 12, 3072, 8192), 160_869_120),
    ("jina_v3", XLM_R_LARGE, 572_310_396),
    ("qwen3", _decoder(151669, 1024, 28, 16, 8, 3072, 128), 595_776_512),
    ("qwen3", _decoder(151665, 2560, 36, 32, 8, 9728, 128), 4_021_774_336),
    ("qwen3", _decoder(151665, 4096, 36, 32, 8, 12288, 128), 7_567_295_488),
    ("gte_qwen2", _decoder(151646, 1536, 28, 12, 2, 8960), 1_543_268_864),
    ("gte_qwen2", _decoder(151646, 3584, 28, 28, 4, 18944), 7_069_121_024),
    ("mistral", _decoder(32000, 4096, 32, 32, 8, 14336), 7_110_660_096),
    ("bge_en_icl", _decoder(32003, 4096, 32, 32, 8, 14336), 7_110_660_096 + 3 * 4096),
    ("embedding_gemma", GEMMA, 307_581_696 - 2 * 768 * 3072),  # without the two Dense modules
    ("ms_marco", _bert(30522, 384, 6, 12, 1536), 22_713_601),
    ("ms_marco", _bert(30522, 384, 12, 12, 1536), 33_360_385),
    ("bge_reranker", XLM_R_LARGE, 567_755_777),
    ("qwen3_reranker", _decoder(151669, 1024, 28, 16, 8, 3072, 128), 595_776_512),
    ("qwen3_reranker", _decoder(151669, 2560, 36, 32, 8, 9728, 128), 4_021_784_576),
    ("qwen3_reranker_untied", _decoder(151669, 4096, 36, 32, 8, 12288, 128), 8_188_548_096),
]

MILLIONS: list[tuple[str, dict[str, Any], float]] = [
    ("splade", _bert(30522, 768, 12, 12, 3072), 109.514),
    ("splade_doc", DISTILBERT, 66.985),
    ("colbert", _bert(30522, 768, 12, 12, 3072), 109.581),
    ("bge_reranker", _bert(250002, 1024, 24, 16, 4096, 514), 559.892),  # bge-reranker-large
    ("gte_reranker", _bert(250048, 768, 12, 12, 3072, 8192), 305.960),
    ("modernbert_reranker", _bert(50368, 768, 22, 12, 1152, 8192), 149.606),
    ("bge_gemma2", _decoder(256000, 3584, 42, 16, 8, 14336, 256), 9241.706),
]
"""Counts that the catalogue gives in millions."""


@pytest.mark.parametrize(("name", "sizes", "expected"), COUNTS, ids=[f"{name}-{n}" for name, _, n in COUNTS])
def test_parameter_count(name: str, sizes: dict[str, Any], expected: int) -> None:
    assert set(sizes) <= set(kind(name).config)
    assert kind(name).weights.count(kind(name).raw_config(sizes)) == expected


@pytest.mark.parametrize(("name", "sizes", "millions"), MILLIONS, ids=[name for name, _, _ in MILLIONS])
def test_parameter_count_in_millions(name: str, sizes: dict[str, Any], millions: float) -> None:
    assert set(sizes) <= set(kind(name).config)
    assert kind(name).weights.count(kind(name).raw_config(sizes)) / 1e6 == pytest.approx(millions, abs=1e-3)


def test_parameter_count_of_nv_embed() -> None:
    config = kind("nvembed").config
    text = {**config["text_config"], **_decoder(32000, 4096, 32, 32, 8, 14336)}
    latent = {
        **config["latent_attention_config"],
        "num_latents_value": 512,
        "num_cross_heads": 8,
        "hidden_dim": 4096,
        "latent_dim": 4096,
        "cross_dim_head": 4096,
    }
    sizes = {"text_config": text, "latent_attention_config": latent}
    assert kind("nvembed").weights.count({**config, **sizes}) == 7_851_016_192
