"""Dense vectors as the bytes that are stored, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.options import Metric, StoredDtype
from sememe.errors import InputError

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_LEAST_LENGTH = 1e-12


class VectorCodec:
    """(n, D) float32 to (n, width) bytes and back, for one dtype.

    float32, float16: the values. int8: a float32 scale, then D values of −127 … 127 steps of it. binary: one bit a value,
    set where it is above 0; read back as ±1/√D, so that a vector has length 1.
    """

    def __init__(self, dtype: StoredDtype, dimension: int, similarity: Metric) -> None:
        self.dtype, self.dimension, self.similarity = dtype, dimension, similarity
        self.width = {
            "float32": 4 * dimension, "float16": 2 * dimension, "int8": 4 + dimension, "binary": (dimension + 7) // 8,
        }[dtype]  # fmt: skip

    def prepared(self, vectors: NDArray[np.generic], where: str) -> Floats:
        """Vectors ready to be encoded or compared: float32, of length 1 for cosine.

        Raises InputError for another width, NaN or infinite values, and for cosine vectors without a direction.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise InputError(
                f"{where}: vectors have the shape {vectors.shape}; this collection keeps {self.dimension} values a vector."
            )
        ready = np.ascontiguousarray(vectors, np.float32)
        # In float64 no sum of squares of float32 overflows: a length is finite when all values are.
        lengths = np.sqrt(np.einsum("nd,nd->n", ready, ready, dtype=np.float64))
        if not (finite := np.isfinite(lengths)).all():
            raise InputError(f"{where}: vector {int(np.argmin(finite))} has NaN or infinite values.")
        if self.dtype == "float16" and ready.size and np.abs(ready).max() > np.finfo(np.float16).max:
            raise InputError(f"{where}: a value is beyond float16's largest, 65,504. Keep float32.")
        if self.similarity != "cosine":
            return ready
        if (lengths < _LEAST_LENGTH).any():
            raise InputError(f"{where}: vector {int(np.argmin(lengths))} is zero, which has no direction for a cosine.")
        return (ready / lengths[:, None]).astype(np.float32)

    def encode(self, vectors: Floats) -> Bytes:
        """(n, D) prepared vectors to (n, width)."""
        n = len(vectors)
        match self.dtype:
            case "float32":
                return vectors.view(np.uint8).reshape(n, self.width)
            case "float16":
                return vectors.astype(np.float16).view(np.uint8).reshape(n, self.width)
            case "int8":
                scales = (np.abs(vectors).max(axis=1, initial=0) / 127).astype(np.float32)
                steps = np.rint(vectors / np.where(scales == 0, 1, scales)[:, None]).astype(np.int8)
                return np.concatenate([scales[:, None].view(np.uint8), steps.view(np.uint8)], axis=1)
            case "binary":
                return np.packbits(vectors > 0, axis=1)

    def decode(self, stored: Bytes) -> Floats:
        """(n, width) to (n, D) float32."""
        match self.dtype:
            case "float32":
                return stored.view(np.float32)
            case "float16":
                return stored.view(np.float16).astype(np.float32)
            case "int8":
                scales = np.ascontiguousarray(stored[:, :4]).view(np.float32)
                return stored[:, 4:].view(np.int8).astype(np.float32) * scales
            case "binary":
                bits = np.unpackbits(stored, axis=1, count=self.dimension).astype(np.float32)
                return (2 * bits - 1) / np.float32(np.sqrt(self.dimension))

    def scores(self, query: Floats, vectors: Floats) -> Floats:
        """(D,) and (n, D) to (n,): cosine or dot product, or minus the euclidean distance."""
        if self.similarity == "euclidean":
            return -np.sqrt(np.square(vectors - query).sum(axis=1))
        return vectors @ query

    def scores_one_by_one(self, query: Floats, vectors: Floats) -> Floats:
        """The same, and to the last bit whatever other vectors stand beside: what hits are ranked and shown with."""
        if self.similarity == "euclidean":
            return -np.sqrt(np.square(vectors - query).sum(axis=1))
        return (vectors * query).sum(axis=1)


def codec_of(about: About) -> VectorCodec | None:
    """The codec of a collection's dense vectors; None where it keeps none."""
    if "dense" not in about.options.outputs:
        return None
    return VectorCodec(about.options.dtype, about.dimension, about.options.similarity)


def needed(codec: VectorCodec | None) -> VectorCodec:
    """The codec that `codec_of` gave. Raises InputError where it gave none."""
    if codec is None:
        raise InputError("The collection keeps no dense vectors.")
    return codec
