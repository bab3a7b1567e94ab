"""LangChain's own standard tests on our classes, and what they leave out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="needs langchain-tests")

from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, VectorStoreIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from tests.fakes import FakeEmbedder

from sememe.collections.collection import Collection
from sememe.collections.options import CollectionOptions, SearchOptions
from sememe.errors import CollectionMismatch, InputError
from sememe.integrations.langchain import ForeignEmbedder, SememeEmbeddings, SememeVectorStore

pytestmark = pytest.mark.anyio  # half of the standard tests are coroutines


class TestVectorStoreStandard(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        collection = Collection.create(tmp_path / "collection", ForeignEmbedder(self.get_embeddings()))
        yield SememeVectorStore(collection)
        collection.close()


class TestHybridVectorStoreStandard(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        collection = Collection.create(tmp_path / "collection", ForeignEmbedder(self.get_embeddings()))
        yield SememeVectorStore(collection, options=SearchOptions(mode="hybrid"))
        collection.close()


class TestEmbeddingsStandard(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[SememeEmbeddings]:
        return SememeEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": FakeEmbedder()}


class TestEmbeddingsStandardUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[SememeEmbeddings]:
        return SememeEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": FakeEmbedder()}


@pytest.fixture
def animals(tmp_path: Path) -> Iterator[SememeVectorStore]:
    texts = ["the red bird", "the red bird sings", "a blue fish", "stones"]
    metadatas = [{"n": i, "kind": kind} for i, kind in enumerate(["bird", "bird", "fish", "stone"])]
    store = SememeVectorStore.from_texts(
        texts, SememeEmbeddings(FakeEmbedder()), metadatas, ids=list("abcd"), path=tmp_path / "animals"
    )
    yield store
    store.collection.close()


def test_search_by_text_vector_and_filter(animals: SememeVectorStore) -> None:
    found = animals.similarity_search("red bird", k=2)
    assert {one.id for one in found} == {"a", "b"}
    assert found[0] == LangChainDocument("the red bird", metadata={"n": 0, "kind": "bird"}, id="a")
    assert [one.id for one in animals.similarity_search("red bird", filter={"n": {">": 2}})] == ["d"]
    assert animals.embeddings is not None
    vector = animals.embeddings.embed_query("a blue fish")
    assert animals.similarity_search_by_vector(vector, k=1)[0].id == "c"
    (best, score), *_ = animals.similarity_search_with_score("a blue fish")
    assert (best.id, score) == ("c", pytest.approx(1.0, abs=1e-5))
    assert animals.similarity_search_with_relevance_scores("a blue fish", k=1)[0][1] == pytest.approx(1.0, abs=1e-5)


def test_diverse_search(animals: SememeVectorStore) -> None:
    found = animals.max_marginal_relevance_search("the red bird", k=2, lambda_mult=0.1)
    assert found[0].id == "a"
    assert found[1].id != "b"


def test_as_a_retriever(animals: SememeVectorStore) -> None:
    retriever = animals.as_retriever(search_kwargs={"k": 1, "filter": {"kind": "stone"}})
    assert [one.id for one in retriever.invoke("red bird")] == ["d"]


def test_what_is_not_known_is_refused(animals: SememeVectorStore) -> None:
    with pytest.raises(InputError, match="'fliter'"):
        animals.similarity_search("x", fliter={"n": 1})
    with pytest.raises(InputError, match="no ids"):
        animals.delete()
    with pytest.raises(InputError, match="1 texts, 2 ids"):
        animals.add_texts(["x"], ids=["a", "b"])
    with pytest.raises(InputError, match="Flatten"):
        animals.add_texts(["x"], [{"nested": {"a": 1}}])
    with pytest.raises(InputError, match="cosine"):
        SememeVectorStore(
            animals.collection, options=SearchOptions(mode="lexical")
        ).similarity_search_with_relevance_scores("x")


def test_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "collection"
    store = SememeVectorStore.from_texts(
        ["x"], DeterministicFakeEmbedding(size=6), path=path, options=CollectionOptions()
    )
    assert store.embeddings == DeterministicFakeEmbedding(size=6)
    store.collection.close()
    with pytest.raises(CollectionMismatch):
        Collection.open(path, ForeignEmbedder(DeterministicFakeEmbedding(size=7)))
    with pytest.raises(InputError, match="dense vectors of 6"):
        SememeVectorStore.from_texts(
            ["x"],
            DeterministicFakeEmbedding(size=6),
            path=tmp_path / "o",
            options=CollectionOptions(outputs=("sparse",)),
        )
