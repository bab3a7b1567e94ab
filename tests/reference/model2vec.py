"""Static embeddings as model2vec computes them. Specification: rerank-sparse-multivector section 6."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .maths import Array, Config, Tensors

MAX_TOKENS = 512


def cut(text: str, vocabulary: Sequence[str], max_tokens: int = MAX_TOKENS) -> str:
    """The text's first max_tokens × (median token length in characters) characters."""
    return text[: max_tokens * int(np.median([len(token) for token in vocabulary]))]


def embed(
    tensors: Tensors, config: Config, ids: Sequence[int], unk_id: int | None, max_tokens: int = MAX_TOKENS
) -> Array:
    """(D,) of one text. ids: without special tokens; the unknown token is dropped here, then the rest is cut."""
    table = tensors["embeddings"].astype(np.float64)
    kept = [token for token in ids if token != unk_id][:max_tokens]
    if not kept:
        return np.zeros(table.shape[1])
    mapping = tensors.get("mapping", np.arange(len(table)))
    weights = tensors.get("weights", np.ones(len(mapping)))
    e = np.mean([weights[token] * table[int(mapping[token])] for token in kept], axis=0)
    return e / (np.linalg.norm(e) + 1e-32) if config.get("normalize") else e


def embed_sentence_transformers(tensors: Tensors, ids: Sequence[int]) -> Array:
    """(D,) as sentence-transformers' StaticEmbedding: unknown tokens kept, no cut, no weights; zeros for no token."""
    table = tensors["embedding.weight"].astype(np.float64)
    return table[list(ids)].mean(axis=0) if len(ids) else np.zeros(table.shape[1])
