"""A job: inputs, options and an output, checked before any work is done. (running.py does it.)"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sememe.engine.read_ahead import ReadAhead
from sememe.errors import InputError
from sememe.records import ID_COLUMNS
from sememe.tables.destination import check_destination
from sememe.tables.json_writing import refuse_bytes
from sememe.tables.lines import is_stream
from sememe.tables.options import EmbedJob, Keep, ReadOptions
from sememe.tables.reading import carried_schema, open_tables, read_rows
from sememe.tables.table import Table
from sememe.tables.vector_columns import VectorColumns
from sememe.tables.windows import Window, cut_windows
from sememe.tables.workfolder import Shard
from sememe.tables.writing import OutputFormat


@dataclass(frozen=True)
class Progress:
    """How far a job is: rows and tokens done, rows of all inputs as far as that can be judged."""

    stage: Literal["begin", "embed", "assemble"]
    n_rows: int
    n_tokens: int
    n_estimated: int | None


@dataclass(frozen=True)
class JobReport:
    """What a job has done. Counts are of the whole output, seconds and rates of this run.

    n_kept: rows that earlier runs had embedded. n_empty: rows whose text is empty or white space. n_truncated: rows
    that lost tokens. text_columns: those that were read, "" for lines of text. The rest is what `Space` says.
    """

    output: str
    n_rows: int
    n_kept: int
    n_empty: int
    n_tokens: int
    n_dropped_tokens: int
    n_truncated: int
    seconds: float
    texts_per_second: float
    tokens_per_second: float
    size_bytes: int
    text_columns: list[str]
    model: str
    revision: str
    fingerprint: str
    dtype: str
    dimension: int | None
    n_columns: int | None
    outputs: Sequence[str]


class PreparedJob:
    """A job whose inputs and output have been checked, with its inputs read as far as their heads."""

    def __init__(self, job: EmbedJob) -> None:
        out = Path(os.path.realpath(job.out))  # a link stays a link
        embed = replace(job.embed, outputs=tuple(dict.fromkeys(job.embed.outputs)))
        self.format = check_destination(out, job.inputs, embed.outputs, job.overwrite)
        self.names = VectorColumns.named(job.column)
        keep = _keep(job.read, self.format)
        taken = frozenset(self.names.used(embed.outputs)) if keep == "all" else frozenset()
        self.job = replace(job, out=out, embed=embed, read=replace(job.read, keep=keep, taken=taken))
        self.tables = open_tables(job.inputs, self.job.read)
        self.carried = carried_schema(self.tables)
        self.id_column = _id_column(self.tables, job.read)
        if self.format == "jsonl":
            refuse_bytes(self.carried)

    def reopen(self) -> bool:
        """Open the inputs anew. False if one can be read only once."""
        if any(is_stream(path) for path in self.job.inputs):
            return False
        self.tables = open_tables(self.job.inputs, self.job.read)
        return True

    def windows(self, done: Sequence[Shard], max_tokens: int) -> ReadAhead[Window]:
        """The windows after the shards that are done, read on a thread."""
        rows, n_rows = read_rows(self.tables), self.job.window_rows
        return ReadAhead(cut_windows(rows, self.carried, done=done, max_tokens=max_tokens, window_rows=n_rows))


def _keep(read: ReadOptions, format: OutputFormat) -> Keep:
    """Which columns go along, as far as the output's format has room for them."""
    if format == "npy":
        return "none"
    if format == "npz" and read.keep == "all":
        return "id"
    return read.keep


def _id_column(tables: Sequence[Table], asked: ReadOptions) -> str | None:
    """The one column with row ids. Raises InputError if inputs have theirs in different columns, or none to be kept."""
    found = {table.id_column: table.name for table in tables if table.carried is not None}
    if len(found) > 1:
        columns = ", ".join(f"{name}: {column or 'none'}" for column, name in found.items())
        raise InputError(f"The inputs have their ids in different columns ({columns}). Name one with --id-column.")
    if asked.keep == "id" and None in found:
        raise InputError(
            f"{found[None]} has no column of ids that could be kept (such as {', '.join(ID_COLUMNS[:3])}). Name one with "
            "--id-column, or pass --keep-columns none."
        )
    return next(iter(found), None)
