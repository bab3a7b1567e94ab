"""What goes into an output file, whatever its format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa

from sememe.records import Output, OutputDtype
from sememe.tables.vector_columns import VectorColumns


@dataclass(frozen=True)
class Space:
    """Which vectors a file holds; written into it, so that nobody compares them with those of another space.

    dimension: values of one vector (bits, for the binary dtypes), None if all are sparse. n_columns: width of the
    sparse ones, V.
    """

    model: str
    revision: str
    fingerprint: str
    dtype: OutputDtype
    dimension: int | None
    outputs: tuple[Output, ...]
    n_columns: int | None

    def as_text(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class Contents:
    """What goes into a file.

    tables: its rows, a table at a time; each call begins anew. schema: of each table. names, outputs: its columns of
    embeddings. id_column: of the columns that went along, the one with row ids.
    """

    tables: Callable[[], Iterator[pa.Table]]
    schema: pa.Schema
    n_rows: int
    names: VectorColumns
    id_column: str | None
    space: Space
