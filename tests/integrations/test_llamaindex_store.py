"""LlamaIndex's vector store over a collection, used as LlamaIndex's users do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("llama_index.core", reason="needs llama-index-core")

from llama_index.core import Document, MockEmbedding, StorageContext, VectorStoreIndex
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from tests.fakes import FakeEmbedder

from sememe.errors import CollectionMismatch, InputError
from sememe.integrations.llamaindex import SememeEmbedding
from sememe.integrations.llamaindex_store import SememeVectorStore

TEXTS = {"a": "the red bird", "b": "a blue fish", "c": "stones and a red fish"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SememeVectorStore]:
    made = SememeVectorStore.at(tmp_path / "c", SememeEmbedding(FakeEmbedder()))
    yield made
    made.client.close()


@pytest.fixture
def index(store: SememeVectorStore) -> VectorStoreIndex:
    documents = [
        Document(doc_id=id, text=text, metadata={"n": n, "kind": "x"}) for n, (id, text) in enumerate(TEXTS.items())
    ]
    context = StorageContext.from_defaults(vector_store=store)
    embedding = SememeEmbedding(FakeEmbedder())
    return VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=embedding)


def _filtered(
    *filters: MetadataFilter | MetadataFilters, condition: FilterCondition = FilterCondition.AND
) -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=condition)


def test_an_index_of_documents_is_asked_and_filtered(index: VectorStoreIndex) -> None:
    best = index.as_retriever(similarity_top_k=1).retrieve("a blue fish")[0]
    assert (best.node.ref_doc_id, best.text, best.metadata) == ("b", "a blue fish", {"n": 1, "kind": "x"})
    not_b = _filtered(MetadataFilter(key="n", value=1, operator=FilterOperator.NE))
    found = index.as_retriever(similarity_top_k=9, filters=not_b).retrieve("a blue fish")
    assert {one.node.ref_doc_id for one in found} == {"a", "c"}


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (_filtered(MetadataFilter(key="n", value=0)), "a"),
        (_filtered(MetadataFilter(key="n", value=[0, 2], operator=FilterOperator.IN)), "ac"),
        (_filtered(MetadataFilter(key="n", value=[0, 2], operator=FilterOperator.NIN)), "b"),
        (_filtered(MetadataFilter(key="m", value=None, operator=FilterOperator.IS_EMPTY)), "abc"),
        (
            _filtered(
                MetadataFilter(key="n", value=0),
                _filtered(MetadataFilter(key="n", value=2), MetadataFilter(key="kind", value="x")),
                condition=FilterCondition.OR,
            ),
            "ac",
        ),
        (
            _filtered(
                MetadataFilter(key="n", value=0), MetadataFilter(key="n", value=1), condition=FilterCondition.NOT
            ),
            "c",
        ),
    ],
    ids=["equal", "in", "not in", "empty", "nested", "not"],
)
def test_filters(index: VectorStoreIndex, store: SememeVectorStore, filters: MetadataFilters, left: str) -> None:
    assert sorted(node.ref_doc_id or "" for node in store.get_nodes(filters=filters)) == list(left)


def test_deleting(index: VectorStoreIndex, store: SememeVectorStore) -> None:
    index.delete_ref_doc("b", delete_from_docstore=True)
    assert sorted(node.ref_doc_id or "" for node in store.get_nodes()) == ["a", "c"]
    (node,) = store.get_nodes(filters=_filtered(MetadataFilter(key="n", value=0)))
    store.delete_nodes([node.node_id])
    assert [node.ref_doc_id for node in store.get_nodes()] == ["c"]
    with pytest.raises(InputError, match="clear"):
        store.delete_nodes()
    store.clear()
    assert store.get_nodes() == []


def test_every_mode(index: VectorStoreIndex, store: SememeVectorStore) -> None:
    def ask(mode: VectorStoreQueryMode, **more: object) -> list[str]:
        vector = SememeEmbedding(FakeEmbedder()).get_query_embedding("red fish")
        query = VectorStoreQuery(vector, 3, query_str="red fish", mode=mode, **more)  # type: ignore[arg-type]
        return [node.ref_doc_id or "" for node in store.query(query).nodes or []]

    assert sorted(ask(VectorStoreQueryMode.DEFAULT)) == ["a", "b", "c"]
    assert ask(VectorStoreQueryMode.TEXT_SEARCH)[0] == "c"
    assert ask(VectorStoreQueryMode.HYBRID, alpha=0.0)[0] == "c"
    assert ask(VectorStoreQueryMode.HYBRID, hybrid_top_k=1) == ["c"]
    assert sorted(ask(VectorStoreQueryMode.MMR, mmr_threshold=0.5)) == ["a", "b", "c"]
    assert ask(VectorStoreQueryMode.DEFAULT, doc_ids=["a"]) == ["a"]
    with pytest.raises(InputError, match="'svm'"):
        ask(VectorStoreQueryMode.SVM)
    with pytest.raises(InputError, match="alpha is 2"):
        ask(VectorStoreQueryMode.HYBRID, alpha=2.0)


def test_what_was_stored_is_there_again(index: VectorStoreIndex, store: SememeVectorStore, tmp_path: Path) -> None:
    embedding = SememeEmbedding(FakeEmbedder())
    again = VectorStoreIndex.from_vector_store(SememeVectorStore.at(tmp_path / "c", embedding), embed_model=embedding)
    assert again.as_retriever(similarity_top_k=1).retrieve("stones")[0].node.ref_doc_id == "c"
    with pytest.raises(CollectionMismatch):
        SememeVectorStore.at(tmp_path / "c", SememeEmbedding(FakeEmbedder("another")))


def test_another_embedding_of_llamaindex(tmp_path: Path) -> None:
    store = SememeVectorStore.at(tmp_path / "c", MockEmbedding(embed_dim=5))
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")}
    store.add([TextNode(id_="n", text="x", embedding=[0.5] * 5, relationships=source)])
    (node,) = store.get_nodes(["n"])
    assert (node.get_content(), node.ref_doc_id) == ("x", "doc")
    with pytest.raises(InputError):
        store.add([TextNode(id_="m", text="x", embedding=[0.5] * 4)])
    with pytest.raises(InputError, match="nested"):
        store.add([TextNode(id_="m", text="x", embedding=[0.5] * 5, metadata={"a": {"b": 1}})])
    with pytest.raises(InputError, match="no 'contains'"):
        store.get_nodes(filters=_filtered(MetadataFilter(key="a", value="b", operator=FilterOperator.CONTAINS)))
