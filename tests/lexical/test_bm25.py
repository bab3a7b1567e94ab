from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.relevance import ndcg_at_10, read_retrieval_set

from sememe.errors import InputError
from sememe.lexical import BM25, Analyzer, analyze

WORDS = st.lists(st.sampled_from("a b c d e f".split()), max_size=8)


def test_scores_are_those_of_the_formula() -> None:
    index = BM25([["a", "b", "a"], ["b"], ["c", "c"]], k1=1.2, b=0.75)
    # "a": in 1 of 3 documents, twice in the first, which has 3 words where the mean is 2.
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    expected = idf * 2 / (2 + 1.2 * (1 - 0.75 + 0.75 * 3 / 2))
    hits = index.search(["a"], 10)
    assert hits.indices.tolist() == [0]
    assert hits.scores[0] == pytest.approx(expected, rel=1e-6)
    assert index.search(["a", "a"], 10).scores[0] == pytest.approx(2 * expected, rel=1e-6)


def test_nothing_to_find() -> None:
    assert BM25([]).search(["a"], 3).indices.tolist() == []
    assert BM25([[], []]).search(["a"], 3).indices.tolist() == []
    assert BM25([["a"]]).search([], 3).indices.tolist() == []
    assert BM25([["a"], []]).search(["unknown"], 3).indices.tolist() == []
    assert BM25([["a"], []]).scores(["a"])[1] == 0


def test_the_earlier_of_equals_comes_first() -> None:
    assert BM25([["a"]] * 50).search(["a"], 3).indices.tolist() == [0, 1, 2]


def test_bad_values_are_refused() -> None:
    with pytest.raises(InputError, match="k1 -1"):
        BM25([["a"]], k1=-1)
    with pytest.raises(InputError, match=r"b 1\.5"):
        BM25([["a"]], b=1.5)
    with pytest.raises(InputError, match="0 hits"):
        BM25([["a"]]).search(["a"], 0)


@given(st.lists(WORDS, min_size=1, max_size=12), WORDS, st.integers(1, 12))
def test_search_is_the_sorted_scores(documents: list[list[str]], query: list[str], k: int) -> None:
    index = BM25(documents)
    scores, hits = index.scores(query), index.search(query, k)
    expected = [i for i in np.argsort(-scores, kind="stable") if scores[i] > 0][:k]
    assert hits.indices.tolist() == expected
    assert hits.scores.tolist() == scores[expected].tolist()
    assert {i for i, words in enumerate(documents) if set(words) & set(query)} == set(np.flatnonzero(scores).tolist())


@pytest.mark.parametrize(
    ("name", "analyzer", "expected"),
    [
        ("cranfield", Analyzer(), 0.335),
        ("xquad/hi", Analyzer(), 0.945),
        ("xquad/th", Analyzer(), 0.967),
        ("xquad/ru", Analyzer("ru"), 0.952),
    ],
)
def test_real_questions_find_their_passages(data_folder: Path, name: str, analyzer: Analyzer, expected: float) -> None:
    """Figures of this code (November 2026); plain BM25 without marks in words has 0.762 on Hindi."""
    data = read_retrieval_set(data_folder / name)
    index = BM25([analyze(text, analyzer) for text in data.documents.values()])
    ids = list(data.documents)
    found = {
        key: [ids[i] for i in index.search(analyze(text, analyzer), 10).indices] for key, text in data.queries.items()
    }
    assert ndcg_at_10(found, data.relevance) == pytest.approx(expected, abs=0.005)
