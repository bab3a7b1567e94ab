"""Tables as documents, one a row: JSON lines, CSV, TSV and Parquet, with their columns mapped."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import shutil
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sememe.collections.documents import MetadataValue, Place
from sememe.collections.reading.column_types import ColumnType, cell_value, column_types
from sememe.collections.reading.options import Columns, Kind
from sememe.collections.reading.shape import Unreadable, missing
from sememe.records import ID_COLUMNS, TEXT_COLUMNS

# Rows of a Parquet file in memory at once.
_BATCH_ROWS = 1024
_MAX_FIELD = 1 << 30
# What reading packed data raises.
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class Row:
    """One row, its columns mapped. place: its lines, or its row. id: empty where the row has none."""

    place: Place
    id: str
    title: str
    text: str
    metadata: dict[str, MetadataValue]


@dataclass(frozen=True)
class BadRow:
    """A row that is left out, and why."""

    place: Place
    reason: str


Bytes = BinaryIO | gzip.GzipFile

Raw = Iterator[tuple[Place, Mapping[str, object] | str]]
"""Place and columns of each row; a text in their place says why there are none."""

Value = Callable[[str, object], MetadataValue | None]
"""(column, what stands in it) to its value as metadata; None where it is none."""


def read_rows(path: Path, kind: Kind, columns: Columns, encoding: str) -> Iterator[Row | BadRow]:
    """The rows of a file, streamed. Raises Unreadable for a file that cannot be read at all, or no further."""
    try:
        if kind == "parquet":
            yield from _mapped(_parquet(path), columns, _given)
            return
        with path.open("rb") as raw:
            unpacked = gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else raw
            yield from read_row_stream(unpacked, kind, columns, encoding)
    except _DAMAGED as exc:
        raise Unreadable(f"the gzip data are damaged or cut off: {exc}") from exc


def read_row_stream(stream: Bytes, kind: Kind, columns: Columns, encoding: str) -> Iterator[Row | BadRow]:
    """The rows of JSON lines, CSV or TSV. Raises Unreadable.

    CSV and TSV are read twice, first for the types of their columns: a stream that can be read once is put on disk.
    """
    if kind == "jsonl":
        with _lines(stream, kind, encoding) as lines:
            yield from _mapped(_json_lines(lines), columns, _given)
    elif not stream.seekable():
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            yield from read_row_stream(copy, kind, columns, encoding)
    else:
        start = stream.tell()
        types = _types(stream, kind, columns, encoding)
        stream.seek(start)
        with _lines(stream, kind, encoding) as lines:
            yield from _mapped(
                _delimited(lines, kind, columns),
                columns,
                lambda name, cell: cell_value(str(cell), types.get(name, "text")),
            )


def _types(stream: Bytes, kind: Kind, columns: Columns, encoding: str) -> Mapping[str, ColumnType]:
    """Of a table's columns, as far as it can be read: who reads its rows is told where that ends, and why."""

    def rows() -> Generator[Mapping[str, str]]:
        with suppress(Unreadable, *_DAMAGED), _lines(stream, kind, encoding) as lines:
            for _, row in _delimited(lines, kind, columns):
                if not isinstance(row, str):
                    yield row

    with closing(rows()) as readable:
        return column_types(readable)


@contextmanager
def _lines(stream: Bytes, kind: Kind, encoding: str) -> Iterator[io.TextIOWrapper]:
    """Its text; the stream stays open. Raises Unreadable for what is not of the encoding."""
    # A byte order mark is left out; for other encodings than UTF-8 the codec does that.
    lines = io.TextIOWrapper(
        stream,  # type: ignore[arg-type]  # a GzipFile is what it takes; the stubs know no protocol for it
        "utf-8-sig" if encoding.lower().replace("-", "") == "utf8" else encoding,
        newline="" if kind in ("csv", "tsv") else "\n",
    )
    try:
        yield lines
    except UnicodeDecodeError as exc:
        raise Unreadable(
            f"byte 0x{exc.object[exc.start]:02x} is not {encoding}; say its encoding (--encoding), or convert the file"
        ) from exc
    finally:
        lines.detach()


def _json_lines(lines: io.TextIOWrapper) -> Raw:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as exc:
            yield Place("line", number, number), f"it is no JSON: {exc}"
            continue
        except RecursionError:
            yield Place("line", number, number), "its JSON is nested too deeply"
            continue
        yield Place("line", number, number), row if isinstance(row, dict) else "it is no JSON object"


