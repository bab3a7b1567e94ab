"""Late chunking: a document goes through the model in one pass, and each chunk's vector is pooled from its own tokens.

Source: Günther et al. 2024, "Late Chunking", section 3. What is longer than the model's window goes through it in
stretches of whole chunks, as long as they fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.collection import Collection
from sememe.collections.documents import Chunk, Document
from sememe.collections.embedding import document_options
from sememe.collections.store import EmbeddedDocument
from sememe.errors import CollectionMismatch, InputError
from sememe.records import Embeddings, EmbedOptions


@runtime_checkable
class SpanEmbedding(Protocol):
    """An embedder that gives vectors of parts of a text, as `sememe.Embedder` does."""

    def embed_spans(self, text: str, spans: Sequence[tuple[int, int]], options: EmbedOptions = ...) -> Embeddings:
        """One dense vector for each span of characters, from one pass over the text."""
        ...


def embed_late(
    collection: Collection, documents: Sequence[Document], chunks: Sequence[Sequence[Chunk]]
) -> list[EmbeddedDocument]:
    """The documents with their chunks' vectors. Raises InputError for a model that cannot pool parts of a text."""
    embedder, kept = collection.embedder, collection.about.options
    if kept.outputs != ("dense",):
        raise InputError(
            f"Late chunking gives dense vectors; this collection keeps {', '.join(kept.outputs) or 'none'}."
        )
    if embedder is None or not isinstance(embedder, SpanEmbedding):
        raise InputError(
            f"{collection.about.model} cannot give vectors of parts of a text; index without late chunking."
        )
    counter, options = TokenCounter(embedder), document_options(kept)  # type: ignore[arg-type]  # it is a TextEmbedder too
    made = []
    for document, its in zip(documents, chunks, strict=True):
        rows = []
        for start, end, some in _stretches(document.text, its, counter):
            spans = [(chunk.start - start, chunk.end - start) for chunk in some]
            found = embedder.embed_spans(document.text[start:end], spans, options)
            if found.fingerprint != collection.about.fingerprint:
                raise CollectionMismatch(
                    f"The embedder gave vectors of the space {found.fingerprint}; this collection keeps "
                    f"{collection.about.fingerprint}."
                )
            assert found.dense is not None
            rows.append(found.dense.astype(np.float32, copy=False))
        dense = np.concatenate(rows) if rows else np.empty((0, collection.about.dimension), np.float32)
        made.append(EmbeddedDocument(document, tuple(its), dense=dense))
    return made


def _stretches(text: str, chunks: Sequence[Chunk], counter: TokenCounter) -> Iterator[tuple[int, int, Sequence[Chunk]]]:
    """Runs of chunks with the characters from the first to the last, each within the model's window."""
    first = 0
    while first < len(chunks):
        stop = _last_that_fits(text, chunks, first, counter)
        yield chunks[first].start, max(chunk.end for chunk in chunks[first:stop]), chunks[first:stop]
        first = stop


def _last_that_fits(text: str, chunks: Sequence[Chunk], first: int, counter: TokenCounter) -> int:
    """Where the longest run from `first` ends. At least one chunk: each fits by itself."""
    low, high = first + 1, len(chunks)
    while low < high:
        middle = (low + high + 1) // 2
        (count,) = counter.exact([text[chunks[first].start : chunks[middle - 1].end]])
        low, high = (middle, high) if count <= counter.window else (low, middle - 1)
    return low
