from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sememe.errors import InputError
from sememe.fusion import (
    Ranking,
    maximal_marginal_relevance,
    reciprocal_rank_fusion,
    weighted_sum,
)

WORDS = Ranking(["a", "b", "c"], [9.0, 5.0, 1.0])
MEANING = Ranking(["c", "a", "d"], [0.9, 0.8, 0.7])

RANKINGS = st.lists(
    st.lists(st.integers(0, 9), unique=True, max_size=10).map(
        lambda ids: Ranking(ids, [float(len(ids) - i) for i in range(len(ids))])
    ),
    min_size=1,
    max_size=3,
)


def test_reciprocal_rank_fusion_by_hand() -> None:
    fused = reciprocal_rank_fusion([WORDS, MEANING])
    assert [one.id for one in fused] == ["a", "c", "b", "d"]
    assert fused[0].score == pytest.approx(1 / 61 + 1 / 62)
    assert fused[1].score == pytest.approx(1 / 63 + 1 / 61)
    assert (fused[0].ranks, fused[0].scores) == ((1, 2), (9.0, 0.8))
    assert (fused[3].ranks, fused[3].scores) == ((None, 3), (None, 0.7))


def test_k_and_weights_of_reciprocal_rank_fusion() -> None:
    assert [one.id for one in reciprocal_rank_fusion([WORDS, MEANING], weights=[0, 1])][:3] == ["c", "a", "d"]
    assert reciprocal_rank_fusion([WORDS], k=0)[1].score == pytest.approx(0.5)
    assert reciprocal_rank_fusion([WORDS, MEANING], k=0, weights=[2, 1])[0].score == pytest.approx(2 + 1 / 2)


def test_weighted_sum_by_hand() -> None:
    fused = weighted_sum([WORDS, MEANING], weights=[0.5, 0.5])
    # words: a 1, b 0.5, c 0; meaning: c 1, a 0.5, d 0. What one lacks gets its worst: b and d 0.
    assert {one.id: one.score for one in fused} == pytest.approx({"a": 0.75, "c": 0.5, "b": 0.25, "d": 0.0})
    z = weighted_sum([WORDS, MEANING], normalization="z_score")
    step = np.sqrt(1.5)  # scores at equal distances: mean 0, standard deviation 1
    assert {one.id: one.score for one in z} == pytest.approx({"a": step, "c": 0.0, "b": -step, "d": -2 * step})


def test_scores_without_spread() -> None:
    assert [one.score for one in weighted_sum([Ranking(["a", "b"], [3.0, 3.0])])] == [1.0, 1.0]
    assert [one.score for one in weighted_sum([Ranking(["a"], [3.0])], normalization="z_score")] == [0.0]
    assert weighted_sum([Ranking([], []), Ranking(["a"], [1.0])])[0].ranks == (None, 1)
    assert weighted_sum([]) == reciprocal_rank_fusion([Ranking([], [])]) == []


def test_bad_values_are_refused() -> None:
    with pytest.raises(InputError, match="2 ids and 1 scores"):
        Ranking(["a", "b"], [1.0])
    with pytest.raises(InputError, match="twice"):
        Ranking(["a", "a"], [1.0, 0.5])
    with pytest.raises(InputError, match="NaN"):
        Ranking(["a"], [float("nan")])
    with pytest.raises(InputError, match="k -1"):
        reciprocal_rank_fusion([WORDS], k=-1)
    with pytest.raises(InputError, match="weights"):
        reciprocal_rank_fusion([WORDS, MEANING], weights=[1])
    with pytest.raises(InputError, match="weights"):
        weighted_sum([WORDS], weights=[-1])
    with pytest.raises(InputError, match="'rank' is not one of min_max, z_score"):
        weighted_sum([WORDS], normalization="rank")  # type: ignore[arg-type]


@given(RANKINGS)
def test_everything_found_is_there_once_and_in_order(rankings: list[Ranking[int]]) -> None:
    for fused in (reciprocal_rank_fusion(rankings), weighted_sum(rankings)):
        assert sorted(one.id for one in fused) == sorted({found for ranking in rankings for found in ranking.ids})
        assert [one.score for one in fused] == sorted((one.score for one in fused), reverse=True)


@given(RANKINGS)
def test_one_ranking_keeps_its_order(rankings: list[Ranking[int]]) -> None:
    for ranking in rankings:
        assert [one.id for one in reciprocal_rank_fusion([ranking])] == list(ranking.ids)
        assert [one.id for one in weighted_sum([ranking, ranking])] == list(ranking.ids)


def test_mmr_by_hand() -> None:
    vectors = np.array([[1, 0], [1, 0.01], [0, 1]], np.float32)
    relevance = np.array([0.9, 0.89, 0.5], np.float32)
    assert maximal_marginal_relevance(relevance, vectors, 3, balance=0.5) == [0, 2, 1]
    assert maximal_marginal_relevance(relevance, vectors, 2, balance=1.0) == [0, 1]
    assert maximal_marginal_relevance(relevance, vectors, 9) == [0, 2, 1]
    assert maximal_marginal_relevance(relevance[:0], vectors[:0], 3) == []
    with pytest.raises(InputError, match="balance"):
        maximal_marginal_relevance(relevance, vectors, 2, balance=2)
    with pytest.raises(InputError, match="shapes"):
        maximal_marginal_relevance(relevance[:2], vectors, 2)


@given(st.integers(0, 8), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_mmr_chooses_each_once_and_the_most_relevant_first(n: int, balance: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n, 4)).astype(np.float32)
    relevance = random.random(n).astype(np.float32)
    chosen = maximal_marginal_relevance(relevance, vectors, 5, balance=balance)
    assert len(chosen) == len(set(chosen)) == min(n, 5)
    if n and balance > 0.01:
        assert chosen[0] == int(np.argmax(relevance))
