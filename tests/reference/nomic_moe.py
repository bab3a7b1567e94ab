"""nomic-embed-text-v2-moe: NomicBert with GELU, biases, and experts in the odd layers.

Specification: nomic-gte-jina section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .maths import Array, Config, Tensors, attention, gelu, layer_norm, linear, softmax
from .positions import inverse_frequencies, rope_half


def forward(tensors: Tensors, config: Config, ids: Sequence[int]) -> Array:
    """Final hidden states (n, H)."""
    eps, n_heads = config["layer_norm_epsilon"], config["n_head"]
    top_k, every = config["moe_top_k"], config["moe_every_n_layers"]
    x = tensors["embeddings.word_embeddings.weight"][list(ids)] + tensors["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, tensors, "emb_ln", eps)
    inv_freq = inverse_frequencies(config["rotary_emb_base"], x.shape[1] // n_heads)
    for i in range(config["n_layer"]):
        at = f"encoder.layers.{i}"
        q, k, v = np.split(linear(x, tensors, f"{at}.attn.Wqkv"), 3, axis=1)
        a = attention(rope_half(q, n_heads, inv_freq), rope_half(k, n_heads, inv_freq), v, n_heads)
        x = layer_norm(x + linear(a, tensors, f"{at}.attn.out_proj"), tensors, f"{at}.norm1", eps)
        if i % every == 1:
            y = experts(x, tensors, f"{at}.mlp", config["num_experts"], top_k)
        else:
            y = linear(gelu(linear(x, tensors, f"{at}.mlp.fc1")), tensors, f"{at}.mlp.fc2")
        x = layer_norm(x + y, tensors, f"{at}.norm2", eps)
    return x


def experts(x: Array, tensors: Tensors, at: str, n_experts: int, top_k: int) -> Array:
    """Σ p[e]·(gelu(x·w1_eᵀ)·w2_e) over the likeliest experts of each token, not renormalised, + the shared bias."""
    p = softmax(linear(x, tensors, f"{at}.router.layer"))  # (n, n_experts)
    w1 = np.split(tensors[f"{at}.experts.mlp.w1"].astype(np.float64), n_experts)  # n_experts × (F, H)
    w2 = np.split(tensors[f"{at}.experts.mlp.w2"].astype(np.float64), n_experts)  # n_experts × (F, H), not transposed
    y = np.zeros_like(x)
    for t in range(len(x)):
        for e in np.argsort(-p[t], kind="stable")[:top_k]:
            y[t] += p[t, e] * (gelu(x[t] @ w1[e].T) @ w2[e])
    return y + tensors[f"{at}.experts.bias"]
