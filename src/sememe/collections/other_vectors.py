"""What chunks are found by besides dense vectors, and the forms that stores keep it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.records import MultiVectorEmbeddings, SparseEmbeddings


@dataclass(frozen=True)
class OtherVectors:
    """Of some chunks, a row each; None for a kind that the collection does not keep."""

    sparse: SparseEmbeddings | None
    multi_vector: MultiVectorEmbeddings | None


def sparse_of(rows: Sequence[Mapping[int, float]]) -> SparseEmbeddings:
    """Weights by token id as rows; as wide as the largest id needs."""
    ordered = [sorted(row.items()) for row in rows]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in ordered])]).astype(np.int64)
    indices = np.array([term for row in ordered for term, _ in row], np.int32)
    values = np.array([weight for row in ordered for _, weight in row], np.float32)
    return SparseEmbeddings(indptr, indices, values, int(indices.max(initial=-1)) + 1)


def pack_list(vectors: NDArray[np.float32]) -> bytes:
    """A list of vectors (n, D) as stores keep it: float16, one after the other."""
    return vectors.astype("<f2").tobytes()


def unpack_list(packed: bytes, dimension: int) -> NDArray[np.float32]:
    """(n, D) of what `pack_list` made."""
    return np.frombuffer(packed, "<f2").astype(np.float32).reshape(-1, dimension)


def unpack_lists(packed: Sequence[bytes], dimension: int) -> MultiVectorEmbeddings:
    """Many of them."""
    counts = [len(one) // (2 * dimension) for one in packed]
    return MultiVectorEmbeddings(
        unpack_list(b"".join(packed), dimension), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    )
