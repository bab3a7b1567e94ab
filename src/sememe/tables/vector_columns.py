"""Embeddings as Arrow columns, and back as arrays.

dense         fixed_size_list<float>[D], or of halffloat, int8, uint8
sparse        struct<indices: list<int32>, values: list<float>>, indices ascending
multi-vector  list<fixed_size_list<float>[D]>
and int32 counts: tokens of the row, tokens that truncation cut off
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sememe.records import Embeddings, Output


@dataclass(frozen=True)
class VectorColumns:
    """Names of the columns that hold embeddings, made from one name that the user may choose."""

    dense: str
    sparse: str
    multi_vector: str
    n_tokens: str
    n_dropped: str

    @classmethod
    def named(cls, name: str) -> VectorColumns:
        """`embedding` gives `embedding`, `embedding_sparse`, `embedding_multi_vector`, `embedding_n_tokens`, …"""
        return cls(name, f"{name}_sparse", f"{name}_multi_vector", f"{name}_n_tokens", f"{name}_n_dropped")

    def used(self, outputs: Iterable[Output]) -> list[str]:
        """Names of the columns that a file with these outputs has, in its order."""
        vectors = {"dense": self.dense, "sparse": self.sparse, "multi_vector": self.multi_vector}
        return [self.n_tokens, self.n_dropped, *(vectors[output] for output in outputs)]


def with_vectors(
    carried: pa.Table, embeddings: Embeddings, outputs: tuple[Output, ...], names: VectorColumns
) -> pa.Table:
    """The rows' own columns and, after them, their embeddings."""
    columns = {
        names.n_tokens: pa.array(embeddings.n_tokens, pa.int32()),
        names.n_dropped: pa.array(embeddings.n_dropped, pa.int32()),
    }
    if embeddings.dense is not None:
        columns[names.dense] = _vectors(embeddings.dense)
    if (sparse := embeddings.sparse) is not None:
        offsets = pa.array(sparse.indptr, pa.int32())
        columns[names.sparse] = pa.StructArray.from_arrays(
            [
                pa.ListArray.from_arrays(offsets, pa.array(sparse.indices)),
                pa.ListArray.from_arrays(offsets, pa.array(sparse.values)),
            ],
            names=["indices", "values"],
        )
    if (multi := embeddings.multi_vector) is not None:
        columns[names.multi_vector] = pa.ListArray.from_arrays(
            pa.array(multi.offsets, pa.int32()), _vectors(multi.vectors)
        )
    added = names.used(outputs)
    schema = pa.schema(
        [*carried.schema, *(pa.field(name, columns[name].type) for name in added)], carried.schema.metadata
    )
    return pa.Table.from_arrays([*carried.columns, *(columns[name] for name in added)], schema=schema)


def first_broken_row(embeddings: Embeddings) -> int | None:
    """The first row with a value that is NaN or infinite, whatever the output; None if all are numbers."""
    rows: list[int] = []
    if embeddings.dense is not None:
        rows += np.flatnonzero(~np.isfinite(embeddings.dense).all(axis=1))[:1].tolist()
    if (sparse := embeddings.sparse) is not None:
        broken = np.flatnonzero(~np.isfinite(sparse.values))[:1]
        rows += (np.searchsorted(sparse.indptr, broken, side="right") - 1).tolist()
    if (multi := embeddings.multi_vector) is not None:
        broken = np.flatnonzero(~np.isfinite(multi.vectors).all(axis=1))[:1]
        rows += (np.searchsorted(multi.offsets, broken, side="right") - 1).tolist()
    return min(rows, default=None)


def dense_array(column: pa.ChunkedArray) -> NDArray[np.generic]:
    """(N, D) of a column of fixed-size lists, in the column's type."""
    width = column.type.list_size
    parts = [_flat(chunk.flatten()) for chunk in column.chunks]
    if not parts:
        return np.empty((0, width), column.type.value_type.to_pandas_dtype())
    return np.concatenate(parts).reshape(-1, width)


def list_parts(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.ChunkedArray]:
    """(N,) lengths of the lists in a column, and the values of all lists end to end."""
    lengths = [_flat(chunk.value_lengths()) for chunk in column.chunks]
    values = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    return np.concatenate([np.empty(0, np.int64), *lengths]).astype(np.int64), values


def struct_field(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """One field of a column of structs."""
    kind = column.type.field(name).type
    return pa.chunked_array([chunk.field(name) for chunk in column.chunks], kind)


def _vectors(values: NDArray[np.generic]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])


def _flat(array: pa.Array) -> NDArray[np.generic]:
    values: NDArray[np.generic] = array.to_numpy(zero_copy_only=False)
    return values
