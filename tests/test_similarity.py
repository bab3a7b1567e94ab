"""Similarity of dense vectors, against sentence-transformers' own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sentence_transformers import util

from sememe.errors import InputError
from sememe.records import SimilarityName
from sememe.similarity import similarity, similarity_pairwise

Rows = np.ndarray[tuple[int, int], np.dtype[np.float32]]
REFERENCES: dict[SimilarityName, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "cosine": (util.cos_sim, util.pairwise_cos_sim),
    "dot": (util.dot_score, util.pairwise_dot_score),
    "euclidean": (util.euclidean_sim, util.pairwise_euclidean_sim),
    "manhattan": (util.manhattan_sim, util.pairwise_manhattan_sim),
}
every = pytest.mark.parametrize("function", REFERENCES)


def _rows(n: int, width: int = 24, seed: int = 0) -> Rows:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


@every
def test_equals_the_reference(function: SimilarityName) -> None:
    table, pairwise = REFERENCES[function]
    a, b = _rows(7), _rows(5, seed=1)
    for left, right in ((a, b), (a[0], b), (a, b[0]), (a[0], b[0]), (a, a)):
        np.testing.assert_allclose(similarity(left, right, function), table(left, right).numpy(), atol=3e-5)
    np.testing.assert_allclose(similarity_pairwise(a[:5], b, function), pairwise(a[:5], b).numpy(), atol=3e-5)


@every
@given(
    rows=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=st.floats(-100, 100, width=32)
    )
)
def test_properties_that_always_hold(function: SimilarityName, rows: Rows) -> None:
    scores = similarity(rows, rows, function)
    assert scores.shape == (len(rows), len(rows))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores, scores.T, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(similarity_pairwise(rows, rows, function), scores.diagonal(), rtol=1e-5, atol=1e-3)
    if function != "dot":  # nothing is nearer than the vector itself
        assert (scores <= scores.diagonal()[:, None] + 1e-4)[np.linalg.norm(rows, axis=1) > 1e-6].all()


@every
def test_a_zero_vector_is_near_to_nothing_and_no_nan(function: SimilarityName) -> None:
    a = np.zeros((1, 8), np.float32)
    scores = similarity(a, _rows(3, 8), function)
    np.testing.assert_allclose(scores, REFERENCES[function][0](a, _rows(3, 8)).numpy(), atol=1e-5)


@every
def test_no_rows_give_no_scores(function: SimilarityName) -> None:
    none = np.empty((0, 24), np.float32)
    assert similarity(none, _rows(3), function).shape == (0, 3)
    assert similarity(_rows(3), none, function).shape == (3, 0)
    assert similarity_pairwise(none, none, function).shape == (0,)


def test_near_neighbours_keep_their_order() -> None:
    """By |a|² + |b|² − 2ab they would all be at distance 0."""
    a = np.full((1, 16), 1000, np.float32)
    b = np.stack([a[0] + step for step in (0.001, 0.002, 0.004)]).astype(np.float32)
    scores = similarity(a, b, "euclidean")[0]
    assert scores[0] > scores[1] > scores[2]
    assert similarity(a, a, "euclidean")[0, 0] == 0


@pytest.mark.parametrize(
    ("a", "b"),
    [(_rows(2, 3), _rows(2, 4)), (np.zeros((1, 2, 3)), np.zeros((1, 3))), (3.0, _rows(1, 1))],
    ids=["width", "3d", "0d"],
)
def test_shapes_that_do_not_fit_are_refused(a: Any, b: Any) -> None:
    for compare in (similarity, similarity_pairwise):
        with pytest.raises(InputError, match="width"):
            compare(a, b)


def test_pairs_need_as_many_on_both_sides() -> None:
    with pytest.raises(InputError, match="got 3 and 2"):
        similarity_pairwise(_rows(3), _rows(2))


def test_an_unknown_function_is_refused() -> None:
    for compare in (similarity, similarity_pairwise):
        with pytest.raises(InputError, match=r"'hamming'.* is not one of"):
            compare(_rows(2), _rows(2), "hamming")  # type: ignore[arg-type]
