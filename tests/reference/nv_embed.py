"""NV-Embed's head: latent attention over the states of a bidirectional Mistral, then a mean.

Specification: decoder-family section 5. The body is `MistralModel` with `is_causal=False`.
"""

from __future__ import annotations

import numpy as np

from .maths import Array, Config, Tensors, gelu, layer_norm, linear, softmax

EPS = 1e-5


def latent_attention(tensors: Tensors, config: Config, hidden: Array) -> Array:
    """States (n, H) of the body → states (n, H). config: `latent_attention_config` of config.json."""
    n_heads, d = config["num_cross_heads"], config["cross_dim_head"]
    at = "latent_attention_model.cross_attend_blocks"
    context = layer_norm(tensors["latent_attention_model.latents"], tensors, f"{at}.0.norm_context", EPS)
    q = linear(layer_norm(hidden, tensors, f"{at}.0.norm", EPS), tensors, f"{at}.0.fn.to_q")
    k, v = np.split(linear(context, tensors, f"{at}.0.fn.to_kv"), 2, axis=1)
    heads = []
    for head in range(n_heads):
        part = slice(head * d, (head + 1) * d)
        heads.append(softmax(q[:, part] @ k[:, part].T / np.sqrt(d)) @ v[:, part])  # the keys are the latents
    hidden = hidden + linear(np.concatenate(heads, axis=1), tensors, f"{at}.0.fn.to_out")
    both = linear(layer_norm(hidden, tensors, f"{at}.1.norm", EPS), tensors, f"{at}.1.fn.net.0")
    u, g = np.split(both, 2, axis=1)
    return hidden + linear(u * gelu(g), tensors, f"{at}.1.fn.net.2")


def pooled(hidden: Array, n_instruction_tokens: int) -> Array:
    """Mean (H,) without the first positions.

    n_instruction_tokens: tokens of the instruction alone, without special tokens. The sequence begins with `<s>`,
    so the instruction's last token stays in the mean: the reference's off-by-one, kept.
    """
    return hidden[n_instruction_tokens:].mean(axis=0)
