"""Values that are not numbers are found, whatever output they stand in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fakes import FakeEmbedder
from sememe.records import EmbedOptions
from sememe.tables.vector_columns import first_broken_row

ANSWER = FakeEmbedder().embed(
    ["one two", "", "three", "four five"], EmbedOptions(outputs=("dense", "sparse", "multi_vector"))
)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 2, 3])
def test_the_first_broken_row_is_found_in_every_output(row: int, value: float) -> None:
    assert first_broken_row(ANSWER) is None
    assert ANSWER.dense is not None
    assert ANSWER.sparse is not None
    assert ANSWER.multi_vector is not None
    dense, sparse, multi = ANSWER.dense.copy(), ANSWER.sparse.values.copy(), ANSWER.multi_vector.vectors.copy()
    dense[row:, 3] = value
    sparse[ANSWER.sparse.indptr[row]] = value
    multi[ANSWER.multi_vector.offsets[row + 1] - 1, 0] = value
    assert first_broken_row(replace(ANSWER, dense=dense)) == row
    assert first_broken_row(replace(ANSWER, sparse=replace(ANSWER.sparse, values=sparse))) == row
    assert first_broken_row(replace(ANSWER, multi_vector=replace(ANSWER.multi_vector, vectors=multi))) == row
