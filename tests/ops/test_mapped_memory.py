"""Giving mapped weights back to the system: the values stay, the memory goes."""

from __future__ import annotations

import mmap
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sememe.checkpoints.safetensors import read_safetensors
from sememe.ops import Parameter
from sememe.ops.mapped_memory import give_back, given_back_meanwhile, n_mapped_bytes

needs_request = pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="no such request on this system")
needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's /proc")


@pytest.fixture
def stored(tmp_path: Path) -> dict[str, Parameter]:
    """16 MB in one tensor, then small ones that begin in the middle of a page."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "a": torch.randn(2048, 2048, generator=generator),
        "b": torch.randn(3, 5, generator=generator).to(torch.bfloat16),
        "c": torch.randn(700, 700, generator=generator).to(torch.bfloat16),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    return read_safetensors(tmp_path / "model.safetensors")


def _resident_bytes(parameter: Parameter) -> int:
    """How much of the mapping that holds the parameter is in memory."""
    address = parameter.values.ctypes.data
    found = False
    for line in Path("/proc/self/smaps").read_text("utf-8").splitlines():
        first, *rest = line.split()
        if "-" in first and ":" not in first:
            low, high = (int(end, 16) for end in first.split("-"))
            found = low <= address < high
        elif found and first == "Rss:":
            return int(rest[0]) * 1024
    raise AssertionError("the parameter lies in no mapping")


@needs_proc
@needs_request
def test_the_values_stay_and_the_memory_goes(stored: dict[str, Parameter]) -> None:
    before = {name: parameter.float32().copy() for name, parameter in stored.items()}
    assert _resident_bytes(stored["a"]) > 16e6
    give_back(stored.values())
    assert _resident_bytes(stored["a"]) < 1e6
    for name, parameter in stored.items():
        np.testing.assert_array_equal(parameter.float32(), before[name])


@needs_proc
@needs_request
def test_memory_is_given_back_while_the_body_runs(stored: dict[str, Parameter]) -> None:
    n_threads = threading.active_count()
    with given_back_meanwhile(stored.values()):
        stored["a"].values.sum()
        for _ in range(200):
            if _resident_bytes(stored["a"]) < 1e6:
                break
            threading.Event().wait(0.01)
        assert _resident_bytes(stored["a"]) < 1e6
    assert threading.active_count() == n_threads


def test_an_error_in_the_body_ends_the_thread(stored: dict[str, Parameter]) -> None:
    n_threads = threading.active_count()
    with pytest.raises(ZeroDivisionError), given_back_meanwhile(stored.values()):
        raise ZeroDivisionError
    assert threading.active_count() == n_threads


def test_memory_of_ones_own_is_left_alone(stored: dict[str, Parameter]) -> None:
    """A stacked weight is a copy: its pages given back would be zeros."""
    copies = [Parameter(parameter.values.copy(), parameter.dtype) for parameter in stored.values()]
    copies.append(Parameter(copies[0].values[512:], copies[0].dtype))
    assert n_mapped_bytes(stored.values()) == sum(parameter.values.nbytes for parameter in copies[:-1])
    assert n_mapped_bytes(copies) == 0
    give_back(copies)
    for copy, parameter in zip(copies, stored.values(), strict=False):
        np.testing.assert_array_equal(copy.values, parameter.values)
