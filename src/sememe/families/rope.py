"""Rotary positions as configs spell them, and their frequencies as the references round them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.errors import UnsupportedCheckpoint


def inverse_frequencies(theta: float, width: int) -> NDArray[np.float32]:
    """theta^(−2j/width) for j = 0 … width/2 − 1: (width / 2,).

    Base and exponent are rounded to float32, the power is exact before it is: with that the values are torch's to the
    last bit. One bit matters: it turns position 8,192 by 5e-4.
    """
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    return np.float32(1) / (np.float64(np.float32(theta)) ** exponents.astype(np.float64)).astype(np.float32)


def read_theta(rope: Mapping[str, Any], key: str) -> float:
    """The base of an unscaled rotation, from an entry of the `rope_parameters` kind that stands at `key`.

    Raises UnsupportedCheckpoint for a scaling, KeyError where there is no base.
    """
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise UnsupportedCheckpoint("config.json", f"{key}.rope_type", got=kind, expected="'default'")
    if unknown := sorted(set(rope) - {"rope_type", "type", "rope_theta"}):
        raise UnsupportedCheckpoint(
            "config.json", key, got=", ".join(unknown), expected="rope_type and rope_theta alone"
        )
    return float(rope["rope_theta"])
