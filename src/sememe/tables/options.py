"""What a user chooses for a job, and every default. (Free of pyarrow, so that the command line starts quickly.)"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sememe.errors import InputError
from sememe.records import EmbedOptions

InputFormat = Literal["text", "jsonl", "csv", "tsv", "parquet", "arrow"]
EncodingErrors = Literal["strict", "replace"]
Keep = Literal["all", "id", "none"]


@dataclass(frozen=True)
class ReadOptions:
    """How to read the inputs; the same for all inputs of a job.

    format: None goes by the ending of the name. text_column, id_column: None looks for a usual name (`TEXT_COLUMNS`,
    `ID_COLUMNS`; an id only where ids are needed, `keep="id"`). keep: which columns go along with the vectors.
    encoding_errors: what bytes that are not UTF-8 do. taken: names that the output adds, so no input may have them.
    """

    format: InputFormat | None = None
    text_column: str | None = None
    id_column: str | None = None
    keep: Keep = "all"
    encoding_errors: EncodingErrors = "strict"
    taken: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.keep == "none" and self.id_column is not None:
            raise InputError(
                f"The id column {self.id_column!r} would be left out: the output keeps no columns. "
                "Leave out --id-column, or choose an output and a --keep-columns that has ids."
            )


@dataclass(frozen=True)
class EmbedJob:
    """What to embed, how, and where to.

    inputs: files, "-" for standard input. out: its ending says the format. column: name of the column of embeddings;
    those of other outputs and of counts begin with it. overwrite: replace `out`, and a work folder of another job.
    window_rows: how many rows of up to 256 characters the embedder gets at once; of longer ones it gets fewer. 2,048
    are enough for it to sort by length and fill its batches. An interruption costs no more than a window: seconds for
    a small model, so choose fewer for a very large one on a CPU.
    """

    inputs: tuple[str, ...]
    out: Path
    embed: EmbedOptions = field(default_factory=EmbedOptions)
    read: ReadOptions = field(default_factory=ReadOptions)
    column: str = "embedding"
    overwrite: bool = False
    window_rows: int = 2048
