"""Frequencies of rotary positions: torch's, to the last bit or the one before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sememe.errors import UnsupportedCheckpoint
from sememe.families.rope import inverse_frequencies, read_theta


@pytest.mark.parametrize("theta", [1000.0, 10000, 20000.0, 160000.0, 500000, 1e6, 3141.59265])
@pytest.mark.parametrize("width", [2, 12, 24, 32, 64, 128])
def test_frequencies_are_those_of_torch(theta: float, width: int) -> None:
    expected = (1.0 / (theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width))).numpy()
    got = inverse_frequencies(theta, width)
    assert got.dtype == np.float32
    off = np.abs(got.view(np.int32) - expected.view(np.int32))  # in units of the last place
    assert off.max() <= 1
    assert (off == 0).mean() >= 0.98


def test_theta_is_read_where_nothing_is_scaled() -> None:
    assert read_theta({"rope_type": "default", "rope_theta": 1e4}, "rope_parameters") == 1e4
    assert read_theta({"rope_theta": 7}, "rope_parameters") == 7


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0},
        {"type": "linear", "rope_theta": 1e4},
        {"rope_type": "default", "rope_theta": 1e4, "factor": 2.0},
    ],
)
def test_a_scaling_is_refused(rope: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedCheckpoint, match="rope_parameters"):
        read_theta(rope, "rope_parameters")
