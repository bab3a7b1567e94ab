"""How a collection uses its embedder: with which options, whether it is the right one, whose rows are whose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np

from sememe.collections.about import About
from sememe.collections.documents import Chunk, Chunker, Document
from sememe.collections.options import CollectionOptions
from sememe.collections.store import EmbeddedDocument
from sememe.errors import CollectionMismatch, InputError
from sememe.lexical import Analyzer
from sememe.records import Embeddings, EmbedOptions, MultiVectorEmbeddings, Output, SparseEmbeddings, TextEmbedder

# Chunks that are embedded in one call and stored in one transaction: enough for near lengths to find each other.
_WINDOW_CHUNKS = 1024


def document_options(options: CollectionOptions) -> EmbedOptions:
    """How the collection's documents are embedded."""
    return EmbedOptions(role="document", dimensions=options.dimensions, outputs=options.outputs or ("dense",))


def query_options(options: CollectionOptions, outputs: tuple[Output, ...]) -> EmbedOptions:
    """How its questions are embedded."""
    return EmbedOptions(role="query", dimensions=options.dimensions, outputs=outputs)


def describe_collection(embedder: TextEmbedder | None, options: CollectionOptions, chunking: str) -> About:
    """What a new collection says of itself. Raises InputError for vectors without an embedder."""
    if embedder is None and options.outputs:
        raise InputError(
            f"A collection of {' and '.join(options.outputs)} vectors needs a model; words alone need none."
        )
    return About(
        options=options,
        model=embedder.name if embedder else "",
        revision=embedder.revision if embedder else "",
        fingerprint=embedder.fingerprint(document_options(options)) if embedder else "",
        dimension=(options.dimensions or embedder.dimension) if embedder else 0,
        chunking=chunking,
        analysis=Analyzer(language=options.language).fingerprint,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def check_space(about: About, embedder: TextEmbedder) -> None:
    """Raises CollectionMismatch unless the embedder gives vectors of the stored ones' space."""
    if about.options.outputs and (got := embedder.fingerprint(document_options(about.options))) != about.fingerprint:
        raise CollectionMismatch(
            f"This collection keeps vectors of {about.model} (revision {about.revision}, space {about.fingerprint}); "
            f"{embedder.name} (revision {embedder.revision}) gives vectors of the space {got}, which cannot be compared with "
            "them. Open it with its own model, or migrate it to the other."
        )


def needed(embedder: TextEmbedder | None, about: About) -> TextEmbedder:
    """The embedder. Raises InputError for none."""
    if embedder is None:
        raise InputError(
            f"This collection was opened without its model, {about.model}: only words and ready vectors can be used."
        )
    return embedder


def in_windows(
    documents: Sequence[Document], chunker: Chunker
) -> Iterator[tuple[list[Document], list[Sequence[Chunk]]]]:
    """Documents with their chunks, so many that they are embedded together."""
    some: list[Document] = []
    chunks: list[Sequence[Chunk]] = []
    for document in documents:
        some.append(document)
        chunks.append(chunker(document))
        if sum(map(len, chunks)) >= _WINDOW_CHUNKS:
            yield some, chunks
            some, chunks = [], []
    if some:
        yield some, chunks


def own_rows(
    document: Document,
    chunks: tuple[Chunk, ...],
    vectors: Embeddings | None,
    words: tuple[tuple[str, ...], ...] | None,
    rows: slice,
) -> EmbeddedDocument:
    """A document's own rows of a whole window's embeddings."""
    if vectors is None:
        return EmbeddedDocument(document, chunks, words=words)
    dense = vectors.dense[rows].astype(np.float32, copy=False) if vectors.dense is not None else None
    sparse = _sparse_rows(vectors.sparse, rows) if vectors.sparse is not None else None
    lists = _list_rows(vectors.multi_vector, rows) if vectors.multi_vector is not None else None
    return EmbeddedDocument(document, chunks, dense, sparse, lists, words)


def _sparse_rows(whole: SparseEmbeddings, rows: slice) -> SparseEmbeddings:
    indptr = whole.indptr[rows.start : rows.stop + 1]
    span = slice(indptr[0], indptr[-1])
    return SparseEmbeddings(indptr - indptr[0], whole.indices[span], whole.values[span], whole.n_columns)


def _list_rows(whole: MultiVectorEmbeddings, rows: slice) -> MultiVectorEmbeddings:
    offsets = whole.offsets[rows.start : rows.stop + 1]
    return MultiVectorEmbeddings(whole.vectors[offsets[0] : offsets[-1]], offsets - offsets[0])
