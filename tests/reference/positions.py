"""How models know where a token stands: rotary tables, ALiBi slopes, relative buckets.

Specifications: README section 2 (rope_half), bert-family section 4 (buckets), nomic-gte-jina sections 1 (length
extension), 3 (NTK) and 4 (slopes).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .maths import Array


def inverse_frequencies(theta: float, d: int) -> NDArray[np.float32]:
    """theta^(−2j/d), j = 0 … d/2 − 1; in float32, since that is what the tables of the references are made in."""
    return (1 / np.float32(theta) ** (np.arange(0, d, 2, dtype=np.float32) / np.float32(d))).astype(np.float32)


def ntk_inverse_frequencies(theta: float, factor: float, d: int) -> NDArray[np.float32]:
    """GTE's `{"type": "ntk"}`: (theta·s)^(−2j/d) / s^(2/d), at every length."""
    return (inverse_frequencies(theta * factor, d) / np.float32(factor ** (2 / d))).astype(np.float32)


def extended_theta(theta: float, factor: float, length: int, trained_length: int, d: int) -> float:
    """NomicBert's base for a sequence of `length` tokens: theta up to the trained length, then
    theta·(s·L/trained − (s − 1))^(d/(d − 2))."""
    if length <= trained_length:
        return theta
    return theta * float((factor * length / trained_length - (factor - 1)) ** (d / (d - 2)))


def rope_half(x: Array, n_heads: int, inv_freq: NDArray[np.float32]) -> Array:
    """Rotate (n, n_heads·d) by position: with halves (x1, x2), (x1·cos − x2·sin, x2·cos + x1·sin)."""
    n, width = x.shape
    d = width // n_heads
    angles = (np.arange(n, dtype=np.float32)[:, None] * inv_freq[None, :]).astype(np.float64)  # (n, d/2)
    cos, sin = np.cos(angles), np.sin(angles)
    turned = np.empty_like(x, dtype=np.float64)
    for h in range(n_heads):
        x1, x2 = x[:, h * d : h * d + d // 2], x[:, h * d + d // 2 : (h + 1) * d]
        turned[:, h * d : h * d + d // 2] = x1 * cos - x2 * sin
        turned[:, h * d + d // 2 : (h + 1) * d] = x2 * cos + x1 * sin
    return turned


def alibi_slopes(n_heads: int) -> NDArray[np.float64]:
    """One slope a head: r^(h+1), r = 2^(−8/A) for A a power of two.

    Otherwise those of the largest power of two p ≤ A, then the first A − p at even places of those for 2p.
    """

    def power_of_two(n: int) -> list[float]:
        return [2 ** (-8 / n * (h + 1)) for h in range(n)]

    p = 2 ** math.floor(math.log2(n_heads))
    return np.array(power_of_two(p) + power_of_two(2 * p)[0::2][: n_heads - p])


def alibi_bias(n_heads: int, n: int) -> NDArray[np.float64]:
    """(n_heads, n, n): −m_h·|i − j|."""
    distance = np.abs(np.arange(n)[:, None] - np.arange(n)[None, :])
    return -alibi_slopes(n_heads)[:, None, None] * distance[None]


def relative_bucket(key_minus_query: int) -> int:
    """MPNet's and T5's bucket (both directions, 32 buckets, 128 the longest distance), logarithm in float32."""
    base = 16 if key_minus_query > 0 else 0
    n = abs(key_minus_query)
    if n < 8:
        return base + n
    far = np.log(np.float32(n) / np.float32(8)) / np.float32(math.log(128 / 8)) * np.float32(8)
    return base + min(15, 8 + int(far))
