"""What every store of a collection does; the collection above it embeds, fuses, reranks and explains.

A store holds documents, their chunks, and for each chunk what is searched: a dense vector, a sparse vector, a list of
vectors, words; each of them only if the collection's options ask for it. The embedded store is the reference; Milvus,
PostgreSQL and Qdrant stand behind the same protocol and pass the same tests.

Transactions: `upsert` and `delete` happen as a whole or not at all, and what has returned is not lost. Everything
read inside one `reading()` belongs to one state of the store. One writer at a time: another waits, then gets
Overloaded, which says who writes. A store that promises less says so in its class's docstring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.documents import Chunk, Document, Metadata
from sememe.collections.filters import Filter, Kind, kind_of
from sememe.collections.next_space import NextSpace
from sememe.collections.other_vectors import OtherVectors
from sememe.records import MultiVectorEmbeddings, SparseEmbeddings


@dataclass(frozen=True)
class EmbeddedDocument:
    """A document, its n chunks, and what each chunk is found by.

    dense: (n, D) float32. sparse, multi_vector: n rows. words: of each chunk, in their order. None where the collection
    does not keep that kind.
    """

    document: Document
    chunks: tuple[Chunk, ...]
    dense: NDArray[np.float32] | None = None
    sparse: SparseEmbeddings | None = None
    multi_vector: MultiVectorEmbeddings | None = None
    words: tuple[tuple[str, ...], ...] | None = None


@dataclass(frozen=True)
class Scored:
    """A chunk of the store by its key, and its score: higher is nearer. The key is valid inside one `reading()`."""

    key: int
    score: float


@dataclass(frozen=True)
class StoredChunk:
    """A chunk with its document. The document's text is empty unless asked for: it may be long."""

    key: int
    chunk: Chunk
    document: Document


@dataclass(frozen=True)
class StoredDocument:
    """What is known of a document without reading its text; enough to tell whether it changed."""

    id: str
    source: str
    title: str
    metadata: Metadata
    content_hash: str
    n_chunks: int

    def is_described_as(self, document: Document) -> bool:
        """Whether source and metadata are the document's, each value of the same kind: in Python True equals 1."""
        return (self.source, self.metadata) == (document.source, document.metadata) and all(
            kind_of(value) == kind_of(document.metadata[name]) for name, value in self.metadata.items()
        )


@dataclass(frozen=True)
class Counts:
    """documents, chunks: stored now. generation: grows with every change."""

    documents: int
    chunks: int
    generation: int


class VectorStore(Protocol):
    """Documents and their chunks, found by vectors and by words. Errors are those of `sememe.errors`."""

    def reading(self) -> AbstractContextManager[None]:
        """Everything read inside sees one state. May be entered again inside itself."""
        ...

    def upsert(self, documents: Sequence[EmbeddedDocument]) -> None:
        """Store the documents; one of the same id is replaced with all of its chunks. One transaction.

        Raises InputError for an id that comes twice, and for vectors that do not fit or are not finite.
        """
        ...

    def describe(self, documents: Sequence[Document]) -> None:
        """Replace title, source and metadata of stored documents whose text did not change; chunks and vectors stay."""
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Remove the documents and their chunks; gives how many there were."""
        ...

    def delete_where(self, where: Filter) -> int:
        """Remove the documents that the filter lets through; gives how many."""
        ...

    def dense(self, query: NDArray[np.float32], k: int, where: Filter | None = None) -> list[Scored]:
        """The k nearest chunks to a query (D,), best first, by the collection's similarity."""
        ...

    def sparse(self, query: SparseEmbeddings, k: int, where: Filter | None = None) -> list[Scored]:
        """The k chunks of the largest dot product with a query of one row, best first; none that shares nothing."""
        ...

    def lexical(self, words: Sequence[str], k: int, where: Filter | None = None) -> list[Scored]:
        """The k best chunks by BM25, best first; none that has none of the words."""
        ...

    def multi_vector(
        self,
        query: NDArray[np.float32],
        k: int,
        where: Filter | None = None,
        *,
        candidates: Sequence[int] | None = None,
    ) -> list[Scored]:
        """The k best chunks by MaxSim with a query (n, D), among the candidates' keys, or among all."""
        ...

    def chunks(self, keys: Sequence[int], *, with_text: bool = False) -> list[StoredChunk]:
        """The chunks of these keys, in their order. with_text: their documents' text too."""
        ...

    def chunks_of(self, document_id: str) -> list[StoredChunk]:
        """All chunks of a document by position, with its text. Raises NotFound."""
        ...

    def documents(self, where: Filter | None = None) -> Iterator[StoredDocument]:
        """Every document that the filter lets through, by id."""
        ...

    def document(self, document_id: str) -> Document:
        """The document as it was given. Raises NotFound."""
        ...

    def kinds_of(self, field: str) -> frozenset[Kind]:
        """The kinds of values that documents have in a metadata field; none where no document has it."""
        ...

    def vectors(self, keys: Sequence[int]) -> NDArray[np.float32]:
        """(K, D) the stored dense vectors."""
        ...

    def other_vectors(self, keys: Sequence[int]) -> OtherVectors:
        """The stored sparse vectors and lists of vectors, K rows each."""
        ...

    def term_weights(self, words: Sequence[str], keys: Sequence[int]) -> list[dict[str, float]]:
        """For each chunk what each of the words adds to its BM25 score; for explanations."""
        ...

    def count(self) -> Counts:
        """How much is stored."""
        ...

    def next_space(self) -> NextSpace | None:
        """Another vector space that was begun for this collection, and neither switched to nor abandoned."""
        ...

    def begin_next(self, about: About) -> NextSpace:
        """Begin one, or go on with it. about: what the collection will say of itself.

        Raises CollectionMismatch while one of another fingerprint is being built, InputError for what the store cannot keep.
        """
        ...

    def close(self) -> None:
        """Give connections and memory back; what was stored stays."""
        ...
