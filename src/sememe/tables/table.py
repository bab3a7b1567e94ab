"""What a table of texts is, whatever file it stands in, and which of its columns are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from sememe.errors import InputError
from sememe.records import ID_COLUMNS, TEXT_COLUMNS
from sememe.tables.options import ReadOptions

_RECORD_MARK = {b"sememe": b"one JSON object as text"}
RECORDS = pa.schema([pa.field("json", pa.string(), metadata=_RECORD_MARK)])
"""What JSON lines carry along: the object itself. Its fields become columns when all rows are known."""


@dataclass(frozen=True)
class Rows:
    """Some rows, in their order.

    texts: what to embed. ids: for each row, or None without an id column. carried: the columns that go along, the
    table's `carried` schema (without columns it has no rows either: count `texts`). fraction: how much of the input
    has been read with these rows, 0 to 1, None if nobody can know.
    """

    texts: list[str]
    ids: list[str] | None
    carried: pa.Table
    fraction: float | None


class Table(Protocol):
    """One input, its head read and its columns chosen.

    text_column, id_column: None where there is none, as in text lines. carried: schema of the columns that go along;
    None for a file so empty that it has no columns. size_bytes: None for standard input.
    """

    name: str
    text_column: str | None
    id_column: str | None
    carried: pa.Schema | None
    size_bytes: int | None

    def rows(self) -> Iterator[Rows]:
        """All rows, a few hundred at a time; once for standard input. Raises InputError, naming the line or row."""
        ...


def choose_text_column(name: str, columns: Sequence[str], strings: Sequence[str], asked: str | None) -> str:
    """The column with the texts: the one asked for, else a usual name, else the only column of strings.

    columns: all of them. strings: those of strings. Raises InputError, listing what there is.
    """
    if asked is not None:
        if asked not in columns:
            raise InputError(f"{name} has no column {asked!r}. {_listed(columns)} Name one with --text-column.")
        if asked not in strings:
            raise InputError(f"{name}: column {asked!r} does not hold strings. Strings are in: {_names(strings)}.")
        return asked
    for usual in TEXT_COLUMNS:
        if usual in strings:
            return usual
    others = [column for column in strings if column not in ID_COLUMNS]
    if len(others) == 1:
        return others[0]
    raise InputError(
        f"{name}: which column holds the texts? None has a usual name ({', '.join(TEXT_COLUMNS[:4])}, …). "
        f"{_listed(columns)} Name one with --text-column."
    )


def choose_id_column(name: str, columns: Sequence[str], options: ReadOptions) -> str | None:
    """The column with row ids: the one asked for, else, where only ids are kept, a usual name; else None."""
    if options.id_column is not None:
        if options.id_column not in columns:
            raise InputError(f"{name} has no column {options.id_column!r}. {_listed(columns)}")
        return options.id_column
    if options.keep != "id":
        return None
    return next((usual for usual in ID_COLUMNS if usual in columns), None)


def kept_columns(name: str, columns: Sequence[str], id_column: str | None, options: ReadOptions) -> list[str]:
    """Columns that go along. Raises InputError for one whose name the output needs."""
    if options.keep == "all":
        refuse_taken(name, columns, options)
        return list(columns)
    return [id_column] if id_column is not None else []


def refuse_twice(name: str, columns: Sequence[str]) -> None:
    """Raise InputError where two columns have one name."""
    if len(set(columns)) < len(columns):
        twice = sorted(column for column, count in Counter(columns).items() if count > 1)
        raise InputError(f"{name} has several columns of one name: {_names(twice)}. Rename them.")


def refuse_taken(place: str, columns: Sequence[str], options: ReadOptions) -> None:
    """Raise InputError where an input has a column that the output adds."""
    clash = options.taken.intersection(columns)
    if clash:
        raise InputError(
            f"{place} already has {_names(sorted(clash))}, which the output adds. "
            "Choose another name with --embedding-column, or leave the columns out with --keep-columns id."
        )


def _names(columns: Sequence[str]) -> str:
    return ", ".join(repr(column) for column in columns) or "none"


def _listed(columns: Sequence[str]) -> str:
    return f"Its columns: {_names(columns)}."
