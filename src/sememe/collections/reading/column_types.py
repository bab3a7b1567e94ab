"""Types of a CSV's columns: its cells are text, so what a column is follows from all of its values in the file.

A column whose every value is `true` or `false` is bool; whole numbers of 64 bits are int; finite numbers are float; every
other column is text, as it is written. Numbers begin with no zero and no plus and have no separators, so that postcodes,
telephone numbers and ids stay what they are. An empty cell says nothing of its column, and is no value of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from sememe.collections.documents import MetadataValue

ColumnType = Literal["int", "float", "bool", "text"]

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LONGEST_WHOLE = len(str(-(2**63)))


def column_types(rows: Iterable[Mapping[str, str]]) -> dict[str, ColumnType]:
    """The type of each column that has a value, whatever the order of the rows. Ends early where all are text."""
    types: dict[str, ColumnType] = {}
    undecided: list[str] | None = None
    for row in rows:
        if undecided is None:
            undecided = list(row)
        for name in undecided:
            if cell := row[name].strip():
                types[name] = _joined(types.get(name), _type_of(cell))
        undecided = [name for name in undecided if types.get(name) != "text"]
        if not undecided:
            break
    return types


def cell_value(cell: str, of: ColumnType) -> MetadataValue | None:
    """A cell of a column of that type as a value, None where it is empty."""
    if not (stripped := cell.strip()):
        return None
    try:
        match of:
            case "int":
                return int(stripped)
            case "float":
                return float(stripped)
            case "bool":
                return stripped.lower() == "true"
            case "text":
                return cell
    except ValueError:  # the file has changed since its types were read
        return cell


def _type_of(cell: str) -> ColumnType:
    if _WHOLE.fullmatch(cell):
        return "int" if len(cell) <= _LONGEST_WHOLE and -(2**63) <= int(cell) < 2**63 else "text"
    if _NUMBER.fullmatch(cell):
        return "float" if math.isfinite(float(cell)) else "text"
    return "bool" if cell.lower() in ("true", "false") else "text"


def _joined(known: ColumnType | None, new: ColumnType) -> ColumnType:
    if known is None or known == new:
        return new
    return "float" if {known, new} == {"int", "float"} else "text"
