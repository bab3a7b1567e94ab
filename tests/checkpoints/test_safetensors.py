"""Reading safetensors: what the `safetensors` package writes, and every way in which a file can be damaged."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

from sememe.checkpoints.safetensors import read_safetensors
from sememe.errors import CheckpointError

DTYPES = [np.float32, np.float16, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]


def _write(path: Path, header: Any, data: bytes) -> Path:
    """A file with this header, JSON or raw bytes, and this body."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def _entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@given(
    tensors=st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__"),
        st.sampled_from(DTYPES).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
        ),
        max_size=5,
    ),
    metadata=st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1, max_size=2),
)
def test_what_the_package_writes_is_read(
    tensors: dict[str, np.ndarray[Any, Any]], metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors, path, metadata)
    read = read_safetensors(path)
    assert set(read) == set(tensors)
    for name, parameter in read.items():
        assert parameter.values.dtype == tensors[name].dtype
        np.testing.assert_array_equal(parameter.values, tensors[name])
        assert parameter.values.flags.aligned


def test_bfloat16_keeps_its_bits(tmp_path: Path) -> None:
    values = torch.randn(5, 3).bfloat16()
    path = tmp_path / "model.safetensors"
    save_torch_file({"w": values, "half": values.half()}, path)
    read = read_safetensors(path)
    assert (read["w"].dtype, read["half"].dtype) == ("bfloat16", "float16")
    np.testing.assert_array_equal(read["w"].float32(), values.float().numpy())
    np.testing.assert_array_equal(read["half"].float32(), values.half().float().numpy())


def test_nothing_is_copied_and_the_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": np.ones(16, np.float32)}, path)
    before = path.read_bytes()
    values = read_safetensors(path)["w"].values
    assert not values.flags.owndata
    values[:] = 7  # OpenVINO takes only writable arrays without copying them
    assert path.read_bytes() == before


def test_a_header_of_odd_length_still_gives_aligned_arrays(tmp_path: Path) -> None:
    header = json.dumps({"w": _entry("F32", [2], 0, 8)}).encode()
    for padding in range(4):
        path = _write(tmp_path / f"{padding}.safetensors", header + b" " * padding, np.ones(2, "<f4").tobytes())
        values = read_safetensors(path)["w"].values
        assert values.flags.aligned
        np.testing.assert_array_equal(values, [1, 1])


def test_no_tensors_is_an_empty_file(tmp_path: Path) -> None:
    assert read_safetensors(_write(tmp_path / "empty.safetensors", {}, b"")) == {}
    assert read_safetensors(_write(tmp_path / "m.safetensors", {"__metadata__": {"format": "pt"}}, b"")) == {}


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """The bytes of a good file with two tensors."""
    path = tmp_path / "whole.safetensors"
    save_file({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float16)}, path)
    return path.read_bytes()


def test_every_truncation_is_refused(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.safetensors.*damaged or incomplete"):
            read_safetensors(path)


def test_no_flipped_bit_of_the_header_ends_in_anything_but_our_error(whole: bytes, tmp_path: Path) -> None:
    """A flip may give another valid name or dtype of the same size; the loader's other checks see those."""
    path = tmp_path / "flipped.safetensors"
    n_header = 8 + struct.unpack("<Q", whole[:8])[0]
    refused = 0
    for bit in range(8 * n_header):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read = read_safetensors(path)
        except CheckpointError:
            refused += 1
            continue
        assert sum(parameter.values.nbytes for parameter in read.values()) == 32
    assert refused > 0.8 * 8 * n_header


OVERLAP = {"a": _entry("F32", [2], 0, 8), "b": _entry("F32", [2], 4, 12)}
GAP = {"a": _entry("F32", [2], 0, 8), "b": _entry("F32", [1], 12, 16)}
BAD_HEADERS: dict[str, tuple[Any, int]] = {
    "overlapping offsets": (OVERLAP, 12),
    "a gap": (GAP, 16),
    "past the end": ({"a": _entry("F32", [4], 0, 16)}, 12),
    "trailing bytes": ({"a": _entry("F32", [2], 0, 8)}, 9),
    "a shape that is not its bytes": ({"a": _entry("F32", [3], 0, 8)}, 8),
    "offsets backwards": ({"a": _entry("F32", [2], 8, 0)}, 8),
    "a negative offset": ({"a": _entry("F32", [2], -8, 0)}, 8),
    "a negative size": ({"a": _entry("F32", [-2], 0, 8)}, 8),
    "a size of more than 64 bits": ({"a": _entry("F32", [2**70, 0, 2], 0, 8)}, 8),
    "a size that is no number": ({"a": _entry("F32", ["2"], 0, 8)}, 8),  # type: ignore[list-item]
    "true as a size": ({"a": {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}}, 8),
    "fractional offsets": ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0.0, 8.0]}}, 8),
    "three offsets": ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4, 8]}}, 8),
    "no offsets": ({"a": {"dtype": "F32", "shape": [2]}}, 8),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, 8),
    "an unknown dtype": ({"a": _entry("F8_E4M3", [8], 0, 8)}, 8),
    "an entry that is no object": ({"a": [0, 8]}, 8),
    "a list": ([], 0),
    "a number": (b"12", 0),
    "no JSON": (b"{nonsense", 0),
    "no UTF-8": (b'{"\xff\xfe": 1}', 0),
    "a name twice": (b'{"a": %b, "a": %b}' % (2 * (json.dumps(_entry("F32", [2], 0, 8)).encode(),)), 8),
    "nested too deep": (b"[" * 100_000, 0),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_bad_header_is_refused(name: str, tmp_path: Path) -> None:
    header, n_bytes = BAD_HEADERS[name]
    path = _write(tmp_path / "bad.safetensors", header, bytes(n_bytes))
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        read_safetensors(path)


def test_a_header_longer_than_the_format_allows_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(CheckpointError, match="cannot hold a header"):
        read_safetensors(path)
