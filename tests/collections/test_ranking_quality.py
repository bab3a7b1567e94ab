"""A collection ranks real documents as its judges do: dense as looking at all vectors, words as bm25s."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.relevance import RetrievalSet, ndcg_at_10, read_retrieval_set

from sememe import Embedder
from sememe.collections.collection import Collection
from sememe.collections.documents import Document
from sememe.collections.embedded import dense, index, state
from sememe.collections.options import SearchOptions
from sememe.lexical import BM25, Analyzer, analyze


def _judged(collection: Collection, data: RetrievalSet, mode: str) -> float:
    options = SearchOptions(mode=mode)  # type: ignore[arg-type]
    found = {key: [hit.document.id for hit in collection.search(q, 10, options)] for key, q in data.queries.items()}
    return ndcg_at_10(found, data.relevance)


@pytest.mark.weights
def test_cranfield_is_ranked_as_the_judges_rank_it(
    tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a first pass, which so few documents would do without."""
    weights = data_folder.parent / "weights/potion-base-2M"
    if not weights.is_dir():
        pytest.skip(f"needs the real potion-base-2M: {weights} is not there")
    monkeypatch.setattr(dense, "WORTH_FROM", 1_000)
    monkeypatch.setattr(dense, "_FEW", 100)
    for module in (state, index):
        monkeypatch.setattr(module, "LEAST_TAIL", 100)
    model, data = Embedder(weights), read_retrieval_set(data_folder / "cranfield")
    documents = {id: text for id, text in data.documents.items() if text}
    ids = list(documents)
    with Collection.create(tmp_path / "c", model) as collection:
        collection.upsert([Document(id, text) for id, text in documents.items()])
        assert collection.store._index.current().dense.accelerator is not None  # type: ignore[attr-defined]
        vectors = model.encode_document(list(documents.values()))
        best = np.argsort(-(model.encode_query(list(data.queries.values())) @ vectors.T), axis=1)[:, :10]
        exact = {key: [ids[i] for i in row] for key, row in zip(data.queries, best, strict=True)}
        assert _judged(collection, data, "dense") == pytest.approx(ndcg_at_10(exact, data.relevance), abs=0.002)
        judge = BM25([analyze(text, Analyzer()) for text in documents.values()])
        words = {
            key: [ids[i] for i in judge.search(analyze(q, Analyzer()), 10).indices] for key, q in data.queries.items()
        }
        assert _judged(collection, data, "lexical") == pytest.approx(ndcg_at_10(words, data.relevance), abs=0.01)
