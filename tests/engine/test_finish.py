"""Cut, then normalise again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sememe.engine.finish import check_dimensions, cut, layer_norm, normalize
from sememe.errors import InputError

ROWS = hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 40)), elements=st.floats(-1e6, 1e6, width=32))


@given(ROWS)
def test_lengths_are_one_or_zero(rows: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    normalized = normalize(rows)
    assert normalized.dtype == np.float32
    lengths = np.linalg.norm(normalized.astype(np.float64), axis=1)
    there = np.linalg.norm(rows.astype(np.float64), axis=1) > 1e-12
    np.testing.assert_allclose(lengths[there], 1, atol=1e-6)
    assert (lengths[~there] <= 1).all()


def test_normalize_equals_the_reference() -> None:
    rows = np.random.default_rng(0).normal(size=(7, 33)).astype(np.float32)
    rows[3] = 0
    expected = torch.nn.functional.normalize(torch.from_numpy(rows), dim=1).numpy()
    np.testing.assert_allclose(normalize(rows), expected, atol=1e-7)


def test_layer_norm_equals_the_reference() -> None:
    rows = np.random.default_rng(0).normal(3, 2, size=(7, 33)).astype(np.float32)
    expected = torch.nn.functional.layer_norm(torch.from_numpy(rows), (33,)).numpy()
    np.testing.assert_allclose(layer_norm(rows), expected, atol=1e-6)


def test_cut_keeps_the_first_values() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_array_equal(cut(rows, 2), [[0, 1], [6, 7]])
    assert cut(rows, None) is rows


@pytest.mark.parametrize("dimensions", [0, -1, 385, 10**9])
def test_a_cut_beyond_the_model_is_refused(dimensions: int) -> None:
    with pytest.raises(InputError, match=rf"{dimensions} dimensions.*this model has 384\. Ask for 1 to 384"):
        check_dimensions(dimensions, 384)


@pytest.mark.parametrize("dimensions", [None, 1, 384])
def test_a_cut_within_the_model_is_not(dimensions: int | None) -> None:
    check_dimensions(dimensions, 384)
