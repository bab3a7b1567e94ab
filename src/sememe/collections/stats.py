"""Figures of a collection."""

from __future__ import annotations

from dataclasses import dataclass

from sememe.collections.about import About
from sememe.collections.embedded.store import EmbeddedStore, Sizes
from sememe.collections.store import VectorStore


@dataclass(frozen=True)
class CollectionStats:
    """sizes: None where a database keeps it. recall: the part of the true 10 nearest that dense search finds, on a sample;
    None without dense vectors, and where a database keeps it."""

    documents: int
    chunks: int
    generation: int
    sizes: Sizes | None
    recall: float | None


def stats_of(store: VectorStore, about: About) -> CollectionStats:
    """Counts, room on disk, and recall. Reads a sample of the vectors."""
    counts, sizes, recall = store.count(), None, None
    if isinstance(store, EmbeddedStore):
        sizes = store.sizes()
        recall = store.check() if "dense" in about.options.outputs else None
    return CollectionStats(counts.documents, counts.chunks, counts.generation, sizes, recall)
