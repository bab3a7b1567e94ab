"""jina-embeddings-v2-base-code (normalised queries and keys). Specification: nomic-gte-jina section 5."""

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
        q = layer_norm(q, tensors, f"{at}.attention.self.layer_norm_q", eps)  # over H, before the split into heads
        k = layer_norm(k, tensors, f"{at}.attention.self.layer_norm_k", eps)
        a = attention(q, k, v, n_heads, bias=bias)
        s = layer_norm(
            linear(a, tensors, f"{at}.attention.output.dense") + x, tensors, f"{at}.attention.output.LayerNorm", eps
        )
        x1 = layer_norm(x + s, tensors, f"{at}.layer_norm_1", eps)
        both = linear(x1, tensors, f"{at}.mlp.up_gated_layer")
        f = both.shape[1] // 2
        up, gate = both[:, :f], both[:, f:]
        x = layer_norm(
            x1 + linear(up * gelu(gate), tensors, f"{at}.mlp.down_layer"), tensors, f"{at}.layer_norm_2", eps
        )
    return x
