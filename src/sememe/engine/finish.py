"""The last step: Matryoshka cut, then normalise again. Source of the cut: Kusupati et al. 2022."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError


def cut(vectors: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
    """The first `dimensions` values of each vector (N, D); None keeps all."""
    return vectors if dimensions is None else vectors[:, :dimensions]


def check_dimensions(dimensions: int | None, dimension: int) -> None:
    """Raise InputError for a cut that the model's D cannot give."""
    if dimensions is not None and not 1 <= dimensions <= dimension:
        raise InputError(
            f"{dimensions} dimensions were asked for; this model has {dimension}. Ask for 1 to {dimension}."
        )


def normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1: x / max(‖x‖₂, 1e-12). A zero row stays zero."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    return (vectors / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32)


def layer_norm(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows with mean 0 and variance 1, eps 1e-5, no weights: what nomic-embed-text-v1.5 takes before a cut."""
    centred = vectors - vectors.mean(1, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(1, keepdims=True) + 1e-5), np.float32)
