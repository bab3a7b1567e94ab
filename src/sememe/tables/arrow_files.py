"""Columnar files as tables: Parquet, and Arrow files and streams (Feather, the caches of `datasets`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sememe.errors import InputError
from sememe.tables.options import ReadOptions
from sememe.tables.table import (
    Rows,
    choose_id_column,
    choose_text_column,
    kept_columns,
    refuse_twice,
)

_CHUNK_ROWS = 256
_CHUNK_BYTES = 1 << 24
# Parquet columns are read through a buffer of this size: a row group need not fit into memory.
_BUFFER_BYTES = 1 << 20
_ARROW_FILE_MARK = b"ARROW1"


class ColumnFile:
    """A Parquet or Arrow file. Columns keep their types; dictionary-encoded ones are carried as plain values."""

    def __init__(self, path: str, options: ReadOptions, format: Literal["parquet", "arrow"]) -> None:
        self.name = path
        self.size_bytes: int | None = Path(path).stat().st_size
        self._format = format
        self._errors = options.encoding_errors
        with _in_words(path, format):
            schema = pq.read_schema(path) if format == "parquet" else _arrow_schema(path)
        refuse_twice(path, schema.names)
        strings = [field.name for field in schema if _holds_strings(field.type)]
        self._text = choose_text_column(path, schema.names, strings, options.text_column)
        self.text_column: str | None = self._text
        self.id_column = choose_id_column(path, schema.names, options)
        if self.id_column is not None and not _holds_ids(schema.field(self.id_column).type):
            raise InputError(
                f"{path}: the id column {self.id_column!r} holds {schema.field(self.id_column).type}, not strings or "
                "integers. Name another with --id-column."
            )
        kept = kept_columns(path, schema.names, self.id_column, options)
        # What vectors that go along are (see `Space`) goes along too; what other programs say of all columns does not.
        spaces = {key: value for key, value in (schema.metadata or {}).items() if key.startswith(b"sememe.")}
        self._kept = pa.schema(
            [_plain(schema.field(column)) for column in kept], spaces if options.keep == "all" else None
        )
        self.carried: pa.Schema | None = self._kept

    def rows(self) -> Iterator[Rows]:
        ids_from = [] if self.id_column is None else [self.id_column]
        wanted = list(dict.fromkeys([self._text, *ids_from, *self._kept.names]))
        batches = (_parquet_batches if self._format == "parquet" else _arrow_batches)(self.name, wanted)
        n_before = 0
        with _in_words(self.name, self._format):
            for batch, fraction in batches:
                columns = {name: _decoded(batch.column(name)) for name in wanted}
                texts = self._strings(columns[self._text], self._text, n_before)
                ids = None
                if self.id_column is not None:
                    ids = [str(row_id) for row_id in self._values(columns[self.id_column], self.id_column, n_before)]
                carried = pa.Table.from_arrays([columns[name] for name in self._kept.names], schema=self._kept)
                yield Rows(texts, ids, carried, fraction)
                n_before += len(batch)

    def _values(self, column: pa.Array, name: str, n_before: int) -> list[object]:
        if column.null_count:
            row = n_before + column.is_null().to_pylist().index(True) + 1
            raise InputError(f"{self.name}, row {row:,}: {name!r} is null. Fill it in or leave out the row.")
        values: list[object] = column.to_pylist()
        return values

    def _strings(self, column: pa.Array, name: str, n_before: int) -> list[str]:
        try:
            return [str(text) for text in self._values(column, name, n_before)]
        except UnicodeDecodeError:
            raw: list[bytes] = pc.cast(column, pa.large_binary()).to_pylist()
        texts = []
        for row, value in enumerate(raw, n_before + 1):
            try:
                texts.append(value.decode("utf-8", self._errors))
            except UnicodeDecodeError as exc:
                raise InputError(
                    f"{self.name}, row {row:,}: byte 0x{value[exc.start]:02x} of {name!r} is not UTF-8. "
                    "Correct the file, or pass --encoding-errors replace."
                ) from exc
        return texts


def _parquet_batches(path: str, columns: list[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
    n_read = 0
    with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        facts = file.metadata
        n_bytes = sum(facts.row_group(index).total_byte_size for index in range(facts.num_row_groups))
        chunk_rows = min(max(_CHUNK_BYTES * facts.num_rows // max(n_bytes, 1), 1), _CHUNK_ROWS)
        for batch in file.iter_batches(chunk_rows, columns=columns, use_threads=False):
            n_read += len(batch)
            yield batch, n_read / facts.num_rows


def _arrow_batches(path: str, columns: list[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
    with pa.memory_map(path) as source:
        for batch, begin, end in _file_batches(source) if _is_arrow_file(path) else _stream_batches(source):
            for start in range(0, len(batch), _CHUNK_ROWS):
                piece = batch.slice(start, _CHUNK_ROWS).select(columns)
                yield piece, begin + (end - begin) * (start + len(piece)) / len(batch)


def _file_batches(source: pa.NativeFile) -> Iterator[tuple[pa.RecordBatch, float, float]]:
    """Batches with where each begins and ends, as fractions of the file; they are taken to be of one size."""
    reader = pa.ipc.open_file(source)
    n_batches = reader.num_record_batches
    for index in range(n_batches):
        yield reader.get_batch(index), index / n_batches, (index + 1) / n_batches


def _stream_batches(source: pa.NativeFile) -> Iterator[tuple[pa.RecordBatch, float, float]]:
    size = source.size()
    begin = 0.0
    for batch in pa.ipc.open_stream(source):
        end = source.tell() / size
        yield batch, begin, end
        begin = end


def _arrow_schema(path: str) -> pa.Schema:
    with pa.memory_map(path) as source:
        return (pa.ipc.open_file if _is_arrow_file(path) else pa.ipc.open_stream)(source).schema


def _is_arrow_file(path: str) -> bool:
    """Whether it is an Arrow file, with a footer; else it is a stream. `.arrow` and `.feather` are used for both."""
    with Path(path).open("rb") as file:
        return file.read(len(_ARROW_FILE_MARK)) == _ARROW_FILE_MARK


@contextmanager
def _in_words(path: str, format: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as exc:
        raise InputError(
            f"{path} cannot be read as {format}: {exc}. The file is damaged, or of another format (see --format)."
        ) from exc


def _plain(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _decoded(column: pa.Array) -> pa.Array:
    # An Arrow file holds one dictionary for all its batches; what we write may come from several files.
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _holds_strings(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _holds_ids(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return _holds_strings(kind) or bool(pa.types.is_integer(kind))
