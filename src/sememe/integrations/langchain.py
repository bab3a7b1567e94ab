"""LangChain: an `Embeddings` over any of our embedders, and a `VectorStore` over a collection.

Written against langchain-core 1.7, whose standard tests (langchain-tests 1.1) both classes pass; needs the extra `langchain`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings as LangChainEmbeddings
from langchain_core.vectorstores import VectorStore

from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.collections.hits import Hit
from sememe.collections.options import CollectionOptions, SearchOptions
from sememe.engine.embedder import Embedder
from sememe.errors import InputError, NotFound
from sememe.integrations.named_embedder import NamedEmbedder
from sememe.records import EmbedOptions, Role, TextEmbedder

_DENSE = SearchOptions(mode="dense")


class SememeEmbeddings(LangChainEmbeddings):
    """LangChain's `Embeddings`: documents and queries get the checkpoint's own prompts."""

    def __init__(self, model: str | TextEmbedder = "all-MiniLM-L6-v2", *, offline: bool = False) -> None:
        """model: a folder, an id on the hub, a short name, or anything that embeds."""
        self.embedder: TextEmbedder = Embedder(model, offline=offline) if isinstance(model, str) else model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._embed(texts, "document")

    def embed_query(self, text: str) -> list[float]:
        return self._embed([text], "query")[0]

    def _embed(self, texts: list[str], role: Role) -> list[list[float]]:
        dense = self.embedder.embed(texts, EmbedOptions(role=role)).dense
        assert dense is not None
        found: list[list[float]] = dense.tolist()
        return found


class ForeignEmbedder(NamedEmbedder):
    """LangChain's `Embeddings` as a `TextEmbedder`."""

    def __init__(self, embeddings: LangChainEmbeddings, name: str | None = None) -> None:
        """name: of the model, which tells vector spaces apart; by default the class and the model that it names."""
        self.embeddings = embeddings
        super().__init__(name or _name_of(embeddings))

    def embed_query(self, text: str) -> list[float]:
        return self.embeddings.embed_query(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embeddings.embed_documents(texts)


class SememeVectorStore(VectorStore):
    """LangChain's `VectorStore` over a collection.

    Filters are the collection's own, as a dictionary: `{"year": {">=": 2020}}`. Scores are similarities by default; with
    `options=SearchOptions(mode="hybrid")` meaning and words are searched, and scores are what they are fused to.
    """

    def __init__(self, collection: Collection, *, options: SearchOptions = _DENSE) -> None:
        self.collection, self.options = collection, options

    @property
    def embeddings(self) -> LangChainEmbeddings | None:
        embedder = self.collection.embedder
        if isinstance(embedder, ForeignEmbedder):
            return embedder.embeddings
        return None if embedder is None else SememeEmbeddings(embedder)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **unknown: object,
    ) -> list[str]:
        """Store the texts and give their ids; one of a stored id is replaced. Raises InputError for nested metadata."""
        _refuse(unknown)
        given = list(texts)
        names = [str(uuid4()) for _ in given] if ids is None else [name or str(uuid4()) for name in ids]
        about = [{} for _ in given] if metadatas is None else metadatas
        if not len(given) == len(names) == len(about):
            raise InputError(
                f"Got {len(given)} texts, {len(names)} ids and {len(about)} metadatas; expected as many of each."
            )
        self.collection.upsert(Document(n, text, metadata=m) for n, text, m in zip(names, given, about, strict=True))
        return names

    def delete(self, ids: list[str] | None = None, **unknown: object) -> bool:
        """Remove documents by id; unknown ids are no error. Raises InputError without ids, which would mean all."""
        _refuse(unknown)
        if ids is None:
            raise InputError(
                "Delete got no ids. To empty a collection, delete by a filter: collection.delete(where={})."
            )
        self.collection.delete(ids=ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """The documents of these ids that are there."""
        found = []
        for name in ids:
            try:
                document = self.collection.get(name)
            except NotFound:  # LangChain's contract: it is left out
                continue
            found.append(LangChainDocument(document.text, metadata=dict(document.metadata), id=name))
        return found

    def similarity_search(
        self, query: str, k: int = 4, filter: Mapping[str, object] | None = None, **unknown: object
    ) -> list[LangChainDocument]:
        """The k best passages."""
        _refuse(unknown)
        return [document for document, _ in self.similarity_search_with_score(query, k, filter)]

    def similarity_search_with_score(  # type: ignore[override] # LangChain's own signature is *args
        self, query: str, k: int = 4, filter: Mapping[str, object] | None = None, **unknown: object
    ) -> list[tuple[LangChainDocument, float]]:
        """The k best passages with their scores, higher is better."""
        _refuse(unknown)
        return [(_document(hit), hit.score) for hit in self.collection.search(query, k, self.options, where=filter)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Mapping[str, object] | None = None, **unknown: object
    ) -> list[LangChainDocument]:
        """The k passages nearest to a vector of the collection's space."""
        _refuse(unknown)
        hits = self.collection.search_by_vector(np.asarray(embedding, np.float32), k, where=filter)
        return [_document(hit) for hit in hits]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Mapping[str, object] | None = None,
        **unknown: object,
    ) -> list[LangChainDocument]:
        """k passages that are relevant and unlike each other, of the fetch_k best. lambda_mult: 1 relevance … 0 difference."""
        _refuse(unknown)
        options = SearchOptions(mode=self.options.mode, n_candidates=max(k, fetch_k), mmr=lambda_mult)
        return [_document(hit) for hit in self.collection.search(query, k, options, where=filter)]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Scores to 0 … 1, as LangChain's `similarity_search_with_relevance_scores` wants."""
        if self.options.mode != "dense" or self.collection.about.options.similarity != "cosine":
            raise InputError(
                "Relevance from 0 to 1 is told from cosines only: search a cosine collection with mode='dense'."
            )
        return lambda score: (1 + score) / 2

    @classmethod
    def from_texts(  # type: ignore[override] # where it is kept must be said
        cls,
        texts: list[str],
        embedding: LangChainEmbeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: Path | str,
        options: CollectionOptions | None = None,
        **unknown: object,
    ) -> SememeVectorStore:
        """Begin a collection in a folder and store the texts."""
        _refuse(unknown)
        own = embedding.embedder if isinstance(embedding, SememeEmbeddings) else ForeignEmbedder(embedding)
        store = cls(Collection.create(Path(path), own, options))
        store.add_texts(texts, metadatas, ids=ids)
        return store


def _document(hit: Hit) -> LangChainDocument:
    return LangChainDocument(hit.chunk.text, metadata=dict(hit.document.metadata), id=hit.document.id)


def _name_of(embeddings: LangChainEmbeddings) -> str:
    """The class, and the model that it says it uses."""
    kind = type(embeddings)
    facts = vars(embeddings)
    model = next((str(facts[key]) for key in ("model", "model_name", "model_id", "deployment") if facts.get(key)), "")
    return f"{kind.__module__}.{kind.__qualname__}" + (f":{model}" if model else "")


def _refuse(unknown: Mapping[str, object]) -> None:
    """LangChain hands on whatever its callers write: what is not known is an error at once."""
    if unknown:
        raise InputError(f"sememe's vector store does not know {', '.join(map(repr, unknown))}.")