def _delimited(lines: io.TextIOWrapper, kind: Kind, columns: Columns) -> Iterator[tuple[Place, dict[str, str] | str]]:
    csv.field_size_limit(_MAX_FIELD)  # the process's; the default (128 KB) would refuse long documents
    parser = csv.reader(lines, delimiter="\t" if kind == "tsv" else ",", strict=True)
    try:
        names = next(parser, [])
        if len(set(names)) < len(names):
            raise Unreadable(f"its first line names a column twice: {', '.join(names)[:200]}")
        # What is wrong with the columns is wrong with every row: it is said once.
        if names and isinstance(reason := _choose(dict.fromkeys(names, ""), columns), str):
            raise Unreadable(reason)
        first = parser.line_num + 1
        for fields in parser:
            place, first = Place("line", first, parser.line_num), parser.line_num + 1
            if not fields:
                continue
            if len(fields) != len(names):
                yield place, f"{len(fields)} values, but the first line names {len(names)} columns"
                continue
            yield place, dict(zip(names, fields, strict=True))
    except csv.Error as exc:
        raise Unreadable(f"line {parser.line_num}: {exc}; check the quotes") from exc


def _parquet(path: Path) -> Raw:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise missing("pyarrow", "Parquet", exc) from exc
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield Place("row", number, number), row
    except (pa.ArrowException, OSError) as exc:
        raise Unreadable(f"it is no Parquet file, or damaged: {exc}") from exc


def _mapped(raw: Raw, columns: Columns, value_of: Value) -> Iterator[Row | BadRow]:
    """Each row with its columns mapped; the mapping is chosen by the first row's columns, and again where one lacks them."""
    known: _Mapping | None = None
    for place, row in raw:
        if isinstance(row, str):
            yield BadRow(place, row)
            continue
        chosen = known if known is not None and known.fits(row) else _choose(row, columns)
        if isinstance(chosen, _Mapping):
            known = chosen
            yield chosen.row(place, row, value_of)
        else:
            yield BadRow(place, chosen)


@dataclass(frozen=True)
class _Mapping:
    text: tuple[str, ...]
    title: str | None
    id: str | None
    keep: Callable[[str], bool]

    def fits(self, row: Mapping[str, object]) -> bool:
        return all(name in row for name in self.text)

    def row(self, place: Place, row: Mapping[str, object], value_of: Value) -> Row | BadRow:
        texts = [row[name] for name in self.text]
        wrong = next((name for name in self.text if not isinstance(row[name], str | None)), None)
        if wrong is not None:
            return BadRow(place, f"its {wrong!r} is no text but {type(row[wrong]).__name__}")
        text = "\n".join(text for text in texts if isinstance(text, str) and text)
        title = _word(row.get(self.title)) if self.title is not None else ""
        if not text.strip():
            text = title
        if not text.strip():
            return BadRow(place, "it has no text")
        # JSON can spell lone surrogates, which no UTF-8 can hold.
        text, title = (some.encode("utf-8", "replace").decode("utf-8") for some in (text, title))
        kept = ((name, value_of(name, given)) for name, given in row.items() if self.keep(name))
        metadata = {name: value for name, value in kept if value is not None}
        return Row(place, _word(row.get(self.id)) if self.id else "", title, text, metadata)


def _choose(row: Mapping[str, object], columns: Columns) -> _Mapping | str:
    """The mapping for rows with these columns, or why there is none. Raises Unreadable for a column not there."""
    asked = [*columns.text, *([columns.title] if columns.title else []), *([columns.id] if columns.id else [])]
    for name in (*asked, *(columns.metadata or ())):
        if name not in row:
            return f"it has no column {name!r}; its columns: {', '.join(row) or 'none'}"
    text = columns.text or next(((name,) for name in TEXT_COLUMNS if isinstance(row.get(name), str)), ())
    if not text:
        strings = [name for name, value in row.items() if isinstance(value, str) and name not in ID_COLUMNS]
        if len(strings) != 1:
            return f"which column holds the text? Say it (--text-column). Its columns: {', '.join(row) or 'none'}"
        text = (strings[0],)
    title = columns.title or ("title" if "title" in row and "title" not in text else None)
    row_id = columns.id or next((name for name in ID_COLUMNS if name in row), None)
    used = {*text, title, row_id}
    wanted = columns.metadata
    return _Mapping(
        text, title, row_id, (lambda name: name not in used) if wanted is None else set(wanted).__contains__
    )


def _given(_name: str, value: object) -> MetadataValue | None:
    """What JSON and Parquet say has its type already; null, lists and what is not finite are no values."""
    is_value = isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_value else None  # type: ignore[return-value]


def _word(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
