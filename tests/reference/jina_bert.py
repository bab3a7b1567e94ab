"""JinaBERT v2 (jina-embeddings-v2-small-en, -base-en, -de, -es, -zh). Specification: nomic-gte-jina section 4."""

from __future__ import annotations

from collections.abc import Sequence

from .maths import Array, Config, Tensors, attention, gelu, layer_norm, linear
from .positions import alibi_bias


def forward(tensors: Tensors, config: Config, ids: Sequence[int]) -> Array:
    """Final hidden states (n, H)."""
    eps, n_heads = config["layer_norm_eps"], config["num_attention_heads"]
    x = tensors["embeddings.word_embeddings.weight"][list(ids)] + tensors["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, tensors, "embeddings.LayerNorm", eps)
    bias = alibi_bias(n_heads, len(ids))
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        q, k, v = (linear(x, tensors, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
        a = attention(q, k, v, n_heads, bias=bias)
        x = layer_norm(
            x + linear(a, tensors, f"{at}.attention.output.dense"), tensors, f"{at}.attention.output.LayerNorm", eps
        )
        both = linear(x, tensors, f"{at}.mlp.gated_layers")
        f = both.shape[1] // 2
        first, second = both[:, :f], both[:, f:]
        x = layer_norm(x + linear(gelu(first) * second, tensors, f"{at}.mlp.wo"), tensors, f"{at}.mlp.layernorm", eps)
    return x
