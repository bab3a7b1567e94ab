"""What a store keeps of a chunk to find it by, made from its text: vectors by the collection's model, words by its analyzer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sememe.collections.about import About
from sememe.collections.documents import Chunk, Document, searchable_text
from sememe.collections.embedding import document_options, needed, own_rows
from sememe.collections.store import EmbeddedDocument
from sememe.errors import CollectionMismatch, InputError
from sememe.lexical import Analyzer, analyze
from sememe.records import Embeddings, TextEmbedder


@dataclass(frozen=True)
class Preparation:
    """As one collection does it."""

    about: About
    analyzer: Analyzer

    def embedded(
        self, documents: Sequence[Document], chunks: Sequence[Sequence[Chunk]], embedder: TextEmbedder | None
    ) -> list[EmbeddedDocument]:
        """The documents with their chunks' vectors, without words. Raises InputError where an embedder is missing."""
        texts = [self._text(d, chunk) for d, its in zip(documents, chunks, strict=True) for chunk in its]
        vectors = self._embed(texts, embedder) if self.about.options.outputs else None
        made, start = [], 0
        for document, its in zip(documents, chunks, strict=True):
            stop = start + len(its)
            made.append(own_rows(document, tuple(its), vectors, None, slice(start, stop)))
            start = stop
        return made

    def _embed(self, texts: Sequence[str], embedder: TextEmbedder | None) -> Embeddings:
        embeddings = needed(embedder, self.about).embed(texts, document_options(self.about.options))
        if embeddings.fingerprint != self.about.fingerprint:
            raise CollectionMismatch(
                f"The embedder gave vectors of the space {embeddings.fingerprint}; this collection keeps "
                f"{self.about.fingerprint}."
            )
        return embeddings

    def with_words(self, one: EmbeddedDocument) -> EmbeddedDocument:
        """With words, where the collection keeps them. Raises InputError where a kind of vectors is missing that it keeps."""
        for kind in self.about.options.outputs:
            if getattr(one, kind) is None and one.chunks:
                raise InputError(
                    f"Document {one.document.id!r} comes without {kind} vectors, which this collection keeps."
                )
        if one.words is not None or not self.about.options.lexical:
            return one
        words = tuple(tuple(analyze(self._text(one.document, chunk), self.analyzer)) for chunk in one.chunks)
        return replace(one, words=words)

    def _text(self, document: Document, chunk: Chunk) -> str:
        return searchable_text(document, chunk) if self.about.options.with_title else chunk.text
