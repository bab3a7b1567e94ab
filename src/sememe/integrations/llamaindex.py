"""LlamaIndex: a `BaseEmbedding` over any of our embedders, a `BaseRetriever` over a collection.

Written against llama-index-core 0.14; needs the extra `llamaindex`. `SememeVectorStore` (`llamaindex_store`) is for nodes that
LlamaIndex cuts and embeds itself; the retriever is for collections that we made, with reranking and grouping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import NodeRelationship, NodeWithScore, QueryBundle, RelatedNodeInfo, TextNode

from sememe.collections.collection import Collection
from sememe.collections.hits import Hit
from sememe.collections.options import SearchOptions
from sememe.engine.embedder import Embedder
from sememe.records import EmbedOptions, Role, TextEmbedder

_PLAIN = SearchOptions()


class SememeEmbedding(BaseEmbedding):
    """LlamaIndex's `BaseEmbedding`: texts and queries get the checkpoint's own prompts."""

    _embedder: TextEmbedder = PrivateAttr()

    def __init__(
        self, model: str | TextEmbedder = "all-MiniLM-L6-v2", *, offline: bool = False, embed_batch_size: int = 512
    ) -> None:
        """model: a folder, an id on the hub, a short name, or anything that embeds.

        embed_batch_size: texts that LlamaIndex hands over at once; the engine plans its own batches among them.
        """
        embedder: TextEmbedder = Embedder(model, offline=offline) if isinstance(model, str) else model
        super().__init__(model_name=embedder.name, embed_batch_size=embed_batch_size)
        self._embedder = embedder

    @property
    def embedder(self) -> TextEmbedder:
        """What embeds."""
        return self._embedder

    @classmethod
    def class_name(cls) -> str:
        return "SememeEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embed([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._embed([text], "document")[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embed(texts, "document")

    def _embed(self, texts: Sequence[str], role: Role) -> list[list[float]]:
        dense = self._embedder.embed(texts, EmbedOptions(role=role)).dense
        assert dense is not None
        found: list[list[float]] = dense.astype(np.float32).tolist()
        return found


class SememeRetriever(BaseRetriever):
    """LlamaIndex's `BaseRetriever` over a collection: meaning and words by default, as `Collection.search` does."""

    def __init__(
        self,
        collection: Collection,
        *,
        k: int = 10,
        options: SearchOptions = _PLAIN,
        where: Mapping[str, object] | None = None,
    ) -> None:
        """where: a filter of the collection's own language."""
        self._collection, self._k, self._options, self._where = collection, k, options, where
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._collection.search(query_bundle.query_str, self._k, self._options, where=self._where)
        return [NodeWithScore(node=_node(hit), score=hit.score) for hit in hits]


def _node(hit: Hit) -> TextNode:
    """The chunk, with its document as its source; id, title and source stand in the metadata of every node."""
    chunk, document = hit.chunk, hit.document
    own = {"id": document.id, "title": document.title, "source": document.source}
    if chunk.place is not None:
        own["place"] = str(chunk.place)
    if chunk.heading:
        own["heading"] = chunk.heading
    return TextNode(
        id_=chunk.id,
        text=chunk.text,
        metadata={**own, **document.metadata},
        start_char_idx=chunk.start,
        end_char_idx=chunk.end,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document.id)},
    )
