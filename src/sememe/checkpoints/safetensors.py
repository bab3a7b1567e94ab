"""Reading safetensors files: every tensor a view of the mapped file, nothing copied.

The `safetensors` package gives numpy arrays of bfloat16 only with a further package, and as copies; the format is a
length, a JSON header and bytes, so it is read here, with every bound checked.
Source: the format's description in the safetensors repository, README, "Format".
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from sememe.errors import CheckpointError
from sememe.ops import Parameter, StoredDtype

_DTYPES: dict[str, tuple[Any, StoredDtype]] = {
    "F32": (np.float32, "float32"),
    "F16": (np.float16, "float16"),
    "BF16": (np.uint16, "bfloat16"),
    "F64": (np.float64, "float64"),
    "I64": (np.int64, "integer"),
    "I32": (np.int32, "integer"),
    "I16": (np.int16, "integer"),
    "I8": (np.int8, "integer"),
    "U8": (np.uint8, "integer"),
    "BOOL": (np.bool_, "integer"),
}
# The format's own limit on the header.
_MAX_HEADER_BYTES = 100_000_000
_REMEDY = "The file is damaged or incomplete; bring it again (`sememe models pull NAME`)."


def read_safetensors(path: Path) -> dict[str, Parameter]:
    """Tensors by name, mapped from the file. Raises CheckpointError for a damaged or truncated file."""
    size = path.stat().st_size
    header, start = _read_header(path, size)
    # Copy-on-write: OpenVINO takes only writable arrays without copying them; the file itself stays as it is.
    mapped = np.memmap(path, np.uint8, "c") if size > start else np.empty(0, np.uint8)
    tensors: dict[str, Parameter] = {}
    covered = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if dtype not in _DTYPES:
            raise CheckpointError(f"{path}: tensor {name} has dtype {dtype}; we read {', '.join(_DTYPES)}.")
        numpy_dtype, stored = _DTYPES[dtype]
        n_bytes = math.prod(shape) * np.dtype(numpy_dtype).itemsize
        if begin != covered or end - begin != n_bytes or start + end > size:
            raise CheckpointError(
                f"{path}: tensor {name} {shape} of {dtype} should take {n_bytes} bytes from {covered}, "
                f"but the header says {begin} to {end} of {size - start}. {_REMEDY}"
            )
        covered = end
        raw = mapped[start + begin : start + end]
        if raw.ctypes.data % np.dtype(numpy_dtype).itemsize:
            raw = raw.copy()  # a header of odd length; arrays must be aligned
        tensors[name] = Parameter(np.asarray(raw).view(numpy_dtype).reshape(shape), stored)
    if start + covered != size:
        raise CheckpointError(f"{path}: {size - start - covered} bytes after the last tensor. {_REMEDY}")
    return tensors


def _read_header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
            raise CheckpointError(f"{path}: {size} bytes cannot hold a header of {length} bytes. {_REMEDY}")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_without_repeats)
            header.pop("__metadata__", None)
            for entry in header.values():
                begin, end = entry["data_offsets"]
                numbers = [begin, end, *entry["shape"]]
                if (
                    begin > end
                    or not isinstance(entry["dtype"], str)
                    or any(type(n) is not int or n < 0 for n in numbers)
                ):
                    raise ValueError("an entry's dtype, shape or offsets")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise CheckpointError(f"{path}: the header is not valid ({exc}). {_REMEDY}") from exc
    return header, 8 + length


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name stands in it twice")
    return entries
