"""Specimens are reproducible, and the reference reads each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from . import KINDS, kind, make, reference_hidden

BODIES = [name for name in KINDS if "vocab_size" in kind(name).config or name == "nvembed"]
"""All but the static ones."""


@pytest.mark.parametrize("sigma", [pytest.param(None, marks=pytest.mark.slow), 0.3])
@pytest.mark.parametrize("kind", BODIES)
def test_reference_hidden_states_are_finite_and_vary(kind: str, sigma: float | None, tmp_path: Path) -> None:
    folder = make(kind, tmp_path, sigma=sigma)
    states = reference_hidden(folder, [[6], [6, 20, 31, 40, 7]])
    assert [len(s) for s in states] == [1, 5]
    assert all(np.isfinite(s).all() for s in states)
    assert np.abs(states[1][1] - states[1][2]).max() > 0.01


@pytest.mark.parametrize("overrides", [{"weights_file": "pytorch_model.bin"}, {"shards": 3}, {"prefix": "bert."}])
def test_the_same_weights_in_other_files(overrides: dict[str, object], tmp_path: Path) -> None:
    plain = make("bert", tmp_path / "plain", sigma=0.3)
    other = make("bert", tmp_path / "other", sigma=0.3, **overrides)
    ids = [[6, 20, 31, 7]]
    np.testing.assert_array_equal(reference_hidden(plain, ids)[0], reference_hidden(other, ids)[0])


def test_a_specimen_is_the_same_each_time(tmp_path: Path) -> None:
    first = make("mpnet", tmp_path / "first")
    torch.rand(3)
    second = make("mpnet", tmp_path / "second")
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_an_unknown_override_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="n_heds"):
        make("bert", tmp_path, n_heds=2)
