"""LlamaIndex's `VectorStore` over a collection: LlamaIndex cuts and embeds, the collection keeps and finds.

Written against llama-index-core 0.14; needs the extra `llamaindex`. A node is a document of one chunk, whose id is the node's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from sememe.collections.collection import Collection
from sememe.collections.documents import Document, whole_document
from sememe.collections.hits import Hit
from sememe.collections.opening import exists
from sememe.collections.options import CollectionOptions, Retriever, SearchOptions
from sememe.collections.store import EmbeddedDocument
from sememe.errors import InputError
from sememe.integrations.llamaindex import SememeEmbedding
from sememe.integrations.named_embedder import NamedEmbedder
from sememe.records import TextEmbedder

_OPERATORS = {
    FilterOperator.EQ: "=",
    FilterOperator.NE: "!=",
    FilterOperator.GT: ">",
    FilterOperator.GTE: ">=",
    FilterOperator.LT: "<",
    FilterOperator.LTE: "<=",
    FilterOperator.IN: "in",
}


class ForeignEmbedder(NamedEmbedder):
    """LlamaIndex's embedding as a `TextEmbedder`."""

    def __init__(self, embedding: BaseEmbedding) -> None:
        """The space is told apart by the class, the model's name and the width."""
        self._embedding = embedding
        super().__init__(f"{embedding.class_name()}:{embedding.model_name}")

    def embed_query(self, text: str) -> list[float]:
        return self._embedding.get_query_embedding(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._embedding.get_text_embedding_batch(texts)


class SememeVectorStore(BasePydanticVectorStore):
    """LlamaIndex's vector store over a collection: modes default, hybrid, text_search and mmr, filters, deletion.

    Scores are the collection's similarity, or what meaning and words were fused to. What LlamaIndex can ask for and a
    collection cannot answer is an InputError. Metadata is flat, as the collection's is.
    """

    stores_text: bool = True
    flat_metadata: bool = True
    _collection: Collection = PrivateAttr()

    def __init__(self, collection: Collection) -> None:
        """collection: of dense vectors, of the model that the index embeds with; `at` makes or opens one."""
        super().__init__(stores_text=True)
        if "dense" not in collection.about.options.outputs:
            raise InputError("LlamaIndex stores dense vectors; this collection keeps none.")
        self._collection = collection

    @classmethod
    def at(
        cls, path: Path | str, embed_model: BaseEmbedding, options: CollectionOptions | None = None
    ) -> SememeVectorStore:
        """On the collection in a folder, or at an address of a store; made where there is none.

        embed_model: what the index embeds with. Raises CollectionMismatch for another one than the stored vectors are of.
        """
        own: TextEmbedder = (
            embed_model.embedder if isinstance(embed_model, SememeEmbedding) else ForeignEmbedder(embed_model)
        )
        return cls(Collection.open(path, own) if exists(path) else Collection.create(path, own, options))

    @classmethod
    def class_name(cls) -> str:
        return "SememeVectorStore"

    @property
    def client(self) -> Collection:
        """The collection."""
        return self._collection

    def add(self, nodes: Sequence[BaseNode], **unknown: object) -> list[str]:
        """Store nodes with their vectors; one of a stored id is replaced. Raises InputError for nested metadata."""
        _refuse(unknown)
        made = []
        for node in nodes:
            facts = node_to_metadata_dict(node, remove_text=True)
            metadata = {key: value for key, value in facts.items() if value is not None}
            text = node.get_content(metadata_mode=MetadataMode.NONE)
            document = Document(node.node_id, text, source=str(metadata.get("file_path", "")), metadata=metadata)
            chunks = tuple(whole_document(document))
            vector = np.asarray([node.get_embedding()], np.float32)[: len(chunks)]
            made.append(EmbeddedDocument(document, chunks, dense=vector))
        if made:
            self._collection.upsert_embedded(made, fingerprint=self._collection.about.fingerprint)
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **unknown: object) -> None:
        """Remove all nodes of a document."""
        _refuse(unknown)
        self._collection.delete(where={"ref_doc_id": ref_doc_id})

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **unknown: object
    ) -> None:
        """Remove nodes by id, by filter, or by both. Raises InputError without either: `clear` removes all."""
        _refuse(unknown)
        if node_ids is None and filters is None:
            raise InputError("Give node_ids or filters; to remove everything there is clear().")
        self._collection.delete(where=_where(filters, node_ids))

    def clear(self) -> None:
        """Remove everything; the collection stays."""
        self._collection.delete(where={})

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """The stored nodes, by id."""
        found = self._collection.documents(_where(filters, node_ids))
        return [_node(self._collection.get(stored.id)) for stored in list(found)]

    def query(self, query: VectorStoreQuery, **unknown: object) -> VectorStoreQueryResult:
        """The best nodes. Raises InputError for a mode that a collection has not."""
        _refuse(unknown)
        # A retriever's "no ids given" is an empty list.
        hits = self._found(query, _where(query.filters, query.node_ids or None, query.doc_ids or None))
        nodes = [_node(hit.document) for hit in hits]
        return VectorStoreQueryResult(
            nodes=nodes, similarities=[hit.score for hit in hits], ids=[node.node_id for node in nodes]
        )

    def _found(self, query: VectorStoreQuery, where: Mapping[str, object]) -> list[Hit]:
        k, mode = query.similarity_top_k, query.mode
        if mode == VectorStoreQueryMode.TEXT_SEARCH:
            options = SearchOptions(mode="lexical")
            return self._collection.search(_text(query), k, options, where=where, with_text=True)
        if query.query_embedding is None:
            raise InputError(f"A query of mode {mode.value} needs a vector; this one has none.")
        vector = np.asarray(query.query_embedding, np.float32)
        text = None
        if mode == VectorStoreQueryMode.HYBRID:
            text, k = _text(query), query.hybrid_top_k or k
            n_candidates = max(SearchOptions.n_candidates, k, query.sparse_top_k or 0)
            options = SearchOptions(n_candidates=n_candidates, weights=_weights(query.alpha))
        elif mode == VectorStoreQueryMode.MMR:
            options = SearchOptions(mmr=0.5 if query.mmr_threshold is None else query.mmr_threshold)
        elif mode == VectorStoreQueryMode.DEFAULT:
            options = SearchOptions()
        else:
            raise InputError(
                f"A collection is not searched in LlamaIndex's mode {mode.value!r}; there are default, hybrid, text_search "
                "and mmr."
            )
        return self._collection.search_by_vector(vector, k, options, where=where, text=text, with_text=True)


