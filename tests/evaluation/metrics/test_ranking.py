"""Rankings against pytrec_eval: every metric it has, at every cut, with ties, grades and missing queries."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sememe.errors import InputError
from sememe.evaluation.metrics.ranking import evaluate_run, mean_metrics, trec_order

pytrec_eval = pytest.importorskip("pytrec_eval")

CUTS = (1, 2, 3, 5, 10, 100)
# ours → trec_eval's measure and the name of its result
_REFERENCE = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P", "hit_rate": "success"}
_IDS = st.text("0123456789abZ-é", min_size=1, max_size=3)
_GRADES = st.dictionaries(_IDS, st.integers(-1, 3), min_size=1, max_size=12)
# Few different values, so that ties are common; and values that are equal in single precision only.
_SCORES = st.dictionaries(_IDS, st.sampled_from([0.0, 0.5, 0.5 + 1e-9, 0.25, -1.0, 1e-3, 7.0]), max_size=15)
_QUERIES = st.sampled_from(["1", "2", "10", "q"])


def _reference(qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    wanted = {f"{name}.{','.join(map(str, CUTS))}" for name in _REFERENCE.values()} | {"recip_rank"}
    return pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)


@given(st.dictionaries(_QUERIES, _GRADES, min_size=1), st.dictionaries(_QUERIES, _SCORES))
def test_metrics_equal_trec_eval(qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]) -> None:
    ours, theirs = evaluate_run(qrels, run, CUTS), _reference(qrels, run)
    assert set(ours) == set(qrels)
    for query, metrics in ours.items():
        # pytrec_eval leaves out queries without a ranking; they are zero, as with `trec_eval -c`.
        reference = theirs.get(query) if run.get(query) else None
        for name, measure in _REFERENCE.items():
            for cut in CUTS:
                expected = 0.0 if reference is None else reference[f"{measure}_{cut}"]
                assert metrics[f"{name}@{cut}"] == pytest.approx(expected, abs=1e-9), (query, name, cut)
        expected = 0.0 if reference is None else reference["recip_rank"]
        assert metrics["mrr@100"] == pytest.approx(expected, abs=1e-9)


def test_f1_is_the_harmonic_mean() -> None:
    found = evaluate_run({"q": {"a": 1, "b": 2, "c": 0}}, {"q": {"a": 3, "c": 2, "x": 1}}, (1, 3))["q"]
    assert found["f1@3"] == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert found["f1@1"] == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert evaluate_run({"q": {"a": 1}}, {}, (1,))["q"]["f1@1"] == 0.0


def test_mean_over_judged_queries_counts_the_missing_ones() -> None:
    qrels = {"1": {"a": 1}, "2": {"b": 1}}
    assert mean_metrics(evaluate_run(qrels, {"1": {"a": 1.0}, "3": {"x": 1.0}}, (1,)))["ndcg@1"] == 0.5


def test_equal_scores_are_ordered_by_the_larger_id() -> None:
    assert trec_order({"1": 0.5, "10": 0.5, "2": 0.5, "x": 0.5 + 1e-12, "0": 0.6}) == ["0", "x", "2", "10", "1"]


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        trec_order({"a": math.nan})
    with pytest.raises(InputError, match="no query"):
        mean_metrics({})
