"""JSON records → columns, once all records are known.

The type of a column is that of its values over all records: booleans, integers, floats (or integers and floats),
strings. Nested values, integers past 64 bits and values of several kinds are kept as JSON text, and the field's
metadata say so; a missing field is null.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pyarrow as pa

_JSON_TEXT = {b"sememe": b"JSON text"}
_TYPES: dict[frozenset[str], pa.DataType] = {
    frozenset(): pa.string(),  # null in all records
    frozenset({"bool"}): pa.bool_(),
    frozenset({"int"}): pa.int64(),
    frozenset({"long"}): pa.int64(),
    frozenset({"int", "long"}): pa.int64(),
    frozenset({"float"}): pa.float64(),
    frozenset({"int", "float"}): pa.float64(),
    frozenset({"str"}): pa.string(),
}
_EXACT_AS_FLOAT = range(-(1 << 53), (1 << 53) + 1)
_INT64 = range(-(1 << 63), 1 << 63)


def field_types(records: Iterable[str]) -> pa.Schema:
    """The columns that all these records (JSON objects as text) fit in, in the order in which their fields come up."""
    kinds: dict[str, set[str]] = {}
    for record in records:
        for name, value in json.loads(record).items():
            found = kinds.setdefault(name, set())
            if value is not None:
                found.add(_kind(value))
    return pa.schema([_field(name, frozenset(found)) for name, found in kinds.items()])


def columns_of(records: list[str], schema: pa.Schema) -> list[pa.Array]:
    """These records as one array for each field of `schema`, which `field_types` made from them and the others."""
    parsed = [json.loads(record) for record in records]
    return [_column([record.get(field.name) for record in parsed], field) for field in schema]


def _kind(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if value in _EXACT_AS_FLOAT else "long" if value in _INT64 else "too long"
    return type(value).__name__


def _field(name: str, kinds: frozenset[str]) -> pa.Field:
    if kinds in _TYPES:
        return pa.field(name, _TYPES[kinds])
    return pa.field(name, pa.string(), metadata=_JSON_TEXT)


def _column(values: list[object], field: pa.Field) -> pa.Array:
    if field.metadata == _JSON_TEXT:
        values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    return pa.array(values, field.type)
