"""Vectors as bytes: base64 for JSON, raw for whoever asks for it, in the number types of the dialects."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

WireDtype = Literal["float32", "float16", "bfloat16", "fp8_e4m3", "fp8_e5m2"]
Endianness = Literal["native", "big", "little"]


def in_base64(row: NDArray[np.generic]) -> str:
    """Little-endian values, as every client decodes them."""
    return b64encode(little_endian(row)).decode("ascii")


def little_endian(values: NDArray[np.generic]) -> bytes:
    """The values in C order."""
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()


def packed(values: NDArray[np.generic], dtype: WireDtype, endianness: Endianness) -> bytes:
    """float32 values as bytes of that type, in C order. native: of this machine."""
    rounded = _rounded(np.asarray(values, np.float32), dtype)
    order = rounded.dtype if endianness == "native" else rounded.dtype.newbyteorder(endianness)
    return np.ascontiguousarray(rounded, order).tobytes()


def _rounded(values: NDArray[np.float32], dtype: WireDtype) -> NDArray[Any]:
    if dtype == "float32":
        return values
    if dtype == "float16":
        return values.astype(np.float16)
    if dtype == "bfloat16":  # to nearest, ties to even: half of the last kept bit is added, less one where it is 0
        bits = values.view(np.uint32).astype(np.uint64)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    table = _eight_bits(*((4, 3, 448.0) if dtype == "fp8_e4m3" else (5, 2, 57344.0)))
    size = np.minimum(np.abs(values), table[-1])
    above = np.searchsorted(table, size).clip(1)
    down, up = size - table[above - 1], table[above] - size
    code = np.where((down < up) | ((down == up) & (above % 2 == 1)), above - 1, above)
    return (code | np.where(np.signbit(values), 0x80, 0)).astype(np.uint8)


@cache
def _eight_bits(n_exponent: int, n_mantissa: int, largest: float) -> NDArray[np.float64]:
    """The values of codes 0, 1, … up to the largest finite one. Source: Micikevicius et al. 2022, table 1."""
    codes = np.arange(128)
    exponent, mantissa = codes >> n_mantissa, codes & ((1 << n_mantissa) - 1)
    bias = (1 << (n_exponent - 1)) - 1
    fraction = mantissa / (1 << n_mantissa)
    values = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - bias))
    return values[values <= largest]
