"""Tables with embeddings → JSON lines: the row's own fields, then its embeddings.

Numbers have as many digits as tell a float32 from its neighbours, so they come back as they were.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sememe.errors import InputError
from sememe.tables.vector_columns import VectorColumns, list_parts, struct_field

_to_json = json.JSONEncoder(ensure_ascii=False).encode  # made once; `json.dumps` makes one for each row


def refuse_bytes(schema: pa.Schema) -> None:
    """Raise InputError for a column that JSON has no values for."""
    for field in schema:
        if _has_bytes(field.type):
            raise InputError(
                f"Column {field.name!r} holds {field.type}, which JSON cannot. Write .parquet or .arrow, or leave the "
                "column out with --keep-columns id."
            )


def write_json_lines(file: BinaryIO, table: pa.Table, own: list[str], names: VectorColumns, records: bool) -> None:
    """Write the rows of one table. own: its columns that hold no embeddings; records: they are one, of JSON objects."""
    heads = table.column(own[0]).to_pylist() if records else _objects(table, own)
    added = [(json.dumps(name), _json_values(table, name, names)) for name in table.column_names if name not in own]
    for row, head in enumerate(heads):
        open_object = head[: head.rindex("}")].rstrip()
        comma = "" if open_object == "{" else ", "
        fields = ", ".join(f"{key}: {values[row]}" for key, values in added)
        file.write(f"{open_object}{comma}{fields}}}\n".encode())


def _objects(table: pa.Table, columns: list[str]) -> Iterator[str]:
    values = [_python_values(table.column(name)) for name in columns]
    for row in range(len(table)):
        yield _to_json({name: column[row] for name, column in zip(columns, values, strict=True)})


def _python_values(column: pa.ChunkedArray) -> list[object]:
    if pa.types.is_temporal(column.type) or pa.types.is_decimal(column.type):
        column = pc.cast(column, pa.string())
    return [_plain(value) for value in column.to_pylist()]


def _plain(value: object) -> object:
    """The value with what JSON has no word for put in one that it has."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(key): _plain(part) for key, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case _:
            return str(value)


def _json_values(table: pa.Table, name: str, names: VectorColumns) -> list[str]:
    """Column `name`, one of embeddings or counts, as JSON text for each row."""
    column = table.column(name)
    if name in (names.n_tokens, names.n_dropped):
        return [str(count) for count in column.to_pylist()]
    if name == names.dense:
        return _vector_texts(column)
    if name == names.multi_vector:
        lengths, vectors = list_parts(column)
        ends = np.cumsum(lengths)
        texts = _vector_texts(vectors)
        return [f"[{', '.join(texts[end - n : end])}]" for n, end in zip(lengths, ends, strict=True)]
    indices, values = (_joined(*list_parts(struct_field(column, part))) for part in ("indices", "values"))
    return [f'{{"indices": {i}, "values": {v}}}' for i, v in zip(indices, values, strict=True)]


def _vector_texts(column: pa.ChunkedArray) -> list[str]:
    values = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    return _joined(np.full(len(column), column.type.list_size), values)


def _joined(lengths: np.typing.NDArray[np.int64], values: pa.ChunkedArray) -> list[str]:
    """`[1, 2.5]` for each list."""
    if pa.types.is_float16(values.type):
        values = pc.cast(values, pa.float32())
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    texts = pc.cast(values, pa.large_string()).combine_chunks()
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts)
    joined = pc.binary_join(lists, pa.scalar(", ", pa.large_string()))
    return [f"[{text}]" for text in joined.to_pylist()]


def _has_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_has_bytes(kind.field(index).type) for index in range(kind.num_fields))
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )
