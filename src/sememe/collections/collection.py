"""A lasting collection of documents: kept on disk, found by meaning and by words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sememe.collections.documents import Chunk, Chunker, Document
from sememe.collections.options import CollectionOptions, Retriever, SearchOptions
from sememe.collections.store import Counts, EmbeddedDocument, StoredDocument
from sememe.records import TextEmbedder

# (query, texts) to one score for each text; higher is better. `Reranker` fits through a lambda.
RerankFunction = Callable[[str, Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class RetrieverScore:
    """One retriever's own score of a hit, and its rank in that retriever's list, from 1."""

    retriever: Retriever
    score: float
    rank: int


@dataclass(frozen=True)
class Explanation:
    """Why a hit stands where it stands: what each word added to BM25, and what each retriever to the fused score."""

    words: Mapping[str, float]
    contributions: Mapping[Retriever, float]


@dataclass(frozen=True)
class Hit:
    """A chunk that a search found. score: what it was ranked by, higher is better; its unit depends on the search.

    document: as stored, its text only if it was asked for. explanation: if it was asked for.
    """

    chunk: Chunk
    document: Document
    score: float
    retrievers: tuple[RetrieverScore, ...]
    explanation: Explanation | None = None


@dataclass(frozen=True)
class UpsertReport:
    """What one upsert did, in documents. unchanged ones were not embedded again."""

    added: int
    changed: int
    described: int
    unchanged: int
    n_chunks: int


class Collection:
    """Documents on disk, found by meaning and by words. Readers are many, writers one at a time."""

    @classmethod
    def create(
        cls,
        path: Path,
        embedder: TextEmbedder,
        options: CollectionOptions | None = None,
        *,
        chunker: Chunker | None = None,
        chunking: str = "whole",
    ) -> Collection:
        """Begin a collection. chunker: how documents are cut; chunking: its name and settings, kept with the collection."""
        raise NotImplementedError

    @classmethod
    def open(cls, path: Path, embedder: TextEmbedder | None = None, *, chunker: Chunker | None = None) -> Collection:
        """Open a stored collection. Without an embedder only ready vectors and words can be searched.

        Raises NotFound, and CollectionMismatch for an embedder of another space than the stored vectors.
        """
        raise NotImplementedError

    def upsert(
        self, documents: Iterable[Document], *, on_progress: Callable[[UpsertReport], object] | None = None
    ) -> UpsertReport:
        """Chunk, embed and store what is new or changed."""
        raise NotImplementedError

    def upsert_embedded(self, documents: Sequence[EmbeddedDocument]) -> None:
        """Store documents whose vectors are ready, of the collection's own space (late chunking, imports)."""
        raise NotImplementedError

    def delete(self, *, ids: Sequence[str] | None = None, where: Mapping[str, object] | None = None) -> int:
        """Remove documents by id or by filter; gives how many."""
        raise NotImplementedError

    def search(
        self,
        query: str,
        k: int = 10,
        options: SearchOptions | None = None,
        *,
        where: Mapping[str, object] | None = None,
        rerank: RerankFunction | None = None,
        with_text: bool = False,
    ) -> list[Hit]:
        """The k best chunks."""
        raise NotImplementedError

    def more_like(self, document_id: str, k: int = 10, *, where: Mapping[str, object] | None = None) -> list[Hit]:
        """The k chunks nearest to a stored document, one a document, without itself."""
        raise NotImplementedError

    def get(self, document_id: str) -> Document:
        """The document as it was given. Raises NotFound."""
        raise NotImplementedError

    def documents(self, where: Mapping[str, object] | None = None) -> Iterable[StoredDocument]:
        """What is stored, by id, with content hashes."""
        raise NotImplementedError

    def chunks_of(self, document_id: str) -> list[Chunk]:
        """A document's chunks by position. Raises NotFound."""
        raise NotImplementedError

    def count(self) -> Counts:
        """How much is stored."""
        raise NotImplementedError

    def close(self) -> None:
        """Give connections and memory back."""
        raise NotImplementedError
