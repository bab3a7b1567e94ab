"""SPLADE: pooling of masked-LM logits, and the doc-only query. Specification: rerank-sparse-multivector section 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .maths import Array, relu


def pooled(logits: Array, *, strategy: str = "max", activation: str = "relu") -> dict[int, float]:
    """Vocabulary id → weight of logits (n, V): maximum (or sum, v1) over positions of log(1 + relu)."""
    s = np.log1p(relu(logits.astype(np.float64)))
    if activation == "log1p_relu":
        s = np.log1p(s)
    row = s.max(axis=0) if strategy == "max" else s.sum(axis=0)
    return {int(j): float(row[j]) for j in np.flatnonzero(row > 0)}


def idf_query(ids: Sequence[int], idf: Mapping[str, float], tokens: Sequence[str]) -> dict[int, float]:
    """Query without inference: each distinct token with its weight from `idf.json`.

    ids: without special tokens. tokens: id → token. A token that the file does not name weighs nothing.
    """
    return {token: idf[tokens[token]] for token in sorted(set(ids)) if idf.get(tokens[token], 0.0) > 0}
