"""V-measure against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as reference

from sememe.errors import InputError
from sememe.evaluation.metrics.clustering import cluster_agreement

_ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40)


@given(_ROWS)
def test_agreement_equals_scikit_learn(rows: list[tuple[str, int, int]]) -> None:
    expected, clusters, often = (list(column) for column in zip(*rows, strict=True))
    ours = cluster_agreement(expected, clusters)
    theirs = reference.homogeneity_completeness_v_measure(expected, clusters)
    assert (ours.homogeneity, ours.completeness, ours.v_measure) == pytest.approx(theirs, abs=1e-9)
    assume(sum(often))
    weighted = cluster_agreement(expected, clusters, np.array(often, float))
    repeated = cluster_agreement(list(np.repeat(expected, often)), list(np.repeat(clusters, often)))
    assert weighted.v_measure == pytest.approx(repeated.v_measure, abs=1e-9)


def test_counts_must_agree() -> None:
    with pytest.raises(InputError, match="2 classes and 1 clusters"):
        cluster_agreement(["a", "b"], [0])
