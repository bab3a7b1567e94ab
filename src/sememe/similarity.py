"""Similarity of embeddings: higher is nearer, whatever the function.

Source: sentence-transformers 6.2 `util.similarity`: distances are negated.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sememe.errors import InputError
from sememe.records import SimilarityName


def similarity(a: ArrayLike, b: ArrayLike, function: SimilarityName = "cosine") -> NDArray[np.float32]:
    """(N, D) and (M, D), or one vector for either, to (N, M) scores. Raises InputError for widths that differ."""
    left, right = _rows(a), _rows(b)
    _check_widths(left, right)
    if function == "cosine":
        return _unit(left) @ _unit(right).T
    if function == "dot":
        return left @ right.T
    if function == "euclidean":
        # Differences rather than |a|² + |b|² − 2ab, which loses near neighbours to rounding.
        return _table([-np.sqrt(np.square(right - row).sum(1)) for row in left], len(right))
    if function == "manhattan":
        return _table([-np.abs(right - row).sum(1) for row in left], len(right))
    raise InputError(f"Similarity {function!r} of dense vectors is not one of cosine, dot, euclidean, manhattan.")


def similarity_pairwise(a: ArrayLike, b: ArrayLike, function: SimilarityName = "cosine") -> NDArray[np.float32]:
    """(N, D) and (N, D) to (N,) scores of row with row. Raises InputError for shapes that differ."""
    left, right = _rows(a), _rows(b)
    _check_widths(left, right)
    if len(left) != len(right):
        raise InputError(f"Pairwise similarity needs as many rows on both sides; got {len(left)} and {len(right)}.")
    if function == "cosine":
        return np.einsum("nd,nd->n", _unit(left), _unit(right))
    if function == "dot":
        return np.einsum("nd,nd->n", left, right)
    if function == "euclidean":
        return -np.sqrt(np.square(left - right).sum(1))
    if function == "manhattan":
        return -np.abs(left - right).sum(1)
    raise InputError(f"Similarity {function!r} is not one of {', '.join(get_args(SimilarityName))} for dense vectors.")


def _rows(values: ArrayLike) -> NDArray[np.float32]:
    rows = np.asarray(values, np.float32)
    return rows[None] if rows.ndim == 1 else rows


def _table(rows: list[NDArray[np.float32]], n_columns: int) -> NDArray[np.float32]:
    return np.asarray(rows, np.float32).reshape(len(rows), n_columns)


def _check_widths(left: NDArray[np.float32], right: NDArray[np.float32]) -> None:
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise InputError(f"Similarity needs vectors of one width; got shapes {left.shape} and {right.shape}.")


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    return (rows / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32)
