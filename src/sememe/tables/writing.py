"""Shards → one output file, a shard at a time. (.npy, .npz: array_writing.py; .jsonl: json_writing.py.)"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from sememe.errors import InputError
from sememe.tables.array_writing import write_npy, write_npz
from sememe.tables.contents import Contents
from sememe.tables.json_fields import columns_of, field_types
from sememe.tables.json_writing import write_json_lines
from sememe.tables.table import RECORDS

OutputFormat = Literal["npy", "npz", "jsonl", "parquet", "arrow"]
OUTPUT_FORMATS: dict[str, OutputFormat] = {
    ".npy": "npy",
    ".npz": "npz",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
# A Parquet row group is written when so much has come together.
_GROUP_ROWS = 1 << 16
_GROUP_BYTES = 1 << 26


def output_format(path: Path) -> OutputFormat:
    """The format that a file's ending says. Raises InputError, listing those there are."""
    format = OUTPUT_FORMATS.get(path.suffix.lower())
    if format is None:
        raise InputError(f"{path}: the output's ending says its format; use one of {', '.join(OUTPUT_FORMATS)}.")
    return format


def write_output(file: BinaryIO, format: OutputFormat, contents: Contents) -> None:
    """Write a whole file. No more than some shards are in memory at a time."""
    match format:
        case "npy":
            write_npy(file, contents)
        case "npz":
            write_npz(file, _typed(contents))
        case "parquet":
            _write_parquet(file, _typed(contents))
        case "arrow":
            _write_arrow(file, _typed(contents))
        case "jsonl":
            own = [name for name in contents.schema.names if name not in contents.names.used(contents.space.outputs)]
            records = _has_records(contents.schema)
            for table in contents.tables():
                write_json_lines(file, table, own, contents.names, records)


def _has_records(schema: pa.Schema) -> bool:
    return len(schema) > 0 and bool(schema.field(0).equals(RECORDS.field(0), check_metadata=True))


def _typed(contents: Contents) -> Contents:
    """The same with a column for each field of the JSON records, where there are such."""
    if not _has_records(contents.schema):
        return contents
    fields = field_types(record for table in contents.tables() for record in table.column(0).to_pylist())
    schema = pa.schema([*fields, *list(contents.schema)[1:]])

    def tables() -> Iterator[pa.Table]:
        for table in contents.tables():
            columns = columns_of(table.column(0).to_pylist(), fields)
            yield pa.Table.from_arrays([*columns, *table.columns[1:]], schema=schema)

    return replace(contents, tables=tables, schema=schema)


def _described(contents: Contents) -> pa.Schema:
    """The schema with the vector space in its metadata, under the name of the column that it is about."""
    metadata = {**(contents.schema.metadata or {}), f"sememe.{contents.names.dense}": contents.space.as_text()}
    return contents.schema.with_metadata(metadata)


def _write_arrow(file: BinaryIO, contents: Contents) -> None:
    with pa.ipc.new_file(file, _described(contents)) as writer:
        for table in contents.tables():
            writer.write_table(table)


def _write_parquet(file: BinaryIO, contents: Contents) -> None:
    schema = _described(contents)
    # Vectors do not shrink, and dictionaries or bounds of their values help nobody: 3 times as fast without.
    vectors = tuple(f"{name}." for name in contents.names.used(contents.space.outputs))
    plain = [path for path in _leaf_paths(schema) if not path.startswith(vectors)]
    with pq.ParquetWriter(
        file, schema, compression=dict.fromkeys(plain, "zstd"), use_dictionary=plain, write_statistics=plain
    ) as writer:
        for table in _grouped(contents.tables()):
            writer.write_table(table, row_group_size=max(len(table), 1))


def _leaf_paths(schema: pa.Schema) -> list[str]:
    """How Parquet calls the columns: those of a list or struct have a path."""
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    leaves = pq.ParquetFile(sink).schema
    return [leaves.column(index).path for index in range(len(leaves))]


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    group: list[pa.Table] = []
    for table in tables:
        group.append(table)
        if sum(map(len, group)) >= _GROUP_ROWS or sum(part.nbytes for part in group) >= _GROUP_BYTES:
            yield pa.concat_tables(group)
            group = []
    if group:
        yield pa.concat_tables(group)
