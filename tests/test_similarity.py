"""Scores of every kind of embedding, beside sentence-transformers' functions and the plain references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sentence_transformers.util import maxsim as reference_maxsim
from sentence_transformers.util import maxsim_pairwise as reference_maxsim_pairwise

from reference import bge_m3, colbert
from sememe import similarity as module
from sememe.errors import InputError
from sememe.records import Embeddings, MultiVectorEmbeddings, SparseEmbeddings, Usage
from sememe.similarity import (
    Scoring,
    compare,
    compare_pairwise,
    maxsim,
    maxsim_pairwise,
    similarity,
    sparse_similarity,
    sparse_similarity_pairwise,
    stacked,
)

V = 40


def _sparse(n: int, seed: int = 0, *, empty: bool = True) -> SparseEmbeddings:
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.choice(V, rng.integers(0 if empty else 1, 12), replace=False)) for _ in range(n)]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    indices = np.concatenate([np.empty(0, np.int32), *rows]).astype(np.int32)
    return SparseEmbeddings(indptr, indices, rng.random(len(indices)).astype(np.float32) + 0.01, V)


def _lists(n: int, seed: int = 0, width: int = 6) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    made = [rng.normal(size=(rng.integers(1, 9), width)).astype(np.float32) for _ in range(n)]
    return [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in made]


def _record(dense: Any = None, sparse: Any = None, multi_vector: Any = None, n: int = 3) -> Embeddings:
    counts = np.zeros(n, np.int32)
    return Embeddings(dense, sparse, multi_vector, counts, counts, Usage(), "f")


# ── sparse ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(n=st.integers(0, 6), m=st.integers(0, 6), seed=st.integers(0, 99))
def test_sparse_scores_are_those_of_the_full_matrices(n: int, m: int, seed: int) -> None:
    a, b = _sparse(n, seed), _sparse(m, seed + 1)
    left, right = a.to_scipy().toarray(), b.to_scipy().toarray()
    np.testing.assert_allclose(sparse_similarity(a, b), left @ right.T, atol=1e-6)
    unit = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (left, right)]
    np.testing.assert_allclose(sparse_similarity(a, b, "cosine"), unit[0] @ unit[1].T, atol=1e-6)
    if n == m:
        np.testing.assert_allclose(sparse_similarity_pairwise(a, b), np.einsum("nv,nv->n", left, right), atol=1e-6)
    for i in range(n):
        for j in range(m):
            assert sparse_similarity(a, b)[i, j] == pytest.approx(bge_m3.sparse_score(a.weights(i), b.weights(j)))


def test_sparse_vectors_of_two_vocabularies_are_refused() -> None:
    a = _sparse(2)
    with pytest.raises(InputError, match="over 40 and 41 words"):
        sparse_similarity(a, SparseEmbeddings(a.indptr, a.indices, a.values, 41))
    with pytest.raises(InputError, match="not one of dot, cosine"):
        sparse_similarity(a, a, "euclidean")
    with pytest.raises(InputError, match="got 2 and 3"):
        sparse_similarity_pairwise(a, _sparse(3))


# ── lists of vectors ─────────────────────────────────────────────────────────────────────────────────────────────────


@given(n=st.integers(1, 5), m=st.integers(1, 5), seed=st.integers(0, 99), at_once=st.sampled_from([1, 20, 10_000]))
def test_maxsim_is_the_references(n: int, m: int, seed: int, at_once: int) -> None:
    queries, documents = _lists(n, seed), _lists(m, seed + 1)
    before, module._SCORES_AT_ONCE = module._SCORES_AT_ONCE, at_once
    try:
        got, mean = maxsim(queries, documents), maxsim(queries, documents, mean=True)
    finally:
        module._SCORES_AT_ONCE = before
    tensors = [[torch.from_numpy(vectors) for vectors in side] for side in (queries, documents)]
    np.testing.assert_allclose(got, reference_maxsim(*tensors).numpy(), atol=1e-5)
    for i, query in enumerate(queries):
        for j, document in enumerate(documents):
            assert got[i, j] == pytest.approx(colbert.score(query, document), abs=1e-5)
            assert mean[i, j] == pytest.approx(bge_m3.multi_vector_score(query, document), abs=1e-5)
    if n == m:
        pairwise = reference_maxsim_pairwise(*tensors).numpy()
        np.testing.assert_allclose(maxsim_pairwise(queries, documents), pairwise, atol=1e-5)


def test_a_list_without_vectors_is_farther_than_any_other() -> None:
    queries, documents = _lists(2), [*_lists(3, 1), np.empty((0, 6), np.float32)]
    scores = maxsim(queries, documents)
    assert (scores[:, 3] == [-len(query) for query in queries]).all()
    assert (scores[:, :3] >= scores[:, 3:]).all()
    assert maxsim(queries, []).shape == (2, 0)


def test_a_list_finds_itself() -> None:
    lists = _lists(20, 5)
    assert (maxsim(lists, lists).argmax(1) == np.arange(20)).all()
    np.testing.assert_allclose(maxsim(lists, lists, mean=True).diagonal(), 1, atol=1e-6)


@pytest.mark.parametrize("sides", [([np.zeros((2, 3))], [np.zeros((2, 4))]), ([np.zeros(3)], [np.zeros(3)])], ids=str)
def test_lists_that_do_not_fit_are_refused(sides: Any) -> None:
    with pytest.raises(InputError):
        maxsim(*sides)


def test_lists_laid_end_to_end_are_the_same_lists() -> None:
    lists = _lists(4)
    whole = stacked(lists)
    assert len(whole) == 4
    for i in range(-4, 4):
        np.testing.assert_array_equal(whole[i], lists[i])
    assert [len(vectors) for vectors in whole] == [len(vectors) for vectors in lists]  # type: ignore[attr-defined]
    with pytest.raises(IndexError):
        whole[4]


# ── whatever a model gives ───────────────────────────────────────────────────────────────────────────────────────────


def test_several_kinds_are_weighed_as_bge_m3_does() -> None:
    a, b = (
        _record(similarity_rows(seed), _sparse(3, seed), stacked(_lists(3, seed)))
        for seed in (1, 2)
    )  # fmt: skip
    for weights in ((1.0, 1.0, 1.0), (0.4, 0.2, 0.4), (1.0, 0.0, 0.0)):
        scoring = Scoring("dot", mean_over_query=True, weights=dict(zip(bge_m3_kinds, weights, strict=True)))
        got = compare(a, b, scoring)
        assert a.sparse is not None
        assert b.sparse is not None
        assert a.multi_vector is not None
        assert b.multi_vector is not None
        for i in range(3):
            for j in range(3):
                expected = bge_m3.hybrid_score(
                    float(np.asarray(a.dense)[i] @ np.asarray(b.dense)[j]),
                    bge_m3.sparse_score(a.sparse.weights(i), b.sparse.weights(j)),
                    bge_m3.multi_vector_score(a.multi_vector[i], b.multi_vector[j]),
                    weights,
                )
                assert got[i, j] == pytest.approx(expected, abs=1e-5)
        np.testing.assert_allclose(compare_pairwise(a, b, scoring), got.diagonal(), atol=1e-6)


bge_m3_kinds: tuple[Any, ...] = ("dense", "sparse", "multi_vector")


def similarity_rows(seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(3, 5)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_only_shared_kinds_count_and_one_kind_needs_no_weight() -> None:
    rows, words = similarity_rows(1), _sparse(3)
    both, dense, sparse = _record(rows, words), _record(rows), _record(None, words)
    np.testing.assert_allclose(compare(both, dense, Scoring()), similarity(rows, rows), atol=1e-6)
    np.testing.assert_allclose(compare(sparse, both, Scoring()), sparse_similarity(words, words), atol=1e-6)
    for weights in ({}, {"dense": 0.0}, {"dense": -1.0, "sparse": 2.0}):
        with pytest.raises(InputError, match="weights"):
            compare(both, both, Scoring(weights=weights))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="share no kind"):
        compare(dense, sparse, Scoring())


def test_kinds_are_told_apart_and_never_mixed() -> None:
    rows, words, lists = similarity_rows(1), _sparse(3), stacked(_lists(3, width=5))
    late = Scoring("maxsim")
    np.testing.assert_allclose(compare(lists, lists, Scoring()), maxsim(lists, lists))
    np.testing.assert_allclose(compare([lists[0]], lists, late), maxsim([lists[0]], lists))
    np.testing.assert_allclose(compare(lists[0], lists, late), maxsim([lists[0]], lists))
    for a, b in ((rows, words), (words, lists), (_record(rows), rows), (lists, rows[0]), (3.0, lists)):
        with pytest.raises(InputError):
            compare(a, b, late)
    assert isinstance(lists, MultiVectorEmbeddings)
