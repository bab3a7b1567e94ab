"""Smaller numbers, by sentence-transformers' definitions."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sentence_transformers.util import quantize_embeddings as reference

from sememe.engine.quantize import quantize_embeddings, to_steps, value_ranges
from sememe.errors import InputError
from sememe.records import OUTPUT_DTYPES, OutputDtype

SAME: tuple[OutputDtype, ...] = ("int8", "uint8", "binary", "ubinary")
Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def _vectors(n: int = 150, width: int = 37, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


@pytest.mark.parametrize("dtype", SAME)
def test_equals_the_reference(dtype: OutputDtype) -> None:
    vectors, calibration = _vectors(), _vectors(300, seed=1)
    ranges = np.stack([-np.ones(37), np.linspace(0.5, 2, 37)]).astype(np.float32)
    for options in ({}, {"calibration_embeddings": calibration}, {"ranges": ranges}):
        got = quantize_embeddings(vectors, dtype, **options)
        expected = reference(vectors, precision=dtype, **options)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected, err_msg=str(list(options)))


@given(
    vectors=hnp.arrays(
        np.float32, st.tuples(st.integers(2, 12), st.integers(1, 19)), elements=st.floats(-8, 8, width=16)
    ),
    dtype=st.sampled_from(SAME),
)
def test_equals_the_reference_for_any_values(vectors: Vectors, dtype: OutputDtype) -> None:
    np.testing.assert_array_equal(quantize_embeddings(vectors, dtype), reference(vectors, precision=dtype))


def test_binary_is_above_zero_and_the_order_of_bits() -> None:
    vector = np.array([[1, -1, 0, 0.5, -0.0, 1e-30, -1, 2, 3]], np.float32)
    np.testing.assert_array_equal(quantize_embeddings(vector, "ubinary"), [[0b10010101, 0b10000000]])
    np.testing.assert_array_equal(quantize_embeddings(vector, "binary"), [[0b10010101 - 128, 0]])


def test_values_outside_the_range_go_to_its_ends() -> None:
    ranges = np.array([[-1, 0], [1, 0]], np.float32)
    vectors = np.array([[-5, 3], [5, -3], [0, 0]], np.float32)
    np.testing.assert_array_equal(to_steps(vectors, ranges, "uint8")[:, 0], [0, 255, 127])
    np.testing.assert_array_equal(to_steps(vectors, ranges, "int8")[:, 0], [-128, 127, -1])


def test_float_types() -> None:
    vectors = _vectors()
    assert quantize_embeddings(vectors, "float32") is vectors
    half = quantize_embeddings(vectors, "float16")
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, vectors.astype(np.float16))


@pytest.mark.parametrize("dtype", OUTPUT_DTYPES)
def test_no_vectors_give_no_rows(dtype: OutputDtype) -> None:
    got = quantize_embeddings(np.empty((0, 20), np.float32), dtype)
    expected = (
        reference(np.empty((0, 20), np.float32), precision=dtype) if dtype != "float16" else np.empty((0, 20), "f2")
    )
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_ranges_of_one_vector_say_nothing(dtype: OutputDtype) -> None:
    """Every value would be its own range's lowest step."""
    with pytest.raises(InputError, match=r"one vector.*ranges="):
        quantize_embeddings(_vectors(1), dtype)
    assert quantize_embeddings(_vectors(1), dtype, calibration_embeddings=_vectors()).any()


def test_few_vectors_give_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        value_ranges(_vectors(100))
        assert not caplog.records
        value_ranges(_vectors(99))
    assert "only 99 vectors" in caplog.text


def test_an_unknown_type_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'int4' is not one of float32, float16, int8"):
        quantize_embeddings(_vectors(), "int4")  # type: ignore[arg-type]
