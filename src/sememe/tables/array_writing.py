"""Shards → numpy files: .npy (the dense vectors) and .npz (everything), a shard at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import IO, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sememe.tables.contents import Contents
from sememe.tables.vector_columns import dense_array, list_parts, struct_field

_Array = tuple[np.dtype[np.generic], tuple[int, ...], Iterable[NDArray[np.generic]]]
"""An array that comes in parts: its dtype, its shape, its rows some at a time."""


def write_npy(file: BinaryIO, contents: Contents) -> None:
    """Write the dense vectors, (N, D)."""
    _write_array(file, _dense(contents))


def write_npz(file: BinaryIO, contents: Contents) -> None:
    """Write arrays by name. Those of sparse vectors are called as `scipy.sparse.load_npz` wants them."""
    arrays: dict[str, _Array] = {}
    for name, column in (("n_tokens", contents.names.n_tokens), ("n_dropped", contents.names.n_dropped)):
        arrays[name] = _numbers(contents, column)
    if contents.id_column is not None and contents.id_column in contents.schema.names:
        arrays["ids"] = _ids(contents, contents.id_column)
    if "dense" in contents.space.outputs:
        arrays["embeddings"] = _dense(contents)
    if "sparse" in contents.space.outputs:
        arrays |= _sparse(contents)
    if "multi_vector" in contents.space.outputs:
        arrays |= _multi_vectors(contents)
    for name, value in asdict(contents.space).items():
        if value is not None:
            arrays[name] = _value(np.array(value))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            # ZipInfo has a fixed date: the same vectors are the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                _write_array(member, array)


def _write_array(file: IO[bytes], array: _Array) -> None:
    """Write one array in the .npy format, version 1.0 (numpy/lib/format.py)."""
    dtype, shape, parts = array
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]  # it writes, no more
    for part in parts:
        file.write(part.astype(dtype, copy=False).tobytes())


def _value(value: NDArray[np.generic]) -> _Array:
    return value.dtype, value.shape, [value]


def _numbers(contents: Contents, column: str) -> _Array:
    dtype = np.dtype(contents.schema.field(column).type.to_pandas_dtype())
    return dtype, (contents.n_rows,), (table.column(column).to_numpy() for table in contents.tables())


def _dense(contents: Contents) -> _Array:
    kind = contents.schema.field(contents.names.dense).type
    parts = (dense_array(table.column(contents.names.dense)) for table in contents.tables())
    return np.dtype(kind.value_type.to_pandas_dtype()), (contents.n_rows, kind.list_size), parts


def _ids(contents: Contents, column: str) -> _Array:
    if pa.types.is_integer(contents.schema.field(column).type):
        return _numbers(contents, column)
    longest = max((pc.max(pc.utf8_length(t.column(column))).as_py() or 0 for t in contents.tables()), default=0)
    dtype = np.dtype(f"<U{max(longest, 1)}")
    return dtype, (contents.n_rows,), (np.array(t.column(column).to_pylist(), dtype) for t in contents.tables())


def _sparse(contents: Contents) -> dict[str, _Array]:
    def parts(field: str) -> Iterator[tuple[NDArray[np.int64], pa.ChunkedArray]]:
        return (list_parts(struct_field(table.column(contents.names.sparse), field)) for table in contents.tables())

    n_values = sum(int(lengths.sum()) for lengths, _ in parts("indices"))
    return {
        "indptr": (np.dtype(np.int64), (contents.n_rows + 1,), _offsets(lengths for lengths, _ in parts("indices"))),
        "indices": (np.dtype(np.int32), (n_values,), (values.to_numpy() for _, values in parts("indices"))),
        "data": (np.dtype(np.float32), (n_values,), (values.to_numpy() for _, values in parts("values"))),
        "shape": _value(np.array([contents.n_rows, contents.space.n_columns or 0])),
        "format": _value(np.array("csr")),
    }


def _multi_vectors(contents: Contents) -> dict[str, _Array]:
    def parts() -> Iterator[tuple[NDArray[np.int64], pa.ChunkedArray]]:
        return (list_parts(table.column(contents.names.multi_vector)) for table in contents.tables())

    kind = contents.schema.field(contents.names.multi_vector).type.value_type
    n_vectors = sum(int(lengths.sum()) for lengths, _ in parts())
    dtype = np.dtype(kind.value_type.to_pandas_dtype())
    return {
        "multi_offsets": (np.dtype(np.int64), (contents.n_rows + 1,), _offsets(lengths for lengths, _ in parts())),
        "multi_vectors": (dtype, (n_vectors, kind.list_size), (dense_array(values) for _, values in parts())),
    }


def _offsets(lengths: Iterable[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    """Where each row starts, and the end of the last, from lengths that come in parts."""
    n_before = 0
    yield np.zeros(1, np.int64)
    for part in lengths:
        yield n_before + np.cumsum(part, dtype=np.int64)
        n_before += int(part.sum())
