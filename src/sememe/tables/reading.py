"""Inputs of a job: names → tables, checked before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from sememe.errors import InputError
from sememe.tables.arrow_files import ColumnFile
from sememe.tables.json_lines import JsonLines
from sememe.tables.lines import STDIN, input_name, is_stream
from sememe.tables.options import InputFormat, ReadOptions
from sememe.tables.row_files import DelimitedLines, TextLines
from sememe.tables.table import Rows, Table

FORMATS: dict[str, InputFormat] = {
    ".txt": "text",
    ".text": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_COLUMNAR = ("parquet", "arrow")


def open_tables(paths: Sequence[str], options: ReadOptions) -> list[Table]:
    """Open each input as far as its head. "-" is standard input, and may come once.

    Raises InputError for an input that is missing, a folder, of an unknown format, without the columns asked for, or
    whose columns differ from those of the inputs before it.
    """
    if not paths:
        raise InputError("No input: name files, or - for standard input.")
    if list(paths).count(STDIN) > 1:
        raise InputError("Standard input (-) is named twice; it can be read only once.")
    tables = [_open_table(path, options) for path in paths]
    carried_schema(tables)
    return tables


def carried_schema(tables: Sequence[Table]) -> pa.Schema:
    """The columns that go along, the same in all tables. Raises InputError where two tables disagree."""
    known = [(table.name, table.carried) for table in tables if table.carried is not None]
    if not known:
        return pa.schema([])
    first_name, first = known[0]
    remedy = "Embed them one by one, or leave columns out with --keep-columns id."
    for name, carried in known[1:]:
        if carried != first:
            raise InputError(
                f"{name} has other columns than {first_name}: {_columns(carried)}, not {_columns(first)}. {remedy}"
            )
        if carried.metadata != first.metadata:
            raise InputError(f"{name} has vectors of another model than {first_name} has. {remedy}")
    return first


def read_rows(tables: Sequence[Table]) -> Iterator[Rows]:
    """The rows of all tables, one table after the other; `fraction` counts over all of them, by size."""
    sizes = [table.size_bytes for table in tables]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    n_before = 0
    for table in tables:
        for rows in table.rows():
            fraction = None
            if total and table.size_bytes is not None and rows.fraction is not None:
                fraction = (n_before + rows.fraction * table.size_bytes) / total
            yield Rows(rows.texts, rows.ids, rows.carried, fraction)
        n_before += table.size_bytes or 0


def _open_table(path: str, options: ReadOptions) -> Table:
    if path != STDIN:
        _refuse_unreadable(path)
    format = options.format or _format(path)
    if format in _COLUMNAR and (is_stream(path) or path.endswith(".gz")):
        raise InputError(f"{input_name(path)}: {format} is read from an unpacked file only. Save it as a file first.")
    match format:
        case "text":
            return TextLines(path, options)
        case "jsonl":
            return JsonLines(path, options)
        case "csv":
            return DelimitedLines(path, options, ",")
        case "tsv":
            return DelimitedLines(path, options, "\t")
        case "parquet" | "arrow":
            return ColumnFile(path, options, format)


def _format(path: str) -> InputFormat:
    if path == STDIN:
        return "text"
    name = Path(path.removesuffix(".gz"))
    format = FORMATS.get(name.suffix.lower())
    if format is None:
        raise InputError(
            f"{path}: the ending {name.suffix or '(none)'!r} is none that we know ({', '.join(FORMATS)}; those of "
            f"lines also with .gz). Say the format with --format: {', '.join(dict.fromkeys(FORMATS.values()))}."
        )
    return format


def _refuse_unreadable(path: str) -> None:
    place = Path(path)
    if not place.exists():
        raise InputError(f"There is no file {path}.")
    if place.is_dir():
        raise InputError(f"{path} is a folder. Name the files in it, such as {place / '*.txt'}.")
    if not os.access(place, os.R_OK):
        raise InputError(f"{path}: no permission to read it.")


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema) or "none"
