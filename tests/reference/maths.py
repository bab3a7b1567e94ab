"""The pieces that every reference needs, in float64.

x: (n, H), the states of one sequence. A tensor is looked up by its published name without `.weight` / `.bias`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.floating]
Tensors = dict[str, Array]
Config = Mapping[str, Any]
"""config.json as it stands."""


def linear(x: Array, tensors: Tensors, name: str) -> Array:
    """x·Wᵀ, and + b where the file has one."""
    y = x @ tensors[f"{name}.weight"].T.astype(np.float64)
    return y + tensors[f"{name}.bias"] if f"{name}.bias" in tensors else y


def layer_norm(x: Array, tensors: Tensors, name: str, eps: float) -> Array:
    """(x − mean)/√(var + eps)·w + b with the biased variance."""
    y = standardize(x, eps) * tensors[f"{name}.weight"]
    return y + tensors[f"{name}.bias"] if f"{name}.bias" in tensors else y


def standardize(x: Array, eps: float) -> Array:
    """LayerNorm without parameters."""
    mean = x.mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + eps)


def softmax(scores: Array) -> Array:
    """Over the last axis."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gelu(x: Array) -> Array:
    """0.5·x·(1 + erf(x/√2)): what `gelu` means in a config."""
    return 0.5 * x * (1 + erf(x / np.sqrt(2.0)))


def gelu_tanh(x: Array) -> Array:
    """The tanh approximation, `gelu_new` and `gelu_pytorch_tanh`."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def silu(x: Array) -> Array:
    """x·sigmoid(x)."""
    return x * sigmoid(x)


def sigmoid(x: Array) -> Array:
    """1/(1 + e^−x)."""
    return 1 / (1 + np.exp(-x))


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


def l2(x: Array, least: float = 1e-12) -> Array:
    """x / max(‖x‖₂, 1e-12) over the last axis."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), least)


def attention(q: Array, k: Array, v: Array, n_heads: int, *, bias: Array | None = None) -> Array:
    """softmax(q·kᵀ/√d + bias)·v for each head; q, k, v: (n, H). bias: (n_heads, n, n), added after the scaling."""
    d = q.shape[1] // n_heads
    heads = []
    for h in range(n_heads):
        part = slice(h * d, (h + 1) * d)
        scores = q[:, part] @ k[:, part].T / np.sqrt(d)
        if bias is not None:
            scores = scores + bias[h]
        heads.append(softmax(scores) @ v[:, part])
    return np.concatenate(heads, axis=1)
