from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("llama_index.core", reason="needs llama-index-core")

from llama_index.core import Document as LlamaDocument
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeRelationship, QueryBundle
from tests.fakes import FakeEmbedder

from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.collections.options import SearchOptions
from sememe.integrations.llamaindex import SememeEmbedding, SememeRetriever
from sememe.records import EmbedOptions

pytestmark = pytest.mark.anyio

TEXTS = ["the red bird", "a blue fish", "stones"]


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection.create(tmp_path / "collection", FakeEmbedder()) as made:
        made.upsert(Document(f"d{i}", text, f"title {i}", f"{i}.md", {"n": i}) for i, text in enumerate(TEXTS))
        yield made


def test_embeddings_are_the_embedders_with_its_roles() -> None:
    embedding, fake = SememeEmbedding(FakeEmbedder()), FakeEmbedder()
    documents = fake.embed(TEXTS, EmbedOptions(role="document")).dense
    assert documents is not None
    assert embedding.get_text_embedding_batch(TEXTS) == documents.tolist()
    assert embedding.get_text_embedding(TEXTS[1]) == documents[1].tolist()
    queries = fake.embed(TEXTS[:1], EmbedOptions(role="query")).dense
    assert queries is not None
    assert embedding.get_query_embedding(TEXTS[0]) == queries[0].tolist()
    assert (embedding.model_name, embedding.class_name()) == ("fake", "SememeEmbedding")


async def test_embeddings_without_waiting() -> None:
    embedding = SememeEmbedding(FakeEmbedder())
    assert await embedding.aget_query_embedding("x") == embedding.get_query_embedding("x")
    assert await embedding.aget_text_embedding_batch(TEXTS) == embedding.get_text_embedding_batch(TEXTS)


def test_an_index_of_llamaindex_embeds_with_us() -> None:
    documents = [LlamaDocument(text=text) for text in TEXTS]
    index = VectorStoreIndex.from_documents(documents, embed_model=SememeEmbedding(FakeEmbedder()))
    assert index.as_retriever(similarity_top_k=1).retrieve("a blue fish")[0].text == "a blue fish"


def test_a_retriever_over_a_collection(collection: Collection) -> None:
    best = SememeRetriever(collection, k=1).retrieve("red bird")[0]
    assert (best.text, best.id_) == ("the red bird", "d0#0")
    assert best.node.metadata == {"id": "d0", "title": "title 0", "source": "0.md", "n": 0}
    assert best.node.relationships[NodeRelationship.SOURCE].node_id == "d0"  # type: ignore[union-attr]
    assert best.score is not None
    filtered = SememeRetriever(collection, options=SearchOptions(mode="dense"), where={"n": {">": 0}})
    assert {node.id_ for node in filtered.retrieve(QueryBundle("red bird"))} == {"d1#0", "d2#0"}


async def test_a_retriever_without_waiting(collection: Collection) -> None:
    assert [node.id_ for node in await SememeRetriever(collection, k=1).aretrieve("stones")] == ["d2#0"]
