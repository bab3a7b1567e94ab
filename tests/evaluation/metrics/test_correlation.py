"""Correlations against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from sememe.errors import InputError
from sememe.evaluation.metrics.correlation import pearson, spearman

_VALUES = st.sampled_from([0.0, 1.0, 2.5, 4.0]) | st.floats(-100, 100, width=16)
_PAIRS = st.lists(st.tuples(_VALUES, _VALUES, st.integers(0, 3)), min_size=2, max_size=40)


@given(_PAIRS)
def test_correlations_equal_scipy(rows: list[tuple[float, float, int]]) -> None:
    a, b, often = (np.array(column) for column in zip(*rows, strict=True))
    assume(len(set(a)) > 1 and len(set(b)) > 1)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)
    assert pearson(a, b) == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-9)
    long_a, long_b = np.repeat(a, often), np.repeat(b, often)
    assume(len(set(long_a)) > 1 and len(set(long_b)) > 1)
    assert spearman(a, b, often) == pytest.approx(spearman(long_a, long_b), abs=1e-9)
    assert pearson(a, b, often) == pytest.approx(pearson(long_a, long_b), abs=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([1, 1, 1], [1, 2, 3], "same value everywhere"),
        ([1, math.nan], [1, 2], "NaN or infinite"),
        ([1], [1], "2 or more"),
        ([1, 2], [1, 2, 3], "one length"),
    ],
)
def test_what_cannot_correlate_is_refused(a: list[float], b: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        spearman(a, b)
