"""Tensors from a torch pickle, by a reader that can build tensors and nothing else.

A torch file (since 1.6) is a zip with one pickle and raw storages. The pickle may call only the four constructors
below; any other name ends the reading. Read only when the user asks for it, or for the small head files that a family
names (`sparse_linear.pt`).
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sememe.errors import CheckpointError
from sememe.ops import Parameter, StoredDtype

# Read in pieces, so that no second copy of a large storage lies beside the first.
_PIECE_BYTES = 1 << 24
_STORAGES: dict[str, tuple[Any, StoredDtype]] = {
    "FloatStorage": (np.float32, "float32"),
    "HalfStorage": (np.float16, "float16"),
    "BFloat16Storage": (np.uint16, "bfloat16"),
    "DoubleStorage": (np.float64, "float64"),
    "LongStorage": (np.int64, "integer"),
    "IntStorage": (np.int32, "integer"),
    "BoolStorage": (np.bool_, "integer"),
    "ByteStorage": (np.uint8, "integer"),
}


class _StorageType:
    def __init__(self, name: str) -> None:
        self.numpy_dtype, self.stored = _STORAGES[name]


def _rebuild_tensor(
    storage: tuple[NDArray[Any], StoredDtype], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> Parameter:
    values, stored = storage
    needed = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    # Also more values than its storage has, by strides of 0: a few bytes could ask for all memory.
    if math.prod(size) and (max(needed, math.prod(size)) > len(values) or min(offset, *stride, *size, 0) < 0):
        raise pickle.UnpicklingError("a tensor reaches past its storage")
    strides = tuple(step * values.itemsize for step in stride)
    return Parameter(np.ascontiguousarray(np.lib.stride_tricks.as_strided(values[offset:], size, strides)), stored)


def _rebuild_parameter(data: Parameter, *_: object) -> Parameter:
    return data


class _Reader(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self._archive, self._root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return _StorageType(name)
        raise pickle.UnpicklingError(f"it calls {module}.{name}, which is not a tensor's constructor")

    def persistent_load(self, pid: Any) -> tuple[NDArray[Any], StoredDtype]:
        kind, storage_type, key, _, n_values = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError("an unknown kind of storage")
        values = self._bytes(f"{self._root}/data/{key}", n_values * np.dtype(storage_type.numpy_dtype).itemsize)
        return values.view(storage_type.numpy_dtype), storage_type.stored

    def _bytes(self, name: str, n_bytes: int) -> NDArray[np.uint8]:
        """The first so many bytes of a file in the archive, in memory of their own, which a graph can share."""
        if not 0 <= n_bytes <= self._archive.getinfo(name).file_size:
            raise pickle.UnpicklingError("a storage is shorter than it says")
        raw = np.empty(n_bytes, np.uint8)
        with self._archive.open(name) as stream:
            for start in range(0, n_bytes, _PIECE_BYTES):
                stop = min(n_bytes, start + _PIECE_BYTES)
                raw[start:stop] = np.frombuffer(stream.read(stop - start), np.uint8)
        return raw


def read_pickled(path: Path) -> dict[str, Parameter]:
    """Tensors by name from a file that `torch.save` wrote. Raises CheckpointError for anything else in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            roots = [name.removesuffix("/data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(roots) != 1:
                raise CheckpointError(f"{path} is not a torch file: expected one data.pkl, found {len(roots)}.")
            state = _Reader(archive, roots[0]).load()
    except CheckpointError:
        raise
    except Exception as exc:  # damaged bytes drive the unpickler into errors of any kind
        raise CheckpointError(f"{path} is not read: {exc!r}. Convert it to safetensors where you trust it.") from exc
    if not isinstance(state, dict) or not all(
        isinstance(n, str) and isinstance(p, Parameter) for n, p in state.items()
    ):
        raise CheckpointError(f"{path} holds something besides tensors by name; expected a state dict.")
    return dict(state)