def _text(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise InputError(f"A query of mode {query.mode.value} needs a text; this one has none.")
    return query.query_str


def _weights(alpha: float | None) -> tuple[tuple[Retriever, float], ...]:
    """LlamaIndex's share of the vectors, 0 to 1."""
    if alpha is None:
        return ()
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; expected 0 (words) to 1 (vectors).")
    return (("dense", alpha), ("lexical", 1 - alpha))


def _where(
    filters: MetadataFilters | None, node_ids: Sequence[str] | None = None, doc_ids: Sequence[str] | None = None
) -> dict[str, object]:
    parts: list[dict[str, object]] = [] if filters is None else [_translated(filters)]
    if node_ids is not None:
        parts.append({"@id": {"in": list(node_ids)}})
    if doc_ids is not None:
        parts.append({"ref_doc_id": {"in": list(doc_ids)}})
    return {"and": parts} if parts else {}


def _translated(filters: MetadataFilters) -> dict[str, object]:
    """As the collection's own language has it."""
    parts = [_translated(one) if isinstance(one, MetadataFilters) else _one(one) for one in filters.filters]
    if filters.condition == FilterCondition.OR:
        return {"or": parts}
    if filters.condition == FilterCondition.NOT:  # none of them, as LlamaIndex's own store has it
        return {"not": {"or": parts}}
    return {"and": parts}


def _one(one: MetadataFilter) -> dict[str, object]:
    if one.operator in _OPERATORS:
        return {one.key: {_OPERATORS[one.operator]: one.value}}
    if one.operator == FilterOperator.NIN:
        return {"not": {one.key: {"in": one.value}}}
    if one.operator == FilterOperator.IS_EMPTY:
        return {"or": [{one.key: {"exists": False}}, {one.key: ""}]}
    raise InputError(
        f"A collection's filters have no {one.operator.value!r} (key {one.key!r}); there are "
        f"{', '.join(operator.value for operator in _OPERATORS)}, nin and is_empty."
    )


def _node(document: Document) -> BaseNode:
    found: BaseNode = metadata_dict_to_node(dict(document.metadata), text=document.text)
    return found


def _refuse(unknown: Mapping[str, Any]) -> None:
    """LlamaIndex hands on whatever its callers write: what is not known is an error at once."""
    if unknown:
        raise InputError(f"sememe's vector store does not know {', '.join(map(repr, unknown))}.")
