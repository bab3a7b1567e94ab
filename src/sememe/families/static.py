"""Static embeddings: a token's hidden state is its row of a table (model2vec, StaticEmbedding).

Paper: none; the mean of the rows is the embedding. Reference: model2vec and sentence-transformers' StaticEmbedding.
Such checkpoints have no config.json that says their shapes, so `checkpoints/static.py` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.ops import Array, BatchView, Ops, Weights

MODEL_TYPES = ("model2vec",)
# sentence-transformers' StaticEmbedding reads inputs of any length; a text of ten million tokens is a mistake.
UNLIMITED = 1_000_000

PREFIXES: tuple[str, ...] = ()
RENAMES: tuple[tuple[str, str], ...] = ()
IGNORED: tuple[str, ...] = ()
STACKED: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Config:
    """Shapes of the table."""

    vocab_size: int
    hidden_size: int
    max_tokens: int


def claims(raw: Mapping[str, Any]) -> bool:
    """Never: `checkpoints/static.py` reads these."""
    return False


def tensors(config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that must be there, by our names, with its shape."""
    return {"embeddings.word.weight": (config.vocab_size, config.hidden_size)}


def positions(config: Config, token_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,): not used."""
    return np.arange(len(token_ids), dtype=np.int32)


def forward(ops: Ops[Array], weights: Weights[Array], config: Config, batch: BatchView[Array]) -> Array:
    """Hidden states (T, H)."""
    return ops.embedding(weights["embeddings.word"], batch.token_ids)
