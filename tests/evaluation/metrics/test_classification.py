"""Labels and scores against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from sememe.errors import InputError
from sememe.evaluation.metrics.classification import (
    accuracy,
    average_precision,
    best_accuracy,
    best_f1,
    macro_f1,
    read_labels,
    sort_scores,
    weighted_f1,
)

_LABELS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abce"), st.integers(0, 3)), min_size=1)
_SCORED = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.9, -1.0]) | st.floats(-1, 1), st.integers(0, 3)),
    min_size=1,
)


@given(_LABELS)
def test_labels_equal_scikit_learn(rows: list[tuple[str, str, int]]) -> None:
    expected, predicted, often = zip(*rows, strict=True)
    labels = read_labels(expected, predicted)
    assert accuracy(labels) == pytest.approx(reference.accuracy_score(expected, predicted), abs=1e-9)
    for ours, average in ((macro_f1, "macro"), (weighted_f1, "weighted")):
        theirs = reference.f1_score(expected, predicted, average=average, zero_division=0)
        assert ours(labels) == pytest.approx(theirs, abs=1e-9)
    assume(sum(often))
    # Weights are the same as repeating.
    long = read_labels(*(tuple(np.repeat(side, often)) for side in (expected, predicted)))
    weights = np.array(often, float)
    assert macro_f1(labels, weights) == pytest.approx(macro_f1(long), abs=1e-9)
    assert weighted_f1(labels, weights) == pytest.approx(weighted_f1(long), abs=1e-9)
    assert accuracy(labels, weights) == pytest.approx(accuracy(long), abs=1e-9)


@given(_SCORED)
def test_average_precision_equals_scikit_learn(rows: list[tuple[bool, float, int]]) -> None:
    truth, scores, often = (np.array(column) for column in zip(*rows, strict=True))
    assume(truth.any())
    ours = sort_scores(truth, scores)
    assert average_precision(ours) == pytest.approx(reference.average_precision_score(truth, scores), abs=1e-9)
    assume(truth[often > 0].any())
    theirs = reference.average_precision_score(truth, scores, sample_weight=often)
    assert average_precision(ours, often.astype(float)) == pytest.approx(theirs, abs=1e-9)


@settings(max_examples=30)
@given(_SCORED)
def test_the_best_threshold_is_the_best(rows: list[tuple[bool, float, int]]) -> None:
    truth, scores, _ = (np.array(column) for column in zip(*rows, strict=True))
    assume(truth.any())
    thresholds = [*np.unique(scores), np.inf]
    ours = sort_scores(truth, scores)
    best = best_accuracy(ours)
    assert best.value == pytest.approx(max(reference.accuracy_score(truth, scores >= t) for t in thresholds), abs=1e-9)
    assert best.value == pytest.approx(np.mean(truth == (scores >= best.threshold)), abs=1e-9)
    f1 = best_f1(ours)
    assert f1.value == pytest.approx(max(reference.f1_score(truth, scores >= t, zero_division=0) for t in thresholds))
    assert f1.value == pytest.approx(reference.f1_score(truth, scores >= f1.threshold), abs=1e-9)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(InputError, match="1 scores are NaN"):
        sort_scores([True, False], [0.1, math.nan])
    with pytest.raises(InputError, match="No pair is positive"):
        average_precision(sort_scores([False, False], [0.1, 0.2]))
    with pytest.raises(InputError, match="at least one"):
        read_labels([], [])
