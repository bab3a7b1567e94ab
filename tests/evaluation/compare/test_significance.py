from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sememe.evaluation.bootstrap import BootstrapOptions
from sememe.evaluation.compare.significance import against_best, holm, p_values

OPTIONS = BootstrapOptions(n_resamples=200)


def test_p_is_that_of_all_signs() -> None:
    """With ten queries every one of the 1,024 sign patterns can be counted."""
    differences = np.random.default_rng(0).normal(0.3, 0.5, (10, 3))
    means = np.abs(differences.mean(axis=0))
    all_signs = np.array(list(product((-1, 1), repeat=10)))
    exact = (np.abs(all_signs @ differences / 10) >= means - 1e-12).mean(axis=0)
    assert p_values([differences], 40_000, 0) == pytest.approx(exact, abs=0.01)


def test_p_agrees_with_scipy() -> None:
    from scipy.stats import permutation_test

    differences = np.random.default_rng(1).normal(0.1, 0.5, 60)
    theirs = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9_999, rng=np.random.default_rng(2)
    )
    assert p_values([differences[:, None]], 9_999, 0)[0] == pytest.approx(theirs.pvalue, abs=0.015)


def test_the_same_system_twice_is_no_difference() -> None:
    found = against_best("t", {"a": [np.ones(9)], "b": [np.ones(9)]}, n_permutations=100, alpha=0.05, bootstrap=OPTIONS)
    assert [(d.p, d.is_real, d.value) for d in found] == [(1.0, False, 0.0)]


def test_a_constant_loss_is_real_and_has_its_interval() -> None:
    rng = np.random.default_rng(0)
    best = [rng.random(200), rng.random(50)]
    values = {"best": best, "worse": [task - 0.1 for task in best], "same": [task - 1e-9 for task in best]}
    noisy = {name: [task + rng.normal(0, 1e-3, len(task)) for task in tasks] for name, tasks in values.items()}
    found = {d.system: d for d in against_best("", noisy, n_permutations=2_000, alpha=0.05, bootstrap=OPTIONS)}
    assert found["worse"].is_real
    assert found["worse"].low <= -0.1 + 1e-3
    assert found["worse"].high <= -0.09


@given(st.lists(st.floats(1e-4, 1), min_size=1, max_size=12))
def test_holm(p: list[float]) -> None:
    adjusted = holm(np.array(p))
    order = np.argsort(p, kind="stable")
    assert (adjusted >= np.array(p) - 1e-15).all()
    assert (np.diff(adjusted[order]) >= 0).all()
    assert adjusted[order[0]] == pytest.approx(min(1, p[order[0]] * len(p)))


def test_holm_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
