"""Files of lines as tables: plain text, CSV and TSV. (JSON lines: json_lines.py.)"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import TypeVar

import pyarrow as pa

from sememe.errors import InputError
from sememe.tables.lines import MAX_LINE_BYTES, STDIN, Lines, is_stream, size_bytes
from sememe.tables.options import EncodingErrors, ReadOptions
from sememe.tables.table import (
    Rows,
    choose_id_column,
    choose_text_column,
    kept_columns,
    refuse_taken,
    refuse_twice,
)

# Rows given at once: enough that an Arrow table for each costs nothing, few enough to hold.
_CHUNK_ROWS = 256
_CHUNK_CHARACTERS = 1 << 20

_Kept = TypeVar("_Kept")


class LineFile:
    """The lines of an input: opened for its head, then again for its rows. A stream can be opened only once."""

    def __init__(self, path: str, errors: EncodingErrors) -> None:
        self._path, self._errors = path, errors
        self.lines = Lines(path, errors)
        self.name = self.lines.name
        self.size_bytes = size_bytes(path)
        self.is_stream = is_stream(path)

    def end_head(self) -> None:
        """Close the file until its rows are wanted: a job may have thousands of inputs."""
        if not self.is_stream:
            self.lines.close()

    def restart(self) -> Lines:
        """The lines from the first. What was read of a stream must have been put back."""
        if not self.is_stream:
            self.lines = Lines(self._path, self._errors)
        return self.lines


class TextLines:
    """A text a line. An empty line is a row with the empty text, so that row numbers are line numbers."""

    text_column: str | None = None
    id_column: str | None = None

    def __init__(self, path: str, options: ReadOptions) -> None:
        self._file = LineFile(path, options.encoding_errors)
        self.name, self.size_bytes = self._file.name, self._file.size_bytes
        asked = options.text_column or options.id_column
        if asked is not None:
            raise InputError(f"{self.name} has no column {asked!r}: it is read as one text a line (see --format).")
        if path == STDIN and options.format is None:
            _refuse_json(self._file.lines)
        self._file.end_head()
        self.carried: pa.Schema | None = pa.schema([("text", pa.string())] if options.keep == "all" else [])
        refuse_taken(self.name, self.carried.names, options)

    def rows(self) -> Iterator[Rows]:
        lines = self._file.restart()
        texts = ((line.removesuffix("\n").removesuffix("\r"), None) for line in lines)
        yield from in_chunks(lines, ((text, row_id, text) for text, row_id in texts), self._carry)

    def _carry(self, texts: list[str]) -> pa.Table:
        return string_table([texts] if self.carried else [], self.carried)


class DelimitedLines:
    """CSV or TSV as RFC 4180 has it: the first line names the columns, quotes may hold line ends.

    All columns are strings. Blank lines are passed over, except in a file of one column, where they are empty texts.
    """

    def __init__(self, path: str, options: ReadOptions, delimiter: str) -> None:
        self._file = LineFile(path, options.encoding_errors)
        self._delimiter = delimiter
        self.name, self.size_bytes = self._file.name, self._file.size_bytes
        self.text_column, self.id_column = options.text_column, options.id_column
        self.carried: pa.Schema | None = None
        self._columns: list[str] = []
        self._kept: list[int] = []
        first = next(self._file.lines, None)
        if first is not None:
            self._file.lines.put_back(first)
            self._read_header(options)
        self._file.end_head()

    def rows(self) -> Iterator[Rows]:
        if self.carried is None:
            return
        lines = self._file.lines
        if not self._file.is_stream:
            lines = self._file.restart()
            self._records = self._parser(lines)
            next(self._records)
        yield from in_chunks(lines, self._fields(lines), self._carry)

    def _read_header(self, options: ReadOptions) -> None:
        lines = self._file.lines
        self._records = self._parser(lines)
        self._columns = next(self._records, [])
        refuse_twice(self.name, self._columns)
        place = f"{self.name} (its first line names the columns)"
        if len(self._columns) == 1 and options.text_column is None and set(";\t|,") & set(self._columns[0]):
            raise InputError(
                f"{self.name}: its first line names one column, {self._columns[0]!r}, so the values seem to be "
                f"separated by something else than {self._delimiter!r}. Convert the file; or, if that is the column's "
                "name, pass it as --text-column."
            )
        self.text_column = choose_text_column(place, self._columns, self._columns, options.text_column)
        self.id_column = choose_id_column(self.name, self._columns, options)
        kept = kept_columns(self.name, self._columns, self.id_column, options)
        self._kept = [self._columns.index(column) for column in kept]
        self.carried = pa.schema([(column, pa.string()) for column in kept])

    def _parser(self, lines: Lines) -> Iterator[list[str]]:
        # The limit is the process's, not the reader's; its default (128 KB) would refuse long documents.
        csv.field_size_limit(MAX_LINE_BYTES)
        parser = csv.reader(lines, delimiter=self._delimiter, strict=True)
        while True:
            try:
                yield next(parser)
            except StopIteration:
                return
            except csv.Error as exc:
                raise InputError(f"{lines.place}: {exc}. Check the quotes of this row.") from exc

    def _fields(self, lines: Lines) -> Iterator[tuple[str, str | None, list[str]]]:
        text_at = self._columns.index(self.text_column or "")
        id_at = None if self.id_column is None else self._columns.index(self.id_column)
        n_columns = len(self._columns)
        for fields in self._records:
            if not fields:
                if n_columns > 1:
                    continue
                fields = [""]
            if len(fields) != n_columns:
                raise InputError(
                    f"{lines.place}: {len(fields)} values, but the header names {n_columns} columns "
                    f"({', '.join(self._columns)}). Quote values that hold {self._delimiter!r}, or correct the row."
                )
            yield fields[text_at], None if id_at is None else fields[id_at], [fields[at] for at in self._kept]

    def _carry(self, rows: list[list[str]]) -> pa.Table:
        return string_table([list(column) for column in zip(*rows, strict=True)], self.carried)


def in_chunks(
    lines: Lines, rows: Iterator[tuple[str, str | None, _Kept]], carry: Callable[[list[_Kept]], pa.Table]
) -> Iterator[Rows]:
    """Group rows (text, id, what is kept of it) and close the lines behind the last."""
    texts: list[str] = []
    ids: list[str] = []
    kept: list[_Kept] = []
    n_characters = 0

    def chunk() -> Rows:
        return Rows(texts, ids if ids else None, carry(kept), lines.fraction)

    for text, row_id, row in rows:
        texts.append(text)
        kept.append(row)
        if row_id is not None:
            ids.append(row_id)
        n_characters += len(text)
        if len(texts) == _CHUNK_ROWS or n_characters >= _CHUNK_CHARACTERS:
            yield chunk()
            texts, ids, kept, n_characters = [], [], [], 0
    if texts:
        yield chunk()
    lines.close()


def string_table(columns: list[list[str]], schema: pa.Schema | None) -> pa.Table:
    """Columns of strings as a table."""
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=schema)


def _refuse_json(lines: Lines) -> None:
    """Refuse to embed the JSON text itself because nobody said what standard input is."""
    first = next(lines, None)
    if first is None:
        return
    lines.put_back(first)
    if first.startswith("{") and first.rstrip().endswith("}"):
        raise InputError(
            "Standard input looks like JSON lines. Pass --format jsonl to read it so, or --format text to embed each "
            "line as it is."
        )
