"""Torch files by a reader that builds tensors and nothing else."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sememe.checkpoints.pickled import read_pickled
from sememe.errors import CheckpointError


def _read(state: object, tmp_path: Path) -> dict[str, np.ndarray[Any, Any]]:
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path)
    return {name: parameter.values for name, parameter in read_pickled(path).items()}


def _zip(pickled: bytes, tmp_path: Path) -> Path:
    """A file in torch's layout around any pickle."""
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", bytes(16))
    return path


DTYPES = (torch.float32, torch.float16, torch.float64, torch.int64, torch.int32, torch.bool, torch.uint8)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_torch_saves_is_read(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {
        "w": (10 * torch.rand(4, 3)).to(dtype),
        "scalar": torch.tensor(1).to(dtype),
        "none": torch.zeros(0, 3, dtype=dtype),
    }
    read = _read(state, tmp_path)
    assert set(read) == set(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_bfloat16_keeps_its_bits(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    values = torch.randn(5, 3).bfloat16()
    torch.save({"w": values}, path)
    parameter = read_pickled(path)["w"]
    assert parameter.dtype == "bfloat16"
    np.testing.assert_array_equal(parameter.float32(), values.float().numpy())


def test_views_of_one_storage(tmp_path: Path) -> None:
    """Slices, transposed and tied tensors share a storage; each is read as it was seen."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {"base": base, "slice": base[1:3, 2:5], "transposed": base.T, "tied": base, "step": base[::2, ::3]}
    for name, values in _read(state, tmp_path).items():
        np.testing.assert_array_equal(values, state[name].numpy())


def test_parameters_and_ordered_state_dicts(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    read = _read(OrderedDict(layer.state_dict()), tmp_path)
    np.testing.assert_array_equal(read["weight"], layer.weight.detach().numpy())
    wrapped = _read({"p": torch.nn.Parameter(torch.ones(2))}, tmp_path)
    np.testing.assert_array_equal(wrapped["p"], [1, 1])


class _Malicious:
    """Runs a command when a plain unpickler meets it."""

    def __init__(self, call: Any, *arguments: object) -> None:
        self._reduced = (call, arguments)

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self._reduced


def test_a_malicious_pickle_does_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "it-ran"
    for attack in (
        _Malicious(os.system, f"touch {proof}"),
        _Malicious(eval, f"open({str(proof)!r}, 'w')"),
        _Malicious(getattr, torch.Tensor, "numpy"),
        _Malicious(io.open, str(proof), "w"),
    ):
        with pytest.raises(CheckpointError, match="not a tensor's constructor"):
            _read({"w": torch.ones(2), "x": attack}, tmp_path)
        with pytest.raises(CheckpointError, match="not a tensor's constructor"):
            read_pickled(_zip(pickle.dumps(attack), tmp_path))
    assert not proof.exists()


class _Crafted:
    """A pickle that calls torch's own tensor constructor with any arguments."""

    def __init__(self, n_values: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.n_values, self.arguments = n_values, (offset, size, stride, False, OrderedDict())

    def dumps(self) -> bytes:
        crafted = self

        class Pickler(pickle.Pickler):
            def persistent_id(self, obj: object) -> object:
                return ("storage", torch.FloatStorage, "0", "cpu", crafted.n_values) if obj is crafted else None

        class Tensor:
            def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
                return torch._utils._rebuild_tensor_v2, (crafted, *crafted.arguments)

        stream = io.BytesIO()
        Pickler(stream, protocol=2).dump({"w": Tensor()})
        return stream.getvalue()


CRAFTED = {
    "past its storage": _Crafted(4, 0, (5,), (1,)),
    "past it by strides": _Crafted(4, 0, (2,), (4,)),
    "past it by the offset": _Crafted(4, 3, (2,), (1,)),
    "a negative offset": _Crafted(4, -1, (2,), (1,)),
    "a negative stride": _Crafted(4, 3, (2,), (-1,)),
    "a negative size": _Crafted(4, 0, (-2,), (1,)),
    "more strides than sizes": _Crafted(4, 0, (2,), (1, 1)),
    "more values than bytes": _Crafted(5, 0, (5,), (1,)),
    "an enormous tensor of one value": _Crafted(4, 0, (2**40,), (0,)),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_tensor_that_reads_past_its_bytes_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        read_pickled(_zip(CRAFTED[name].dumps(), tmp_path))


def test_a_crafted_tensor_within_its_bytes_is_read(tmp_path: Path) -> None:
    read = read_pickled(_zip(_Crafted(4, 1, (3,), (1,)).dumps(), tmp_path))
    np.testing.assert_array_equal(read["w"].values, [0, 0, 0])


@pytest.mark.parametrize(
    "state",
    [
        {"w": torch.ones(2), "epoch": 3},
        [torch.ones(2)],
        torch.ones(2),
        "text",
        {"model": {"w": torch.ones(2)}},
        {1: torch.ones(2)},
    ],
    ids=["a number", "a list", "one tensor", "text", "nested", "names that are no text"],
)
def test_anything_but_tensors_by_name_is_refused(state: object, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="something besides tensors by name"):
        _read(state, tmp_path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"w": torch.ones(50)}, path)
    whole = path.read_bytes()
    for n_bytes in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(CheckpointError):
            read_pickled(path)
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="Convert it to safetensors"):
        read_pickled(path)
    for pickled in (b"", b"not a pickle", b"\x80\x02.", b"\x80\x02}q\x00"):
        with pytest.raises(CheckpointError):
            read_pickled(_zip(pickled, tmp_path))


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_no_damage_to_the_pickle_ends_in_anything_but_our_error(at: int, byte: int, tmp_path: Path) -> None:
    damaged = bytearray(_Crafted(4, 1, (3,), (1,)).dumps())
    damaged[at % len(damaged)] = byte
    with contextlib.suppress(CheckpointError):
        read_pickled(_zip(bytes(damaged), tmp_path))


def test_a_flipped_bit_in_the_values_is_seen(tmp_path: Path) -> None:
    """The zip's own checksums cover them."""
    path = tmp_path / "pytorch_model.bin"
    torch.save({"w": torch.full((64,), 3.5)}, path)
    damaged = bytearray(path.read_bytes())
    at = damaged.index(torch.full((4,), 3.5).numpy().tobytes())
    damaged[at + 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError):
        read_pickled(path)
