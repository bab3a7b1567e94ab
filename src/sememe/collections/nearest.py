"""The nearest of some vectors, by looking at all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sememe.errors import InputError
from sememe.records import EmbedOptions, Role, TextEmbedder
from sememe.similarity import similarity

# Texts embedded in one call: enough that near lengths find each other, few enough that progress shows.
_WINDOW = 512


@dataclass(frozen=True)
class Hit:
    """One result. index: of the text searched in. score: cosine, higher is nearer."""

    index: int
    score: float


def nearest(
    embedder: TextEmbedder,
    texts: Sequence[str],
    questions: Sequence[str],
    n_hits: int,
    *,
    on_progress: Callable[[int], object] | None = None,
) -> list[list[Hit]]:
    """For each question the `n_hits` nearest texts, best first. Raises InputError for n_hits below 1.

    on_progress: called with the number of texts that have been embedded since the last call.
    """
    if n_hits < 1:
        raise InputError(f"{n_hits} hits were asked for; expected 1 or more.")
    queries = _vectors(embedder, questions, "query")
    scores = []
    for start in range(0, len(texts), _WINDOW):
        piece = texts[start : start + _WINDOW]
        scores.append(similarity(queries, _vectors(embedder, piece, "document")))
        if on_progress is not None:
            on_progress(len(piece))
    return [_best(row, n_hits) for row in np.concatenate(scores, axis=1)] if scores else [[] for _ in questions]


def _vectors(embedder: TextEmbedder, texts: Sequence[str], role: Role) -> NDArray[np.float32]:
    dense = embedder.embed(texts, EmbedOptions(role=role)).dense
    assert dense is not None
    return dense.astype(np.float32, copy=False)


def _best(scores: NDArray[np.float32], n_hits: int) -> list[Hit]:
    order = np.argsort(-scores, kind="stable")[:n_hits]
    return [Hit(int(i), float(scores[i])) for i in order]
