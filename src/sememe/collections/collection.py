"""A lasting collection of documents: kept on disk, found by meaning and by words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sememe.collections.about import About
from sememe.collections.chunking.counting import TokenCounter
from sememe.collections.context import Context, CountTokens, make_context
from sememe.collections.documents import Chunk, Chunker, Document, whole_document
from sememe.collections.embedded.store import EmbeddedStore
from sememe.collections.embedding import (
    check_space,
    describe_collection,
    needed,
    query_options,
)
from sememe.collections.filter_doubts import doubt_of, kinds_asked
from sememe.collections.filters import Filter, In, Kind, kind_of, parse_filter
from sememe.collections.hits import Hit
from sememe.collections.options import CollectionOptions, Retriever, SearchOptions
from sememe.collections.preparing import Preparation
from sememe.collections.searching import Query, RerankFunction, resolve_mode, search
from sememe.collections.stats import CollectionStats, stats_of
from sememe.collections.store import Counts, EmbeddedDocument, StoredDocument, VectorStore
from sememe.collections.stores.places import Opened, create_store, is_address, open_store
from sememe.collections.upserting import UpsertReport, upsert
from sememe.errors import CollectionMismatch, InputError
from sememe.lexical import Analyzer, analyze
from sememe.records import Output, TextEmbedder

logger = logging.getLogger(__name__)

# Of filters, in one opened collection: who sends ever other names fills no memory and no log.
_MOST_FIELDS_CHECKED = 200


class Collection:
    """Documents on disk, found by meaning and by words. Readers are many, writers one at a time.

    `create` or `open` make one; it is a context manager. Every search sees what other processes have stored since.
    """

    def __init__(
        self, store: VectorStore, about: About, embedder: TextEmbedder | None, *, chunker: Chunker = whole_document
    ) -> None:
        """On any store. Raises CollectionMismatch for an embedder of another space than the stored vectors."""
        self.store, self.about, self.embedder, self._chunker = store, about, embedder, chunker
        self._analyzer = Analyzer(language=about.options.language)
        self._preparation = Preparation(about, self._analyzer)
        self._asked_before: set[tuple[str, frozenset[Kind]]] = set()
        if embedder is not None:
            check_space(about, embedder)
        if about.options.lexical and self._analyzer.fingerprint != about.analysis:
            logger.warning(
                "the words of this collection were made as %s, and questions are read as %s: export and import it",
                about.analysis,
                self._analyzer.fingerprint,
            )

    @classmethod
    def create(
        cls,
        path: Path | str,
        embedder: TextEmbedder | None,
        options: CollectionOptions | None = None,
        *,
        chunker: Chunker = whole_document,
        chunking: str = "whole",
    ) -> Collection:
        """Begin a collection in a folder, or at an address of a store (`stores.places`: pgvector://…, qdrant://…, milvus://…).

        chunker: how documents are cut; chunking: its name and settings, which are kept.

        Without an embedder it can keep words only. Raises InputError where a collection is already.
        """
        about = describe_collection(embedder, options or CollectionOptions(), chunking)
        if is_address(str(path)):
            return cls(create_store(str(path), about), about, embedder, chunker=chunker)
        return cls(EmbeddedStore.create(Path(path), about), about, embedder, chunker=chunker)

    @classmethod
    def open(
        cls, path: Path | str, embedder: TextEmbedder | None = None, *, chunker: Chunker = whole_document
    ) -> Collection:
        """Open a stored collection, by its folder or its address.

        Without an embedder only words and ready vectors can be searched and stored.

        Raises NotFound, and CollectionMismatch for an embedder of another space than the stored vectors.
        """
        if is_address(str(path)):
            opened = open_store(str(path))
        else:
            embedded = EmbeddedStore.open(Path(path))
            opened = Opened(embedded, embedded.about)
        try:
            return cls(opened.store, opened.about, embedder, chunker=chunker)
        except CollectionMismatch:
            opened.store.close()
            raise

    def use_chunker(self, chunker: Chunker) -> None:
        """Cut documents so from now on; for a collection whose chunker its own settings decide."""
        self._chunker = chunker

    def use_embedder(self, embedder: TextEmbedder) -> None:
        """Embed with it from now on; for a collection that was opened to see which model it needs.

        Raises CollectionMismatch for one of another space than the stored vectors.
        """
        check_space(self.about, embedder)
        self.embedder = embedder

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def upsert(
        self, documents: Iterable[Document], *, on_progress: Callable[[UpsertReport], object] | None = None
    ) -> UpsertReport:
        """Chunk, embed and store what is new or changed; what is stored already is passed over.

        on_progress: called with what each transaction did, when it is safe on disk. A run that was ended goes on where it
        stopped when it is given the same documents. Raises InputError for an id that comes twice.
        """
        return upsert(self.store, self._preparation, self.embedder, self._chunker, documents, on_progress)

    def embedded(self, documents: Sequence[Document], chunks: Sequence[Sequence[Chunk]]) -> list[EmbeddedDocument]:
        """The documents with their chunks' vectors, for `upsert_embedded`, which adds the words. Nothing is stored.

        Raises InputError without an embedder.
        """
        return self._preparation.embedded(documents, chunks, self.embedder)

    def upsert_embedded(self, documents: Sequence[EmbeddedDocument], *, fingerprint: str) -> None:
        """Store documents whose vectors are ready: late chunking, imports. fingerprint: of the space of the vectors.

        Words are made from the texts where they are not given. Raises CollectionMismatch for vectors of another space,
        InputError for vectors that do not fit.
        """
        if fingerprint != self.about.fingerprint:
            raise CollectionMismatch(
                f"The vectors are of the space {fingerprint}; this collection keeps {self.about.fingerprint} "
                f"({self.about.model}). Embed the texts with that model, or migrate the collection."
            )
        self.store.upsert([self._preparation.with_words(one) for one in documents])

    def delete(self, *, ids: Sequence[str] | None = None, where: Mapping[str, object] | None = None) -> int:
        """Remove documents by id or by filter; gives how many there were. Raises InputError unless one of both is given."""
        if (ids is None) == (where is None):
            raise InputError("Delete by ids or by a filter: give one of both.")
        if ids is not None:
            return self.store.delete(ids)
        assert where is not None
        return self.store.delete_where(parse_filter(where))

    # ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────

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
        """The k best chunks, best first. where: a filter. rerank: reads the best candidates again. with_text: the
        documents' whole text in the hits.

        A filter on a field that no document has, or that is compared with another kind of value than documents have in it,
        is logged as a warning, once for each field. Raises InputError for what the collection keeps nothing for, and for a
        filter that is not of the language.
        """
        options = options or SearchOptions()
        retrievers = resolve_mode(options.mode, self.about.options)
        outputs: tuple[Output, ...] = tuple(kind for kind in self.about.options.outputs if kind in retrievers)
        asked = self._query(query, outputs, with_words="lexical" in retrievers)
        tree = self._filter(where)
        return search(
            self.store, asked, k, options, retrievers=retrievers, where=tree, rerank=rerank, with_text=with_text
        )

    def _query(self, text: str, outputs: tuple[Output, ...], *, with_words: bool) -> Query:
        words = tuple(analyze(text, self._analyzer)) if with_words else None
        if not outputs:
            return Query(text, words)
        embedded = needed(self.embedder, self.about).embed([text], query_options(self.about.options, outputs))
        dense = embedded.dense[0].astype(np.float32) if embedded.dense is not None else None
        lists = embedded.multi_vector[0] if embedded.multi_vector is not None else None
        return Query(text, words, dense, embedded.sparse, lists)

    def search_by_vector(
        self,
        vector: NDArray[np.float32],
        k: int = 10,
        options: SearchOptions | None = None,
        *,
        where: Mapping[str, object] | None = None,
        text: str | None = None,
        with_text: bool = False,
    ) -> list[Hit]:
        """The k chunks nearest to a vector (D,) of the collection's space.

        text: the question that the vector is of, to search for its words too where the collection keeps words; None
        searches by the vector alone.
        """
        options, words = options or SearchOptions(), None
        retrievers: list[Retriever] = ["dense"]
        if text is not None and self.about.options.lexical:
            retrievers, words = ["dense", "lexical"], tuple(analyze(text, self._analyzer))
        query = Query(text or "", words, np.asarray(vector, np.float32))
        tree = self._filter(where)
        return search(self.store, query, k, options, retrievers=retrievers, where=tree, with_text=with_text)

    def doubts(self, where: Mapping[str, object] | None) -> list[str]:
        """What a filter asks in vain, in words: of a field that no document has, or has in another kind of values."""
        tree = _parsed(where)
        asked = kinds_asked(tree) if tree is not None else {}
        found = (doubt_of(field, kinds, self.store.kinds_of) for field, kinds in asked.items())
        return [doubt for doubt in found if doubt]

    def _filter(self, where: Mapping[str, object] | None) -> Filter | None:
        """Parsed. What it asks in vain of a field is logged: it finds less than was meant, and is no error."""
        tree = _parsed(where)
        if tree is not None:
            for field, kinds in kinds_asked(tree).items():
                if (field, kinds) not in self._asked_before and len(self._asked_before) < _MOST_FIELDS_CHECKED:
                    self._asked_before.add((field, kinds))
                    if doubt := doubt_of(field, kinds, self.store.kinds_of):
                        logger.warning("%s", doubt)
        return tree

    def more_like(self, document_id: str, k: int = 10, *, where: Mapping[str, object] | None = None) -> list[Hit]:
        """The k documents nearest to a stored one, each by its nearest chunk; without itself.

        Nearest to the mean of its chunks' vectors. Raises NotFound.
        """
        with self.store.reading():
            keys = [stored.key for stored in self.store.chunks_of(document_id)]
            if not keys:
                return []
            mean = self.store.vectors(keys).mean(axis=0)
            others = {"and": [{"@id": {"!=": document_id}}, where or {}]}
            return self.search_by_vector(mean, k, SearchOptions(group_by_document=True), where=others)

    def context(
        self,
        question: str,
        max_tokens: int = 1000,
        *,
        k: int = 20,
        options: SearchOptions | None = None,
        where: Mapping[str, object] | None = None,
        rerank: RerankFunction | None = None,
        count_tokens: CountTokens | None = None,
    ) -> Context:
        """Numbered, cited passages that a language model can answer the question from, `max_tokens` at most.

        Made of the k best chunks, neighbours merged. count_tokens: of the language model; None counts those of the
        collection's own model, which are about as many.
        """
        hits = self.search(question, k, options, where=where, rerank=rerank, with_text=True)
        counter = None if count_tokens is not None else TokenCounter(needed(self.embedder, self.about))
        return make_context(question, hits, max_tokens, count_tokens or counter.quick)  # type: ignore[union-attr]

    def get(self, document_id: str) -> Document:
        """The document as it was given. Raises NotFound."""
        return self.store.document(document_id)

    def documents(self, where: Mapping[str, object] | None = None) -> Iterator[StoredDocument]:
        """What is stored, by id, with content hashes."""
        return self.store.documents(_parsed(where))

    def stored(self, ids: Sequence[str]) -> list[StoredDocument]:
        """What is stored of these documents; those that are not are left out."""
        return list(self.store.documents(In("@id", tuple(ids), tuple(map(kind_of, ids))))) if ids else []

    def chunks_of(self, document_id: str) -> list[Chunk]:
        """A document's chunks by position. Raises NotFound."""
        return [stored.chunk for stored in self.store.chunks_of(document_id)]

    def count(self) -> Counts:
        """How much is stored."""
        return self.store.count()

    # ── keeping ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_embedded(self) -> bool:
        """Whether it is kept in a folder of ours, not by a database."""
        return isinstance(self.store, EmbeddedStore)

    def stats(self) -> CollectionStats:
        """Counts, room on disk, and how well the first pass of dense search does. Reads a sample of the vectors."""
        return stats_of(self.store, self.about)

    def snapshot(self, folder: Path) -> None:
        """Copy it as it is now, while others read and write. The copy is a collection; `restore` puts one back."""
        self._embedded_store().snapshot(folder)

    @classmethod
    def restore(cls, snapshot: Path, folder: Path, embedder: TextEmbedder | None = None) -> Collection:
        """A collection in a new folder from a snapshot, which stays as it is. Raises InputError where one is already."""
        with cls.open(snapshot) as stored:
            stored.snapshot(folder)
        return cls.open(folder, embedder)

    def compact(self) -> None:
        """Give the room of deleted documents back, and write the index down. Also happens by itself, in parts."""
        self._embedded_store().compact()

    def rebuild(self) -> None:
        """Make the index anew from what is stored."""
        self._embedded_store().rebuild()

    def _embedded_store(self) -> EmbeddedStore:
        if not isinstance(self.store, EmbeddedStore):
            raise InputError(
                "This collection is kept by a server, which looks after its own index and its own room. For a copy: "
                "`sememe collections snapshot`, or `snapshots.take_snapshot`."
            )
        return self.store

    def close(self) -> None:
        """Give connections and memory back."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _parsed(where: Mapping[str, object] | None) -> Filter | None:
    return None if where is None else parse_filter(where)
