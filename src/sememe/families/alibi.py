"""Slopes of attention with linear biases, for the families that have them."""

from __future__ import annotations


def alibi_slopes(n_heads: int) -> tuple[float, ...]:
    """One slope a head: 2^(−8/n), 2^(−16/n), … for n heads, a power of two.

    Otherwise those of the next smaller power of two, and between them as many of the next larger one's as are lacking.
    Source: Press et al. 2022, section 3 and its code (`get_slopes`).
    """

    def regular(n: int) -> list[float]:
        return [2.0 ** (-8 * (i + 1) / n) for i in range(n)]

    n_regular = 1 << (n_heads.bit_length() - 1)
    return tuple(regular(n_regular) + regular(2 * n_regular)[::2][: n_heads - n_regular])
